"""An episode's folder of orchestrators -> its levels of text.

Source of the files: openpi-comet's ``load_orchestrators_data``. ``task_annotated.json`` names the
subtasks; each ``subtask_<i>_annotated.json`` has a skill and a sentence, its ``event_<i>_<j>_…`` a
text each, all with ``[start_frame, end_frame)``.
"""

import logging
from typing import Any

import msgspec

from train_shards.errors import DataError
from train_shards.metadata_files import MetadataFiles
from train_shards.prompts import NUM_LEVELS, Levels, Segment, in_order, whole_episode

__all__ = ["read_levels"]

_LOG = logging.getLogger(__name__)


class _Task(msgspec.Struct):
    cot_task_description: str
    cot_subtask_description_list: list[Any] | None = None


class _Subtask(msgspec.Struct):
    skill_description: str
    cot_subtask_description: str
    start_frame: int
    end_frame: int


class _Event(msgspec.Struct):
    subtask_answer_detailed: str
    start_frame: int
    end_frame: int


def read_levels(
    files: MetadataFiles, folder: str, *, with_events: bool, compat: bool
) -> Levels | None:
    """Returns the levels of an episode; None where it has no such folder.

    Where a file of a level is missing or broken, the task's own text stands for all of them, and a
    warning says so.

    Args:
        files: of the output or data set.
        folder: of the episode.
        with_events: also level 3, whose files must be listed.
        compat: as upstream: segments in the order of files' names, with those that have no frame,
            and in a broken folder only the levels that reading came to.

    Raises:
        DataError: ``task_annotated.json`` is not what it should be.
        UserError: events of a URL.
    """
    path = f"{folder}/task_annotated.json"
    if files.read(path) is None:
        return None
    task = files.decoded(path, _Task)
    whole = whole_episode(task.cot_task_description)
    levels: list[list[Segment]] = [[] for _ in range(NUM_LEVELS)]
    levels[0].append(whole)
    try:
        if task.cot_subtask_description_list is None:
            raise DataError(f"{files.root}/{path}: no cot_subtask_description_list")
        for number in range(len(task.cot_subtask_description_list)):
            _read_subtask(files, f"{folder}/subtask_{number}_annotated.json", levels)
            if with_events or compat:
                for name in files.names(folder, f"event_{number}_*_annotated.json"):
                    event = files.decoded(f"{folder}/{name}", _Event)
                    text = event.subtask_answer_detailed
                    levels[3].append(Segment(event.start_frame, event.end_frame, text))
    except DataError as error:
        _LOG.warning("the whole task's text stands for every level of its episode: %s", error)
        return [[whole] if level or not compat else [] for level in levels]
    return levels if compat else [in_order(level) for level in levels]


def _read_subtask(files: MetadataFiles, path: str, levels: list[list[Segment]]) -> None:
    subtask = files.decoded(path, _Subtask)
    start, stop = subtask.start_frame, subtask.end_frame
    levels[1].append(Segment(start, stop, subtask.skill_description))
    levels[2].append(Segment(start, stop, subtask.cot_subtask_description))
