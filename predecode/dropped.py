"""Which episodes the operator has taken out of an output, and which numbers must not come again.

``.predecode/dropped.json`` is written before anything that follows from it.
"""

from pathlib import Path

import msgspec

from predecode.errors import DataError
from predecode.receipts import TEMPORARY_FOLDER
from train_shards.bounds import Count
from train_shards.format import DROPPED_PATH
from train_shards.manifest import DroppedEpisode, encode_json
from train_shards.storage import write_atomic

__all__ = ["Dropped", "Numbers", "load_dropped", "write_dropped"]


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """The first free number of each kind."""

    generation: Count = 0
    shards: dict[str, Count] = {}
    """By split."""
    table: Count = 0


class Dropped(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was taken out, and what went with it."""

    episodes: list[DroppedEpisode] = []
    """Sorted."""
    used: Numbers = Numbers()
    """Free numbers when files were last removed: a name never comes back with other content."""

    @property
    def ids(self) -> frozenset[int]:
        """``episode_index`` of each."""
        return frozenset(episode.episode_index for episode in self.episodes)


def load_dropped(out: Path) -> Dropped:
    """Returns what was taken out of an output; nothing where no file says so.

    Raises:
        DataError: the file is not what it should be.
    """
    path = out / DROPPED_PATH
    try:
        return msgspec.json.decode(path.read_bytes(), type=Dropped)
    except FileNotFoundError:
        return Dropped()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a list of dropped episodes: {error}") from error


def write_dropped(out: Path, dropped: Dropped) -> None:
    """Writes the list, whole or not at all."""
    write_atomic(out / DROPPED_PATH, encode_json(dropped), out / TEMPORARY_FOLDER)
