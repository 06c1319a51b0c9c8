"""What a plan will take, against what it took; and free space against it, before anything runs."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from predecode.child import Limits
from predecode.cluster import InProcess
from predecode.errors import UserError
from predecode.estimate import Amount, Estimate, most_bytes
from predecode.free_space import Unwritten, amount_of, check_free_space, measure
from predecode.injection import VARIABLE
from predecode.isolation import run_isolated
from predecode.output import jobs_of, load_plans
from predecode.pipeline import ShardJob
from predecode.sources.registry import open_source
from predecode.tasks import run_task
from tests.support.jobs import Silent, command_here, fingerprint, run_here
from tests.support.mounts import mounted, remount

pytestmark = [pytest.mark.slow, pytest.mark.faults]

EPISODES = "00490010,00490040"
RUN = ("--src", "b1k", "--episodes", EPISODES, "--size", "64", "--shard-size", "256")
"""591 frames in three shards, 9 MB."""


def unwritten(root: Path, out: Path, empty: Path) -> Unwritten:
    """All of an output's plan, as if it were to be made in an empty folder."""
    (plan,) = load_plans(out)
    empty.mkdir(exist_ok=True)
    return Unwritten(empty, open_source("b1k", root), [plan], jobs_of(empty, plan), set(), plan)


def estimated(todo: Unwritten) -> tuple[Amount, Estimate]:
    amount = amount_of(todo)
    found = measure(todo, amount, InProcess(), run_task)
    assert found is not None
    return amount, found


def written(out: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in out.glob(pattern) if path.is_file())


@pytest.mark.parametrize(
    ("root", "out"),
    [("b1k_root", "jpeg_shards"), ("modal_root", "modal_shards"), ("root_2026", "shards_2026")],
)
def test_an_estimate_is_what_a_run_then_writes(
    request: pytest.FixtureRequest, tmp_path: Path, root: str, out: str
) -> None:
    made: Path = request.getfixturevalue(out)
    todo = unwritten(request.getfixturevalue(root), made, tmp_path / "empty")
    amount, found = estimated(todo)
    assert amount.ledger_bytes == written(made, ".predecode/ledger/*")
    assert amount.index_bytes == written(made, ".predecode/index/*")
    assert amount.plan_bytes == written(made, ".predecode/plan-*")
    of = {part.name: part.num_bytes for part in found.parts}
    tars = of["pictures"] + of["rows, headers"] + of["ends of tars"]
    assert tars == pytest.approx(written(made, "data/*/*.tar"), rel=0.04)
    assert of["tables"] == pytest.approx(written(made, "lowdim/*"), rel=0.08)
    assert of["metadata"] + of["instances"] == pytest.approx(written(made, "meta/**/*"), rel=0.04)
    everything = written(made, "**/*")
    assert found.num_bytes == pytest.approx(everything, rel=0.04)
    assert abs(found.num_bytes - everything) < found.error_bytes
    assert found.error_bytes < everything / 2
    most = most_bytes(amount, todo.plans[0].settings)
    assert most is None or most > everything


