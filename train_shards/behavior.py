"""Drop-in for ``behavior.learning.datas.dataset`` of openpi-comet: the same items, from shards.

``docs/behavior.md`` has the table of arguments, the attributes, and where upstream is wrong.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray

from train_shards.b1k_state import LAYOUT_2026
from train_shards.behavior_items import (
    checked_level,
    checked_positions,
    choice,
    open_items,
    report_no_effect,
    root_of_texts,
)
from train_shards.dataset import IMAGE_KEY
from train_shards.errors import UserError
from train_shards.frame_choice import FrameChoice
from train_shards.frame_stream import FrameStream
from train_shards.frame_texts import FrameTexts, SubtaskSource
from train_shards.metadata_files import MetadataFiles
from train_shards.mixture import MultiBehaviorLeRobotDataset
from train_shards.order import Order
from train_shards.run_scope import RunScope
from train_shards.sampling import world
from train_shards.skill_weights import WeightGroup, skill_weights, weight_arguments

__all__ = ["BehaviorLeRobotDataset", "MultiBehaviorLeRobotDataset"]


class BehaviorLeRobotDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Items of the BEHAVIOR-1K demonstrations as upstream's streaming reader gives them, by index.

    An item is a dict of
        ``observation.images.rgb.<camera>``: ``(3, h, w)`` uint8, a view of ``(h, w, 3)`` memory;
        of shards that hold them ``observation.images.depth.<camera>``: ``(h, w)`` float32 metres,
        ``observation.images.seg_instance_id.<camera>`` and, if asked for,
        ``observation.images.seg_instance.<camera>``: ``(h, w)`` int64;
        ``observation.state`` ``(256,)``, ``observation.cam_rel_poses`` ``(21,)`` where the source
        has it, ``action`` ``(23,)``: float32; a key of ``delta_timestamps`` ``(H, …)`` instead,
        and ``<key>_is_pad`` ``(H,)`` bool;
        ``index`` (frame of the episode), ``episode_index``, ``task_index``: int64 scalars;
        ``timestamp``: float64 scalar, seconds;
        ``task``, and where it is known ``subtask_text``: str.
    All but the texts are torch tensors of their own memory. Positions are those of
    ``ShardDataset``: by episode, then frame, as upstream counts them.

    Opens files when a process first reads and pickles without them; safe under fork and spawn.
    """

    def __init__(  # noqa: D417  # one entry describes all arguments without effect
        self,
        repo_id: str,
        root: str | Path | None = None,
        episodes: Sequence[int] | None = None,
        image_transforms: Callable[[torch.Tensor], Any] | None = None,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        *,
        tolerance_s: float = 1e-4,
        revision: str | None = None,
        force_cache_sync: bool = False,
        download_videos: bool = True,
        video_backend: str | None = "pyav",
        batch_encoding_size: int = 1,
        tasks: Sequence[int | str] | None = None,
        modalities: Sequence[str] | None = None,
        cameras: Sequence[str] | None = None,
        local_only: bool = False,
        check_files: bool = True,
        check_timestamp_sync: bool = True,
        chunk_streaming_using_keyframe: bool = True,
        shuffle: bool = True,
        seed: int = 42,
        fine_grained_level: int | Sequence[int] = 0,
        train_rgb_type: str = "regular",
        return_seg_instance: bool = False,
        skill_list: Sequence[str] = ("all",),
        resample_group_by: str | None = None,
        resample_weights: Mapping[str, float] | None = None,
        resample_default_weight: float = 1.0,
        subtask_source: SubtaskSource = "orchestrator",
        subtask_template_path: str | Path | None = None,
        subtask_object_name_mapping_path: str | Path | None = None,
        subtask_joiner: str = " then ",
        shards: str | Path | None = None,
        compat: Literal["right", "upstream"] | None = None,
        order: Literal["sampler", "stream"] | None = None,
    ) -> None:
        """Opens the items; upstream's arguments, then three of our own.

        Args:
            repo_id: kept.
            root: the output, unless ``shards`` or ``PREDECODE_SHARDS`` names it.
            episodes: positions within each task's episodes, sorted by id; those that a task has
                not are passed over.
            image_transforms: applied to each image tensor.
            delta_timestamps: key -> seconds from the item's frame.
            tolerance_s, revision, force_cache_sync, download_videos, video_backend,
                batch_encoding_size, local_only, check_files, check_timestamp_sync, train_rgb_type:
                nothing is decoded or downloaded here, so they have no effect. What has none and
                is not upstream's default is logged, once.
            tasks: names or indices; None for all.
            modalities: of ``rgb``, ``depth`` and ``seg_instance_id``; None for all that are
                stored.
            cameras: those to decode; None for all.
            chunk_streaming_using_keyframe: False for items as upstream's random access has them:
                images float32 in [0, 1], ``observation.task_info`` where it is stored.
            shuffle: with ``order="stream"``, whether blocks are shuffled.
            seed: with ``order="stream"``, of the blocks.
            fine_grained_level: of the prompt: 0 task, 1 skill, 2 subtask, 3 event.
            return_seg_instance: beside each segmentation, which pixels are the current skill's
                objects.
            skill_list: ``name:weight``, and ``all`` to keep other skills.
            resample_group_by: None, ``task_skill``, ``skill_type`` or ``skill_description``.
            resample_weights: of each skill; then, and by a field of the annotations in any case,
                ``skill_list`` has no effect.
            resample_default_weight: of the others.
            subtask_source: ``orchestrator``, ``annotations_primitive`` or ``annotations_skill``.
            subtask_template_path: JSON of phrase templates, for annotations.
            subtask_object_name_mapping_path: JSON of objects' names, for annotations.
            subtask_joiner: between the phrases of a primitive of several actions.
            shards: the output's folder or URL.
            compat: ``upstream`` reproduces upstream's errors that show in items; None for
                ``PREDECODE_COMPAT``, else ``right``.
            order: ``stream`` gives consecutive frames whatever the index, as upstream does; None
                for ``PREDECODE_ORDER``, else ``sampler``.

        Raises:
            UserError: an argument that is refused, with the reason; no output is named; nothing
                is selected; weights or the order ``stream``, where one run's samples alone are
                stored.
            DataError: the output is damaged.
        """
        self._is_stream = choice(order, "PREDECODE_ORDER", ("sampler", "stream")) == "stream"
        self._compat = choice(compat, "PREDECODE_COMPAT", ("right", "upstream")) == "upstream"
        given = {
            "tolerance_s": tolerance_s, "revision": revision, "force_cache_sync": force_cache_sync,
            "download_videos": download_videos, "video_backend": video_backend,
            "batch_encoding_size": batch_encoding_size, "local_only": local_only,
            "check_files": check_files, "check_timestamp_sync": check_timestamp_sync,
            "train_rgb_type": train_rgb_type, "shuffle": shuffle, "seed": seed,
            "skill_list": list(skill_list), "resample_weights": resample_weights,
            "resample_default_weight": resample_default_weight,
        }  # fmt: skip
        used = weight_arguments(resample_group_by, resample_weights)
        report_no_effect(given, used | ({"shuffle", "seed"} if self._is_stream else set()))
        self._weights = skill_weights(
            skill_list,
            resample_group_by,
            resample_weights,
            resample_default_weight,
            compat=self._compat,
        )
        options = {
            "tasks": tasks, "episodes": checked_positions(episodes), "cameras": cameras,
            "delta_timestamps": delta_timestamps, "seg_instance": return_seg_instance,
            "image_dtype": "uint8" if chunk_streaming_using_keyframe else "float32",
        }  # fmt: skip
        opened = open_items(shards, root, options, modalities)
        self._items, self.repo_id = opened.items, repo_id
        if self.run_scope is not None and (self._is_stream or self._weights is not None):
            raise UserError(
                f"{opened.root}: holds the samples of one run, {self.run_scope}, in the global "
                "order: expected no weights, and order='sampler'. Others need a whole output."
            )
        self.root = root_of_texts(root, opened)
        self.image_transforms, self.delta_timestamps = image_transforms, delta_timestamps
        self.seed, self._shuffle = seed, shuffle
        self._drops = {"sample_index", "frame_index"}
        if chunk_streaming_using_keyframe:
            self._drops.add("observation.task_info")
        self._texts = FrameTexts(
            MetadataFiles(opened.root),
            opened.text_folder,
            level=checked_level(fine_grained_level, compat=self._compat),
            subtask_source=subtask_source,
            templates_path=subtask_template_path,
            names_path=subtask_object_name_mapping_path,
            joiner=subtask_joiner,
            skills_by=self._weights.by if self._weights else None,
            compat=self._compat,
            by_raw_id=opened.items.state_layout == LAYOUT_2026,
        )
        self._choice = FrameChoice(self._items, self._texts, self._weights)

    def __len__(self) -> int:
        """Number of samples, whatever their weights."""
        return len(self._items)

    @property
    def digest(self) -> str:
        """Names the samples, for ``ResumableSampler`` to refuse others."""
        return self._items.digest

    @property
    def run_scope(self) -> RunScope | None:
        """The training run whose samples alone are stored; None where all are."""
        return self._items.run_scope

    @property
    def fps(self) -> int | float:
        """Frames a second; a UserError where the videos have no common rate."""
        if self._items.fps is None:
            raise UserError(f"{self.repo_id}: the videos have no common frame rate.")
        rate = Fraction(*self._items.fps)
        return rate.numerator if rate.denominator == 1 else float(rate)

    @property
    def episodes(self) -> list[int]:
        """Ids of the episodes, ascending."""
        return sorted({span.episode_index for span in self._choice.spans()})

    @property
    def sampling_order(self) -> Order | None:
        """For ``ResumableSampler(shuffle=…)``: draws by skill weights; None where all are equal.

        An epoch is as many draws as there are samples, as upstream counts its steps. None also with
        ``order="stream"``, which goes its own way.

        Raises:
            UserError: every sample has weight 0.
            DataError: a file of the metadata is not what it should be.

        Cost: reads the annotations or orchestrators of all episodes, once in a process.
        """
        return None if self._is_stream else self._choice.order()

    def weight_groups(self) -> list[WeightGroup]:
        """Returns all positions by their weight: a single group where there are no weights.

        Raises:
            DataError: a file of the metadata is not what it should be.

        Cost: as ``sampling_order``.
        """
        return self._choice.groups()

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``index``; negative ones count from the end.

        Raises:
            IndexError: no such position.
            DataError: a damaged shard, index, table or text file.
            StorageError: a remote storage does not answer as it should.
        """
        if self._is_stream:
            return self._batch([index])[0]
        return self._item(self._items[index])  # which may tell the rest of its batch

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns the items of a batch, read and decoded together.

        Raises:
            As ``__getitem__``.
        """
        if type(self).__getitem__ is not BehaviorLeRobotDataset.__getitem__:
            return [self[index] for index in indices]  # a subclass that changes items
        return self._batch(indices)

    def _batch(self, indices: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        positions = [operator.index(index) for index in indices]
        if self._is_stream:
            stream = self._open_stream()
            positions = [stream.next() for _ in positions]
        return [self._item(item) for item in self._items.__getitems__(positions)]

    def _item(self, stored: dict[str, Any]) -> dict[str, Any]:
        """An item as upstream has it, of one of the data set below."""
        episode, task, frame = (
            int(stored[name]) for name in ("episode_index", "task_index", "frame_index")
        )
        item = {
            name: self._image(value) if name.startswith(IMAGE_KEY) else _tensor(value)
            for name, value in stored.items()
            if name not in self._drops
        }
        # The 2026 edition counts its rows through, and has times of float32; upstream's index is
        # that of the episode.
        item["index"] = torch.tensor(frame)
        if "timestamp" in item:
            item["timestamp"] = item["timestamp"].double()
        item["task"], subtask = self._texts.at(episode, task, frame, stored["task"])
        if subtask is not None:
            item["subtask_text"] = subtask
        return item

    def _image(self, picture: NDArray[Any]) -> Any:
        if picture.dtype == np.bool_:  # which pictures of a window are padding
            return torch.from_numpy(picture)
        # (…, h, w, 3) -> (…, 3, h, w), not copied: the trainer turns it back the same way.
        image = torch.from_numpy(picture.swapaxes(-1, -3).swapaxes(-1, -2))
        return image if self.image_transforms is None else self.image_transforms(image)

    def _open_stream(self) -> FrameStream:
        rank, world_size = world()
        worker = torch.utils.data.get_worker_info()
        index, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        return self._choice.stream(
            seed=self.seed,
            shuffle=self._shuffle,
            worker_index=rank * num_workers + index,
            num_workers=world_size * num_workers,
        )


def _tensor(value: Any) -> Any:
    """A tensor of an array, which is fresh, or of a number; anything else as it is."""
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(np.asarray(value))  # torch.tensor takes five times as long
    return torch.tensor(value) if isinstance(value, int | float) else value
