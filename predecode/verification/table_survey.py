"""One episode's table, from its footer and its columns of ids and times.

Kinds of findings, all of them faults but ``index-start``, which no reader of ours looks at:

=================== = ==========================================================================
missing-file        F nothing under the path that the metadata name
empty-file          F a file of 0 bytes
unreadable-table    F not parquet, or a column that cannot be read
rows                F more or fewer rows than the episode has frames
columns             F no ``timestamp``, ``observation.state`` or ``action``
timestamp           F a row that is not at its frame's time, so rows are missing or out of order
index               F ``index`` does not rise by one
episode-id          F ``episode_index`` of some row is another episode's
task-id             F ``task_index`` of some row is not that of the episode's sentence
index-start         R ``index`` does not start at 0: the stock format counts over the whole set
=================== = ==========================================================================
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from predecode.errors import EpisodeError
from predecode.source_check import check_rows, read_table_header
from predecode.sources.episode import Episode
from predecode.sources.tables import check_timestamps, read_rows
from predecode.verification.report import Finding
from predecode.verification.source_findings import fault_finding, noting

__all__ = ["same_actions", "survey_table"]

_NEEDED = ("timestamp", "observation.state", "action")
_IDS = ("index", "episode_index", "task_index")


def survey_table(root: Path, episode: Episode) -> tuple[int, str, list[Finding]]:
    """Returns bytes and outline of an episode's table, and every finding.

    Tables of equal outline are alike so far as their footers tell: rows, and for each column but
    times and ids its bytes and its least and largest value. ``same_actions`` tells for certain.
    ``""`` for a table that cannot be read.

    Cost: reads the footer and the columns of times and ids, 2 ms for 1,000 rows.
    """
    findings: list[Finding] = []
    try:
        metadata, file = read_table_header(root, episode)
    except EpisodeError as error:
        return 0, "", [fault_finding("unreadable-table", error.fault)]
    try:
        check_rows(episode, metadata.num_rows)
    except EpisodeError as error:
        findings.append(fault_finding("rows", error.fault))
    note = noting(file.path, episode)
    names = metadata.schema.to_arrow_schema().names
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        expected, got = ", ".join(_NEEDED), f"no {', '.join(missing)}"
        findings.append(note(kind="columns", expected=expected, got=got))
    columns = [name for name in ("timestamp", *_IDS) if name in names]
    start = episode.table.start if episode.table else 0
    num_rows = metadata.num_rows - start
    try:
        table = read_rows(root, episode, num_rows, columns, task_info=False)
        findings += _check_columns(episode, table, note)
    except EpisodeError as error:
        findings.append(fault_finding("unreadable-table", error.fault))
    outline = _outline(metadata) if "action" in names else ""
    return file.num_bytes, outline, findings


def same_actions(root: Path, left: Episode, right: Episode) -> bool:
    """Returns whether two episodes have the same actions, bit for bit.

    Cost: reads the column ``action`` of both.
    """
    if left.num_frames is None or left.num_frames != right.num_frames:
        return False
    try:
        tables = [
            read_rows(root, episode, episode.num_frames or 0, ["action"], task_info=False)
            for episode in (left, right)
        ]
    except EpisodeError:
        return False  # a fault of its own, found by the survey where its cost allows
    return bool(tables[0].equals(tables[1]))


def _check_columns(
    episode: Episode, table: pa.Table, note: "partial[Finding]"
) -> Iterator[Finding]:
    for name in table.column_names:
        kind = table[name].type
        if not (pa.types.is_integer(kind) or (name == "timestamp" and pa.types.is_floating(kind))):
            yield note(kind="columns", expected=f"{name} of numbers", got=str(kind))
            return
    columns = {name: table[name].to_numpy() for name in table.column_names}
    if "timestamp" in columns:
        try:
            check_timestamps(episode, columns["timestamp"])
        except EpisodeError as error:
            yield fault_finding("timestamp", error.fault)
    index = columns.get("index", np.zeros(0))
    if (wrong := np.flatnonzero(np.diff(index) != 1)).size:
        row = int(wrong[0]) + 1
        expected, got = f"index {index[row - 1] + 1:g} in row {row}", f"{index[row]:g}"
        yield note(kind="index", expected=expected, got=got)
    elif index.size and index[0] != 0:
        got = f"{index[0]:g}"
        yield note(kind="index-start", expected="index 0 in row 0", got=got, is_fault=False)
    ids = {"episode_index": episode.episode_index, "task_index": episode.task_index}
    for name, expected_id in ids.items():
        others = np.unique(columns.get(name, np.zeros(0)))
        others = others[others != expected_id]
        if others.size:
            kind = f"{name.removesuffix('_index')}-id"
            got = ", ".join(f"{other:g}" for other in others[:3])
            yield note(kind=kind, expected=f"{name} {expected_id} in every row", got=got)


def _outline(metadata: pq.FileMetaData) -> str:
    facts: list[object] = [metadata.num_rows]
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.path_in_schema not in ("timestamp", *_IDS):
                extremes = column.statistics and (column.statistics.min, column.statistics.max)
                facts.append((column.path_in_schema, column.total_compressed_size, extremes))
    return xxhash.xxh3_128_hexdigest(repr(facts).encode())
