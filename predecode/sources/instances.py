"""What the instance ids of an episode are called, from BEHAVIOR-1K's episode JSON."""

from pathlib import Path
from typing import Annotated

import msgspec

from predecode.errors import episode_error
from predecode.sources.episode import Episode
from train_shards.format import MODALITIES
from train_shards.instances import Instances

__all__ = ["id_list_path", "read_instances"]

_MAPPING = "ins_id_mapping"
"""JSON text within the JSON: id -> path of the part in the simulated world."""
_NAME_PART = 3
"""Source: the editions' own tools take the fourth part of ``/World/scene_0/radio_89/base_link`` for
the object's name; ids 0 and 1, the background and what has no label, have no such path."""
_SUFFIX = MODALITIES["seg_instance_id"]
_Names = dict[Annotated[int, msgspec.Meta(ge=0)], str]


def id_list_path(episode: Episode) -> str | None:
    """Returns the file that names the episode's instances; None without a segmentation."""
    paths = (span.ids.path for span in episode.videos.values() if span.ids is not msgspec.UNSET)
    return next(paths, None)


def read_instances(root: Path, episode: Episode) -> Instances:
    """Returns names and ids of an episode that has a segmentation; those of its cameras.

    Raises:
        EpisodeError: the file is missing or says none.
        ValueError: no segmentation is among its images.

    Cost: parses the file, 2 MB in the published set.
    """
    path = id_list_path(episode)
    if path is None:
        raise ValueError("episode without a segmentation")
    try:
        content = msgspec.json.decode((root / path).read_bytes())
        parts = msgspec.json.decode(content[_MAPPING], type=_Names)
        ids = {
            image.removesuffix(_SUFFIX): msgspec.convert(content[span.ids.key], list[int])
            for image, span in episode.videos.items()
            if span.ids is not msgspec.UNSET
        }
    except (
        OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError
    ) as error:  # fmt: skip
        raise episode_error(
            episode.episode_index, path, f"no instances under {_MAPPING!r}", "names", repr(error)
        ) from error
    split = {instance_id: part.split("/") for instance_id, part in parts.items()}
    names = {
        number: words[_NAME_PART] for number, words in split.items() if len(words) > _NAME_PART
    }
    return Instances(names=names, ids=ids)
