"""The instances that a segmentation video's colours stand for, from BEHAVIOR-1K's episode JSON."""

from pathlib import Path
from typing import Annotated

import msgspec

from predecode.errors import episode_error
from predecode.sources.episode import Episode, IdList

__all__ = ["read_ids"]

_Id = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""Source: the edition's recorder casts ids to uint32."""
_Ids = Annotated[list[_Id], msgspec.Meta(min_length=1)]


def read_ids(root: Path, episode: Episode, camera: str, ids: IdList) -> list[int]:
    """Returns the ids in the order of the palette.

    Raises:
        EpisodeError: no such file or list, or an entry that is no id.

    Cost: parses the file, 2 MB in the published set.
    """
    try:
        found = msgspec.json.decode((root / ids.path).read_bytes())[ids.key]
        return msgspec.convert(found, _Ids)
    except (
        OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError
    ) as error:  # fmt: skip
        raise episode_error(
            episode.episode_index, ids.path, f"no list {ids.key!r}", "ids", repr(error), camera
        ) from error
