"""What wandb's own file of an off-line run holds: LevelDB's log format, wandb's messages."""

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_BLOCK_BYTES = 32_768
_HEADER_BYTES = 7
_FULL, _LAST = 1, 4


class WandbRun(NamedTuple):
    """A run as its file tells it."""

    project: str
    entity: str
    history: list[dict[str, Any]]


def read_wandb(folder: Path) -> WandbRun:
    """The only run below ``folder``."""
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    (path,) = folder.glob("offline-run-*/run-*.wandb")
    project, entity, history = "", "", []
    for data in _records(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "run":
            project, entity = record.run.project, record.run.entity
        if record.WhichOneof("record_type") == "history":
            items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
            history.append({name: json.loads(value) for name, value in items.items()})
    return WandbRun(project, entity, history)


def _records(data: bytes) -> Iterator[bytes]:
    """Source: LevelDB's log_format.md; wandb puts a header of 7 bytes before the first record."""
    place, parts = _HEADER_BYTES, b""
    while place + _HEADER_BYTES <= len(data):
        if _BLOCK_BYTES - place % _BLOCK_BYTES < _HEADER_BYTES:
            place += _BLOCK_BYTES - place % _BLOCK_BYTES
            continue
        _, num_bytes, kind = struct.unpack_from("<IHB", data, place)
        place += _HEADER_BYTES
        parts += data[place : place + num_bytes]
        place += num_bytes
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
