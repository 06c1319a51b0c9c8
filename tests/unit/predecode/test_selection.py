"""Which episodes and frames are asked for: literals, properties, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.selection import held_out, select_episodes, selected_frames
from predecode.sources.episode import Episode
from train_shards.errors import UserError

NAMES = {"turning_on_radio": 0, "hiding_Easter_eggs": 6}


def episode(episode_index: int, task_index: int) -> Episode:
    return Episode(
        episode_index=episode_index,
        task_index=task_index,
        task="",
        num_frames=None,
        fps=None,
        videos={},
        table=None,
    )


EPISODES = [
    *(episode(index, 0) for index in (10, 20, 40, 70)),
    *(episode(index, 6) for index in (60010, 60020)),
    episode(490010, 49),
]


def chosen(tasks: str | None = None, positions: str | None = None) -> list[int]:
    return [e.episode_index for e in select_episodes(EPISODES, tasks, positions, NAMES)]


@pytest.mark.parametrize(
    ("start", "stop", "stride", "expected"),
    [
        (0, 5, 1, [0, 1, 2, 3, 4]),
        (0, 7, 3, [0, 3, 6]),
        (4, 11, 3, [6, 9]),  # the grid is the episode's, not the piece's
        (4, 6, 3, []),
        (6, 7, 3, [6]),
        (5, 5, 1, []),
    ],
)
def test_frames_of_a_stride(start: int, stop: int, stride: int, expected: list[int]) -> None:
    assert list(selected_frames(start, stop, stride)) == expected


@pytest.mark.parametrize(
    ("tasks", "positions", "expected"),
    [
        (None, None, [10, 20, 40, 70, 60010, 60020, 490010]),
        ("0", None, [10, 20, 40, 70]),
        ("6, 49", None, [60010, 60020, 490010]),
        ("turning_on_radio", None, [10, 20, 40, 70]),
        ("hiding_Easter_eggs,49", None, [60010, 60020, 490010]),
        (None, "0", [10, 60010, 490010]),  # the first of each task
        (None, "1-2", [20, 40, 60020]),
        ("0", "1-2", [20, 40]),
        (None, "00060020", [60020]),
        ("0", "3,00000010", [10, 70]),
        (None, "0,00060020", [10, 60010, 60020, 490010]),
    ],
)
def test_episodes_asked_for(tasks: str | None, positions: str | None, expected: list[int]) -> None:
    assert chosen(tasks, positions) == expected


@pytest.mark.parametrize(
    ("tasks", "positions", "message"),
    [
        ("7", None, r"--tasks 7: no episode has task 7; this source has 0, 6, 49\."),
        ("0-6", None, "--tasks 0-6: no episode has task 1"),
        ("turning_on_radoi", None, "no such task. Did you mean 'turning_on_radio'?"),
        ("zzzzzz", None, "--tasks zzzzzz: no such task.$"),
        ("", None, "--tasks : no such task"),
        ("0,", None, "--tasks : no such task"),
        ("-1", None, "--tasks -1: no such task"),
        (None, "4", r"--episodes 4: position 4, expected 0 to 3 \(positions count within each"),
        (None, "2-9", "--episodes 2-9: position 4, expected 0 to 3 .*an id has 8 digits"),
        ("6", "2", "--episodes 2: position 2, expected 0 to 1"),
        (None, "00000030", "--episodes 00000030: no such episode among the selected tasks"),
        ("0", "00060010", "--episodes 00060010: no such episode among the selected tasks"),
        (None, "x", r"--episodes x: expected positions \(0, 3-7\) or 8-digit ids \(00490010\)"),
        (None, "1-", "--episodes 1-: expected positions"),
        (None, "", "--episodes : expected positions"),
        ("6-0", None, "--tasks 6-0"),
        (None, "0,3-1", "--episodes 3-1"),  # a range that runs backwards is empty
    ],
)
def test_what_no_episode_has_is_refused(
    tasks: str | None, positions: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        chosen(tasks, positions)


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(UserError, match="--tasks and --episodes: no episode is left"):
        select_episodes([], None, None, {})


def test_a_long_list_of_tasks_is_cut_at_ten() -> None:
    many = [episode(10 * task, task) for task in range(50)]
    with pytest.raises(UserError, match=r"has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … \(50 in all\)\."):
        select_episodes(many, "99", None, {})


# --- held out -------------------------------------------------------------------------------------


def many(task_index: int, num_episodes: int) -> list[Episode]:
    return [episode(task_index * 10_000 + 10 * n, task_index) for n in range(num_episodes)]


def test_nothing_is_held_out_unless_asked() -> None:
    assert held_out(EPISODES, "", 0) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", {10, 60010, 490010}), ("00060020", {60020}), ("1-3,00000010", {10, 20, 40, 70, 60020})],
)
def test_episodes_held_out_by_position_and_id(text: str, expected: set[int]) -> None:
    assert held_out(EPISODES, text, 0) == expected


def test_a_share_takes_so_many_of_each_task() -> None:
    episodes = [*many(0, 200), *many(1, 40), *many(2, 1)]
    share = held_out(episodes, "5%", 0)
    assert share == held_out(episodes, "0.05", 0)
    assert share == held_out(episodes[::-1], ".05", 0)
    counts = [sum(e.task_index == task for e in episodes if e.episode_index in share)
              for task in range(3)]  # fmt: skip
    assert counts == [10, 2, 0]  # a task's only episode stays for training


def test_even_a_small_share_takes_one_of_a_task() -> None:
    assert len(held_out(many(0, 2), "0.1%", 0)) == 1


def test_the_share_of_seed_0_never_changes() -> None:
    assert sorted(held_out(many(0, 20), "20%", 0)) == [70, 80, 180, 190]
    assert held_out(many(0, 20), "20%", 1) != held_out(many(0, 20), "20%", 0)


@given(
    st.integers(2, 60),
    st.lists(st.integers(1, 99), min_size=2, max_size=2).map(sorted),
    st.integers(0, 5),
)
def test_a_larger_share_contains_a_smaller_one(
    num_episodes: int, percents: list[int], seed: int
) -> None:
    small, large = (held_out(many(3, num_episodes), f"{p}%", seed) for p in percents)
    assert small <= large
    assert small


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 99), st.integers(0, 5))
def test_a_task_s_share_does_not_depend_on_other_tasks(
    num_here: int, num_there: int, percent: int, seed: int
) -> None:
    alone = held_out(many(3, num_here), f"{percent}%", seed)
    together = held_out([*many(2, num_there), *many(3, num_here)], f"{percent}%", seed)
    assert {e for e in together if e >= 30_000} == alone


@pytest.mark.parametrize("text", ["0%", "100%", "0.0", "1.0", "1.5", "250%"])
def test_a_share_outside_is_refused(text: str) -> None:
    with pytest.raises(
        UserError, match=f"--val-episodes {text}: a share must lie between 0 and 1, both excluded"
    ):
        held_out(EPISODES, text, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half", "--val-episodes half: expected positions"),
        ("-5%", "--val-episodes -5%: expected positions"),
        ("9", "--val-episodes 9: position 9, expected 0 to 3"),
        ("00000011", "--val-episodes 00000011: no such episode"),
        ("3-1", "--val-episodes 3-1"),  # a range that runs backwards would hold out nothing
    ],
)
def test_what_cannot_be_held_out_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        held_out(EPISODES, text, 0)
