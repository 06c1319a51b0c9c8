"""BEHAVIOR-1K, 2026 edition: LeRobot v3.0 with columns and files of its own.

Source: ``meta/`` of the 2026 challenge demonstrations. Episode ids are dense; ``raw_episode_id``
keeps the kind of 2025 and names the annotation file.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from predecode.sources.depth_formats import declared_scale
from predecode.sources.episode import Episode
from predecode.sources.lerobot_v3 import (
    Task,
    episode_files,
    episodes_of,
    keys_with_places,
    read_rows_of_episodes,
)
from predecode.sources.metadata import (
    check_content,
    frame_rate,
    read_jsonl,
    text_files,
    understanding,
)
from train_shards.b1k_state import LAYOUT_2026
from train_shards.depth import SCALE_2026
from train_shards.errors import UserError
from train_shards.format import check_relative_path, image_name

__all__ = ["B1k2026Source"]

_SENSORS = {
    "head": "zed_link_camera_0",
    "left_wrist": "left_realsense_link_camera_0",
    "right_wrist": "right_realsense_link_camera_0",
}
"""The names of the 2025 edition -> this one's sensors."""
_KEYS = {"rgb": "observation.rgb.", "depth": "observation.depth_linear."}
"""Modality -> what a key has before the sensor."""
_TRAINING_METADATA = (
    "meta/info.json", "meta/tasks.jsonl", "meta/tasks.parquet", "meta/stats.json",
)  # fmt: skip
_ANNOTATION, _RAW_ID = "annotation_path", "raw_episode_id"


class B1k2026Source:
    """The 2026 edition under one root; see ``predecode.sources.episode.Source``."""

    kind = "b1k"
    state_layout = LAYOUT_2026

    def __init__(self, root: Path, info: dict[str, Any]) -> None:
        """Reads ``meta/``; opens no episode.

        Args:
            root: folder of the data set.
            info: its ``meta/info.json``.

        Raises:
            UserError: metadata missing or not of this edition.
        """
        self.root, self.info = root, info
        self.left_out: dict[str, str] = {}
        if not (root / "meta/tasks.jsonl").is_file():
            raise UserError(
                f"{root}/meta/tasks.jsonl: not found. It alone holds the sentences that prompts "
                "are made of; the edition has it since July 2026: download it into meta/."
            )
        with understanding(root, "LeRobot v3.0", "info.json, tasks.jsonl and episodes/"):
            features = info["features"]
            self.cameras = _images(features, "rgb")
            # A mirror without depth may lack its places, too.
            placed = keys_with_places(root)
            depth = {name: k for name, k in _images(features, "depth").items() if k in placed}
            self.modalities = {"depth": depth} if depth else {}
            self.depth = declared_scale(features, depth, SCALE_2026) if depth else None
            images = self.cameras | depth
            tasks = [
                Task(int(row["task_index"]), str(row["task"]), str(row["task_name"]))
                for row in read_jsonl(root / "meta/tasks.jsonl")
            ]
            self.task_names = {task.name: task.task_index for task in tasks}
            rows = read_rows_of_episodes(root, list(images.values()), [_ANNOTATION, _RAW_ID])
            # The published rows name a task by its short name, LeRobot's own by its sentence.
            known = {word: task for task in tasks for word in (task.sentence, task.name)}
            found = [known[row["tasks"][0]] for row in rows]
            codes = dict.fromkeys(depth, SCALE_2026.pixel_format)
            self.episodes = episodes_of(info, rows, images, frame_rate(info), found, codes)
            self._annotations = {
                int(row["episode_index"]): check_relative_path(
                    str(row[_ANNOTATION]), what=f"{root}/meta/episodes: {_ANNOTATION}"
                )
                for row in rows
                if row.get(_ANNOTATION)
            }
            self.raw_ids: dict[int, int] = {
                int(row["episode_index"]): int(row[_RAW_ID])
                for row in rows
                if row.get(_RAW_ID) is not None
            }
        check_content(root, self.cameras, self.episodes, "meta/episodes")

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:
        """Returns tasks, statistics, the episodes' own tables, and each episode's texts.

        Annotations keep their raw ids; ``annotation_path`` in ``meta/episodes`` tells whose they
        are. What stands by the same name below ``orchestrators/`` and ``subtasks/`` comes along.
        """
        wanted = [self.annotation_path(episode.episode_index) for episode in episodes]
        annotations = [path for path in wanted if path is not None]
        files = [*_TRAINING_METADATA, *episode_files(self.root), *annotations]
        for path in annotations:
            name = path.removeprefix("annotations/").removesuffix(".json")
            files += text_files(self.root, name)
        return [path for path in files if (self.root / path).is_file()]

    def annotation_path(self, episode_index: int) -> str | None:
        """Returns where an episode's annotation lies, as its row of ``meta/episodes`` says."""
        return self._annotations.get(episode_index)


def _images(features: Collection[str], modality: str) -> dict[str, str]:
    """The images of a modality that are among the features -> their keys."""
    keys = {image_name(c, modality): _KEYS[modality] + sensor for c, sensor in _SENSORS.items()}
    return {image: key for image, key in keys.items() if key in features}