def test_raw_pictures_are_told_exactly(b1k_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    run_here(b1k_root, out, episodes="00490040", size="32", codec="raw")
    _, found = estimated(unwritten(b1k_root, out, tmp_path / "empty"))
    pictures, rest = found.parts[:2]
    # 90 samples of three pictures: 128 bytes of numpy's header, 32 rows of 32 pixels; of a tar
    # three headers of 512 bytes and 384 of padding each, and a row with its header.
    assert tuple(pictures) == ("pictures", 90 * 3 * (128 + 32 * 32 * 3), 0)
    assert tuple(rest) == ("rows, headers", 90 * (3 * (512 + 384) + 1024), 0)
    assert 0 <= written(out, "data/*/*.tar") - pictures.num_bytes - rest.num_bytes <= 10_240 + 1024


def test_what_stands_is_not_counted_again(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path
) -> None:
    todo = unwritten(b1k_root, jpeg_shards, tmp_path / "empty")
    half = todo.jobs[len(todo.jobs) // 2 :]
    left = todo._replace(jobs=half, published={todo.plans[0].digest}, new_plan=None)
    shutil.copytree(jpeg_shards / "meta", tmp_path / "empty" / "meta")
    amount = amount_of(left)
    assert amount.num_samples == sum(
        job.task.num_samples for job in half if isinstance(job, ShardJob)
    )
    assert 0 < amount.num_samples < amount_of(todo).num_samples
    assert (amount.index_bytes, amount.metadata_bytes, amount.plan_bytes) == (0, 0, 0)


class _Free:
    """A disk with so much room."""

    def __init__(self, free: float) -> None:
        self.free = free


def notes_with(todo: Unwritten, free: float, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(shutil, "disk_usage", lambda _: _Free(free))
    display = Silent()
    check_free_space(todo, InProcess(), run_task, display)
    return display.notes


def test_it_refuses_only_what_surely_has_no_room(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = unwritten(b1k_root, jpeg_shards, tmp_path / "empty")
    _, found = estimated(todo)
    least, most = found.num_bytes - found.error_bytes, found.num_bytes + found.error_bytes
    with pytest.raises(UserError, match=r"not enough room: about .* MB, at least .* are free"):
        notes_with(todo, least - 1, monkeypatch)
    with pytest.raises(UserError, match=r"Make room, then the same command goes on\.$"):
        notes_with(todo._replace(new_plan=None), 1000, monkeypatch)
    for free in (least + 1, most - 1):
        (note,) = notes_with(todo, free, monkeypatch)
        assert note.startswith("free space may not be enough: about ")
    assert notes_with(todo, most + 1, monkeypatch) == []


def test_where_even_uncompressed_pictures_fit_nothing_is_decoded(
    b1k_root: Path, jpeg_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class _NoTasks(InProcess):
        def run(self, task: Any, payloads: Sequence[Any], report: Any) -> NoReturn:
            raise AssertionError(task, payloads, report)

    todo = unwritten(b1k_root, jpeg_shards, tmp_path / "empty")
    most = most_bytes(amount_of(todo), todo.plans[0].settings)
    assert most is not None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Free(most))
    check_free_space(todo, _NoTasks(), run_task, Silent())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Free(most - 1))
    with pytest.raises(AssertionError):
        check_free_space(todo, _NoTasks(), run_task, Silent())


def test_a_run_without_room_is_refused_before_it_writes_and_goes_on_with_room(
    b1k_root: Path, tmp_path: Path
) -> None:
    words = ("run", *RUN, "--root", b1k_root, "--num-cpus", "1", "--out")
    with mounted(tmp_path / "disk", "size=3m") as disk:
        out = disk / "shards"
        done = command_here(*words, out)
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"error: --out {out}: not enough room: about " in done.stderr
        assert "or fewer --tasks. Nothing was written." in done.stderr
        assert [path for path in out.rglob("*") if path.is_file()] == []
        remount(disk, "size=64m")
        done = command_here(*words, out)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "room" not in done.stderr
        made = fingerprint(out)
        # A resumed run needs room for what is missing, not for all.
        tar = out / "data/train/b1k-train-000001.tar"
        missing = tar.stat().st_size
        tar.unlink()
        remount(disk, f"size={(shutil.disk_usage(disk).used + missing + 800_000) // 1024}k")
        done = command_here(*words, out)
        assert done.returncode == 0, done.stdout + done.stderr
        assert fingerprint(out) == made


@pytest.mark.parametrize("is_once", [False, True])
def test_native_code_that_dies_over_the_sample_stops_no_run(
    b1k_root: Path,
    jpeg_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_once: bool,
) -> None:
    todo = unwritten(b1k_root, jpeg_shards, tmp_path / "empty")
    once = f",once={tmp_path / 'died'}" if is_once else ""
    monkeypatch.setenv(VARIABLE, f"segv:stage=size{once}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Free(1_000_000))
    display, work = Silent(), partial(run_isolated, limits=Limits())
    if is_once:  # what is left of the sample says enough
        with pytest.raises(UserError, match="not enough room: about"):
            check_free_space(todo, InProcess(), work, display)
        assert (tmp_path / "died").exists()
    else:
        check_free_space(todo, InProcess(), work, display)
        (note,) = display.notes
        assert note.startswith("free space not compared with the plan: no picture")
        assert "1.0 MB free" in note
