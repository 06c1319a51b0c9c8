"""What every LeRobot v3.0 set has in common: episodes that share parquet and mp4 files.

Source: LeRobot v3.0, ``meta/episodes/chunk-*/file-*.parquet``: for each episode the files of its
rows and of each video key, and where it stands in them: rows by their number in the data set,
pictures by times in seconds. Boundaries differ between the keys. Opens no data file; a fault of one
episode's own entries goes with it to the source check.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import UNSET

from predecode.errors import EpisodeFault
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from predecode.sources.metadata import template_of
from train_shards.errors import UserError
from train_shards.format import check_relative_path

__all__ = [
    "Task",
    "episode_files",
    "episodes_of",
    "keys_with_places",
    "read_rows_of_episodes",
]

_TOLERANCE = Fraction(1, 10)
"""Of a frame, between a time and the frame that it means; times are sums of float64."""
_MOST_FRAMES = 2**40
"""Where no file's frames reach: a larger number would not fit a plan's integers."""
_FILE = ("chunk_index", "file_index")
_TIMES = ("from_timestamp", "to_timestamp")


class Task(NamedTuple):
    """What a data set says of a task."""

    task_index: int
    sentence: str
    name: str


class _Place(NamedTuple):
    """Frames ``[start, stop)`` of a file that an episode claims, and what is wrong with that."""

    path: str
    start: int
    stop: int
    problem: tuple[str, str, str] | None
    """Problem, expected and got."""


def episode_files(root: Path) -> list[str]:
    """Returns the paths of the episodes' tables, relative to the root, sorted."""
    return sorted(p.relative_to(root).as_posix() for p in root.glob("meta/episodes/*/*.parquet"))


def keys_with_places(root: Path) -> set[str]:
    """Returns the video keys of which ``meta/episodes`` says where their pictures are.

    Raises:
        UserError: a file cannot be read.

    Cost: reads the first file's schema; one writer made them all.
    """
    for path in episode_files(root)[:1]:
        try:
            names = pq.read_schema(root / path).names
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{root}/{path}: not a parquet file: {error}") from error
        return {name.split("/")[1] for name in names if name.startswith("videos/")}
    return set()


def read_rows_of_episodes(
    root: Path, keys: Sequence[str], extra: Sequence[str]
) -> list[dict[str, Any]]:
    """Returns the rows of ``meta/episodes``, by ``episode_index``.

    Args:
        root: folder of the data set.
        keys: video keys whose places are needed.
        extra: further columns, taken where they exist.

    Raises:
        UserError: no such files, or they cannot be read or lack a column.
    """
    columns = ["episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"]
    columns += [f"data/{name}" for name in _FILE]
    columns += [f"videos/{key}/{name}" for key in keys for name in (*_FILE, *_TIMES)]
    rows: list[dict[str, Any]] = []
    for path in episode_files(root):
        try:
            with pq.ParquetFile(root / path) as file:
                known = set(file.schema_arrow.names)
                if missing := [name for name in columns if name not in known]:
                    raise UserError(f"{root}/{path}: no column {missing[0]!r} (LeRobot v3.0).")
                wanted = columns + [name for name in extra if name in known]
                rows += file.read(wanted).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{root}/{path}: not a parquet file: {error}") from error
    if not rows:
        raise UserError(f"{root}/meta/episodes: no episode; expected chunk-*/file-*.parquet.")
    return sorted(rows, key=lambda row: int(row["episode_index"]))


def episodes_of(
    info: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    cameras: Mapping[str, str],
    fps: Fraction,
    tasks: Sequence[Task],
    codes: Mapping[str, str] = MappingProxyType({}),
) -> list[Episode]:
    """Returns the episodes of a data set.

    Args:
        info: ``meta/info.json``.
        rows: what ``read_rows_of_episodes`` returned.
        cameras: camera -> video key.
        fps: frame rate.
        tasks: of each row.
        codes: camera -> ``VideoSpan.codes``, of depth.

    Raises:
        DataError: a path that leaves the root.
        KeyError, TypeError, ValueError: entries that are missing or of another kind.
    """
    places = {"": _checked([_table_place(info, row) for row in _with_offsets(rows)])}
    for camera, key in cameras.items():
        places[camera] = _checked([_video_place(info, row, key, fps) for row in rows])
    ends = {name: _ends(found) for name, found in places.items()}
    episodes = []
    for number, (row, task) in enumerate(zip(rows, tasks, strict=True)):
        own = {name: found[number] for name, found in places.items()}
        faults = tuple(
            EpisodeFault(int(row["episode_index"]), place.path, *place.problem, name or None)
            for name, place in own.items()
            if place.problem is not None
        )
        episodes.append(
            Episode(
                episode_index=int(row["episode_index"]),
                task_index=task.task_index,
                task=task.sentence,
                task_name=task.name,
                num_frames=int(row["length"]),
                fps=(fps.numerator, fps.denominator),
                videos={
                    camera: VideoSpan(
                        key=key,
                        path=own[camera].path,
                        start=own[camera].start,
                        ends_file=own[camera].stop == ends[camera][own[camera].path],
                        codes=codes.get(camera, UNSET),
                    )
                    for camera, key in cameras.items()
                },
                table=TableSpan(
                    path=own[""].path,
                    start=own[""].start,
                    ends_file=own[""].stop == ends[""][own[""].path],
                ),
                faults=faults or UNSET,
            )
        )
    return episodes


