"""Which live samples of an index a data set serves: by task, episode and range of frames."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from train_shards.errors import UserError
from train_shards.index import LIVE

__all__ = [
    "EVERYTHING",
    "Runs",
    "Selection",
    "Span",
    "positions_in_tasks",
    "selected_runs",
    "selects_all",
    "spans_of_runs",
]


class Selection(NamedTuple):
    """What to serve; None means all."""

    tasks: frozenset[int] | None = None
    """``task_index`` of the tasks."""
    episodes: frozenset[int] | None = None
    """Positions in each task's episodes, sorted by id, as upstream counts them."""
    frames: tuple[int, int] | None = None
    """Frames of each episode, ``[start, stop)``."""

    @classmethod
    def of(
        cls,
        tasks: Sequence[int | str] | None = None,
        episodes: Sequence[int] | None = None,
        frames: tuple[int, int] | None = None,
        *,
        known: Mapping[int, str],
        names: Mapping[str, int],
    ) -> Self:
        """Returns the selection that a data set's arguments name.

        Args:
            tasks: indices, short names, or sentences where tasks have no such names.
            episodes: positions in each task's episodes.
            frames: of each episode.
            known: ``task_index`` -> sentence of all that there are.
            names: short name -> ``task_index``, where tasks have such names.

        Raises:
            UserError: a task that is not known.
        """
        positions = None if episodes is None else frozenset(episodes)
        return cls(_task_indices(tasks, known, names), positions, frames)


EVERYTHING = Selection()


class Runs(NamedTuple):
    """Consecutive rows of an index, many at a time."""

    starts: list[int]
    """First row of each run, ascending."""
    before: list[int]
    """Rows in the runs before each, and at the end the number of all."""


class Span(NamedTuple):
    """Where the selected samples of an episode stand: at ``[start, start + num_samples)``."""

    episode_index: int
    task_index: int
    start: int
    """Position of the first sample."""
    num_samples: int
    first_frame: int
    """Of the first sample; each next one is ``stride`` frames later."""
    stride: int
    member: int = 0
    """Which of several joined data sets the episode is of."""

    def position(self, frame: int) -> int:
        """Returns the position of the first sample from ``frame`` on, within the span or its end.

        >>> span = Span(10, 0, start=100, num_samples=4, first_frame=0, stride=3)
        >>> [span.position(frame) for frame in (-1, 0, 3, 4, 99)]
        [100, 100, 101, 102, 104]
        """
        rows = -((self.first_frame - frame) // self.stride)
        return self.start + min(max(rows, 0), self.num_samples)


def _task_indices(
    tasks: Sequence[int | str] | None, known: Mapping[int, str], names: Mapping[str, int]
) -> frozenset[int] | None:
    if tasks is None:
        return None
    sentences = sorted(known.items(), reverse=True)
    names = names or {sentence: index for index, sentence in sentences if sentence}
    indices = set()
    for task in tasks:
        index = names.get(task) if isinstance(task, str) else task
        if index is None or index not in known:
            shown = ", ".join((sorted(names) or [str(i) for i in sorted(known)])[:10])
            raise UserError(f"tasks: no task {task!r} here; expected some of {shown}.")
        indices.add(index)
    return frozenset(indices)


def positions_in_tasks(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Returns ``episode_index`` -> its position among its task's episodes, sorted by id.

    Args:
        pairs: ``(task_index, episode_index)`` of every episode that counts; repetitions do no harm.

    >>> positions_in_tasks([(0, 20), (7, 30), (0, 10), (0, 20)])
    {10: 0, 20: 1, 30: 0}
    """
    by_task: dict[int, set[int]] = {}
    for task_index, episode_index in pairs:
        by_task.setdefault(task_index, set()).add(episode_index)
    return {
        episode_index: position
        for ids in by_task.values()
        for position, episode_index in enumerate(sorted(ids))
    }


def selected_runs(
    episodes: NDArray[np.void], selection: Selection, positions: dict[int, int], stride: int
) -> Runs:
    """Returns the runs of live rows that a selection serves, adjacent ones joined.

    Args:
        episodes: ``EPISODE_DTYPE`` rows, of one split of one generation.
        selection: what to serve.
        positions: ``episode_index`` -> its position in its task.
        stride: every how manieth frame is stored.

    Cost: proportional to the episodes, not to the samples.
    """
    chosen = (episodes["flags"] & LIVE) != 0
    chosen &= _chosen(episodes, selection, positions)
    starts = episodes["row_start"][chosen].astype(np.int64)
    lengths = episodes["num_rows"][chosen].astype(np.int64)
    if selection.frames is not None:
        # Row r of an episode holds frame f + r * stride: frames [a, b) are rows
        # [ceil((a - f) / stride), ceil((b - f) / stride)), as far as it has them.
        first_frames = episodes["first_frame"][chosen].astype(np.int64)
        first, stop = (
            np.clip(-((first_frames - frame) // stride), 0, lengths) for frame in selection.frames
        )
        starts, lengths = starts + first, np.maximum(stop - first, 0)
        starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    return _joined(starts, lengths)


def selects_all(
    episodes: NDArray[np.void], selection: Selection, positions: dict[int, int]
) -> bool:
    """Returns whether a selection of tasks and episodes leaves none out, live or not."""
    return bool(_chosen(episodes, selection, positions).all())


def _chosen(
    episodes: NDArray[np.void], selection: Selection, positions: dict[int, int]
) -> NDArray[np.bool_]:
    """Which episodes are of the tasks and at the positions that are asked for."""
    chosen = np.ones(len(episodes), bool)
    if selection.tasks is not None:
        chosen &= np.isin(episodes["task_index"], list(selection.tasks))
    if selection.episodes is not None:
        of_episode = [positions.get(e, -1) for e in episodes["episode_index"].tolist()]
        chosen &= np.isin(of_episode, list(selection.episodes))
    return chosen


def spans_of_runs(episodes: NDArray[np.void], runs: Runs, stride: int, start: int) -> list[Span]:
    """Returns the spans of the episodes that ``runs`` hold, in order.

    Args:
        episodes: ``EPISODE_DTYPE`` rows, of one split of one generation.
        runs: rows of samples.
        stride: every how manieth frame is stored.
        start: position of the first of these rows in the data set.

    Cost: proportional to the episodes.
    """
    firsts = episodes["row_start"].astype(np.int64)
    stops = firsts + episodes["num_rows"].astype(np.int64)
    spans = []
    for run_start, before, after in zip(runs.starts, runs.before, runs.before[1:], strict=False):
        run_stop = run_start + after - before
        begin, end = np.searchsorted(stops, run_start, "right"), np.searchsorted(firsts, run_stop)
        for row, row_first, row_stop in zip(
            episodes[begin:end], firsts[begin:end].tolist(), stops[begin:end].tolist(), strict=True
        ):
            first, stop = max(row_first, run_start), min(row_stop, run_stop)
            if first < stop:
                spans.append(
                    Span(
                        int(row["episode_index"]),
                        int(row["task_index"]),
                        start + before + first - run_start,
                        stop - first,
                        int(row["first_frame"]) + (first - row_first) * stride,
                        stride,
                    )
                )
    return spans


def _joined(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Runs:
    if not len(starts):
        return Runs([], [0])
    is_new = np.ones(len(starts), bool)
    is_new[1:] = starts[1:] != (starts + lengths)[:-1]
    joined = np.add.reduceat(lengths, np.flatnonzero(is_new))
    return Runs(starts[is_new].tolist(), list(accumulate(joined.tolist(), initial=0)))
