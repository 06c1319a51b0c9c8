"""Time of one core by what a few pieces took; the numbers are those of a machine made up here."""

import pytest

from predecode.core_time import Load, core_time, decoded_per_sample, read_time
from predecode.piece_costs import CameraCost, ChoiceCost, MeasureReceipt, PieceCost, TableCost
from predecode.sizing import EpisodeSize

DECODE_S, CONVERT_S = 0.002, 0.001
LOAD = Load(
    num_samples=1000, num_visits=10, num_shards=5, num_rows=3000, num_tables=1, num_episodes=4,
    stride=3,
)  # fmt: skip


def camera_cost(decode_s: float = DECODE_S, spared: float = 0) -> CameraCost:
    """224 pictures of which 6 are converted, then 32 of which each is; 5 frames encoded."""
    return CameraCost(
        open_s=0.1,
        gop=250.0,
        sparse=(224, 6, 224 * decode_s + 6 * CONVERT_S),
        spared=(220, 20, (220 - spared * 200) * decode_s + 20 * CONVERT_S),
        dense=(32, 32, 32 * (decode_s + CONVERT_S)),
        resize_s=5 * 0.003,
        encode_s=5 * 0.004,
        read_s=5 * 0.0005,
    )


def piece_cost(decode_s: float = DECODE_S, spared: float = 0) -> PieceCost:
    return PieceCost(
        num_draws=1,
        num_frames=5,
        open_rows_s=0.05,
        rows_s=5 * 0.0001,
        write_s=5 * 0.0004,
        tar_bytes=5 * 40_000,
        cameras={"head": camera_cost(decode_s, spared)},
        draws=[],
        image_bytes={},
        choices=[
            ChoiceCost(images_bytes=40_000, resize_s=0.003, encode_s=0.004),
            ChoiceCost(images_bytes=80_000, resize_s=0.003, encode_s=0.02),
        ],
    )


def receipt(*pieces: PieceCost) -> MeasureReceipt:
    size = EpisodeSize(num_rows=300, table_bytes=0, instances_bytes=0)
    table = TableCost(size=size, table_s=0.3, check_s=0.05)
    return MeasureReceipt(start_s=0.9, pieces=list(pieces), tables=[table])


def test_decoding_and_conversion_are_told_apart() -> None:
    found = core_time(LOAD, [receipt(piece_cost(), piece_cost())])
    assert {stage.name: pytest.approx(stage.core_s) for stage in found.stages} == {
        "decode": 1000 * (3 * 0.002 + 0.001),  # three pictures are decoded for one that is stored
        "resize": 3.0,
        "encode": 4.0,
        "write": 0.5,
        "open": 10 * 0.15,
        "tables": 3000 * 0.001,
        "check": 4 * 0.05,
        "processes": 7 * 0.9,  # five shards, a table, a check
    }
    assert found.error_s == pytest.approx(0, abs=1e-9)
    assert found.shard_s == pytest.approx(7 + 3 + 4 + 0.5 + 1.5 + 5 * 0.9)


def test_another_encoding_costs_what_it_took() -> None:
    found = {s.name: s.core_s for s in core_time(LOAD, [receipt(piece_cost())], 1).stages}
    assert found["encode"] == pytest.approx(20.0)
    assert found["write"] == pytest.approx(0.1 + 0.8)  # twice the bytes


def test_what_differs_from_piece_to_piece_is_the_error() -> None:
    pieces = [piece_cost(DECODE_S * factor) for factor in (0.5, 0.5, 1.5, 1.5)]
    found = core_time(LOAD, [receipt(*pieces)])
    assert found.stages[0].core_s == pytest.approx(7.0)
    # Of four values, 3 ms about their mean, with a deviation of 3.464 ms: 3.19 * 3.464 / 2.
    assert found.error_s == pytest.approx(5.525, rel=1e-3)


def test_pictures_that_are_left_out_are_not_paid_for() -> None:
    pieces = [piece_cost(spared=0.4), piece_cost(2 * DECODE_S, spared=0.4)]
    found = core_time(LOAD, [receipt(*pieces)])
    # Of three pictures one is wanted; of the time of the other two 0.4 is saved.
    assert found.stages[0].core_s == pytest.approx(1000 * (1.5 * 0.002 * (1 + 2 * 0.6) + 0.001))
    every = core_time(LOAD._replace(stride=1), [receipt(*pieces)])
    assert every.stages[0].core_s == pytest.approx(1000 * (1.5 * 0.002 + 0.001))


def test_shards_are_made_in_rounds() -> None:
    found = core_time(LOAD, [receipt(piece_cost())])
    rest_s = found.core_s - found.shard_s
    assert found.wall_s(LOAD, 1) == pytest.approx(found.core_s)
    assert found.wall_s(LOAD, 2) == pytest.approx(found.shard_s * 3 / 5 + rest_s / 2)
    assert found.wall_s(LOAD, 100) == pytest.approx(found.shard_s / 5 + rest_s / 100)


def test_reading_on_line_decodes_what_lies_between() -> None:
    found = read_time([receipt(piece_cost())], stride=3)
    assert found.shard_s == pytest.approx(0.0005)
    assert found.in_order_s == pytest.approx(3 * 0.002 + 0.001 + 0.003)
    assert found.at_random_s == pytest.approx(125.5 * 0.002 + 0.001 + 0.003)


@pytest.mark.parametrize(
    ("stride", "gop", "expected"),
    [
        (1, 250.0, 1.0),
        (250, 250.0, 250.0),
        (500, 250.0, 125.5),
        (375, 250.0, (375 + 125.5) / 2),
        (1, 1.0, 1.0),
        (6, 1.0, 1.0),
        (6, 2.0, 1.5),
    ],
)
def test_keyframes_near_each_other_let_pictures_be_skipped(
    stride: int, gop: float, expected: float
) -> None:
    assert decoded_per_sample(stride, gop) == pytest.approx(expected)
