"""BEHAVIOR-1K: the choice of the edition, and that of 2025, LeRobot v2.1 with paths of its own.

Source: ``meta/info.json`` of the 2025 challenge demonstrations. Ids are sparse, so they come from
``episodes.jsonl`` and never from a rank. Every path is built from info.json's own templates.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from msgspec import UNSET, UnsetType

from predecode.sources.b1k_2026 import B1k2026Source
from predecode.sources.episode import Episode, IdList, Source, TableSpan, VideoSpan
from predecode.sources.lerobot_v21 import path_of
from predecode.sources.metadata import (
    check_content,
    frame_rate,
    read_json,
    read_jsonl,
    text_files,
    understanding,
)
from train_shards.b1k_state import LAYOUT_2025
from train_shards.depth import SCALE_2025
from train_shards.errors import UserError
from train_shards.format import MODALITIES, image_name

__all__ = ["B1kSource", "open_b1k"]

_PREFIX = "observation.images."
_SENSORS = {
    "head": "robot_r1::robot_r1:zed_link:Camera:0",
    "left_wrist": "robot_r1::robot_r1:left_realsense_link:Camera:0",
    "right_wrist": "robot_r1::robot_r1:right_realsense_link:Camera:0",
}
"""Camera -> its name in the per-episode JSON. Source: the 2025 edition's recorder."""
_SEGMENTATION = "seg_instance_id"
_TRAINING_METADATA = (
    "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl", "meta/episodes_stats.jsonl",
)  # fmt: skip


class B1kSource:
    """The 2025 edition under one root; see ``predecode.sources.episode.Source``."""

    kind = "b1k"
    state_layout = LAYOUT_2025

    def __init__(self, root: Path) -> None:
        """Reads ``meta/``; opens no episode.

        Raises:
            UserError: metadata missing or not of this edition.
        """
        self.root = root
        self.left_out: dict[str, str] = {}
        info = read_json(root / "meta/info.json")
        if info.get("codebase_version") != "v2.1":
            raise UserError(
                f"{root}/meta/info.json: codebase_version is {info.get('codebase_version')!r}, "
                "expected 'v2.1' (the 2025 edition) or 'v3.0' (the 2026 edition)."
            )
        with understanding(root, "LeRobot v2.1", "info.json, tasks.jsonl and episodes.jsonl"):
            self.cameras = _images(info, "rgb")
            others = {name: _images(info, name) for name in MODALITIES if name != "rgb"}
            self.modalities = {name: images for name, images in others.items() if images}
            self.depth = SCALE_2025 if "depth" in self.modalities else None
            self.info: dict[str, Any] = info
            task_rows = read_jsonl(root / "meta/tasks.jsonl")
            self.task_names = {str(r["task_name"]): int(r["task_index"]) for r in task_rows}
            self._name_of_task = {index: name for name, index in self.task_names.items()}
            self._task_of_sentence = {str(r["task"]): int(r["task_index"]) for r in task_rows}
            self.episodes = sorted(self._episodes(frame_rate(info)), key=lambda e: e.episode_index)
        check_content(root, self.cameras, self.episodes, "meta/episodes.jsonl")

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:
        """Returns tasks, episodes, statistics, and each episode's annotation and orchestrator."""
        files = [path for path in _TRAINING_METADATA if (self.root / path).is_file()]
        for episode in episodes:
            annotation = self.annotation_path(episode.episode_index)
            if annotation is not None and (self.root / annotation).is_file():
                files.append(annotation)
            name = f"task-{episode.task_index:04d}/episode_{episode.episode_index:08d}"
            files += text_files(self.root, name)
        return files

    def annotation_path(self, episode_index: int) -> str | None:
        """Returns where an episode's annotation lies, by info.json's template if it has one."""
        known = "annotation_path" in self.info
        return self.path_of("annotation_path", episode_index) if known else None

    def _episodes(self, fps: Fraction) -> Iterator[Episode]:
        for row in read_jsonl(self.root / "meta/episodes.jsonl"):
            episode_index = int(row["episode_index"])
            sentence = str(row["tasks"][0])
            # Source: chunks_size 10000 makes the file chunk the task, which holds for every
            # published id; tasks.jsonl decides where the sentence is known there.
            chunk = episode_index // int(self.info["chunks_size"])
            task_index = self._task_of_sentence.get(sentence, chunk)
            yield Episode(
                episode_index=episode_index,
                task_index=task_index,
                task=sentence,
                task_name=self._name_of_task.get(task_index, ""),
                num_frames=int(row["length"]),
                fps=(fps.numerator, fps.denominator),
                videos={
                    image: self._span(episode_index, image, key)
                    for images in (self.cameras, *self.modalities.values())
                    for image, key in images.items()
                },
                table=TableSpan(path=self.path_of("data_path", episode_index)),
            )

    def _span(self, episode_index: int, image: str, key: str) -> VideoSpan:
        camera = image.removesuffix(MODALITIES[_SEGMENTATION])
        ids: IdList | UnsetType = UNSET
        if image != camera:
            ids = IdList(
                path=self.path_of("metainfo_path", episode_index),
                key=f"{_SENSORS[camera]}::unique_ins_ids",
            )
        is_depth = image in self.modalities.get("depth", ())
        return VideoSpan(
            key=key,
            path=self.path_of("video_path", episode_index, key),
            ids=ids,
            codes=SCALE_2025.pixel_format if is_depth else UNSET,
        )

    def path_of(self, template: str, episode_index: int, video_key: str = "") -> str:
        """Returns a path relative to the root, by one of info.json's templates.

        Raises:
            KeyError: info.json has no such template.
            DataError: the path leaves the root.
        """
        return path_of(self.root, self.info, template, episode_index, video_key)


def _images(info: dict[str, Any], modality: str) -> dict[str, str]:
    """The images of a modality -> their keys."""
    prefix = f"{_PREFIX}{modality}."
    keys = [key for key in sorted(info["features"]) if key.startswith(prefix)]
    return {image_name(key.removeprefix(prefix), modality): key for key in keys}


def open_b1k(root: Path) -> Source:
    """Returns the data set under ``root``, of the edition that its ``meta/info.json`` tells.

    Raises:
        UserError: metadata missing or of no known edition.
    """
    info = read_json(root / "meta/info.json")
    if info.get("codebase_version") == "v3.0":
        return B1k2026Source(root, info)
    return B1kSource(root)
