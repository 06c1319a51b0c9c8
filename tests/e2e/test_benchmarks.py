"""The benchmark of reading runs, and every variant reads the same samples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OURS = {"ours, item", "ours, batch", "ours, batch, 2 threads"}
FLOORS = {"floor", "floor, 2 threads"}


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_every_variant_delivers_every_sample(tmp_path: Path, codec: str) -> None:
    out = tmp_path / "read.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.read", "--peers", "none", "--rounds", "1",
            "--episodes", "10", "--codec", codec, "--work", tmp_path / "work", "--out", out,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert set(result) == {
        "command", "date", "machine", "codec", "rounds", "variants", "not_installed", "rows",
    }  # fmt: skip
    assert set(result["variants"]) == OURS | FLOORS
    found = {(row["variant"], row["order"], row["num_workers"]) for row in result["rows"]}
    orders = {(order, num) for order in ("in order", "random") for num in (0, 2)}
    assert found == {(name, *one) for name in OURS | FLOORS for one in orders}
    assert len(result["rows"]) == 20
    assert {row["num_samples"] for row in result["rows"]} == {120}
    assert len({row["ids_sha256"] for row in result["rows"]}) == 1
    for row in result["rows"]:
        assert row["samples_per_s"]["min"] > 0
        assert row["cpu_ms"]["min"] > 0
        if row["variant"] in FLOORS:
            assert row["samples_per_s"]["ratio_to_floor"] == 1
        assert row["variant"] in done.stderr
