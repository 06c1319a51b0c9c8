"""Which frames a data set's weights ask for, and upstream's order of them; made on demand."""

import os
from typing import Any

from train_shards.behavior_items import Items
from train_shards.frame_stream import FrameStream
from train_shards.frame_texts import FrameTexts
from train_shards.order import Order
from train_shards.selection import Span
from train_shards.skill_weights import SkillWeights, WeightGroup, group_order, weight_groups

__all__ = ["FrameChoice"]


class FrameChoice:
    """Groups, order and stream of the samples of a data set; pickles without them."""

    def __init__(self, items: Items, texts: FrameTexts, weights: SkillWeights | None) -> None:
        """Takes what they are made of; ``weights`` is None where all samples are alike."""
        self._items, self._texts, self._weights = items, texts, weights
        self._spans: list[Span] | None = None
        self._groups: list[WeightGroup] | None = None
        self._order: Order | None = None
        self._stream: FrameStream | None = None
        self._stream_process = -1

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand."""
        if self._spans is None:
            self._spans = self._items.spans()
        return self._spans

    def groups(self) -> list[WeightGroup]:
        """Returns all positions by their weight. Cost: the first time, reads all episodes' texts.

        Raises:
            DataError: a file of the metadata is not what it should be.
        """
        if self._groups is None:
            if self._weights is None:
                self._groups = [WeightGroup(1.0, [(0, len(self._items))])]
            else:
                self._groups = weight_groups(self._runs(self._weights))
        return self._groups

    def order(self) -> Order | None:
        """Returns the order that draws by weight; None where all samples are alike.

        Raises:
            UserError: every sample has weight 0.
            DataError: as ``groups``.
        """
        if self._order is None and self._weights is not None:
            self._order = group_order(self.groups(), len(self._items))
        return self._order

    def stream(
        self, *, seed: int, shuffle: bool, worker_index: int, num_workers: int
    ) -> FrameStream:
        """Returns this process's stream; a fork gets one of its own.

        Raises:
            As ``order``, for the worker's samples.
        """
        if self._stream is None or self._stream_process != os.getpid():
            self._stream = FrameStream(
                self.spans(),
                seed=seed,
                shuffle=shuffle,
                worker_index=worker_index,
                num_workers=num_workers,
                groups=self.groups() if self._weights else (),
            )
            self._stream_process = os.getpid()
        return self._stream

    def _runs(self, weights: SkillWeights) -> list[tuple[int, int, float]]:
        """Positions ``(start, stop, weight)`` of the whole data set."""
        runs = []
        for span in self.spans():
            num_frames = span.first_frame + span.num_samples * span.stride
            for skill in self._texts.skill_runs(span.episode_index, span.task_index, num_frames):
                start, stop = span.position(skill.start), span.position(skill.stop)
                if start < stop:
                    runs.append((start, stop, weights.of(skill.text)))
        return runs

    def __getstate__(self) -> dict[str, Any]:
        """Leaves what is made on demand behind."""
        return {**self.__dict__, "_spans": None, "_groups": None, "_order": None, "_stream": None}
