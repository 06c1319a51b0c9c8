"""How long a Matroska or WebM file says that it is.

libav reads a Matroska file that was cut short as one that merely ends earlier; its header knows
better. Imports neither av nor anything that decodes.
"""

from pathlib import Path
from typing import BinaryIO

__all__ = ["promised_bytes"]

_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067


def promised_bytes(path: Path) -> int | None:
    """Return the size that the file should have by the header of its first segment, in bytes.

    None where the file is no Matroska file, or was written without knowing its length.

    Source: RFC 8794 (EBML), sections 4 to 6: element IDs and sizes, "unknown" sizes; RFC 9559
    (Matroska), section 5.1: the segment holds everything after the EBML header.

    Raises:
        OSError: the file cannot be opened or read.

    Cost:
        Reads at most 24 bytes.
    """
    with path.open("rb") as file:
        if _read_number(file, is_id=True) != _EBML:
            return None
        header_bytes = _read_number(file, is_id=False)
        if header_bytes is None:
            return None
        file.seek(header_bytes, 1)
        if _read_number(file, is_id=True) != _SEGMENT:
            return None
        segment_bytes = _read_number(file, is_id=False)
        return None if segment_bytes is None else file.tell() + segment_bytes


def _read_number(file: BinaryIO, *, is_id: bool) -> int | None:
    """Return an EBML number of 1 to 8 bytes; None at the end of the file, or for "unknown".

    The zeros before the first one bit tell the length; that bit is a part of IDs, not of sizes.
    """
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    data = first + file.read(length - 1)
    if len(data) < length:
        return None
    value = int.from_bytes(data, "big")
    if is_id:
        return value
    mask = (1 << 7 * length) - 1
    return None if value & mask == mask else value & mask
