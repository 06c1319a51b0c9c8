"""The line that says what feeds a run, and the places that are computed from it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shards.errors import UserError
from train_shards.feed_line import FeedLine, last_before


def line(**changes: Any) -> FeedLine:
    plain = FeedLine(
        data="shards", source="/data/shards", manifest="0123456789ab", samples=340, order="global",
        seed=42, tail="drop", batch=32, step=0, epoch=0, consumed=0,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def test_the_line_says_what_feeds_the_run() -> None:
    assert line(step=12, epoch=1, consumed=64).text(rank=0, world_size=2) == (
        "predecode: data=shards shards=/data/shards manifest=0123456789ab samples=340 order=global "
        "seed=42 sampler=ResumableSampler rank=0/2 epoch=1 consumed=64 step=12 batch=32 tail=drop"
    )
    online = line(data="online", source="/data/b 1k", backend="pyav").text(rank=0, world_size=1)
    assert online.startswith("predecode: data=online root='/data/b 1k' backend=pyav manifest=")


@given(
    source=st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" '=\"")),
    numbers=st.tuples(*[st.integers(0, 2**40)] * 6),
    tail=st.sampled_from(["drop", "pad"]),
    order=st.sampled_from(["global", "block(1024,16)", "weights a=1"]),
)
def test_a_line_reads_back_as_it_was_written(
    source: str, numbers: tuple[int, ...], tail: str, order: str
) -> None:
    names = ("samples", "seed", "batch", "step", "epoch", "consumed")
    written = line(
        source=f"/{source}", tail=tail, order=order, **dict(zip(names, numbers, strict=True))
    )
    assert FeedLine.parse(written.text(rank=0, world_size=8), where="f") == written


@given(
    samples=st.integers(1, 60),
    batch=st.integers(1, 20),
    consumed=st.integers(0, 60),
    first=st.integers(0, 50),
    steps=st.integers(0, 30),
    tail=st.sampled_from(["drop", "pad"]),
)
def test_a_place_is_where_the_steps_lead(
    samples: int, batch: int, consumed: int, first: int, steps: int, tail: str
) -> None:
    batch, consumed = min(batch, samples), min(consumed, samples)
    start = line(samples=samples, batch=batch, consumed=consumed, step=first, epoch=3, tail=tail)
    # Step by step, as a trainer goes: a pass ends where no batch can be had any more.
    least = batch if tail == "drop" else 1
    epoch, taken = 3, consumed
    for _ in range(steps):
        if samples - taken < least:
            epoch, taken = epoch + 1, 0
        taken += batch
    if samples - taken < least:
        epoch, taken = epoch + 1, 0
    assert start.place(first + steps) == (epoch, taken)


def test_the_last_start_at_or_before_a_step_counts(tmp_path: Path) -> None:
    path = tmp_path / "predecode_feed.txt"
    assert last_before(path, 100) is None
    starts = [line(step=0), line(step=100, batch=64), line(step=50, batch=16), line(step=80)]
    text = "".join(start.text(rank=0, world_size=1) + "\n" for start in starts)
    path.write_text("something else\n" + text + "predecode: data=sha")
    assert [last_before(path, step) for step in (49, 79, 80, 200)] == [
        starts[0], starts[2], starts[3], starts[3],
    ]  # fmt: skip


@pytest.mark.parametrize("cut", ["tail=drop", "batch=32", "seed=", "manifest="])
def test_a_damaged_line_is_refused(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "predecode_feed.txt"
    path.write_text(line().text(rank=0, world_size=1).replace(cut, "") + "\n")
    with pytest.raises(UserError, match=r"predecode_feed\.txt: not a line .* Remove it\."):
        last_before(path, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("manifest", "ba9876543210"), ("samples", 341), ("order", "none"), ("seed", 1)],
)
def test_going_on_with_another_order_is_refused(field: str, value: Any) -> None:
    earlier = line()
    line(batch=16, step=9).check_same(earlier, where="f")
    with pytest.raises(UserError, match=rf"f: {field} .* at step 0, this run has {value!r}"):
        line(**{field: value}).check_same(earlier, where="f")
