"""The order of upstream's streaming reader, for comparison: consecutive frames, by blocks.

Source: openpi-comet's ``BehaviorLeRobotDataset``: blocks of 250 frames of each episode, dealt in
turn to the workers of all ranks, shuffled once with the seed, begun at a random one, and gone
through again and again in the same order.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from train_shards.errors import UserError
from train_shards.selection import Span
from train_shards.skill_weights import WeightGroup

__all__ = ["FrameStream"]

_BLOCK_FRAMES = 250
_NO_STOP = 1 << 62


class FrameStream:
    """Positions one after the other, whatever is asked for; belongs to one worker."""

    def __init__(
        self,
        spans: Sequence[Span],
        *,
        seed: int,
        shuffle: bool,
        worker_index: int,
        num_workers: int,
        groups: Sequence[WeightGroup] = (),
    ) -> None:
        """Deals the blocks.

        Args:
            spans: where each episode's frames stand in the data set.
            seed: of the data set; the rank and worker are added.
            shuffle: False goes through the worker's blocks in order, from the first.
            worker_index: this worker, counted over all ranks; with fewer blocks than workers it
                begins elsewhere in all of them.
            num_workers: workers of all ranks together.
            groups: positions by weight, to take each with a chance in proportion to it (above a
                largest weight of 1); empty to take all.

        Raises:
            UserError: no position of the worker has a weight.
        """
        blocks = [block for span in sorted(spans) for block in _blocks(span)]
        own = blocks[worker_index::num_workers] or blocks
        rng = np.random.default_rng(seed + worker_index)
        if shuffle:
            rng.shuffle(own)  # a list, as upstream has it: an array would be shuffled otherwise
        self._blocks = own
        # A generator of its own for the start, of the same seed, as upstream has it.
        first = np.random.default_rng(seed + worker_index).integers(0, len(own)) if shuffle else 0
        self._block = int(first)
        self._position = own[self._block][0]
        self._take_all = not groups
        self._runs = sorted(
            (start, stop, group.weight) for group in groups for start, stop in group.runs
        )
        self._largest = max([1.0, *(group.weight for group in groups)])
        if groups and not any(self._has_weight(block) for block in own):
            raise UserError(
                "skill weights: every frame of a worker has weight 0. Give more skills a weight, "
                "or use fewer workers."
            )
        self._chance = random.Random(seed + 1000003 * worker_index + 17)

    def next(self) -> int:
        """Returns the next position."""
        while True:
            if self._position >= self._blocks[self._block][1]:
                self._block = (self._block + 1) % len(self._blocks)
                self._position = self._blocks[self._block][0]
            position, self._position = self._position, self._position + 1
            if self._take_all or self._chance.random() < self._weight(position) / self._largest:
                return position

    def _weight(self, position: int) -> float:
        return self._runs[bisect_right(self._runs, (position, _NO_STOP)) - 1][2]

    def _has_weight(self, block: tuple[int, int]) -> bool:
        return any(self._weight(position) > 0 for position in range(*block))


def _blocks(span: Span) -> list[tuple[int, int]]:
    """Positions ``[start, stop)`` of each block of an episode."""
    edges = [
        -(-frame // span.stride)
        for frame in range(0, span.num_samples * span.stride, _BLOCK_FRAMES)
    ] + [span.num_samples]
    return [
        (span.start + first, span.start + stop) for first, stop in pairwise(edges) if first < stop
    ]
