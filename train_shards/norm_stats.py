"""``python -m train_shards.norm_stats shards=DIR``: openpi's ``norm_stats.json``, no picture read.

Two methods. ``corpus``: of the rows that training sees, exactly, from the low-dimensional tables.
``upstream``: what openpi's BEHAVIOR-1K configurations use, put together from each episode's own
statistics in ``meta/episodes_stats.jsonl``; its quantiles are not the corpus's.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train_shards.b1k_state import (
    ACTION_DIM,
    LAYOUT_2026,
    SOURCE_STATE_DIM,
    STATE_DIM_2026,
    policy_state,
    state_as_2025,
)
from train_shards.errors import EXIT_STATUS, DataError, UserError
from train_shards.manifest import Manifest, load_manifest
from train_shards.norm_stats_file import NormStats, write_norm_stats
from train_shards.quantiles import Block, summarize
from train_shards.reader import ShardReader
from train_shards.selection import Selection

__all__ = ["chunk_counts", "corpus_stats", "main", "upstream_stats"]

_FRACTIONS = (Fraction(1, 100), Fraction(99, 100))
_STATE, _ACTION = "observation.state", "action"
_SPLIT = "train"
_WORDS = ("shards", "root", "out", "method", "action_horizon", "tasks")
_ACTION_HORIZON = 32


class _Episode(NamedTuple):
    """A live episode and the frames of it that are samples."""

    episode_index: int
    num_frames: int
    frames: NDArray[np.int64]
    columns: Callable[[], dict[str, Any]]
    shards: str | Path
    """The output that holds it."""
    is_2026: bool
    """Whether its state has the numbers of the 2026 edition."""


def corpus_stats(
    shards: str | Path | Sequence[str | Path],
    *,
    action_horizon: int = _ACTION_HORIZON,
    tasks: Sequence[int | str] | None = None,
) -> tuple[dict[str, NormStats], int]:
    """Returns the statistics of ``state`` and ``actions`` over the train split, and its frames.

    A frame counts as often as training reads it: a state once for each sample, an action once for
    each action chunk that holds it, the repeated last one of an episode included (openpi trains on
    these as on any other). Masked episodes and frames that a stride leaves out do not count.

    Args:
        shards: the folder that ``predecode run`` wrote, or a URL of it; or several, read as one.
        action_horizon: length of an action chunk.
        tasks: indices or short names; None for all.

    Raises:
        UserError: no output, task or column of that name; ``action_horizon`` below 1.
        DataError: a damaged table, or a value that is not finite.

    Cost: reads state and action columns twice (1.1 kB a frame each time); about 200 MB of memory.
    """
    if action_horizon < 1:
        raise UserError(f"action_horizon {action_horizon}: expected 1 or more.")
    outputs = [shards] if isinstance(shards, str | Path) else list(shards)
    episodes = [e for out in outputs for e in _live_episodes(out, load_manifest(out), tasks)]
    if not episodes:
        raise UserError(f"{shards}: no live episode in split {_SPLIT!r} of these tasks.")

    def states() -> Iterator[Block]:
        for episode in episodes:
            dim = STATE_DIM_2026 if episode.is_2026 else SOURCE_STATE_DIM
            state = _column(episode, _STATE, dim)[episode.frames]
            state = policy_state(state_as_2025(state) if episode.is_2026 else state)
            yield Block(_finite(episode, _STATE, state), np.ones(len(state), np.int64))

    def actions() -> Iterator[Block]:
        for episode in episodes:
            action = _column(episode, _ACTION, ACTION_DIM)[: episode.num_frames]
            weights = chunk_counts(episode.frames, episode.num_frames, action_horizon)
            yield Block(_finite(episode, _ACTION, action), weights)

    stats = {}
    for key, read in (("state", states), ("actions", actions)):
        summary = summarize(read, _FRACTIONS)
        stats[key] = NormStats(summary.mean, summary.std, *summary.quantiles)
    return stats, sum(len(episode.frames) for episode in episodes)


def chunk_counts(
    frames: NDArray[np.int64], num_frames: int, action_horizon: int
) -> NDArray[np.int64]:
    """Returns how often each row of an episode stands in the action chunks of its samples.

    Args:
        frames: the samples' frames, ascending.
        num_frames: length of the episode; chunks that go beyond repeat its last row.
        action_horizon: rows in a chunk.

    >>> chunk_counts(np.arange(4), 4, 3).tolist()
    [1, 2, 3, 6]
    """
    is_sample = np.zeros(num_frames, np.int64)
    is_sample[frames] = 1
    before = np.concatenate([np.zeros(action_horizon, np.int64), is_sample.cumsum()])
    counts: NDArray[np.int64] = before[action_horizon:] - before[:-action_horizon]
    counts[-1] += len(frames) * action_horizon - counts.sum()
    return counts


def upstream_stats(
    folder: Path, episodes: frozenset[int] | None = None
) -> tuple[dict[str, NormStats], int]:
    """Returns the statistics that openpi takes for BEHAVIOR-1K, and the frames behind them.

    Source: the 2025 edition's ``aggregate_stats`` puts the episodes of ``episodes_stats.jsonl``
    together (moments weighted by length; the 1st percentile of all q01 and the 99th of all q99),
    and openpi's configuration applies the state mapping to each of the four vectors, so that even
    deviations and quantiles of two fingers are added.

    Args:
        folder: an output or a source; holds ``meta/episodes_stats.jsonl``.
        episodes: ``episode_index`` of those to take; None for all in the file.

    Raises:
        UserError: the file is not there, or no episode is asked for.
        DataError: the file is not what it should be, or lacks an episode.
    """
    path = folder / "meta/episodes_stats.jsonl"
    rows = _stats_rows(path)
    chosen = sorted(rows) if episodes is None else sorted(episodes)
    missing = [episode for episode in chosen if episode not in rows]
    if missing:
        raise DataError(f"{path}: {len(missing)} episodes missing, the first {missing[:10]}.")
    if not chosen:
        raise UserError(f"{path}: no episode to take statistics from.")
    stats: dict[str, NormStats] = {}
    num_frames = 0
    for key, column, dim in (("state", _STATE, SOURCE_STATE_DIM), ("actions", _ACTION, ACTION_DIM)):
        try:
            entries = [rows[episode][column] for episode in chosen]
            counts = np.array([entry["count"] for entry in entries], np.int64).reshape(-1)
            mean, std, q01, q99 = (
                np.array([entry[name] for entry in entries], np.float64).reshape(-1, dim)
                for name in NormStats._fields
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: {column}: expected count, mean, std, q01 and q99 of {dim} numbers in "
                f"every episode: {error!r}"
            ) from error
        num_frames = int(counts.sum())
        total_mean = counts @ mean / num_frames
        variance = counts @ (std**2 + (mean - total_mean) ** 2) / num_frames
        vectors: list[NDArray[np.float64]] = [
            total_mean, np.sqrt(variance),
            np.percentile(q01, 1, axis=0), np.percentile(q99, 99, axis=0),
        ]  # fmt: skip
        stats[key] = NormStats(*(map(policy_state, vectors) if key == "state" else vectors))
    return stats, num_frames


def main(words: Sequence[str]) -> int:
    """Writes the file that ``words`` ask for; returns the exit status."""
    try:
        options = _options(words)
        method, tasks = options.get("method", "corpus"), _tasks(options.get("tasks"))
        folder = options.get("shards") or options["root"]
        if method == "corpus":
            horizon = int(options.get("action_horizon", _ACTION_HORIZON))
            stats, num_frames = corpus_stats(folder, action_horizon=horizon, tasks=tasks)
        else:
            live = None
            if "shards" in options:
                found = _live_episodes(folder, load_manifest(folder), tasks)
                live = frozenset(episode.episode_index for episode in found)
            stats, num_frames = upstream_stats(Path(folder), live)
        path = write_norm_stats(Path(options.get("out", ".")), stats)
        print(f"{path}: {method} statistics of {num_frames} frames")
    except tuple(EXIT_STATUS) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_STATUS[type(error)]
    return 0


def _options(words: Sequence[str]) -> dict[str, str]:
    """The words as ``key=value``, refused where they do not fit together."""
    options = {name: value for name, _, value in (word.partition("=") for word in words)}
    strangers = [name for name, value in options.items() if name not in _WORDS or not value]
    method = options.get("method", "corpus")
    if strangers or method not in ("corpus", "upstream"):
        raise UserError(
            f"{(strangers or [f'method={method}'])[0]}: expected "
            "shards=DIR [out=DIR] [method=corpus|upstream] [action_horizon=32] [tasks=A,B], or "
            "root=DIR method=upstream."
        )
    if ("shards" in options) == ("root" in options):
        raise UserError("expected shards=DIR, or root=DIR with method=upstream.")
    if method == "corpus" and "root" in options:
        raise UserError("root: method=corpus reads shards=DIR; a source has no tables to read.")
    if method == "upstream" and "action_horizon" in options:
        raise UserError("action_horizon: has no part in method=upstream, which counts rows once.")
    if "root" in options and "tasks" in options:
        raise UserError("tasks: with root=DIR all episodes count; give shards=DIR to choose.")
    if not options.get("action_horizon", "1").isdecimal():
        raise UserError(f"action_horizon={options['action_horizon']}: expected a number.")
    return options


def _tasks(word: str | None) -> list[int | str] | None:
    if word is None:
        return None
    return [int(task) if task.isdecimal() else task for task in word.split(",")]


def _live_episodes(
    shards: str | Path, manifest: Manifest, tasks: Sequence[int | str] | None
) -> list[_Episode]:
    selection = Selection.of(tasks, known=manifest.tasks, names=manifest.task_names)
    reader = ShardReader(shards, _SPLIT, selection, manifest=manifest)
    episodes = []
    for span in reader.spans():
        num_frames, columns = reader.episode_columns(span)
        frames = span.first_frame + np.arange(span.num_samples) * span.stride
        episodes.append(
            _Episode(
                span.episode_index,
                num_frames,
                frames,
                columns,
                shards,
                manifest.settings.known_state_layout == LAYOUT_2026,
            )
        )
    return episodes


def _column(episode: _Episode, name: str, dim: int) -> NDArray[np.float32]:
    """All rows of a column, ``(T, dim)``."""
    columns = episode.columns()
    if name not in columns:
        raise UserError(
            f"{episode.shards}: episode {episode.episode_index} has no column {name!r}; it has "
            f"{sorted(columns)[:10]}."
        )
    column: NDArray[np.float32] = columns[name]
    if len(column) < episode.num_frames or column.shape[1:] != (dim,):
        raise DataError(
            f"{episode.shards}: episode {episode.episode_index}, {name!r}: shape {column.shape}, "
            f"expected {(episode.num_frames, dim)} (BEHAVIOR-1K, R1Pro)."
        )
    return column


def _finite(episode: _Episode, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{episode.shards}: episode {episode.episode_index}, {name!r}: not finite in "
            f"{(~finite).sum()} rows, the first {int(finite.argmin())}. No statistics (and no "
            "training) can be made of it: repair the episode and run predecode again."
        )
    return values


def _stats_rows(path: Path) -> dict[int, dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return {int(line["episode_index"]): line["stats"] for line in lines}
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; this source has no statistics of episodes. Use method=corpus."
        ) from None
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{path}: expected a JSON object a line: {error!r}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
