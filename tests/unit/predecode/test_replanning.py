"""The plan that takes another one's place: what it keeps, renumbers, leaves out."""

from typing import Any

import msgspec
import pytest

from predecode.dropped import Numbers
from predecode.errors import EpisodeFault
from predecode.output import free_numbers
from predecode.planning import (
    LowdimTask,
    Piece,
    Plan,
    PlannedEpisode,
    ShardTask,
    plan_digest,
)
from predecode.replanning import replan
from predecode.sources.episode import Episode
from tests.support.stored import settings_of
from train_shards.manifest import FormatVersion

FREE = Numbers(generation=7, shards={"train": 12, "val": 5}, table=9)


def episode(number: int) -> Episode:
    return Episode(
        episode_index=number, task_index=0, task="", num_frames=100, fps=(30, 1), videos={},
        table=None,
    )  # fmt: skip


def shard(number: int, *ids: int, split: str = "train") -> ShardTask:
    pieces = [Piece(e, start, start + 50, 50) for e in ids for start in (0, 50)]
    return ShardTask(shard_index=number, split=split, pieces=pieces)


def plan_of(**changes: Any) -> Plan:
    plan = Plan(
        format=FormatVersion(1, 0),
        generation=3,
        settings=settings_of(),
        root="/source",
        probe="probe",
        environment={"av": "1"},
        episodes=[
            PlannedEpisode(episode=episode(e), num_frames=100, split=split, inputs=[])
            for e, split in ((10, "train"), (20, "train"), (30, "val"), (40, "train"))
        ],
        failed=[episode(50), episode(60)],
        faults=[EpisodeFault(e, "a.mp4", "broken", "", "") for e in (50, 60)],
        shards=[shard(4, 10, 20), shard(5, 40), shard(6, 20), shard(2, 30, split="val")],
        tables=[LowdimTask(table_index=1, episodes=[10, 20]),
                LowdimTask(table_index=2, episodes=[30, 40])],
    )  # fmt: skip
    plan = msgspec.structs.replace(plan, **changes)
    return msgspec.structs.replace(plan, digest=plan_digest(plan))


def columns(table: LowdimTask, left: list[int]) -> list[str]:
    return [f"of {table.table_index}", *map(str, left)]


def test_what_held_the_episode_gets_new_numbers_and_the_rest_stays() -> None:
    old = plan_of()
    new, shards, tables = replan(old, {20, 60}, FREE, columns)
    assert new is not None
    assert (new.generation, new.replaces, new.place) == (7, 3, 3)
    assert new.digest == plan_digest(new) != old.digest
    assert new.format == FormatVersion()
    assert [p.episode.episode_index for p in new.episodes] == [10, 30, 40]
    assert [e.episode_index for e in new.failed] == [f.episode_index for f in new.faults] == [50]
    kept = [msgspec.structs.replace(s, made_for=old.digest) for s in (old.shards[1], old.shards[3])]
    assert new.shards == [shard(12, 10), *kept]
    assert shards == [(old.shards[0], shard(12, 10))]
    cut = LowdimTask(table_index=9, episodes=[10], columns=["of 1", "10"])
    assert new.tables == [cut, msgspec.structs.replace(old.tables[1], made_for=old.digest)]
    assert tables == [(old.tables[0], cut)]
    assert (new.root, new.environment, new.probe) == (old.root, old.environment, old.probe)


def test_a_plan_replaced_again_keeps_its_place_and_whose_its_files_are() -> None:
    first = plan_of()
    second = replan(first, {20}, FREE, columns).plan
    assert second is not None
    third = replan(second, {30}, free_numbers([second], FREE), columns).plan
    assert third is not None
    assert (third.generation, third.place) == (8, 3)
    assert {s.shard_index: s.made_for for s in third.shards} == {
        12: second.digest, 5: first.digest,
    }  # fmt: skip
    assert [t.table_index for t in third.tables] == [9, 10]


def test_faults_alone_make_a_plan_and_nothing_makes_none() -> None:
    only_faults = replan(plan_of(), {10, 20, 30, 40}, FREE, columns)
    assert only_faults.plan is not None
    assert (only_faults.plan.shards, only_faults.plan.tables) == ([], [])
    assert replan(plan_of(), {10, 20, 30, 40, 50, 60}, FREE, columns) == (None, [], [])


def test_a_plan_without_the_new_fields_has_the_digest_that_it_had() -> None:
    data = msgspec.json.decode(msgspec.json.encode(plan_of()))
    assert "replaces" not in data
    assert {"made_for", "columns"}.isdisjoint({*data["shards"][0], *data["tables"][0]})


@pytest.mark.parametrize(
    ("used", "expected"),
    [(Numbers(), (4, {"train": 7, "val": 3}, 3)), (FREE, (7, {"train": 12, "val": 5}, 9))],
)
def test_free_numbers_come_after_all_that_is_and_was(used: Numbers, expected: object) -> None:
    free = free_numbers([plan_of()], used)
    assert (free.generation, free.shards, free.table) == expected
    assert free_numbers([], Numbers()) == Numbers(shards={"train": 0, "val": 0})
