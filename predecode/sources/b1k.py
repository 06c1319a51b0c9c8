"""BEHAVIOR-1K, 2025 edition: LeRobot v2.1 with paths of its own.

Source: ``meta/info.json`` of the 2025 challenge demonstrations. Ids are sparse, so they come from
``episodes.jsonl`` and never from a rank. Every path is built from info.json's own templates.
"""

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from predecode.sources.episode import Episode, TableSpan, VideoSpan
from train_shards.errors import DataError, UserError
from train_shards.format import check_relative_path

__all__ = ["B1kSource"]

_RGB_PREFIX = "observation.images.rgb."
_TRAINING_METADATA = (
    "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl", "meta/episodes_stats.jsonl",
)  # fmt: skip


class B1kSource:
    """The 2025 edition under one root; see ``predecode.sources.episode.Source``."""

    kind = "b1k"

    def __init__(self, root: Path) -> None:
        """Reads ``meta/``; opens no episode.

        Raises:
            UserError: metadata missing or not of this edition.
        """
        self.root = root
        info = _read_json(root / "meta/info.json")
        if info.get("codebase_version") != "v2.1":
            raise UserError(
                f"{root}/meta/info.json: codebase_version is {info.get('codebase_version')!r}, "
                "expected 'v2.1' (the 2025 edition). Other editions are not supported yet."
            )
        try:
            self.cameras = {
                key.removeprefix(_RGB_PREFIX): key
                for key in sorted(info["features"])
                if key.startswith(_RGB_PREFIX)
            }
            self.info: dict[str, Any] = info
            task_rows = _read_jsonl(root / "meta/tasks.jsonl")
            self.task_names = {str(r["task_name"]): int(r["task_index"]) for r in task_rows}
            self._name_of_task = {index: name for name, index in self.task_names.items()}
            self._task_of_sentence = {str(r["task"]): int(r["task_index"]) for r in task_rows}
            fps = Fraction(info["fps"]).limit_denominator(1001)
            if fps <= 0:
                raise ValueError(f"fps {info['fps']}, expected more than 0")
            self.episodes = sorted(self._episodes(fps), key=lambda e: e.episode_index)
        except DataError as error:
            raise UserError(str(error)) from error
        except (
            KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError,
        ) as error:  # fmt: skip
            raise UserError(
                f"{root}/meta: not the metadata of a LeRobot v2.1 data set: {error!r}. "
                "Expected info.json, tasks.jsonl and episodes.jsonl as published."
            ) from error
        if not self.cameras or not self.episodes:
            raise UserError(
                f"{root}/meta: {len(self.cameras)} rgb cameras and {len(self.episodes)} episodes, "
                "expected at least one of each."
            )
        ids = [e.episode_index for e in self.episodes]
        if duplicates := [str(i) for i, before in zip(ids[1:], ids, strict=False) if i == before]:
            raise UserError(
                f"{root}/meta/episodes.jsonl: {len(duplicates)} episode ids stand twice: "
                f"{', '.join(duplicates[:10])}. Leave one line of each."
            )

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:
        """Returns tasks, episodes, statistics, and each episode's annotation and orchestrator."""
        files = [path for path in _TRAINING_METADATA if (self.root / path).is_file()]
        for episode in episodes:
            if "annotation_path" in self.info:
                annotation = self.path_of("annotation_path", episode.episode_index)
                if (self.root / annotation).is_file():
                    files.append(annotation)
            for folder in ("orchestrators", "subtasks"):
                stem = f"{folder}/task-{episode.task_index:04d}/episode_{episode.episode_index:08d}"
                if (self.root / f"{stem}.json").is_file():
                    files.append(f"{stem}.json")
                parts = sorted((self.root / stem).glob("*.json"))
                files += [f"{stem}/{part.name}" for part in parts]
        return files

    def _episodes(self, fps: Fraction) -> Iterator[Episode]:
        for row in _read_jsonl(self.root / "meta/episodes.jsonl"):
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
                    camera: VideoSpan(key=key, path=self.path_of("video_path", episode_index, key))
                    for camera, key in self.cameras.items()
                },
                table=TableSpan(path=self.path_of("data_path", episode_index)),
            )

    def path_of(self, template: str, episode_index: int, video_key: str = "") -> str:
        """Returns a path relative to the root, by one of info.json's templates.

        Raises:
            KeyError: info.json has no such template.
            DataError: the path leaves the root.
        """
        path = str(self.info[template]).format(
            episode_chunk=episode_index // int(self.info["chunks_size"]),
            episode_index=episode_index,
            video_key=video_key,
        )
        return check_relative_path(path, what=f"{self.root}/meta/info.json: {template}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found. --root must be the folder that holds meta/, data/ and videos/."
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object")
    return value


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: not found; expected one JSON object a line.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not JSON lines: {error}") from error
    return [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise UserError(f"{path}: not JSON lines: line {number}: {error}") from error
    return row
