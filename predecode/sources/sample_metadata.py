"""Files under ``meta/`` of the sample, with the omissions and faults of the published ones.

Source of every field: the 2025 edition's ``info.json``, ``tasks.jsonl``, ``episodes.jsonl`` and
per-episode JSON. Where those misdescribe the files, so does this: depth is declared
``yuv420p16le`` and is ``yuv420p10le``; ``video.codec`` holds an encoder's name; ``task_index``
stands in the tables but is not declared; rollouts lack six of the nine declared videos.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predecode.sources.sample_layout import (
    ANNOTATION_PATH,
    CHUNKS_SIZE,
    DATA_PATH,
    DECLARED_CAMERAS,
    FPS,
    METAINFO_PATH,
    MODALITIES,
    SENSORS,
    TASKS,
    VIDEO_PATH,
    EpisodeSpec,
    episode_path,
    video_key,
)
from predecode.sources.sample_pictures import instance_ids
from predecode.sources.sample_tables import EpisodeRows, statistics

__all__ = ["write_json", "write_jsonl", "write_metadata"]


def write_metadata(
    root: Path, episodes: Sequence[EpisodeRows], side_px: dict[str, int], num_videos: int
) -> None:
    """Writes everything under ``meta/``.

    Args:
        root: folder of the data set.
        episodes: sorted by id.
        side_px: camera -> height and width of its pictures.
        num_videos: files that the sample holds.
    """
    specs = [rows.spec for rows in episodes]
    write_json(root / "meta/info.json", _info(specs, side_px, num_videos), indent=4)
    task_indices = {spec.task_index for spec in specs}
    tasks = [
        {"task_index": task.task_index, "task_name": task.task_name, "task": task.task}
        for task in TASKS
        if task.task_index in task_indices
    ]
    write_jsonl(root / "meta/tasks.jsonl", tasks)
    write_jsonl(root / "meta/episodes.jsonl", [_episode(rows) for rows in episodes])
    stats = [
        {"episode_index": rows.spec.episode_index, "stats": statistics(rows)} for rows in episodes
    ]
    write_jsonl(root / "meta/episodes_stats.jsonl", stats)
    for spec in specs:
        path = root / episode_path(METAINFO_PATH, spec.episode_index)
        write_json(path, _episode_attributes(spec), indent=4)


def write_json(path: Path, value: dict[str, Any], indent: int | None = None) -> None:
    """Writes one JSON file; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes one JSON object a line; the folder is there."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _info(specs: Sequence[EpisodeSpec], side_px: dict[str, int], num_videos: int) -> dict[str, Any]:
    features = {
        video_key(modality, camera): _video_feature(modality, side_px[camera])
        for modality in MODALITIES
        for camera in DECLARED_CAMERAS
    }
    return {
        "codebase_version": "v2.1",
        "robot_type": "R1Pro",
        "total_episodes": len(specs),
        "total_frames": sum(spec.length for spec in specs),
        "total_tasks": len({spec.task_index for spec in specs}),
        "total_videos": num_videos,
        "chunks_size": CHUNKS_SIZE,
        "fps": FPS,
        "splits": {"train": f"0:{len(specs)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "metainfo_path": METAINFO_PATH,
        "annotation_path": ANNOTATION_PATH,
        "features": features | _low_dimensional_features(),
    }


def _video_feature(modality: str, side_px: int) -> dict[str, Any]:
    is_depth = modality == "depth"
    return {
        "dtype": "video",
        "shape": [side_px, side_px, 3],
        "names": ["height", "width", "depth" if is_depth else "rgb"],
        "info": {
            "video.fps": float(FPS),
            "video.height": side_px,
            "video.width": side_px,
            "video.channels": 3,
            "video.codec": "libx265",
            "video.pix_fmt": "yuv420p16le" if is_depth else "yuv420p",
            "video.is_depth_map": is_depth,
            "has_audio": False,
        },
    }


def _low_dimensional_features() -> dict[str, Any]:
    declared: list[tuple[str, str, int | None]] = [
        ("action", "float32", 23),
        ("timestamp", "float64", 1),
        ("episode_index", "int64", 1),
        ("index", "int64", 1),
        ("observation.cam_rel_poses", "float32", 21),
        ("observation.state", "float32", 256),
        ("observation.task_info", "float32", None),
    ]
    return {
        key: {"dtype": dtype, "shape": [width], "names": None} for key, dtype, width in declared
    }


def _episode(rows: EpisodeRows) -> dict[str, Any]:
    """One row of ``episodes.jsonl``; the three sums are metres."""
    return {
        "episode_index": rows.spec.episode_index,
        "tasks": [rows.spec.task.task],
        "length": rows.spec.length,
        "distance_traveled": _path_length_m(rows.base_positions_m),
        "left_eef_displacement": _path_length_m(rows.left_hand_positions_m),
        "right_eef_displacement": _path_length_m(rows.right_hand_positions_m),
    }


def _path_length_m(positions_m: npt.NDArray[np.float64]) -> float:
    steps_m = np.linalg.norm(np.diff(positions_m, axis=0), axis=1)
    return round(float(steps_m.sum()), 4)


def _episode_attributes(spec: EpisodeSpec) -> dict[str, Any]:
    """The per-episode JSON; ``ins_id_mapping`` is JSON text within the JSON, as published."""
    ids = {camera: instance_ids(spec, camera) for camera in DECLARED_CAMERAS}
    names = spec.task.objects
    mapping = {"0": "BACKGROUND", "1": "UNLABELLED"}
    named_ids = sorted({number for numbers in ids.values() for number in numbers} - {0, 1})
    for position, instance_id in enumerate(named_ids):
        name = names[position] if position < len(names) else f"furniture_{instance_id}"
        # Source: an instance's name is the fourth part of its path in the simulated world.
        mapping[str(instance_id)] = f"/World/scene_0/{name}/base_link/visuals"
    entries = ("x", "y", "z", "qx", "qy", "qz", "qw")
    return {
        "num_samples": spec.length,
        "robot_type": "R1Pro",
        "task_obs_keys": [f"{name}::{entry}" for name in names for entry in entries],
        "ins_id_mapping": json.dumps(mapping),
        **{f"{SENSORS[camera]}::unique_ins_ids": ids[camera] for camera in DECLARED_CAMERAS},
        "config": {
            "env": {"action_frequency": FPS, "physics_frequency": 120},
            "task": {"type": "BehaviorTask", "activity_name": spec.task.task_name},
            "robots": [{"type": "R1Pro", "name": "robot_r1"}],
        },
    }
