"""Which episodes and frames are asked for. Pure."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import xxhash

from predecode.sources.episode import Episode
from train_shards.errors import UserError

__all__ = ["held_out", "nearest", "select_episodes", "selected_frames"]

_ID_DIGITS = 8
"""An episode id as file names and keys write it; fewer digits mean a position."""


def selected_frames(start: int, stop: int, stride: int) -> range:
    """Returns the frames of ``[start, stop)`` that are stored: every ``stride``-th from frame 0.

    >>> list(selected_frames(4, 11, 3))
    [6, 9]
    """
    return range(-(-start // stride) * stride, stop, stride)


def select_episodes(
    episodes: Sequence[Episode], tasks: str | None, positions: str | None, names: dict[str, int]
) -> list[Episode]:
    """Returns the episodes asked for, in the order given.

    Args:
        episodes: all of the source, ``episode_index`` ascending.
        tasks: comma-separated task indices, ranges ``a-b`` (both included) or names, which may be
            sentences with commas; None for all.
        positions: comma-separated positions within each task's sorted episodes or ranges of them,
            as upstream counts; an 8-digit number is an ``episode_index``. None for all.
        names: other names of tasks -> ``task_index``.

    Raises:
        UserError: a task, position or id that no episode has, or nothing left.
    """
    known = {episode.task_index for episode in episodes}
    wanted = known if tasks is None else _parse_tasks(tasks, known, names)
    chosen = [episode for episode in episodes if episode.task_index in wanted]
    if positions is not None:
        chosen = _at_positions(chosen, positions, option="--episodes")
    if not chosen:
        raise UserError("--tasks and --episodes: no episode is left; both must hold for each.")
    return chosen


def held_out(episodes: Sequence[Episode], val_episodes: str, seed: int) -> set[int]:
    """Returns the ``episode_index`` of the episodes that go to ``data/val``.

    Args:
        episodes: all of the source, so that a growing selection moves no episode.
        val_episodes: positions and ids as in ``select_episodes``, or a share of each task's
            episodes: ``0.05``, ``5%``. ``""`` for none.
        seed: chooses the episodes of a share; a larger share contains a smaller one.

    Raises:
        UserError: not of this form, a share outside (0, 1), or no such position.
    """
    if not val_episodes:
        return set()
    share = _parse_share(val_episodes)
    if share is None:
        return {
            e.episode_index for e in _at_positions(episodes, val_episodes, option="--val-episodes")
        }
    chosen: set[int] = set()
    for group in _by_task(episodes).values():
        ranked = sorted(
            (xxhash.xxh3_64_intdigest(f"{seed}:val:{e.episode_index}".encode()), e.episode_index)
            for e in group
        )
        count = max(1, round(share * len(ranked))) if len(ranked) > 1 else 0
        chosen.update(episode_index for _, episode_index in ranked[:count])
    return chosen


def _parse_share(text: str) -> float | None:
    if not re.fullmatch(r"\d*\.\d+|\d+(\.\d+)?%", text):
        return None
    share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    if not 0 < share < 1:
        raise UserError(f"--val-episodes {text}: a share must lie between 0 and 1, both excluded.")
    return share


def _parse_tasks(text: str, known: set[int], names: dict[str, int]) -> set[int]:
    wanted: set[int] = set()
    for token in _task_tokens(text, names):
        indices: Iterable[int]
        if re.fullmatch(r"\d+(-\d+)?", token):
            indices = _parse_range(token, option="--tasks")
        elif token in names:
            indices = [names[token]]
        else:
            raise UserError(f"--tasks {token}: no such task.{nearest(token, names)}")
        for index in indices:
            if index not in known:
                raise UserError(
                    f"--tasks {token}: no episode has task {index}; "
                    f"this source has {_short_list(sorted(known))}."
                )
            wanted.add(index)
    return wanted


def _task_tokens(text: str, names: Collection[str]) -> Iterator[str]:
    """What stands between commas; a name that has commas itself is taken whole."""
    parts = text.split(",")
    while parts:
        stops = range(len(parts), 0, -1)
        whole = (stop for stop in stops if ",".join(parts[:stop]).strip() in names)
        stop = next(whole, 1)
        yield ",".join(parts[:stop]).strip()
        parts = parts[stop:]


def _at_positions(episodes: Sequence[Episode], text: str, *, option: str) -> list[Episode]:
    groups = _by_task(episodes)
    ids = {episode.episode_index for episode in episodes}
    longest = max((len(group) for group in groups.values()), default=0)
    positions: set[int] = set()
    wanted_ids: set[int] = set()
    for token in _tokens(text):
        if not re.fullmatch(r"\d+(-\d+)?", token):
            raise UserError(
                f"{option} {token}: expected positions (0, 3-7) or 8-digit ids (00490010)."
            )
        if len(token) == _ID_DIGITS and token.isdigit():
            if int(token) not in ids:
                raise UserError(f"{option} {token}: no such episode among the selected tasks.")
            wanted_ids.add(int(token))
            continue
        for position in _parse_range(token, option=option):
            if position >= longest:
                raise UserError(
                    f"{option} {token}: position {position}, expected 0 to {longest - 1} "
                    "(positions count within each task; an id has 8 digits)."
                )
            positions.add(position)
    chosen = {
        group[position].episode_index
        for group in groups.values()
        for position in positions
        if position < len(group)
    }
    return [e for e in episodes if e.episode_index in chosen | wanted_ids]


def _by_task(episodes: Sequence[Episode]) -> dict[int, list[Episode]]:
    groups: dict[int, list[Episode]] = {}
    for episode in episodes:
        groups.setdefault(episode.task_index, []).append(episode)
    return groups


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns a question after the known word that one comes nearest to, ``""`` where none is near.

    >>> nearest("left_wirst", ["head", "left_wrist"]), nearest("left", ["head", "left_wrist"])
    (" Did you mean 'left_wrist'?", " Did you mean 'left_wrist'?")
    """
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    near += [name for name in known if word and name.startswith(word)]
    return f" Did you mean {near[0]!r}?" if near else ""


def _tokens(text: str) -> list[str]:
    return [token.strip() for token in text.split(",")]


def _parse_range(token: str, *, option: str) -> range:
    first, _, last = token.partition("-")
    if last and int(last) < int(first):
        raise UserError(f"{option} {token}: the range runs backwards; expected {last}-{first}.")
    return range(int(first), int(last or first) + 1)


def _short_list(values: list[int]) -> str:
    shown = ", ".join(str(value) for value in values[:10])
    return shown if len(values) <= 10 else f"{shown}, … ({len(values)} in all)"
