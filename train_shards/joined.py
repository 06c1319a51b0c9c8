"""Several outputs read as one data set: their samples one after the other, batches by member."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, SupportsIndex

import numpy as np
import xxhash

from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.items import checked_position
from train_shards.selection import Span

__all__ = ["JoinedDataset"]

_MOST_VALUES = 5


class JoinedDataset:
    """The items of some data sets by position: all of the first, then all of the second, and so on.

    Members must give items of one kind, so that they can be collated. Ids of episodes stay those of
    their sources: two members may have an episode of the same id, and ``place`` and the spans'
    ``member`` tell them apart. ``sample_index`` counts on over the members. A member may be given
    twice, to weigh more. Pickles as its members do; fits torch's DataLoader and the orders of
    ``ResumableSampler``, and resumes as one data set.
    """

    def __init__(self, members: Sequence[ShardDataset]) -> None:
        """Joins open data sets.

        Raises:
            UserError: no member, two whose items do not fit together (both values are named), or
                one that holds a single run's samples.

        Cost: reads one item of each.
        """
        if not members:
            raise UserError("JoinedDataset: no member; expected at least one data set.")
        if scoped := [member for member in members if member.run_scope is not None]:
            raise UserError(
                f"{scoped[0].out}: holds the samples of one run over this output alone, "
                f"{scoped[0].run_scope}; joined, the run would see others. Join whole outputs."
            )
        self.members = list(members)
        for other in self.members[1:]:
            _check_fit(self.members[0], other)
        self.cameras, self.fps = members[0].cameras, members[0].fps
        self.settings = members[0].settings
        """Of the first member; those of others differ in nothing that an item shows."""
        self._before = list(accumulate(map(len, members), initial=0))
        """Positions before each member, and at the end the number of all."""
        live = [member.open_reader().num_live for member in members]
        self._live_before = list(accumulate(live, initial=0))

    def __len__(self) -> int:
        """Number of samples of all members."""
        return self._before[-1]

    @property
    def digest(self) -> str:
        """Names the samples and their order, for ``ResumableSampler`` to refuse others."""
        digests = ";".join(member.digest for member in self.members)
        return xxhash.xxh3_128(f"joined:{digests}".encode()).hexdigest()

    def place(self, position: int) -> tuple[int, int]:
        """Returns which member serves a position in ``[0, len)``, and at which of its own."""
        member = bisect_right(self._before, position) - 1
        return member, position - self._before[member]

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand; ``member`` says whose episode it is."""
        return [
            span._replace(start=span.start + before, member=number)
            for number, (member, before) in enumerate(zip(self.members, self._before, strict=False))
            for span in member.spans()
        ]

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``; negative positions count from the end.

        Raises:
            As ``ShardDataset``.
        """
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns the items at ``positions``: one batch of each member that has some of them.

        Raises:
            As ``ShardDataset``.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        for number, position in enumerate(positions):
            member, own = self.place(checked_position(position, len(self)))
            wanted.setdefault(member, []).append((number, own))
        items: list[dict[str, Any]] = [{} for _ in positions]
        for member, places in wanted.items():
            batch = self.members[member].__getitems__([own for _, own in places])
            for (number, _), item in zip(places, batch, strict=True):
                item["sample_index"] += np.int64(self._live_before[member])
                items[number] = item
        return items

    def close(self) -> None:
        """Closes every file; reading opens them again."""
        for member in self.members:
            member.close()


def _check_fit(first: ShardDataset, other: ShardDataset) -> None:
    """Passes when the items of both are of one kind."""
    ours, theirs = _kind(first), _kind(other)
    for what in ours:
        if theirs[what] != ours[what]:
            raise UserError(
                f"{other.out}: {what} {_shown(theirs[what])}, {first.out} has "
                f"{_shown(ours[what])}; joined data sets must have the same."
            )
    ours, theirs = (_values(dataset) for dataset in (first, other))
    for name in sorted({*ours, *theirs}):
        if name not in ours or name not in theirs:
            has, lacks = (first.out, other.out) if name in ours else (other.out, first.out)
            raise UserError(
                f"{lacks}: no {name!r} in its items, {has} has it. Name the columns that all have "
                "with columns=, cameras with cameras=."
            )
        if ours[name] != theirs[name]:
            raise UserError(
                f"{other.out}: {name!r} is {theirs[name]}, in {first.out} it is {ours[name]}; "
                "joined data sets must have the same."
            )


def _kind(dataset: ShardDataset) -> dict[str, Any]:
    """What cannot be seen of an item."""
    return {
        "frames a second": dataset.fps,
        "layout of the state": dataset.served_state_layout,
        "windows in frames": dataset.windows,
        "images": {name: dataset.settings.modality_of(name) for name in sorted(dataset.cameras)},
    }


def _values(dataset: ShardDataset) -> dict[str, str]:
    """Type and shape of each value of the first item."""
    return {name: _described(value) for name, value in dataset[0].items()}


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return type(value).__name__ if shape is None else f"{dtype} {tuple(shape)}"


def _shown(value: Any) -> str:
    """A value as messages show it, long windows cut."""
    if isinstance(value, dict):
        value = {key: _cut(frames) for key, frames in value.items()}
    return repr(value)


def _cut(value: Any) -> Any:
    is_long = isinstance(value, list) and len(value) > _MOST_VALUES
    return [*value[:_MOST_VALUES], "…"] if is_long else value
