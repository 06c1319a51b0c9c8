"""Upstream's order of frames, against a restatement of it in episodes and frames."""

from itertools import islice

import numpy as np
import pytest

from train_shards.errors import UserError
from train_shards.frame_stream import FrameStream
from train_shards.selection import Span
from train_shards.skill_weights import WeightGroup

LENGTHS = {10: 120, 20: 250, 40: 751, 490010: 501}


def spans() -> list[Span]:
    """Episode 40 stands first in the data set, as one of a first generation may."""
    places = {40: 0, 10: 751, 20: 871, 490010: 1121}
    return [Span(e, e // 10000, start, LENGTHS[e], 0, 1) for e, start in places.items()]


def frame_of(position: int) -> tuple[int, int]:
    span = next(s for s in spans() if s.start <= position < s.start + s.num_samples)
    return span.episode_index, position - span.start


def upstream(worker: int, num_workers: int, seed: int, *, shuffle: bool = True) -> list[list[int]]:
    """Source: the fork's assignment of 250-frame pieces to workers of all ranks."""
    pieces = [
        (episode, frame, min(frame + 250, length))
        for episode, length in sorted(LENGTHS.items())
        for frame in range(0, length, 250)
    ]
    mine = [pieces[i] for i in range(worker, len(pieces), num_workers)]
    first = 0
    if shuffle:
        np.random.default_rng(seed + worker).shuffle(mine)
        first = np.random.default_rng(seed + worker).integers(0, len(mine)).item()
    mine = mine[first:] + mine[:first]
    return [[episode, frame] for episode, start, stop in mine for frame in range(start, stop)]


@pytest.mark.parametrize("num_workers", [1, 2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_frames_come_as_upstream_has_them_and_again_from_the_beginning(
    num_workers: int, shuffle: bool
) -> None:
    for worker in range(num_workers):
        stream = FrameStream(
            spans(), seed=42, shuffle=shuffle, worker_index=worker, num_workers=num_workers
        )
        expected = upstream(worker, num_workers, 42, shuffle=shuffle)
        assert len(expected) > 100
        for _ in range(2):
            assert [list(frame_of(stream.next())) for _ in expected] == expected


def test_blocks_of_seed_42_stand_literally() -> None:
    stream = FrameStream(spans(), seed=42, shuffle=True, worker_index=0, num_workers=1)
    frames = [frame_of(stream.next()) for _ in range(1622)]
    blocks = [frame for frame in frames if frame[1] % 250 == 0]
    assert blocks == [
        (40, 250), (10, 0), (490010, 250), (40, 0), (40, 500), (490010, 0), (20, 0), (40, 750),
        (490010, 500),
    ]  # fmt: skip


def test_more_workers_than_blocks_all_have_frames() -> None:
    last = FrameStream(spans(), seed=42, shuffle=True, worker_index=19, num_workers=20)
    assert len({last.next() for _ in range(1622)}) == 1622


def test_a_stored_stride_keeps_the_blocks_of_frames() -> None:
    strided = [Span(10, 0, 0, 101, 0, 3)]  # frames 0, 3, … 300: 84 of them below 250
    stream = FrameStream(strided, seed=1, shuffle=False, worker_index=1, num_workers=2)
    assert [stream.next() for _ in range(17)] == list(range(84, 101))


def test_weights_reject_frames_without_end_of_recursion() -> None:
    groups = [WeightGroup(0.0, [(0, 1621)]), WeightGroup(0.5, [(1621, 1622)])]
    stream = FrameStream(
        spans(), seed=42, shuffle=True, worker_index=0, num_workers=1, groups=groups
    )
    assert {stream.next() for _ in range(3)} == {1621}


def test_a_weight_above_one_makes_the_others_rarer() -> None:
    groups = [WeightGroup(1.0, [(0, 751)]), WeightGroup(4.0, [(751, 1622)])]
    stream = FrameStream(
        spans(), seed=42, shuffle=False, worker_index=0, num_workers=1, groups=groups
    )
    taken = list(islice(iter(stream.next, None), 871 + 150))
    assert 100 < sum(position < 751 for position in taken) < 260


def test_a_worker_whose_frames_weigh_nothing_is_refused() -> None:
    groups = [WeightGroup(0.0, [(0, 1622)])]
    with pytest.raises(UserError, match="every frame of a worker has weight 0"):
        FrameStream(spans(), seed=1, shuffle=True, worker_index=0, num_workers=1, groups=groups)
