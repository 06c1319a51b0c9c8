"""Frames -> pieces -> shards: properties over random episodes, literals for stability."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predecode.errors import Death, EpisodeFault
from predecode.planning import (
    LOWDIM_EPISODES,
    MAX_TASK_FRAMES,
    Piece,
    Plan,
    cut_pieces,
    deal_pieces,
    make_plan,
    plan_digest,
    sample_order,
)
from predecode.source_check import CheckedEpisode, InputFile
from predecode.sources.episode import Episode, TableSpan, VideoSpan
from tests.support.stored import settings_of
from train_shards.manifest import FormatVersion


def checked(
    episode_index: int, num_frames: int, keyframes: list[int] | None = None, task_index: int = 0
) -> CheckedEpisode:
    episode = Episode(
        episode_index=episode_index,
        task_index=task_index,
        task=f"task {task_index}",
        num_frames=num_frames,
        fps=(30, 1),
        videos={"head": VideoSpan(key="rgb.head", path=f"videos/{episode_index}.mp4")},
        table=TableSpan(path=f"data/{episode_index}.parquet"),
    )
    return CheckedEpisode(
        episode=episode,
        num_frames=num_frames,
        keyframes=list(range(0, num_frames, 250)) if keyframes is None else keyframes,
        inputs=[InputFile(path=f"videos/{episode_index}.mp4", num_bytes=7, digest="ab")],
    )


def spans(pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.start, piece.stop) for piece in pieces]


# --- pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_frames", "keyframes", "expected"),
    [
        (100, [0], [(0, 100)]),  # shorter than a piece
        (751, [0, 250, 500, 750], [(0, 751)]),  # 500 leaves 251
        (756, [0, 250, 500, 750], [(0, 500), (500, 756)]),
        (1000, [0, 250, 500, 750], [(0, 500), (500, 1000)]),
        (1024, [0, 256, 512, 768], [(0, 256), (256, 512), (512, 768), (768, 1024)]),
        (1023, [0, 256, 512, 768], [(0, 256), (256, 512), (512, 1023)]),
        (600, list(range(600)), [(0, 256), (256, 600)]),  # intra only
        (5000, [0], [(0, 5000)]),  # one GOP
        (600, [3, 290], [(0, 290), (290, 600)]),  # first keyframe not at 0
        (600, [], [(0, 600)]),
    ],
)
def test_pieces_of_literal_episodes(
    num_frames: int, keyframes: list[int], expected: list[tuple[int, int]]
) -> None:
    assert spans(cut_pieces(checked(10, num_frames, keyframes), 1)) == expected


def test_a_piece_counts_its_selected_frames() -> None:
    assert cut_pieces(checked(10, 600, [0, 300]), 7) == [
        Piece(10, 0, 300, 43), Piece(10, 300, 600, 43),
    ]  # fmt: skip


def test_a_piece_without_a_selected_frame_is_left_out() -> None:
    # Only frame 0 is selected.
    assert cut_pieces(checked(10, 600, [0, 300]), 1000) == [Piece(10, 0, 300, 1)]


@st.composite
def episodes(draw: st.DrawFn) -> CheckedEpisode:
    num_frames = draw(st.integers(1, 3000))
    keyframes = sorted(draw(st.sets(st.integers(0, num_frames - 1), max_size=30)))
    return checked(draw(st.integers(0, 10**7)), num_frames, keyframes)


@given(episodes(), st.integers(1, 40))
def test_pieces_cover_every_selected_frame_once_and_cut_at_keyframes(
    episode: CheckedEpisode, stride: int
) -> None:
    pieces = cut_pieces(episode, stride)
    frames = [
        frame for piece in pieces for frame in range(piece.start, piece.stop) if frame % stride == 0
    ]
    assert frames == list(range(0, episode.num_frames, stride))
    assert sum(piece.num_samples for piece in pieces) == len(frames)
    for piece in pieces:
        assert piece.episode_index == episode.episode.episode_index
        assert piece.start in {0, *episode.keyframes}
        assert piece.stop in {episode.num_frames, *episode.keyframes}
        assert piece.stop - piece.start >= min(256, episode.num_frames)


@given(episodes())
def test_no_piece_but_the_last_could_be_cut_earlier(episode: CheckedEpisode) -> None:
    for piece in cut_pieces(episode, 1)[:-1]:
        inside = [k for k in episode.keyframes if piece.start + 256 <= k < piece.stop]
        assert inside == []


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ((0, 1000), [(0, 500), (500, 1000)]),  # all
        ((0, 990), [(0, 500), (500, 990)]),  # the tail is cut inside a GOP
        ((14, 963), [(14, 500), (500, 963)]),  # the head too
        ((300, 963), [(300, 963)]),  # 500 is 200 frames after the first
        ((10, 755), [(10, 755)]),  # 500 leaves 255
        ((10, 756), [(10, 500), (500, 756)]),
        ((260, 270), [(260, 270)]),
    ],
)
def test_pieces_of_a_part_of_an_episode(
    frames: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    episode = checked(10, 1000, [0, 250, 500, 750])
    assert spans(cut_pieces(episode, 1, frames)) == expected


@given(episodes(), st.integers(1, 40), st.data())
def test_pieces_cover_every_selected_frame_of_a_part_once(
    episode: CheckedEpisode, stride: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, episode.num_frames - 1))
    stop = data.draw(st.integers(start + 1, episode.num_frames))
    pieces = cut_pieces(episode, stride, (start, stop))
    frames = [f for p in pieces for f in range(p.start, p.stop) if f % stride == 0]
    assert frames == [f for f in range(episode.num_frames) if start <= f < stop and f % stride == 0]
    assert sum(piece.num_samples for piece in pieces) == len(frames)
    for piece in pieces:
        assert start <= piece.start < piece.stop <= stop
        assert piece.start in {start, *episode.keyframes}
        assert piece.stop in {stop, *episode.keyframes}


# --- shards ---------------------------------------------------------------------------------------

PIECES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(1, 30_000), st.integers(1, 50)),
    max_size=40,
    unique_by=lambda t: t[:2],
).map(
    lambda rows: [
        Piece(10 * episode, 40_000 * place, 40_000 * place + length, max(1, length // stride))
        for episode, place, length, stride in rows
    ]
)


@given(PIECES, st.sampled_from(["mixed", "episode"]), st.integers(256, 20_000))
def test_dealing_keeps_every_piece_once_within_the_limits(
    pieces: list[Piece], layout: str, shard_size: int
) -> None:
    shards = deal_pieces(pieces, settings_of(layout=layout, shard_size=shard_size))
    assert sorted(piece for shard in shards for piece in shard) == sorted(pieces)
    for shard in shards:
        assert shard == sorted(shard, key=lambda p: (p.episode_index, p.start))
        if len(shard) > 1:
            assert sum(piece.num_samples for piece in shard) <= shard_size
            assert sum(piece.stop - piece.start for piece in shard) <= 50_000
        assert shard


@given(PIECES, st.randoms(use_true_random=False))
def test_the_deal_does_not_depend_on_the_order_of_the_pieces(
    pieces: list[Piece], shuffler: random.Random
) -> None:
    shuffled = list(pieces)
    shuffler.shuffle(shuffled)
    settings = settings_of(shard_size=1000)
    assert deal_pieces(shuffled, settings) == deal_pieces(pieces, settings)


def test_the_limits_are_reached_exactly() -> None:
    assert (MAX_TASK_FRAMES, LOWDIM_EPISODES) == (50_000, 64)
    settings = settings_of(layout="episode", shard_size=600)
    thirds = [Piece(10, start, start + 300, 300) for start in (0, 300, 600)]
    assert [len(shard) for shard in deal_pieces(thirds, settings)] == [2, 1]
    halves = [Piece(10, 0, 25_000, 10), Piece(10, 25_000, 50_000, 10), Piece(20, 0, 1, 1)]
    assert [len(shard) for shard in deal_pieces(halves, settings)] == [2, 1]


def test_a_piece_beyond_the_limits_has_a_shard_of_its_own() -> None:
    settings = settings_of(layout="episode", shard_size=256)
    pieces = [Piece(10, 0, 256, 256), Piece(20, 0, 60_000, 60_000), Piece(30, 0, 256, 256)]
    assert deal_pieces(pieces, settings) == [[piece] for piece in pieces]


def test_the_deal_of_seed_0_never_changes() -> None:
    pieces = [Piece(e, s, s + 256, 256) for e in (10, 20, 70010) for s in (0, 256, 512)]
    shards = deal_pieces(pieces, settings_of(shard_size=512))
    assert [[(p.episode_index, p.start) for p in shard] for shard in shards] == [
        [(10, 512), (70010, 512)],
        [(10, 0), (70010, 0)],
        [(20, 0), (70010, 256)],
        [(10, 256), (20, 512)],
        [(20, 256)],
    ]
    other = deal_pieces(pieces, settings_of(shard_size=512, seed=1))
    assert other != shards


def test_the_sample_order_of_seed_0_never_changes() -> None:
    samples = [(e, f) for e in (10, 70010) for f in range(4)]
    assert sample_order(samples, settings_of()) == [
        (10, 3),
        (70010, 3),
        (70010, 2),
        (10, 1),
        (70010, 0),
        (70010, 1),
        (10, 0),
        (10, 2),
    ]
    assert sample_order(samples, settings_of(seed=1)) != sample_order(samples, settings_of())
    assert sample_order(samples[::-1], settings_of(layout="episode")) == samples


@given(st.sets(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)), max_size=60),
       st.randoms(use_true_random=False), st.integers(0, 9))  # fmt: skip
def test_the_sample_order_is_a_permutation_whatever_the_input_order(
    samples: set[tuple[int, int]], shuffler: random.Random, seed: int
) -> None:
    shuffled = sorted(samples)
    shuffler.shuffle(shuffled)
    order = sample_order(shuffled, settings_of(seed=seed))
    assert sorted(order) == sorted(samples)
    assert order == sample_order(sorted(samples), settings_of(seed=seed))


def test_a_shard_s_order_is_that_of_all_samples_restricted_to_it() -> None:
    samples = [(e, f) for e in (10, 20) for f in range(50)]
    some = set(samples[::3])
    whole = sample_order(samples, settings_of())
    assert sample_order(some, settings_of()) == [s for s in whole if s in some]


def test_mixed_shards_hold_many_episodes() -> None:
    pieces = [Piece(e, s, s + 256, 256) for e in range(40) for s in range(0, 2560, 256)]
    shards = deal_pieces(pieces, settings_of(shard_size=256 * 20))
    assert len(shards) == 20
    assert min(len({p.episode_index for p in shard}) for shard in shards) >= 10


# --- plans ----------------------------------------------------------------------------------------

FAULT = EpisodeFault(episode_index=30, path="a.mp4", problem="gone", expected="a", got="b")
REFUSED = checked(30, 100).episode


def plan_of(episodes_in: list[CheckedEpisode], **changes: object) -> Plan:
    arguments: dict[str, object] = {
        "generation": 0,
        "settings": settings_of(shard_size=560),
        "root": "/data/b1k",
        "probe": "cd",
        "environment": {"numpy": "2"},
        "checked": episodes_in,
        "failed": [(REFUSED, FAULT)],
        "held_out": {20},
        "first_shards": {"train": 0, "val": 0},
        "first_table": 0,
    }
    return make_plan(**{**arguments, **changes})  # type: ignore[arg-type]


SMALL = [checked(10, 600, [0, 300]), checked(20, 300), checked(70010, 520, [0, 260], 7)]


def test_a_small_plan() -> None:
    plan = plan_of(SMALL)
    assert [p.episode.episode_index for p in plan.episodes] == [10, 20, 70010]
    assert [p.split for p in plan.episodes] == ["train", "val", "train"]
    assert [(s.split, s.shard_index, s.num_samples) for s in plan.shards] == [
        ("train", 0, 560), ("train", 1, 560), ("val", 0, 300),
    ]  # fmt: skip
    train = [piece for shard in plan.shards[:2] for piece in shard.pieces]
    assert sorted(train) == [
        Piece(10, 0, 300, 300), Piece(10, 300, 600, 300),
        Piece(70010, 0, 260, 260), Piece(70010, 260, 520, 260),
    ]  # fmt: skip
    assert [(t.table_index, t.episodes) for t in plan.tables] == [(0, [10, 20]), (1, [70010])]
    assert (plan.failed, plan.faults) == ([REFUSED], [FAULT])


def test_numbers_go_on_in_a_later_generation() -> None:
    plan = plan_of(SMALL, generation=2, first_shards={"train": 17, "val": 4}, first_table=9)
    assert plan.generation == 2
    assert [(s.split, s.shard_index) for s in plan.shards] == [
        ("train", 17), ("train", 18), ("val", 4),
    ]  # fmt: skip
    assert [t.table_index for t in plan.tables] == [9, 10]


def test_the_digest_of_a_small_plan_never_changes() -> None:
    """The version is a part of a plan; all else of this one is what 1.0 wrote."""
    plan = plan_of(SMALL)
    assert plan.digest == "bb249d280148d6495dfc42988540f07db36a9a54c2f3e7a81560cb5c6a8362ea"
    for minor, digest in (
        (1, "49824a939d63aca05e17df5bf51d1f0a26561598a9e2701b4f512bb034272bb5"),
        (0, "25dc7a79fba81460a16cc4314620692f0377773a3a909c7ac72ba400710463b6"),
    ):
        older = msgspec.structs.replace(plan, format=FormatVersion(1, minor))
        assert plan_digest(older) == digest


def test_the_digest_does_not_depend_on_order_place_or_versions() -> None:
    digest = plan_of(SMALL).digest
    assert plan_of(SMALL[::-1]).digest == digest
    assert plan_of(SMALL, root="/elsewhere").digest == digest
    assert plan_of(SMALL, environment={"numpy": "3"}).digest == digest
    assert plan_digest(plan_of(SMALL)) == digest


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": settings_of(shard_size=560, quality=90)},
        {"settings": settings_of(shard_size=560, seed=1)},
        {"probe": "ef"},
        {"held_out": set()},
        {"failed": []},
        {"generation": 1},
        {"first_table": 1},
        {"first_shards": {"train": 1, "val": 0}},
    ],
    ids=str,
)
def test_the_digest_depends_on_all_that_makes_the_bytes(changes: dict[str, object]) -> None:
    assert plan_of(SMALL, **changes).digest != plan_of(SMALL).digest


def test_the_digest_depends_on_the_inputs() -> None:
    other = msgspec.structs.replace(
        SMALL[0], inputs=[InputFile(path="videos/10.mp4", num_bytes=7, digest="ac")]
    )
    assert plan_of([other, *SMALL[1:]]).digest != plan_of(SMALL).digest


def test_the_digest_depends_on_a_decoder_other_than_the_usual_but_on_no_last_words() -> None:
    plan = plan_of(SMALL)
    assert plan_of(SMALL, backend="pyav") == plan
    assert b"backend" not in msgspec.json.encode(plan)
    other = plan_of(SMALL, backend="torchcodec")
    assert other.digest != plan.digest
    assert (plan.storing_backend, other.storing_backend) == ("pyav", "torchcodec")
    deaths = [
        Death(reason="SIGSEGV", task="t", stderr=[words], decoder={}, others={})
        for words in ("one", "another")
    ]
    digests = {
        plan_of(SMALL, failed=[(REFUSED, msgspec.structs.replace(FAULT, death=death))]).digest
        for death in deaths
    }
    assert len(digests) == 1


def test_a_plan_of_labelled_frames_says_which_and_of_whole_episodes_nothing() -> None:
    plan = plan_of(SMALL, labelled={10: (14, 580), 20: (0, 300)})
    frames = {p.episode.episode_index: p.frames for p in plan.episodes}
    assert frames == {10: (14, 580), 20: msgspec.UNSET, 70010: msgspec.UNSET}
    asked = {p.episode.episode_index: p.asked for p in plan.episodes}
    assert asked == {10: (14, 580), 20: (0, 300), 70010: (0, 520)}
    assert plan.episodes[0].stored_frames(7) == range(14, 580, 7)
    assert plan.episodes[0].stored_frames(10) == range(20, 580, 10)
    train = [piece for shard in plan.shards[:-1] for piece in shard.pieces]
    assert Piece(10, 14, 300, 286) in train
    assert Piece(10, 300, 580, 280) in train
    copy = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    assert copy == plan
    assert plan_digest(copy) == plan.digest != plan_of(SMALL).digest
    assert plan_of(SMALL, labelled={10: (0, 600)}) == plan_of(SMALL)
    assert b'"frames"' not in msgspec.json.encode(plan_of(SMALL))


def test_a_plan_survives_json() -> None:
    plan = plan_of(SMALL)
    copy = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    assert copy == plan
    assert plan_digest(copy) == plan.digest


def test_a_table_holds_at_most_64_episodes_of_one_task() -> None:
    several = [checked(10 * n, 5) for n in range(130)] + [checked(70000, 5, task_index=7)]
    tables = plan_of(several, held_out=set()).tables
    assert [len(table.episodes) for table in tables] == [64, 64, 2, 1]
    assert [e for t in tables for e in t.episodes] == [10 * n for n in range(130)] + [70000]


def test_a_plan_of_faults_only_has_no_task() -> None:
    plan = plan_of([])
    assert (plan.episodes, plan.shards, plan.tables) == ([], [], [])


@pytest.mark.slow
def test_half_a_million_pieces_are_planned() -> None:
    episodes_in = [checked(10 * n, 25 * 256, list(range(0, 6400, 256))) for n in range(20_000)]
    plan = plan_of(episodes_in, settings=settings_of(), held_out=set())
    assert sum(len(shard.pieces) for shard in plan.shards) == 500_000
    assert sum(shard.num_samples for shard in plan.shards) == 128_000_000
    assert {len(shard.pieces) for shard in plan.shards} == {32}
    assert len(plan.shards) == 15_625
    assert len(plan.tables) == 313
