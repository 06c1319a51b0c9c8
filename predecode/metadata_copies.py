"""The copies of a source's metadata in an output, without what they say of some episodes.

Knows metadata by their shape, not by their source: lines and rows with an ``episode_index``, and
files of one episode, which a row's ``annotation_path`` or else their own name gives to it.
"""

import glob
import io
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from predecode.errors import DataError
from predecode.receipts import TEMPORARY_FOLDER
from train_shards.format import check_relative_path
from train_shards.storage import write_atomic

__all__ = ["prune_metadata", "without_episodes"]

_FOLDER = "meta"
_ID, _ANNOTATION = "episode_index", "annotation_path"
_NAME = re.compile(r"episode_(\d+)")
"""Source: BEHAVIOR-1K's names of annotations, orchestrators and subtasks."""


def without_episodes(path: str, data: bytes, episodes: Collection[int]) -> bytes:
    """Returns a metadata file without its lines or rows about ``episodes``; equal if it has none.

    Args:
        path: of the file; its extension tells what it is.
        data: its content.
        episodes: ``episode_index`` of each.

    Raises:
        DataError: not what the extension says.
    """
    if not episodes or not path.endswith((".jsonl", ".parquet")):
        return data
    try:
        if path.endswith(".parquet"):
            return _without_rows(data, episodes)
        lines = data.splitlines(keepends=True)
        kept = [line for line in lines if not line.strip() or _id(line) not in episodes]
    except (pa.ArrowException, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be freed of episodes: {error}") from error
    return b"".join(kept)


def prune_metadata(out: Path, episodes: Collection[int]) -> None:
    """Removes from an output's copies what is about ``episodes``, files and lines.

    Raises:
        DataError: a copy is not what its name says.

    Cost: reads every table of episodes in ``meta/``.
    """
    if not episodes:
        return
    # Files first: a table's rows tell which they are.
    for path in list(_files_of(out, episodes)):
        path.unlink(missing_ok=True)
    for path in sorted((out / _FOLDER).rglob("*")):
        if path.suffix in (".jsonl", ".parquet") and path.is_file():
            data = path.read_bytes()
            kept = without_episodes(path.name, data, episodes)
            if kept != data:
                write_atomic(path, kept, out / TEMPORARY_FOLDER)
    _remove_empty(out / _FOLDER)


def _files_of(out: Path, episodes: Collection[int]) -> Iterator[Path]:
    """Copies that are about one of these episodes alone."""
    has_rows = False
    for path in sorted((out / _FOLDER).rglob("*.parquet")):
        names = pq.read_schema(path).names
        if _ID in names and _ANNOTATION in names:
            has_rows = True
            for row in pq.read_table(path, columns=[_ID, _ANNOTATION]).to_pylist():
                if row[_ID] in episodes and row[_ANNOTATION]:
                    name = check_relative_path(str(row[_ANNOTATION]), what=f"{path}: {_ANNOTATION}")
                    yield from _of_name(out, name)
    if has_rows:
        return  # names hold ids of another numbering there
    for path in sorted((out / _FOLDER).rglob("*")):
        parts = path.relative_to(out / _FOLDER).with_suffix("").parts
        ids = [int(match[1]) for part in parts if (match := _NAME.fullmatch(part))]
        if path.is_file() and any(number in episodes for number in ids):
            yield path


def _of_name(out: Path, annotation: str) -> Iterator[Path]:
    """The copy of an annotation, and the files of its name in the folders beside it."""
    copy = annotation.removeprefix(f"{_FOLDER}/")
    yield out / _FOLDER / copy
    name = glob.escape("/".join(PurePosixPath(copy).with_suffix("").parts[1:]))
    for pattern in (f"*/{name}.json", f"*/{name}/*"):
        yield from sorted((out / _FOLDER).glob(pattern))


def _without_rows(data: bytes, episodes: Collection[int]) -> bytes:
    table = pq.read_table(io.BytesIO(data))
    if _ID not in table.column_names:
        return data
    is_gone = pc.is_in(table[_ID], pa.array(sorted(episodes), table.schema.field(_ID).type))
    if not pc.any(is_gone).as_py():
        return data
    file = io.BytesIO()
    pq.write_table(table.filter(pc.invert(is_gone)), file)
    return file.getvalue()


def _id(line: bytes) -> object:
    row = json.loads(line)
    return row.get(_ID) if isinstance(row, dict) else None


def _remove_empty(folder: Path) -> None:
    """Removes folders below ``folder`` that hold nothing any more."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
