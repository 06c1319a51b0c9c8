"""Which episodes are looked at where there are many, and what is supposed of the others."""

from collections import Counter

import msgspec

from predecode.header_sample import choose_checked, keyframe_distances, supposed
from predecode.source_check import CheckedEpisode
from tests.support.synthetic_plan import synthetic_episodes

MANY = synthetic_episodes(1000, 2)
"""Of 512 frames, in five tasks; keyframes every 256."""


def test_a_few_of_every_task_are_looked_at() -> None:
    chosen = choose_checked([c.episode for c in MANY])
    assert len(chosen) == len({e.episode_index for e in chosen}) == 64
    assert sorted(Counter(e.task_index for e in chosen).values()) == [12, 13, 13, 13, 13]
    few = [c.episode for c in MANY[:64]]
    assert choose_checked(few) == few


def test_a_video_whose_length_nobody_says_is_always_looked_at() -> None:
    unknown = [msgspec.structs.replace(c.episode, num_frames=None) for c in MANY]
    assert choose_checked(unknown) == unknown


def test_the_others_are_supposed_to_be_like_them() -> None:
    longer = msgspec.structs.replace(MANY[5].episode, num_frames=600)
    (found,) = supposed([longer], ["head", "left_wrist", "right_wrist"], MANY[:3])
    assert isinstance(found, CheckedEpisode)
    assert (found.num_frames, found.keyframes) == (600, [0, 256, 512])
    # Files of 1000 bytes of 512 frames.
    assert [given.num_bytes for given in found.inputs] == [1172] * 4
    assert [given.path for given in found.inputs] == [given.path for given in MANY[5].inputs]


def test_distances_are_counted_between_keyframes_alone() -> None:
    assert keyframe_distances(synthetic_episodes(3, 4)) == {256: 9}
    assert keyframe_distances(synthetic_episodes(3, 1)) == {}
