"""What is told of an output by what lies in it; running and killed ones stand in the e2e tests."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from predecode.cli import main
from predecode.errors import EpisodeFault, UserError
from predecode.lock import LOCK_PATH, OutputLock, myself
from predecode.places import LocalPlace
from predecode.progress_lines import ProgressLine, append_line
from predecode.receipts import LowdimReceipt, read_receipt, write_receipt
from predecode.status import Status, status_of
from tests.support.synthetic_plan import synthetic_episodes, synthetic_plan, write_as_if_done
from train_shards.format import MANIFEST_PATH

GOLDEN = Path(__file__).parents[2] / "golden/v1.2"


def look(out: Path) -> Status:
    return status_of(LocalPlace(out))


@pytest.fixture
def unpublished(tmp_path: Path) -> Path:
    """Every task has its receipt, and nothing is published."""
    write_as_if_done(tmp_path, synthetic_plan(synthetic_episodes(10, 50)))
    return tmp_path


def test_receipts_are_counted_and_faults_in_them(unpublished: Path) -> None:
    whole = look(unpublished)
    num_shards = len(list((unpublished / ".predecode/ledger").glob("*.npy")))
    num_tables = len(list((unpublished / "lowdim").glob("*.arrow")))
    assert (whole.state, whole.num_tasks_done) == ("stopped", num_shards + num_tables)
    assert whole.num_samples_done == whole.num_samples > 0
    assert whole.num_bytes == 10_240 * (num_shards + num_tables)
    assert whole.quarantined == []

    next((unpublished / ".predecode/receipts").glob("*-train-000000.json")).unlink()
    table = next((unpublished / "lowdim").glob("*.arrow")).stem
    digest = json.loads((unpublished / ".predecode/plan-000000.json").read_text())["digest"]
    receipt = read_receipt(unpublished, table, digest, LowdimReceipt)
    assert receipt is not None
    fault = EpisodeFault(episode_index=0, path="p", problem="short", expected="2", got="1")
    write_receipt(unpublished, table, msgspec.structs.replace(receipt, faults=[fault]))
    less = look(unpublished)
    assert (less.num_tasks, less.num_tasks_done) == (whole.num_tasks, whole.num_tasks - 1)
    assert less.num_samples_done < less.num_samples
    assert (less.quarantined, less.num_episodes) == ([0], 10)


def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "out"))


def test_a_published_output_is_told_by_its_manifest(tmp_path: Path) -> None:
    out = golden(tmp_path)
    manifest = json.loads((out / MANIFEST_PATH).read_text())
    shutil.rmtree(out / ".predecode/receipts")
    told = look(out)
    totals = manifest["totals"]
    assert told.num_bytes == totals["num_shard_bytes"] + totals["num_lowdim_bytes"]
    assert told.num_tasks_done == told.num_tasks > 0
    assert (told.state == "complete") is manifest["complete"]
    assert told.quarantined == [missing["episode_index"] for missing in manifest["missing"]]

    (out / MANIFEST_PATH).write_text(json.dumps({
        **manifest, "complete": False,
        "missing": [{"episode_index": 10, "task_index": 0, "ranges": [[0, 5]]}],
    }))  # fmt: skip
    told = look(out)
    assert (told.state, told.quarantined) == ("incomplete", [10])


@pytest.mark.parametrize(
    ("change", "state", "text"),
    [
        ({}, "running", "running: process"),
        ({"process_start": "1"}, "killed", "is gone. To go on: "),
        ({"host": "else\x1bwhere"}, "elsewhere", "host else?where, "),
        (None, "elsewhere", "process 0 of host ?"),
    ],
)
def test_the_lock_says_who_works(
    change: dict[str, str] | None, state: str, text: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = golden(tmp_path)
    lock = b"" if change is None else json.dumps({**json.loads(myself()), **change}).encode()
    (out / LOCK_PATH).write_bytes(lock)
    assert look(out).state == state
    with pytest.raises(SystemExit) as ended:
        main(["status", str(out)])
    assert ended.value.code == 1
    assert text in capsys.readouterr().out


def test_lines_of_the_run_at_work_tell_rate_and_time_left(tmp_path: Path) -> None:
    with OutputLock(tmp_path):
        holder = json.loads((tmp_path / LOCK_PATH).read_text())
        run = f"{holder['host']}:{holder['pid']}:5"
        line = ProgressLine(
            run="elsewhere:1:2", time_unix_s=0.0, phase="checking the source", unit="episodes",
            done=40, total=100, elapsed_s=20.0,
        )  # fmt: skip
        append_line(tmp_path, line)
        assert look(tmp_path).last is None
        append_line(tmp_path, msgspec.structs.replace(line, run=run))
        told = look(tmp_path)
    assert (told.state, told.left_s, told.num_tasks) == ("running", 30.0, 0)
    assert told.last is not None
    assert told.last.run == run


def test_where_nothing_is_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no output of predecode"):
        look(tmp_path / "nothing")
