"""Where a sample is taken, and what is said of the whole by it."""

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.estimate import (
    LIKELY,
    Amount,
    Estimate,
    Part,
    choose_looks,
    draw_pieces,
    estimate,
)
from predecode.piece_costs import PieceLook
from predecode.planning import Piece
from predecode.sizing import EpisodeSize, SampleSize
from tests.support.stored import settings_of
from tests.support.synthetic_index import write_synthetic_index
from train_shards.index import index_bytes

NOTHING = Amount(
    num_samples=0, num_shards=0, num_rows=0, num_tables=0, num_episodes=0, parquet_bytes=0,
    ledger_bytes=0, index_bytes=0, metadata_bytes=0, plan_bytes=0,
)  # fmt: skip


def pieces(num_episodes: int, num_pieces: int) -> list[Piece]:
    return [
        Piece(e, n * 256, n * 256 + 256, 256)
        for e in range(num_episodes)
        for n in range(num_pieces)
    ]


def test_a_sample_is_of_as_many_episodes_as_can_be() -> None:
    settings = settings_of(cameras={"head": "h", "left_wrist": "l", "right_wrist": "r"})
    looks = choose_looks(pieces(100, 50), settings)
    assert len({look.piece.episode_index for look in looks}) == len(looks) == 8
    assert looks == choose_looks(reversed(pieces(100, 50)), settings)
    assert looks != choose_looks(pieces(100, 50), settings_of(cameras=settings.cameras, seed=1))


def test_where_episodes_are_few_it_is_of_more_pieces_then_of_more_frames() -> None:
    settings = settings_of(cameras={"head": "h", "left_wrist": "l", "right_wrist": "r"})
    looks = choose_looks(pieces(2, 50), settings)
    assert len({look.piece for look in looks}) == 8
    assert {look.piece.episode_index for look in looks} == {0, 1}
    looks = choose_looks(pieces(1, 3), settings)
    assert [look.number for look in looks] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(set(looks)) == 8
    assert choose_looks([], settings) == []


def test_of_many_cameras_it_is_never_below_four_samples() -> None:
    cameras = {f"c{number}": "key" for number in range(9)}
    assert len(choose_looks(pieces(9, 9), settings_of(cameras=cameras))) == 4


def drawn(given: list[Piece], num_frames: int, stride: int = 1) -> list[PieceLook]:
    tasks = {piece.episode_index: piece.episode_index // 10 for piece in given}
    return draw_pieces(given, tasks, settings_of(stride=stride), num_frames)


def test_draws_fall_on_tasks_and_positions_by_their_share() -> None:
    looks = drawn(pieces(100, 50), 200)
    assert [look.num_draws for look in looks] == [1] * 40
    assert Counter(look.piece.episode_index // 10 for look in looks) == dict.fromkeys(range(10), 4)
    assert Counter(look.piece.start // (256 * 25) for look in looks) == {0: 20, 1: 20}
    assert looks == drawn(pieces(100, 50)[::-1], 200)


def test_a_piece_that_is_long_is_drawn_as_often_as_it_is_long() -> None:
    long, short = Piece(0, 0, 9000, 9000), Piece(10, 0, 1000, 1000)
    first, second = drawn([long, short], 100)
    assert (first.num_draws, second.num_draws) == (18, 2)
    assert (len(first.frames), len(second.frames)) == (90, 10)


@given(
    lengths=st.lists(st.integers(1, 600), min_size=1, max_size=30),
    num_frames=st.integers(1, 300),
    stride=st.integers(1, 9),
)
def test_draws_are_of_stored_frames_and_as_many_as_there_can_be(
    lengths: list[int], num_frames: int, stride: int
) -> None:
    given_pieces = [Piece(e, 0, n, len(range(0, n, stride))) for e, n in enumerate(lengths)]
    total = sum(piece.num_samples for piece in given_pieces)
    looks = drawn(given_pieces, num_frames, stride)
    assert sum(look.num_draws for look in looks) == min(total, -(-num_frames // 5))
    for look in looks:
        assert look.frames == sorted(set(look.frames))
        assert all(frame % stride == 0 for frame in look.frames)
        assert 0 <= look.frames[0] <= look.frames[-1] < look.piece.stop
        assert len(look.frames) % look.num_draws == 0
        assert len(look.frames) <= 5 * look.num_draws


def test_the_whole_is_the_mean_so_many_times_with_students_error() -> None:
    samples = [SampleSize(images, 2000) for images in (9000, 10_000, 10_000, 11_000)]
    amount = NOTHING._replace(num_samples=1000)
    found = estimate(amount, samples, [], is_sized=True)
    # Of four values with a deviation of 816.5: 5.84 * 816.5 / 2 on each side.
    assert tuple(found.parts[0]) == ("pictures", 10_000_000, pytest.approx(2_384_000, rel=1e-3))
    assert tuple(found.parts[1]) == ("rows, headers", 2_000_000, 0)
    likely = estimate(amount, samples, [], is_sized=True, student=LIKELY)
    assert likely.parts[0].error_bytes == pytest.approx(3.19 * 816.5 / 2 * 1000, rel=1e-3)
    frames_between = estimate(amount, samples, [], is_sized=False)
    assert frames_between.parts[0].error_bytes == pytest.approx(
        math.hypot(2_384_000, 500_000), rel=1e-3
    )


def test_one_value_says_nothing_of_the_others() -> None:
    amount = NOTHING._replace(num_samples=10, num_rows=100)
    found = estimate(amount, [SampleSize(7, 3)], [EpisodeSize(50, 5000, 0)], is_sized=True)
    named = {part.name: part for part in found.parts}
    assert tuple(named["pictures"]) == ("pictures", 70, 70)
    assert tuple(named["tables"]) == ("tables", 10_000, 10_000)


def test_errors_of_parts_are_independent() -> None:
    found = Estimate((Part("one", 10, 3), Part("two", 20, 4), Part("three", 5)))
    assert (found.num_bytes, found.error_bytes) == (35, 5)


@pytest.mark.parametrize(("num_episodes", "num_rows"), [(1, 1), (3, 700), (2, 5000)])
def test_an_index_has_the_bytes_that_are_told(
    tmp_path: Path, num_episodes: int, num_rows: int
) -> None:
    path = tmp_path / "index"
    write_synthetic_index(
        path, num_episodes=num_episodes, frames_per_episode=num_rows, samples_per_shard=512
    )
    assert index_bytes(num_episodes, num_episodes * num_rows, 4) == path.stat().st_size
