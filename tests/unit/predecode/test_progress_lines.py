"""Lines of figures: what a kill leaves of one, and their sum over calls."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.progress_lines import (
    PROGRESS_PATH,
    ProgressLine,
    append_line,
    figures_text,
    read_lines,
    total_of,
)


def line(run: str = "vm:1:0", *, elapsed_s: float = 10.0, **fields: object) -> ProgressLine:
    known = {"time_unix_s": 0.0, "phase": "decoding", "unit": "frames", "done": 0, "total": 100}
    return ProgressLine(run=run, elapsed_s=elapsed_s, **{**known, **fields})  # type: ignore[arg-type]


@given(num_left=st.integers(0, 200), num_before=st.integers(0, 3))
def test_a_line_that_was_cut_is_left_out_and_the_next_one_is_whole(
    num_left: int, num_before: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("out")
    wanted = [line(done=number) for number in range(num_before)]
    for one in wanted:
        append_line(out, one)
    whole = (out / PROGRESS_PATH).read_bytes() if wanted else b""
    append_line(out, line(done=98))
    cut = (out / PROGRESS_PATH).read_bytes()[: len(whole) + num_left]
    (out / PROGRESS_PATH).write_bytes(cut)
    assert read_lines(out) == wanted
    append_line(out, line(done=99))
    assert read_lines(out) == [*wanted, line(done=99)]


def test_without_a_file_there_are_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path) == []
    assert total_of([]) is None


def test_the_sum_takes_the_last_line_of_each_call_that_stored_something() -> None:
    lines = [
        line("vm:0:0", phase="checking the source", unit="episodes", num_tasks=7),
        line("vm:1:0", phase="checking the source", unit="episodes", num_tasks=7),
        line("vm:1:0", num_tasks=1, num_samples=100, num_images=300, num_bytes=10),
        line("vm:1:0", elapsed_s=20.0, num_tasks=2, num_samples=200, num_images=600,
             num_bytes=1200, cpu_s=10.0, slot_s=40.0, stages_s={"read": 1.0, "decode": 5.0}),
        line("vm:2:9"),
        line("vm:3:99", elapsed_s=5.0, num_tasks=1, num_samples=50, num_images=150,
             num_bytes=300, cpu_s=5.0, slot_s=5.0, stages_s={"read": 0.5}, num_failures=1),
    ]  # fmt: skip
    total = total_of(lines)
    assert total is not None
    assert (total.num_tasks, total.num_samples, total.num_images) == (3, 250, 750)
    assert (total.elapsed_s, total.frames_per_s, total.images_per_s) == (25.0, 10.0, 30.0)
    assert (total.utilisation, total.stages_s) == (15 / 45, {"read": 1.5, "decode": 5.0})
    assert figures_text(total) == (
        "250 frames, 750 images, 1.5 kB in 25.0 s: 10.0 frames/s, 30.0 images/s; "
        "1 episodes at fault; utilisation 33%; ms an image: read 2.00, decode 6.67"
    )
