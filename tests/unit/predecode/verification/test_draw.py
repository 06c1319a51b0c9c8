"""Which samples are looked at: by hand, and whatever the episodes are."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from predecode.planning import PlannedEpisode
from predecode.sources.episode import Episode
from predecode.verification.draw import around, draw_samples


def planned(episode_index: int, num_frames: int) -> PlannedEpisode:
    episode = Episode(
        episode_index=episode_index, task_index=0, task="t", task_name="t", num_frames=num_frames,
        fps=(30, 1), table=None, videos={},
    )  # fmt: skip
    return PlannedEpisode(episode=episode, num_frames=num_frames, split="train", inputs=[])


def keyframes(episode: PlannedEpisode, camera: str) -> Sequence[int]:
    step = 250 if camera == "head" else 100
    return range(0, episode.num_frames, step)


def test_ends_borders_and_random_ones_by_hand() -> None:
    drawn = draw_samples(
        [planned(10, 260), planned(20, 1)], ["head"], 1, keyframes, num_random=3, seed=0
    )
    assert drawn["ends"] == [(10, 0), (10, 259), (20, 0)]
    assert drawn["keyframes"] == [(10, 247), (10, 248), (10, 249), (10, 250), (10, 251)]
    assert len(drawn["random"]) == 2  # the third is an end


def test_every_camera_has_its_own_keyframes() -> None:
    drawn = draw_samples([planned(10, 260)], ["head", "left"], 1, keyframes, num_random=0, seed=0)
    assert {frame for _, frame in drawn["keyframes"]} == {
        97, 98, 99, 100, 101, 197, 198, 199, 200, 201, 247, 248, 249, 250, 251,
    }  # fmt: skip


def test_a_keyframe_between_stored_frames() -> None:
    assert around(250, range(0, 1000, 6)) == [234, 240, 246, 252, 258]
    assert around(999, range(1000)) == [996, 997, 998, 999]


def test_around_a_keyframe_only_what_is_stored_of_a_part_of_an_episode() -> None:
    assert around(250, range(252, 900, 6)) == [252, 258]
    assert around(250, range(248, 900)) == [248, 249, 250, 251]
    assert around(250, range(100, 249)) == [247, 248]
    assert around(250, range(600, 900)) == []
    assert around(250, [1, 3, 100, 249, 260, 900, 901]) == [3, 100, 249, 260, 900]  # of a run
    assert around(250, []) == []


def test_a_large_set_costs_200_videos_and_200_keyframes() -> None:
    asked: list[tuple[int, str]] = []

    def keyframes_of(episode: PlannedEpisode, camera: str) -> Sequence[int]:
        asked.append((episode.episode.episode_index, camera))
        return keyframes(episode, camera)

    episodes = [planned(10 * number, 12_000) for number in range(10_000)]
    drawn = draw_samples(
        episodes, ["head", "left", "right"], 1, keyframes_of, num_random=1000, seed=3
    )
    assert len(asked) == len(set(asked)) == 200
    assert 990 <= len(drawn["keyframes"]) <= 1000
    assert len(drawn["ends"]) == 20_000
    assert len({episode for episode, _ in drawn["random"]}) > 900  # spread over all


@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=6),
    st.integers(1, 7),
    st.integers(0, 50),
    st.integers(0, 5),
)
def test_what_is_drawn_is_stored_once_and_the_same_again(
    lengths: list[int], stride: int, num_random: int, seed: int
) -> None:
    episodes = [planned(number, length) for number, length in enumerate(lengths)]
    drawn, again = (
        draw_samples(
            episodes, ["head", "left"], stride, keyframes, num_random=num_random, seed=seed
        )
        for _ in range(2)
    )
    assert drawn == again
    everything = [sample for samples in drawn.values() for sample in samples]
    assert len(everything) == len(set(everything))
    assert all(frame % stride == 0 and 0 <= frame < lengths[e] for e, frame in everything)
    total = sum(len(range(0, length, stride)) for length in lengths)
    assert len(everything) <= total
    if num_random >= total:
        assert len(everything) == total
