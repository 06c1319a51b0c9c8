"""Skills over frames: which bars there are, and where they stand."""

from hypothesis import given
from hypothesis import strategies as st

from predecode.inspection.timeline import timeline
from train_shards.prompts import Segment


def test_a_skill_stands_where_its_frames_are_and_keeps_its_colour() -> None:
    skills = [Segment(0, 25, "reach"), Segment(25, 50, "grasp"), Segment(75, 100, "reach")]
    line = timeline(skills, 100)
    assert [(bar.x, bar.width, bar.y, bar.colour) for bar in line.bars] == [
        (0.0, 250.0, 0, 0), (250.0, 250.0, 0, 1), (750.0, 250.0, 0, 0),
    ]  # fmt: skip
    assert line.legend == [("reach", 0, ["0 to 25", "75 to 100"]), ("grasp", 1, ["25 to 50"])]
    assert (line.width, line.height, line.num_unshown) == (1000, 18, 0)


def test_frames_beyond_the_episode_are_said_and_not_drawn() -> None:
    (bar,) = timeline([Segment(-5, 500, "reach")], 100).bars
    assert (bar.x, bar.width) == (0.0, 1000.0)


def test_many_segments_are_cut_and_counted() -> None:
    line = timeline([Segment(n, n + 1, f"skill {n}") for n in range(100)], 100)
    assert (len(line.bars), len(line.legend), line.num_unshown) == (80, 80, 20)
    assert {bar.colour for bar in line.bars} == set(range(8))


ranges = st.tuples(st.integers(0, 90), st.integers(1, 30)).map(lambda r: (r[0], r[0] + r[1]))


@given(st.lists(ranges, max_size=30))
def test_no_two_bars_lie_on_each_other(found: list[tuple[int, int]]) -> None:
    line = timeline([Segment(*frames, "x") for frames in sorted(found)], 130)
    assert len(line.bars) == len(found)
    for number, one in enumerate(line.bars):
        assert one.y + 16 <= line.height
        for other in line.bars[:number]:
            apart = one.x + 0.1 >= other.x + other.width or other.x + 0.1 >= one.x + one.width
            assert one.y != other.y or apart
