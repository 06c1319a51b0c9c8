"""pyarrow imports pandas at its first array; neither tasks nor readers of numbers pay for that."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from train_shards.lowdim import column_views

TASK = """
import sys
import numpy as np, pyarrow as pa
from predecode.task_process import leave_out_pandas

leave_out_pandas()
print(pa.array(np.arange(3)).to_numpy().tolist(), "pandas" in sys.modules)
import pandas  # as others may: torch looks whether it is there
"""
READER = """
import sys
import pyarrow as pa
from train_shards.lowdim import column_views

views = column_views(pa.ipc.open_file(pa.memory_map(sys.argv[1])).get_batch(0))
print({name: view.tolist() for name, view in views.items()}, "pandas" in sys.modules)
"""


def said(code: str, *words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_task_has_no_pandas() -> None:
    assert said(TASK) == "[0, 1, 2] False\n"


def test_a_reader_of_numbers_imports_none(tmp_path: Path) -> None:
    pairs = pa.FixedSizeListArray.from_arrays(pa.array([1.5, 2.5, 3.5, 4.5]), 2)
    batch = pa.record_batch([pa.array([7, 8]), pairs], names=["a", "b"])
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    expected = {"a": [7, 8], "b": [[1.5, 2.5], [3.5, 4.5]]}
    assert said(READER, tmp_path / "t.arrow") == f"{expected} False\n"


def test_views_are_read_only_and_not_copied() -> None:
    column = pa.array(np.arange(10.0)).slice(3)
    view = column_views(pa.record_batch([column], names=["a"]))["a"]
    assert view.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert not view.flags.writeable
    assert view.ctypes.data == column.buffers()[1].address + 3 * 8
