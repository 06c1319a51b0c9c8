"""A small LeRobot v2.1 set in the published layout, written without any reader's or writer's code.

Its pictures carry their own numbers, see ``tests.support.media``: episode ``e`` begins at 100 * e.
"""

import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tests.support.media import FFMPEG, HEIGHT_PX, PAINTED, WIDTH_PX, painted

__all__ = [
    "INFO", "SENTENCES", "TOP", "cell_of", "decoded_by_ffmpeg", "encode", "picture_of",
    "write_metadata", "write_rows",
]  # fmt: skip

TOP = "observation.images.top"
SENTENCES = {0: "push the T, to its place", 1: "rest", 7: "never done"}
INFO: dict[str, Any] = {
    "codebase_version": "v2.1",
    "chunks_size": 2,
    "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
}
NUMBERS_AN_EPISODE = 100


def write_metadata(
    root: Path,
    lengths: Sequence[int],
    fps: float,
    features: dict[str, dict[str, Any]],
    tasks: Sequence[Sequence[int]] | None = None,
    **info: Any,
) -> None:
    """Writes ``meta/``; ``tasks`` are those of each episode, by default task 0."""
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(
        json.dumps({**INFO, "fps": fps, "features": features, **info})
    )
    _write_lines(
        root / "meta/tasks.jsonl",
        [{"task_index": index, "task": task} for index, task in SENTENCES.items()],
    )
    _write_lines(
        root / "meta/episodes.jsonl",
        [
            {"episode_index": e, "tasks": [SENTENCES[i] for i in own], "length": length}
            for e, (length, own) in enumerate(
                zip(lengths, tasks or [[0]] * len(lengths), strict=True)
            )
        ],
    )


def write_rows(root: Path, episode: int, first: int, length: int, **columns: Any) -> Path:
    """Writes an episode's table, with LeRobot's own columns unless others are given for them."""
    chunk = episode // INFO["chunks_size"]
    path = root / str(INFO["data_path"]).format(episode_chunk=chunk, episode_index=episode)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "timestamp": None,
        "frame_index": np.arange(length),
        "episode_index": np.full(length, episode),
        "index": first + np.arange(length),
        "task_index": np.zeros(length, np.int64),
        **columns,
    }
    pq.write_table(pa.table(rows), path, row_group_size=10)
    return path


def picture_of(episode: int, frame: int) -> NDArray[np.uint8]:
    """The picture of a frame, ``(H, W, 3)``."""
    gray = painted(NUMBERS_AN_EPISODE * episode + frame + 1)[-1]
    return np.stack([gray, gray // 2 + 60, gray], axis=-1)


def cell_of(episode: int, frame: int, kind: str = "PNG") -> dict[str, Any]:
    """The cell of a column of pictures."""
    file = io.BytesIO()
    Image.fromarray(picture_of(episode, frame)).save(file, kind)
    return {"bytes": file.getvalue(), "path": f"frame_{frame:06d}.{kind.lower()}"}


def encode(path: Path, episode: int, length: int, rate: str) -> None:
    """Writes an episode's video by the ffmpeg command line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = painted(NUMBERS_AN_EPISODE * episode + length)[-length:]
    command = [
        *PAINTED, "-r", rate, "-i", "-", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "20",
        "-video_track_timescale", "3000000", str(path),
    ]  # fmt: skip
    subprocess.run(command, input=numbers.tobytes(), check=True, capture_output=True)


def decoded_by_ffmpeg(path: Path) -> NDArray[np.uint8]:
    """Every picture of a video, ``(n, H, W, 3)``, by the ffmpeg command line."""
    command = [
        *FFMPEG, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-sws_flags", "bilinear", "-",
    ]  # fmt: skip
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, HEIGHT_PX, WIDTH_PX, 3)


def _write_lines(path: Path, values: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
