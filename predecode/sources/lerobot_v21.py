"""What LeRobot v2.1 and v2.0 sets have in common: an episode has files of its own.

Source: LeRobot v2.1: ``meta/episodes.jsonl`` has ``episode_index``, ``tasks`` (sentences) and
``length`` of each episode, ``meta/tasks.jsonl`` has ``task_index`` and ``task``; the paths are
built by the templates in ``meta/info.json``.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from predecode.sources.episode import Episode, TableSpan, VideoSpan
from predecode.sources.metadata import read_jsonl, template_of
from train_shards.format import check_relative_path

__all__ = ["METADATA_V21", "episodes_v21", "path_of", "sentences_v21"]

METADATA_V21 = (
    "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl", "meta/episodes_stats.jsonl",
    "meta/stats.json",
)  # fmt: skip
"""Of which a set has the last or the last but one."""


def sentences_v21(root: Path) -> dict[int, str]:
    """Returns ``task_index`` -> sentence.

    Raises:
        UserError: the file is missing or holds something else than JSON.
        KeyError, TypeError, ValueError: entries that are missing or of another kind.
    """
    rows = read_jsonl(root / "meta/tasks.jsonl")
    return {int(row["task_index"]): str(row["task"]) for row in rows}


def episodes_v21(
    root: Path, info: Mapping[str, Any], cameras: Mapping[str, str], fps: Fraction
) -> list[tuple[Episode, Sequence[str]]]:
    """Returns the episodes, each with its sentences; its own task is still open.

    Args:
        root: folder of the data set.
        info: ``meta/info.json``.
        cameras: camera -> video key.
        fps: frame rate.

    Raises:
        UserError, KeyError, TypeError, ValueError: as ``sentences_v21``.
        DataError: a path that leaves the root.
    """
    episodes: list[tuple[Episode, Sequence[str]]] = []
    for row in read_jsonl(root / "meta/episodes.jsonl"):
        episode_index = int(row["episode_index"])
        videos = {
            camera: VideoSpan(key=key, path=path_of(root, info, "video_path", episode_index, key))
            for camera, key in cameras.items()
        }
        table = TableSpan(path=path_of(root, info, "data_path", episode_index))
        episode = Episode(
            episode_index=episode_index,
            task_index=-1,
            task="",
            num_frames=int(row["length"]),
            fps=(fps.numerator, fps.denominator),
            videos=videos,
            table=table,
        )
        episodes.append((episode, [str(sentence) for sentence in row["tasks"]]))
    return episodes


def path_of(
    root: Path, info: Mapping[str, Any], template: str, episode_index: int, video_key: str = ""
) -> str:
    """Returns a path relative to the root, by one of info.json's templates.

    Raises:
        KeyError, TypeError: info.json has no such template.
        DataError: the path leaves the root.
    """
    path = template_of(info, template).format(
        episode_chunk=episode_index // int(info["chunks_size"]),
        episode_index=episode_index,
        video_key=video_key,
    )
    return check_relative_path(path, what=f"{root}/meta/info.json: {template}")
