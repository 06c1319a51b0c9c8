"""Where the samples of one training run lie: ``sample_index`` -> generation and row.

For outputs ``--for-run``, whose rows are some of the universe's samples, in one generation or,
where the run was extended, in several. The first one lists every episode of the universe.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from train_shards.errors import DataError, UserError
from train_shards.index import LIVE, NOT_STORED, Index
from train_shards.run_scope import RunScope
from train_shards.selection import Span

__all__ = ["RunRows"]


class RunRows:
    """Finds the rows of a run's samples; a sample that is missing has another one's.

    A sample of the run is missing where its episode is at fault, or was dropped. In its place
    stands the sample at the next position of the order that is not missing: a function of the
    output alone.
    """

    def __init__(
        self, scope: RunScope, indexes: Sequence[Index], stride: int, *, where: str
    ) -> None:
        """Numbers the universe.

        Args:
            scope: of the run.
            indexes: of all generations of the split, the oldest first.
            stride: every how manieth frame is selected.
            where: the output, for messages.

        Raises:
            DataError: the indexes are of another universe.

        Cost: proportional to the episodes.
        """
        self.scope, self._indexes, self._stride, self._where = scope, indexes, stride, where
        self._universe = indexes[0].episodes
        self._before: list[int] = list(
            accumulate(self._universe["num_samples"].tolist(), initial=0)
        )
        """Samples before each episode of the universe, and at the end the number of all."""
        if self._before[-1] != scope.num_samples:
            raise DataError(
                f"{where}: an index of {self._before[-1]} samples in the run's universe, the "
                f"manifest says {scope.num_samples}."
            )
        live = [np.flatnonzero(index.episodes["flags"] & LIVE) for index in indexes]
        self._ordinals = [
            dict(zip(index.episodes["episode_index"][own].tolist(), own.tolist(), strict=True))
            for index, own in zip(indexes, live, strict=True)
        ]
        """Of each generation: ``episode_index`` of a live one -> position in the index."""
        rows = [i.episodes["num_rows"][own].sum() for i, own in zip(indexes, live, strict=True)]
        self.num_holes = scope.num_stored - int(sum(rows))

    def __len__(self) -> int:
        """Number of samples in the universe."""
        return self.scope.num_samples

    def locate(self, sample: int) -> tuple[int, int]:
        """Returns the generation and row that serve a sample.

        Raises:
            UserError: the run never sees it.
            DataError: every sample of the run is missing.
        """
        found = self._find(sample)
        is_seen = found is not None
        for other in () if is_seen else self.scope.stand_ins(sample):
            is_seen = True
            if (found := self._find(other)) is not None:
                break
        if not is_seen:
            raise UserError(
                f"{self._where}: sample {sample} is not stored: only those of one run are, "
                f"{self.scope}. Sample in the global order with this seed, in no larger batches "
                "and for no more steps; ResumableSampler does. The same 'predecode run' command "
                "with a longer --for-run stores more."
            )
        if found is None:
            raise DataError(f"{self._where}: every sample of the run is missing.")
        return found

    def sample_index(self, episode_index: int, frame_index: int) -> int:
        """Returns the number of a frame of the universe."""
        episode = int(np.searchsorted(self._universe["episode_index"], episode_index))
        first = int(self._universe["first_frame"][episode])
        return self._before[episode] + (frame_index - first) // self._stride

    def first_sample(self) -> int:
        """Returns the lowest sample that is stored.

        Raises:
            DataError: none is.
        """
        for episode_index in self._universe["episode_index"].tolist():
            if frames := self.frames(episode_index):
                return self.sample_index(episode_index, frames[0])
        raise DataError(f"{self._where}: every sample of the run is missing.")

    def frames(self, episode_index: int) -> list[int]:
        """Returns the frames of an episode that are stored, ascending.

        Cost: a pread of its rows in each generation.
        """
        found = self._of_episode(episode_index)
        return sorted(frame for index, ordinal in found for frame in index.frames(ordinal))

    def num_stored(self, episode_index: int) -> int:
        """Returns how many samples of an episode are stored."""
        found = self._of_episode(episode_index)
        return sum(int(index.episodes["num_rows"][ordinal]) for index, ordinal in found)

    def _of_episode(self, episode_index: int) -> Iterator[tuple[Index, int]]:
        """Each generation's index that has an episode live, and its position there."""
        for index, ordinals in zip(self._indexes, self._ordinals, strict=True):
            if (ordinal := ordinals.get(episode_index)) is not None:
                yield index, ordinal

    def spans(self) -> list[Span]:
        """Returns where the samples of each episode stand that is not missing altogether."""
        return [
            Span(
                int(episode["episode_index"]),
                int(episode["task_index"]),
                start,
                int(episode["num_samples"]),
                int(episode["first_frame"]),
                self._stride,
            )
            for episode, start in zip(self._universe, self._before, strict=False)
            if any(int(episode["episode_index"]) in own for own in self._ordinals)
        ]

    def with_table(self, episode_index: int) -> tuple[int, Any]:
        """Returns the generation that has an episode's low-dimensional rows, and its record there.

        Raises:
            DataError: none has.
        """
        for generation, ordinals in enumerate(self._ordinals):
            if (ordinal := ordinals.get(episode_index)) is not None:
                record = self._indexes[generation].episodes[ordinal]
                if int(record["lowdim_table"]) != NOT_STORED:
                    return generation, record
        raise DataError(f"{self._where}: episode {episode_index:08d}: no low-dimensional rows.")

    def _find(self, sample: int) -> tuple[int, int] | None:
        """Generation and row of a sample that is not missing."""
        episode = bisect_right(self._before, sample) - 1
        episode_index = int(self._universe["episode_index"][episode])
        first = int(self._universe["first_frame"][episode])
        frame_index = first + (sample - self._before[episode]) * self._stride
        for generation, ordinals in enumerate(self._ordinals):
            if (ordinal := ordinals.get(episode_index)) is not None:
                row = self._indexes[generation].row_of_frame(ordinal, frame_index)
                if row is not None:
                    return generation, row
        return None
