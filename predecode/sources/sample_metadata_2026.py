"""Files under ``meta/`` of the sample of the 2026 edition.

Source of every field: the 2026 edition's ``info.json``, ``tasks.parquet``, ``tasks.jsonl`` and
``meta/episodes`` as parsed by its readers, and LeRobot v3.0, which wrote them. ``tasks.parquet``
and the episodes name a task by its short name; only ``tasks.jsonl`` has sentences.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from predecode.sources.sample_layout import ANNOTATION_PATH, FPS, episode_path
from predecode.sources.sample_layout_2026 import (
    DATA_KEY,
    DATA_PATH_2026,
    DEPTH_KEYS,
    EPISODES_2026,
    EPISODES_PATH,
    POSE_KEYS,
    RGB_KEYS,
    TASKS_2026,
    VIDEO_PATH_2026,
    EpisodeSpec2026,
    shared_files,
)
from predecode.sources.sample_metadata import write_json, write_jsonl
from predecode.sources.sample_tables_2026 import FIRST_INDEX, episode_table, statistics_of

__all__ = ["write_metadata_2026"]

_DEPTH_INFO = {
    "video.output_unit": "m",
    "video.depth_min": 0.01,
    "video.depth_max": 10.0,
    "video.shift": 3.5,
    "video.use_log": True,
}
"""Source: the edition's depth settings, beside the encoder's, as LeRobot v3 persists them."""


def write_metadata_2026(root: Path, side_px: dict[str, int]) -> None:
    """Writes everything under ``meta/``.

    Args:
        root: folder of the data set.
        side_px: camera -> height and width of its pictures.
    """
    write_json(root / "meta/info.json", _info(side_px), indent=4)
    rows = pa.concat_tables([episode_table(spec) for spec in EPISODES_2026])
    write_json(root / "meta/stats.json", statistics_of(rows), indent=4)
    tasks = [
        {"task_index": task.task_index, "task_name": task.task_name, "task": task.task}
        for task in TASKS_2026
    ]
    write_jsonl(root / "meta/tasks.jsonl", tasks)
    pq.write_table(_tasks(), root / "meta/tasks.parquet")
    _write_episodes(root)


def _info(side_px: dict[str, int]) -> dict[str, Any]:
    features: dict[str, Any] = {
        "action": _feature("float32", 23, ["action"]),
        "next.reward": _feature("float32", 1, ["reward"]),
        "next.terminated": _feature("bool", 1, ["done"]),
        "next.truncated": _feature("bool", 1, ["done"]),
        "observation.state": _feature("float32", 61, [None]),
    }
    features |= {key: _feature("float32", 7, None) for key in POSE_KEYS.values()}
    for camera, key in RGB_KEYS.items():
        features[key] = _video_feature(side_px[camera], 3, "yuv420p", 30)
    for camera, key in DEPTH_KEYS.items():
        features[key] = _video_feature(side_px[camera], 1, "gray12le", 0)
        if camera != "head":
            # The older name of the flag, which readers have to know too.
            info = features[key]["info"]
            info["video.is_depth_map"] = info.pop("is_depth_map")
    features["timestamp"] = _feature("float32", 1, None)
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = _feature("int64", 1, None)
    num_episodes = len(EPISODES_2026)
    return {
        "codebase_version": "v3.0",
        "robot_type": "R1Pro",
        "total_episodes": num_episodes,
        "total_frames": sum(spec.length for spec in EPISODES_2026),
        "total_tasks": len(TASKS_2026),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{num_episodes}"},
        "data_path": DATA_PATH_2026,
        "video_path": VIDEO_PATH_2026,
        "features": features,
    }


def _feature(dtype: str, width: int, names: list[Any] | None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [width], "names": names}


def _video_feature(side_px: int, num_channels: int, pix_fmt: str, crf: int) -> dict[str, Any]:
    """Encoder settings stand beside the picture's format; depth is flagged, and told in metres."""
    is_depth = num_channels == 1
    return {
        "dtype": "video",
        "shape": [side_px, side_px, num_channels],
        "names": ["height", "width", "channel"],
        "info": {
            "video.fps": FPS,
            "video.height": side_px,
            "video.width": side_px,
            "video.channels": num_channels,
            "video.codec": "hevc",
            "video.pix_fmt": pix_fmt,
            "video.g": 8,
            "video.crf": crf,
            "video.preset": None,
            "video.fast_decode": 0,
            "video.extra_options": {"x265-params": "log-level=0:bframes=0"},
            "video.video_backend": "pyav",
            "is_depth_map": is_depth,
            "has_audio": False,
            **(_DEPTH_INFO if is_depth else {}),
        },
    }


def _tasks() -> pa.Table:
    """``tasks.parquet``: the short name is the index of the pandas table that stock LeRobot reads.

    Source: pandas' own notes in the schema's metadata, of which the index is what readers need.
    """
    table = pa.table(
        {
            "task_index": pa.array([task.task_index for task in TASKS_2026], pa.int64()),
            "task": pa.array([task.task_name for task in TASKS_2026]),
        }
    )
    notes = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type,
             "metadata": None}
            for name, kind, numpy_type in (
                ("task_index", "int64", "int64"), ("task", "unicode", "object"),
            )
        ],
    }  # fmt: skip
    return table.replace_schema_metadata({"pandas": json.dumps(notes)})


def _write_episodes(root: Path) -> None:
    """One file a task, a row an episode."""
    rows = [_episode(spec) for spec in EPISODES_2026]
    for key in (DATA_KEY, *RGB_KEYS.values(), *DEPTH_KEYS.values()):
        for file in shared_files(key):
            start = 0
            for spec in file.specs:
                row = rows[spec.episode_index]
                prefix = f"videos/{key}/" if key else "data/"
                row[f"{prefix}chunk_index"] = file.chunk_index
                row[f"{prefix}file_index"] = file.file_index
                if key:
                    row[f"{prefix}from_timestamp"] = start / float(FPS)
                    row[f"{prefix}to_timestamp"] = (start + spec.length) / float(FPS)
                start += spec.length
    for task in TASKS_2026:
        own = [row for row in rows if row["task_index"] == task.task_index]
        path = root / EPISODES_PATH.format(chunk_index=task.task_index, file_index=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(own), path)


def _episode(spec: EpisodeSpec2026) -> dict[str, Any]:
    """A row of ``meta/episodes`` without its files; the last five are the edition's own."""
    first = FIRST_INDEX[spec.episode_index]
    return {
        "episode_index": spec.episode_index,
        "tasks": [spec.task.task_name],
        "length": spec.length,
        "dataset_from_index": first,
        "dataset_to_index": first + spec.length,
        "meta/episodes/chunk_index": spec.task_index,
        "meta/episodes/file_index": 0,
        "task_index": spec.task_index,
        "demo_index_within_task": spec.demo_index,
        "raw_episode_id": spec.raw_episode_id,
        "task_instance_id": spec.raw_episode_id % 10000 // 10,
        "annotation_path": episode_path(ANNOTATION_PATH, spec.raw_episode_id),
    }
