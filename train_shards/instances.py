"""Which pixels of a segmentation belong to the objects of the current skill.

Instance ids number the parts of a scene; an object's name covers several. What an episode's ids are
called stands in ``meta/instances/``, which objects a skill is about in its annotation. Keeps what
it read of the episodes last asked for, in each process its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from train_shards.episode_names import name_by_id
from train_shards.metadata_files import MetadataFiles
from train_shards.prompts import Segment, annotated_segments, segment_text

__all__ = ["Instances", "SkillInstances", "instances_path"]

_CACHED_EPISODES = 1024
"""Of about 20 kB each."""


class Instances(msgspec.Struct, frozen=True, kw_only=True):
    """What the instance ids of an episode stand for; the content of its file."""

    names: dict[int, str]
    """Id -> name of the object that it is a part of."""
    ids: dict[str, list[int]]
    """Camera -> the ids that it may see, in the order of its palette."""


class _Skills(NamedTuple):
    """The skills of an episode."""

    segments: list[Segment]
    """The text is a JSON list of the names of the objects."""
    places: dict[str, dict[int, int]]
    """Such a text -> instance id -> 1 for the first object, 2 for the second, …"""


def instances_path(episode_index: int) -> str:
    """Returns where an output keeps an episode's instances.

    >>> instances_path(490010)
    'meta/instances/task-0049/episode_00490010.json'
    """
    return f"meta/instances/{_name(episode_index)}.json"


class SkillInstances:
    """Turns instance ids into numbers of the current skill's objects.

    Source: the option ``return_seg_instance`` of openpi-comet's reader; which skill is current
    is told here by the frames of the annotation itself, and every part of an object counts.
    """

    def __init__(
        self,
        files: MetadataFiles,
        folder: str,
        read_instances: Callable[[int], Instances] | None = None,
    ) -> None:
        """Opens nothing.

        Args:
            files: of an output or a data set.
            folder: where ``annotations/`` stands: ``"meta/"`` or ``""``.
            read_instances: gives an episode's instances; None for the files of an output.
        """
        self._files, self._folder = files, folder
        self._read_instances = read_instances
        self._cache: OrderedDict[int, _Skills] = OrderedDict()

    def remapped(
        self, ids: NDArray[np.int64], episode_index: int, frame_index: int
    ) -> NDArray[np.int64]:
        """Returns ``(h, w)`` numbers: ``i + 1`` where the skill's ``i``-th object is, 0 elsewhere.

        All 0 where no skill is annotated; an object that no instance is named after has no pixels.

        Args:
            ids: ``(h, w)`` instance ids.
            episode_index: whose they are.
            frame_index: of the episode.

        Raises:
            DataError: a file of the metadata is missing or not what it should be.
            StorageError: a remote storage does not answer as it should.
        """
        skills = self._skills(episode_index)
        numbers = np.zeros(ids.shape, np.int64)
        text = segment_text(skills.segments, frame_index)
        for instance_id, number in skills.places.get(text or "", {}).items():
            numbers[ids == instance_id] = number
        return numbers

    def _skills(self, episode_index: int) -> _Skills:
        skills = self._cache.get(episode_index)
        if skills is None:
            skills = self._cache[episode_index] = self._read(episode_index)
            if len(self._cache) > _CACHED_EPISODES:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(episode_index)
        return skills

    def _read(self, episode_index: int) -> _Skills:
        if self._read_instances is None:
            instances = self._files.decoded(instances_path(episode_index), Instances)
        else:
            instances = self._read_instances(episode_index)
        path = f"{self._folder}annotations/{_name(episode_index)}.json"
        if self._files.read(path) is None:
            return _Skills([], {})
        annotation = self._files.decoded(path, dict[str, Any])
        segments = annotated_segments(annotation.get("skill_annotation"), _objects_text)
        ids_of: dict[str, list[int]] = {}
        for instance_id, name in instances.names.items():
            ids_of.setdefault(name, []).append(instance_id)
        return _Skills(segments, {s.text: _places(s.text, ids_of) for s in segments})

    def __getstate__(self) -> dict[str, Any]:
        """Leaves what was read behind: it is read again where it is needed."""
        return {**self.__dict__, "_cache": OrderedDict()}


def _name(episode_index: int) -> str:
    """The 2025 edition's, which alone has segmentation."""
    return name_by_id(episode_index, episode_index // 10000)


def _objects_text(skill: Mapping[str, Any]) -> str:
    """The objects of a skill, as a JSON list; never empty, so that no skill is left out."""
    groups = skill.get("object_id")
    first = groups[0] if isinstance(groups, list) and groups else []
    names = [str(name) for name in (first if isinstance(first, list) else [first])]
    return msgspec.json.encode(names).decode()


def _places(text: str, ids_of: dict[str, list[int]]) -> dict[int, int]:
    """Instance id -> number of its object; of an object named twice the first number."""
    places: dict[int, int] = {}
    for number, name in enumerate(msgspec.json.decode(text, type=list[str]), start=1):
        for instance_id in ids_of.get(name, []):
            places.setdefault(instance_id, number)
    return places