def _with_offsets(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each row, and ``offset``: its first row's place in its file, whose first row is the least."""
    first: dict[tuple[int, int], int] = {}
    for row in rows:
        file = (int(row["data/chunk_index"]), int(row["data/file_index"]))
        index = int(row["dataset_from_index"])
        first[file] = min(first.get(file, index), index)
    for row in rows:
        file = (int(row["data/chunk_index"]), int(row["data/file_index"]))
        yield {**row, "offset": int(row["dataset_from_index"]) - first[file]}


def _table_place(info: Mapping[str, Any], row: Mapping[str, Any]) -> _Place:
    length, problem = int(row["length"]), None
    num_rows = int(row["dataset_to_index"]) - int(row["dataset_from_index"])
    if length < 1:
        problem = ("length in the metadata", "1 or more", f"{length}")
    elif num_rows != length:
        problem = ("rows disagree with the length in the metadata", f"{length}", f"{num_rows}")
    path = _path(info, "data_path", row, "data/")
    return _Place(path, row["offset"], row["offset"] + length, problem)


def _video_place(
    info: Mapping[str, Any], row: Mapping[str, Any], key: str, fps: Fraction
) -> _Place:
    path = _path(info, "video_path", row, f"videos/{key}/", key)
    length, times_s = int(row["length"]), [float(row[f"videos/{key}/{name}"]) for name in _TIMES]
    if not all(map(math.isfinite, times_s)):
        return _Place(path, 0, 0, ("times in the metadata", "numbers", f"{times_s}"))
    exact = [Fraction(time_s) * fps for time_s in times_s]
    start, stop = (round(frames) for frames in exact)
    is_off = any(abs(frames - round(frames)) > _TOLERANCE for frames in exact)
    if is_off or not 0 <= start < _MOST_FRAMES:
        problem = (
            "a time in the metadata is no frame's", f"a whole number of 1/{fps} s",
            f"{times_s[0]!r} to {times_s[1]!r} s",
        )  # fmt: skip
    elif stop - start != length:
        problem = (
            "times in the metadata disagree with the length", f"{length} frames",
            f"{stop - start}, from {times_s[0]!r} to {times_s[1]!r} s",
        )  # fmt: skip
    else:
        return _Place(path, start, stop, None)
    return _Place(path, 0, 0, problem)


def _path(
    info: Mapping[str, Any], template: str, row: Mapping[str, Any], prefix: str, key: str = ""
) -> str:
    path = template_of(info, template).format(
        **{name: int(row[prefix + name]) for name in _FILE}, video_key=key
    )
    return check_relative_path(path, what=f"meta/info.json: {template}")


def _checked(places: Sequence[_Place]) -> list[_Place]:
    """The places, those that overlap marked: which of two is right, nobody can tell.

    An episode that is at fault by itself takes no other one with it.
    """
    checked = list(places)
    sound = [number for number, place in enumerate(places) if place.problem is None]
    last: dict[str, int] = {}  # path -> the sound place that reaches furthest so far
    for number in sorted(sound, key=lambda n: (places[n].start, places[n].stop)):
        place = places[number]
        before = last.setdefault(place.path, number)
        if before != number and places[before].stop > place.start:
            for one, other in ((number, places[before]), (before, place)):
                checked[one] = places[one]._replace(
                    problem=(
                        "overlaps with another episode of the file", "frames of its own",
                        f"{places[one].start}-{places[one].stop} and {other.start}-{other.stop}",
                    )
                )  # fmt: skip
        if place.stop >= places[before].stop:
            last[place.path] = number
    return checked


def _ends(places: Sequence[_Place]) -> dict[str, int | None]:
    """Path -> where its last episode ends; None where one that is at fault may lie behind."""
    ends: dict[str, int | None] = {}
    for place in places:
        end = ends.get(place.path, 0)
        is_known = end is not None and place.problem is None
        ends[place.path] = max(end or 0, place.stop) if is_known else None
    return ends
