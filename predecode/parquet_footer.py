"""The footer of a parquet file, which names every page of it: where it lies and how long it is."""

from pathlib import Path

import pyarrow.parquet as pq

__all__ = ["read_footer"]


def read_footer(path: Path, metadata: pq.FileMetaData) -> bytes:
    """Returns the last bytes of a file, from its footer on.

    Source: parquet ends with the footer's length (4 bytes) and ``PAR1``.
    """
    with path.open("rb") as file:
        file.seek(-min(metadata.serialized_size + 8, path.stat().st_size), 2)
        return file.read()
