"""Any LeRobot data set, v2.0, v2.1 or v3.0: video and image features, any frame rate, any columns.

Source: LeRobot's own reader, which serves the task that each row names, and metadata as
``lerobot_v21`` and ``lerobot_v3`` tell. Every camera is called by ``camera_names``; its key in
items is the source's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from predecode.sources.episode import Episode, VideoSpan
from predecode.sources.lerobot_features import cameras_of
from predecode.sources.lerobot_v3 import Task, episode_files, episodes_of, read_rows_of_episodes
from predecode.sources.lerobot_v21 import METADATA_V21, episodes_v21, sentences_v21
from predecode.sources.metadata import check_content, frame_rate, read_json, understanding
from train_shards.depth import DepthScale
from train_shards.errors import UserError
from train_shards.format import LEROBOT

__all__ = ["LerobotSource"]

_V2 = ("v2.0", "v2.1")
_V3 = "v3.0"
_TASKS_V3 = "meta/tasks.parquet"
_METADATA_V3 = ("meta/info.json", _TASKS_V3, "meta/subtasks.parquet", "meta/stats.json")
_SENTENCES = ("task", "__index_level_0__")
"""Names under which pandas stores the index of ``tasks.parquet``."""


class LerobotSource:
    """A LeRobot set under one root; see ``predecode.sources.episode.Source``."""

    kind = LEROBOT
    state_layout = ""

    def __init__(self, root: Path) -> None:
        """Reads ``meta/``; opens no episode.

        Raises:
            UserError: metadata missing, of another version, or without any rgb camera.
        """
        self.root = root
        self.modalities: dict[str, dict[str, str]] = {}
        self.depth: DepthScale | None = None
        info = read_json(root / "meta/info.json")
        self._version = str(info.get("codebase_version"))
        if self._version not in (*_V2, _V3):
            raise UserError(
                f"{root}/meta/info.json: codebase_version is {self._version!r}, expected one of "
                f"{', '.join((*_V2, _V3))}. LeRobot's own scripts convert older sets."
            )
        with understanding(root, f"LeRobot {self._version}", "info.json, tasks and episodes"):
            found = cameras_of(info["features"])
            self.cameras = dict(sorted((found.videos | found.images).items()))
            self.left_out = found.left_out
            self._open(info, found.videos, found.images)
        if not self.cameras:
            why = "".join(f"; {problem}" for problem in dict.fromkeys(self.left_out.values()))
            raise UserError(f"{root}/meta/info.json: no feature is an rgb camera{why}.")
        check_content(root, self.cameras, self.episodes, "meta: episodes")

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:  # noqa: ARG002
        """Returns what the set's metadata hold of tasks, episodes and statistics."""
        files: tuple[str, ...] = METADATA_V21
        if self._version == _V3:
            files = (*_METADATA_V3, *episode_files(self.root))
        return [path for path in files if (self.root / path).is_file()]

    def _open(
        self, info: dict[str, Any], videos: Mapping[str, str], images: Mapping[str, str]
    ) -> None:
        fps = frame_rate(info)
        if self._version == _V3:
            sentences = _sentences_v3(self.root)
            rows = read_rows_of_episodes(self.root, list(videos.values()), [])
            unknown = [Task(-1, "", "")] * len(rows)
            episodes = episodes_of(info, rows, videos, fps, unknown)
            told: list[Sequence[str]] = [row["tasks"] for row in rows]
        else:
            sentences = sentences_v21(self.root)
            pairs = episodes_v21(self.root, info, videos, fps)
            episodes, told = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        indices: dict[str, list[int]] = {}
        for index, sentence in sorted(sentences.items()):
            indices.setdefault(sentence, []).append(index)
        self.task_names = {sentence: own[0] for sentence, own in indices.items()}
        self.episodes = sorted(
            (
                _completed(episode, images, sorted({i for s in own for i in indices[s]}), sentences)
                for episode, own in zip(episodes, told, strict=True)
            ),
            key=lambda episode: episode.episode_index,
        )


def _completed(
    episode: Episode, images: Mapping[str, str], tasks: Sequence[int], sentences: Mapping[int, str]
) -> Episode:
    """An episode with its cameras in columns, and its tasks: the lowest is its own."""
    if episode.table is None:
        raise ValueError("episode without a table")
    table = msgspec.structs.replace(episode.table, keeps_types=True)
    columns = {
        camera: VideoSpan(
            key=key, path=table.path, start=table.start, ends_file=table.ends_file, column=key
        )
        for camera, key in images.items()
    }
    return msgspec.structs.replace(
        episode,
        task_index=tasks[0],
        task=sentences[tasks[0]],
        videos=dict(sorted((episode.videos | columns).items())),
        table=table,
        other_tasks=tuple((index, sentences[index]) for index in tasks[1:]) or msgspec.UNSET,
    )


def _sentences_v3(root: Path) -> dict[int, str]:
    """``task_index`` -> sentence of a v3.0 set."""
    path = root / _TASKS_V3
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; it holds the tasks of a LeRobot v3.0 set.") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a parquet file: {error}") from error
    names = [name for name in _SENTENCES if name in table.column_names]
    indices, texts = table["task_index"].to_pylist(), table[names[0]].to_pylist()
    return {int(index): str(text) for index, text in zip(indices, texts, strict=True)}
