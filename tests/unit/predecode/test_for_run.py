"""From the words of ``--for-run`` to frames; frames as text; what a plan of them refuses."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.errors import DataError, UserError
from predecode.for_run import (
    AskedRun,
    Decoding,
    Universe,
    decoding_of,
    extended,
    first_part,
    parse_run,
    run_note,
    scope_frames,
)
from predecode.frame_lists import decode_frames, encode_frames
from predecode.planning import Plan, PlannedEpisode, make_plan
from predecode.standing_output import refuse_other_run
from predecode.stored_plan import decode_plan
from tests.support.stored import settings_of
from tests.support.synthetic_plan import synthetic_episodes
from train_shards.manifest import encode_json
from train_shards.order import GlobalOrder

UNIVERSE = Universe({10: (0, 20), 20: (5, 12), 40: (0, 1)}, 3)
FRAMES = [(10, f) for f in (0, 3, 6, 9, 12, 15, 18)] + [(20, 6), (20, 9), (40, 0)]
"""The samples of ``UNIVERSE`` as a whole output would number them."""


@pytest.mark.parametrize(
    "words",
    [
        ["steps=5", "batch=64", "seed=1"],
        ["steps=5", "global-batch=64", "steps=5"],
        ["steps=5", "global-batch=64", "seed"],
        ["steps=0", "global-batch=64", "seed=1"],
        ["steps=5", "global-batch=0", "seed=1"],
        ["steps=5", "global-batch=64", "seed=-1"],
        ["steps=5e4", "global-batch=64", "seed=1"],
    ],
)
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="--for-run .*expected"):
        parse_run(words)


def test_a_batch_must_say_that_it_is_global() -> None:
    with pytest.raises(UserError, match="the batch of a GPU times their number"):
        parse_run(["steps=5", "batch=64", "seed=1"])
    assert parse_run(["seed=0", "steps=5", "global-batch=64"]) == AskedRun(5, 64, 0)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 40])
def test_a_runs_samples_become_frames_of_episodes(steps: int) -> None:
    found = scope_frames(UNIVERSE, AskedRun(steps, 4, 9))
    seen = {
        GlobalOrder(10, seed=9, epoch=step // 2).sample(step % 2 * 4 + place)
        for step in range(steps)
        for place in range(4)
    }
    pairs = [(episode, frame) for episode, frames in found.items() for frame in frames]
    assert pairs == [FRAMES[sample] for sample in sorted(seen)]
    assert list(found) == [10, 20, 40]
    scope = first_part(UNIVERSE, AskedRun(steps, 4, 9)).scope
    assert (scope.num_samples, scope.num_stored) == (10, len(seen))


def test_a_universe_is_named_by_episodes_frames_and_stride() -> None:
    others = [
        UNIVERSE._replace(ranges={10: (0, 20), 20: (5, 12)}),
        UNIVERSE._replace(ranges={**UNIVERSE.ranges, 20: (3, 10)}),
        UNIVERSE._replace(ranges={**UNIVERSE.ranges, 40: (0, 4)}),
        UNIVERSE._replace(stride=2),
        UNIVERSE._replace(ranges={11: (0, 20), 20: (5, 12), 40: (0, 1)}),
    ]
    assert len({UNIVERSE.digest, *(other.digest for other in others)}) == 6
    same = UNIVERSE._replace(ranges={**UNIVERSE.ranges, 10: (0, 19)})  # no frame more or less
    assert same.digest == UNIVERSE.digest


def test_a_run_may_only_grow() -> None:
    scope = first_part(Universe({0: (0, 1000)}, 1), AskedRun(20, 8, 1)).scope
    for asked, is_extended in [
        (AskedRun(20, 8, 1), False),
        (AskedRun(5, 8, 1), False),
        (AskedRun(10, 16, 1), False),
        (AskedRun(21, 8, 1), True),
        (AskedRun(11, 16, 1), True),
    ]:
        assert extended(scope, asked, where="out") == is_extended
    whole = first_part(Universe({0: (0, 1000)}, 1), AskedRun(300, 8, 1)).scope
    assert not extended(whole, AskedRun(10**9, 999, 1), where="out")
    # Epochs of 992, and of 900 samples: neither holds the other.
    longer = first_part(Universe({0: (0, 1000)}, 1), AskedRun(124, 8, 1)).scope
    for stored, asked in [
        (scope, AskedRun(20, 8, 2)),
        (scope, AskedRun(1, 1001, 1)),
        (longer, AskedRun(2, 900, 1)),
    ]:
        with pytest.raises(UserError, match=f"for the run {stored}, asked for {asked}: a run may"):
            extended(stored, asked, where="out")


@given(st.lists(st.integers(0, 3000), unique=True), st.lists(st.integers(1, 2900), unique=True))
def test_what_is_decoded_is_counted_gop_by_gop(frames: list[int], cuts: list[int]) -> None:
    starts = [0, *sorted(cuts)]
    gops = [
        [frame for frame in frames if start <= frame < stop]
        for start, stop in itertools.pairwise([*starts, 10**6])
    ]
    decoded = sum(max(gop) - start + 1 for start, gop in zip(starts, gops, strict=True) if gop)
    assert decoding_of({7: starts}, {7: sorted(frames)}) == Decoding(
        len(frames), decoded, sum(map(bool, gops)), len(starts)
    )


def test_the_note_says_what_is_saved_and_what_is_not() -> None:
    part = first_part(UNIVERSE, AskedRun(1, 4, 9))
    note = run_note(part.scope, Decoding(4, 12, 2, 3), 28)
    assert note == (
        "--for-run steps=1 global-batch=4 seed=9: 4 of 10 samples, 60.0% of the images are not "
        "stored. Now 4 frames to store, at most 12 of 28 to decode a camera, in 2 of 3 GOPs"
    )
    whole = first_part(UNIVERSE, AskedRun(40, 4, 9))
    assert "the whole data set, nothing is saved: is global-batch that of all ranks" in run_note(
        whole.scope, Decoding(10, 28, 3, 3), 28
    )


@given(st.sets(st.integers(0, 2**32 - 1)))
def test_frames_come_back_from_their_text(frames: set[int]) -> None:
    assert decode_frames(encode_frames(sorted(frames))) == sorted(frames)


def test_a_text_takes_a_byte_a_frame_and_base64() -> None:
    # LEB128 of 5, 127, 128, 300 by hand; the third is 5 + 127 + 128.
    assert encode_frames([5, 132, 260, 560]) == "BX+AAawC"
    assert len(encode_frames(range(0, 12_000, 37))) == 436  # 325 frames


@pytest.mark.parametrize("text", ["?", "AQA=", "gA==", "gICAgICAgICAAQ==", "AQ", "AwD="])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="^frames '"):
        decode_frames(text)


def plan_for(asked: AskedRun) -> Plan:
    checked = synthetic_episodes(3, 2)
    universe = Universe({c.episode.episode_index: (0, c.num_frames) for c in checked}, 4)
    return make_plan(
        generation=0, settings=settings_of(stride=4, layout="mixed", shard_size=512), root="/r",
        probe="", environment={}, checked=checked, failed=[], held_out={20},
        first_shards={"train": 0, "val": 0}, first_table=0,
        run=first_part(universe._replace(ranges={0: (0, 512), 10: (0, 512)}), asked),
    )  # fmt: skip


def test_a_plan_holds_the_runs_frames_in_train_and_all_of_val() -> None:
    plan = plan_for(AskedRun(3, 8, 5))
    by_id = {p.episode.episode_index: p for p in plan.episodes}
    assert sum(len(by_id[e].stored_frames(4)) for e in (0, 10)) == 24
    assert by_id[20].stored_frames(4) == range(0, 512, 4)
    num_samples = dict.fromkeys(("train", "val"), 0)
    for shard in plan.shards:
        num_samples[shard.split] += shard.num_samples
    assert num_samples == {"train": 24, "val": 128}
    assert plan.format.major == 2
    assert decode_plan(encode_json(plan), where="p") == plan
    assert plan_for(AskedRun(4, 8, 5)).digest != plan.digest


@pytest.mark.parametrize(
    ("is_run", "asked", "both"),
    [
        (True, None, "for --for-run steps=3 global-batch=8 seed=5, asked for every sample"),
        (False, AskedRun(1, 2, 3), "for every sample, asked for --for-run steps=1 global-batch=2"),
    ],
)
def test_one_run_and_every_sample_do_not_share_an_output(
    is_run: bool, asked: AskedRun | None, both: str
) -> None:
    plan = plan_for(AskedRun(3, 8, 5))
    plan = plan if is_run else msgspec.structs.replace(plan, run_scope=msgspec.UNSET)
    with pytest.raises(UserError, match=f"--out o: made {both}"):
        refuse_other_run("o", [plan], asked, [])


def altered(plan: Plan, **changes: object) -> PlannedEpisode:
    return msgspec.structs.replace(plan.episodes[0], **changes)


def test_a_stored_plan_of_other_frames_is_refused() -> None:
    plan = plan_for(AskedRun(3, 8, 5))
    for first in (
        altered(plan, run_frames=encode_frames([1])),  # not on the grid
        altered(plan, run_frames=encode_frames([512])),  # beyond the episode
        altered(plan, run_frames=msgspec.UNSET),
        altered(plan, split="val"),
    ):
        bad = msgspec.structs.replace(plan, episodes=[first, *plan.episodes[1:]])
        with pytest.raises(DataError, match="p: episode 00000000: frames of one run"):
            decode_plan(encode_json(bad), where="p")
    with pytest.raises(DataError, match="p: episode 00000000: frames of one run"):
        decode_plan(encode_json(msgspec.structs.replace(plan, run_scope=msgspec.UNSET)), where="p")
    text = encode_json(plan).replace(b'"global_batch": 8', b'"global_batch": 9999')
    with pytest.raises(DataError, match="9999 in a step"):
        decode_plan(text, where="p")
