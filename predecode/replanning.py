"""A plan without some of its episodes: what stays as it is, and what is to be cut out anew."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import msgspec

from predecode.dropped import Numbers
from predecode.planning import LowdimTask, Plan, ShardTask, plan_digest
from train_shards.manifest import FormatVersion

__all__ = ["Replanned", "replan"]


class Replanned(NamedTuple):
    """The plan that takes another one's place."""

    plan: Plan | None
    """None where nothing is left."""
    shards: list[tuple[ShardTask, ShardTask]]
    """Each shard to be cut, as it is and as it shall be."""
    tables: list[tuple[LowdimTask, LowdimTask]]


def replan(
    plan: Plan,
    episodes: Collection[int],
    free: Numbers,
    columns_of: Callable[[LowdimTask, list[int]], list[str]],
) -> Replanned:
    """Returns a plan without ``episodes``.

    Shards and tables that none of them is planned for keep number and file; the others get new
    numbers, or go if nothing else is planned for them. Pieces are not dealt again, so that only
    what held such an episode changes.

    Args:
        plan: the plan so far.
        episodes: ``episode_index`` of those to leave out.
        free: the first free numbers.
        columns_of: gives the columns of a table's file that any of some episodes has, in order.
    """
    shards, cut_shards = [], []
    next_shard, next_table = dict(free.shards), free.table
    for shard in plan.shards:
        pieces = [piece for piece in shard.pieces if piece.episode_index not in episodes]
        if len(pieces) == len(shard.pieces):
            made_for = shard.made_for or plan.digest
            shards.append(msgspec.structs.replace(shard, made_for=made_for))
        elif pieces:
            number = next_shard[shard.split]
            next_shard[shard.split] += 1
            new = ShardTask(shard_index=number, split=shard.split, pieces=pieces)
            shards.append(new)
            cut_shards.append((shard, new))
    tables, cut_tables = [], []
    for table in plan.tables:
        left = [episode for episode in table.episodes if episode not in episodes]
        if len(left) == len(table.episodes):
            made_for = table.made_for or plan.digest
            tables.append(msgspec.structs.replace(table, made_for=made_for))
        elif left:
            columns = columns_of(table, left)
            cut = LowdimTask(table_index=next_table, episodes=left, columns=columns)
            next_table += 1
            tables.append(cut)
            cut_tables.append((table, cut))
    planned = [p for p in plan.episodes if p.episode.episode_index not in episodes]
    failed = [
        (episode, fault)
        for episode, fault in zip(plan.failed, plan.faults, strict=True)
        if episode.episode_index not in episodes
    ]
    if not planned and not failed:
        return Replanned(None, [], [])
    new_plan = msgspec.structs.replace(
        plan,
        format=FormatVersion(),
        generation=free.generation,
        replaces=plan.place,
        episodes=planned,
        failed=[episode for episode, _ in failed],
        faults=[fault for _, fault in failed],
        shards=shards,
        tables=tables,
    )
    new_plan = msgspec.structs.replace(new_plan, digest=plan_digest(new_plan))
    return Replanned(new_plan, cut_shards, cut_tables)
