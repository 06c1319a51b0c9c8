"""Reading a data set's metadata, written by strangers: every fault ends as ``UserError``."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from predecode.sources.episode import Episode
from train_shards.errors import DataError, UserError
from train_shards.format import MAX_EPISODE_INDEX

__all__ = [
    "check_content",
    "frame_rate",
    "read_json",
    "read_jsonl",
    "template_of",
    "text_files",
    "understanding",
]

_MAX_FPS = 1_000_000


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        UserError: no such file, or something else in it.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found. --root must be the folder that holds meta/, data/ and videos/."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object")
    return value


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the values of a file with one JSON value a line.

    Raises:
        UserError: no such file, or a line that is not JSON.
    """
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
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON lines: line {number}: {error}") from error
    return row


@contextmanager
def understanding(root: Path, kind: str, expected: str) -> Iterator[None]:
    """Turns what goes wrong inside the block, where metadata are taken apart, into ``UserError``.

    Args:
        root: folder of the data set.
        kind: what it should be, for the message.
        expected: files that it should have, for the message.
    """
    try:
        yield
    except DataError as error:
        raise UserError(str(error)) from error
    except (
        KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError,
    ) as error:  # fmt: skip
        raise UserError(
            f"{root}/meta: not the metadata of a {kind} data set: {error!r}. "
            f"Expected {expected} as published."
        ) from error


def text_files(root: Path, name: str) -> list[str]:
    """Returns an episode's files of orchestrators and subtasks, relative to the root.

    Args:
        root: folder of the data set.
        name: ``task-TTTT/episode_EEEEEEEE``. Source: openpi-comet's reader, which finds them so.
    """
    files = []
    for folder in ("orchestrators", "subtasks"):
        if (root / folder / f"{name}.json").is_file():
            files.append(f"{folder}/{name}.json")
        parts = sorted((root / folder / name).glob("*.json"))
        files += [f"{folder}/{name}/{part.name}" for part in parts]
    return files


def frame_rate(info: dict[str, Any]) -> Fraction:
    """Returns info.json's ``fps``, a float, as the fraction that it stands for.

    Raises:
        ValueError: not above 0, or more than a camera has.
    """
    fps = Fraction(info["fps"]).limit_denominator(1001)
    if not 0 < fps <= _MAX_FPS:
        raise ValueError(f"fps {info['fps']}, expected more than 0 and at most {_MAX_FPS}")
    return fps


def template_of(info: Mapping[str, Any], name: str) -> str:
    """Returns one of info.json's templates of paths.

    Raises:
        KeyError: there is none of this name.
        TypeError: it is no text; sets without a video say null.
    """
    template = info[name]
    if not isinstance(template, str):
        raise TypeError(f"{name} {template}, expected a text")
    return template


def check_content(
    root: Path, cameras: Collection[str], episodes: Sequence[Episode], where: str
) -> None:
    """Passes when there is something to decode, and each episode's id is its own and a key's.

    Raises:
        UserError: there is not.
    """
    if not cameras or not episodes:
        raise UserError(
            f"{root}/meta: {len(cameras)} rgb cameras and {len(episodes)} episodes, "
            "expected at least one of each."
        )
    ids = sorted(episode.episode_index for episode in episodes)
    if not 0 <= ids[0] <= ids[-1] <= MAX_EPISODE_INDEX:
        raise UserError(
            f"{root}/{where}: episode ids from {ids[0]} to {ids[-1]}, expected 0 to "
            f"{MAX_EPISODE_INDEX}."
        )
    if duplicates := [str(i) for i, before in zip(ids[1:], ids, strict=False) if i == before]:
        raise UserError(
            f"{root}/{where}: {len(duplicates)} episode ids stand twice: "
            f"{', '.join(duplicates[:10])}. Leave one line of each."
        )
