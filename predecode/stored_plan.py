"""A plan as it is read from an output: nothing in it is believed before it is looked at."""

from collections.abc import Iterator

import msgspec

from predecode.errors import DataError
from predecode.planning import Plan
from predecode.sources.episode import Episode
from train_shards.format import SPLITS, check_relative_path, check_version
from train_shards.manifest import FormatVersion, check_settings

__all__ = ["decode_plan"]


class _Versioned(msgspec.Struct):
    format: FormatVersion


def decode_plan(data: bytes, *, where: str, is_to_count: bool = False) -> Plan:
    """Returns the plan in ``data``.

    One that is only to be counted is not looked through for the files and frames that it names.

    Raises:
        DataError: not JSON, a field missing or of the wrong type, a number that nothing has, a
            higher major version, a path that leaves the source or the output, a task of episodes
            or frames that the plan has not, or frames of one run that it does not select.
    """
    try:
        check_version(msgspec.json.decode(data, type=_Versioned).format.major, where=where)
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not a plan of this version: {error}") from error
    check_settings(plan.settings, where=where)
    splits = {task.split for task in plan.shards} | {p.split for p in plan.episodes}
    if not splits <= set(SPLITS):
        raise DataError(f"{where}: splits {sorted(splits)}, expected those of {', '.join(SPLITS)}")
    if not is_to_count:
        for path in _paths(plan):
            check_relative_path(path, what=f"{where}: path")
        _check_inputs(plan, where)
        _check_run(plan, where)
        _check_tasks(plan, where)
    return plan


def _paths(plan: Plan) -> Iterator[str]:
    """Every path of the source that a plan names."""
    for episode in plan.all_episodes:
        yield from _paths_of(episode)
    for planned in plan.episodes:
        yield from (given.path for given in planned.inputs)


def _paths_of(episode: Episode) -> Iterator[str]:
    for span in episode.videos.values():
        yield span.path
        if span.ids is not msgspec.UNSET:
            yield span.ids.path
    if episode.table is not None:
        yield episode.table.path


def _check_inputs(plan: Plan, where: str) -> None:
    """Passes when a plan has of each planned episode what its tasks are to open.

    Raises:
        DataError: it has not.
    """
    for planned in plan.episodes:
        episode, given = planned.episode, {(i.path, i.column) for i in planned.inputs}
        if not set(plan.settings.cameras) <= set(episode.videos):
            raise DataError(
                f"{where}: episode {episode.episode_index:08d}: images {list(episode.videos)}, "
                f"expected {list(plan.settings.cameras)}"
            )
        wanted = {(episode.videos[c].path, episode.videos[c].column) for c in plan.settings.cameras}
        if episode.table is not None:
            wanted.add((episode.table.path, msgspec.UNSET))
        if not wanted <= given:
            raise DataError(
                f"{where}: episode {episode.episode_index:08d}: files that are not among its inputs"
            )


def _check_run(plan: Plan, where: str) -> None:
    """Passes when the frames of one run are selected frames, in ``train`` of a plan for a run.

    Raises:
        DataError: they are not.
    """
    stride = plan.settings.stride
    for planned in plan.episodes:
        is_run = planned.run_frames is not msgspec.UNSET
        selected = planned.selected_frames(stride)
        is_right = is_run == (bool(plan.run_scope) and planned.split == "train")
        if not is_right or (
            is_run and any(f not in selected for f in planned.stored_frames(stride))
        ):
            raise DataError(
                f"{where}: episode {planned.episode.episode_index:08d}: frames of one run: "
                "expected selected ones, in train of a plan for one run, and nowhere else"
            )


def _check_tasks(plan: Plan, where: str) -> None:
    """Passes when every task is of planned episodes, and every piece of frames that are asked for.

    Raises:
        DataError: one is not.
    """
    asked = {p.episode.episode_index: p.asked for p in plan.episodes}
    for task in plan.shards:
        for piece in task.pieces:
            first, last = asked.get(piece.episode_index, (0, 0))
            if not first <= piece.start < piece.stop <= last:
                raise DataError(
                    f"{where}: shard {task.shard_index}: frames {piece.start} to {piece.stop} of "
                    f"episode {piece.episode_index:08d}, expected some of {first} to {last}"
                )
    for table in plan.tables:
        if unknown := [str(number) for number in table.episodes if number not in asked]:
            raise DataError(
                f"{where}: table {table.table_index}: episodes {', '.join(unknown[:10])}, which "
                "are not in the plan"
            )
