"""Which frames of an episode are labelled, by its annotation; head and tail may carry no label."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from predecode.selection import selected_frames
from predecode.source_check import check_root
from predecode.sources.episode import AnnotatedSource, Episode
from train_shards.prompts import annotated_segments

__all__ = ["labelled_frames", "labelled_range", "unlabelled_note"]

_READERS = 16
"""Files that are read at a time: they are small, and a network's answers take their time."""
_MOST_IDS = 10


def labelled_range(annotation: object, num_frames: int) -> tuple[int, int] | None:
    """Returns the frames ``[start, stop)`` from the first labelled one to the last, None for none.

    Those of ``skill_annotation``, or of ``primitive_annotation`` where no skill has a frame. A
    skill without a description counts, and so do the frames between two skills. ``frame_duration``
    is a pair or a list of pairs of whole numbers, half open, as the prompts are made of it; what is
    neither, or ends where it starts or before, has no frame. Frames beyond the episode are none.

    ``valid_duration`` has no part: it tells what was recorded as valid and labels nothing, and
    published skills go beyond it and beyond ``task_duration``.

    Args:
        annotation: the content of an annotation file.
        num_frames: length of the episode.

    >>> skills = [{"frame_duration": [14, 300]}, {"frame_duration": [[300, 310], [320, 963]]}]
    >>> labelled_range({"skill_annotation": skills}, 1003)
    (14, 963)
    """
    if not isinstance(annotation, Mapping):
        return None
    for kind in ("skill_annotation", "primitive_annotation"):
        segments = annotated_segments(annotation.get(kind), lambda _: "any")
        ranges = [(max(s.start, 0), min(s.stop, num_frames)) for s in segments]
        ranges = [(start, stop) for start, stop in ranges if start < stop]
        if ranges:
            return min(start for start, _ in ranges), max(stop for _, stop in ranges)
    return None


def labelled_frames(
    source: AnnotatedSource, episodes: Sequence[Episode], stride: int
) -> dict[int, tuple[int, int]]:
    """Returns ``episode_index`` -> its labelled frames ``[start, stop)``.

    An episode without an annotation that can be read, or with no labelled frame on the grid of the
    stride, is not among them.

    Raises:
        InfraError: the source's folder is gone.
        OSError: an annotation is there and cannot be read.

    Cost: reads an annotation (published: 13 kB) an episode.
    """
    check_root(source.root)
    with ThreadPoolExecutor(_READERS) as pool:
        ranges = pool.map(partial(_range_of, source), episodes)
        return {
            episode.episode_index: found
            for episode, found in zip(episodes, ranges, strict=True)
            if found is not None and selected_frames(*found, stride)
        }


def unlabelled_note(episodes: Sequence[Episode], labelled: Mapping[int, object]) -> str | None:
    """Returns the line that says which episodes have no labelled frame; None where all have one."""
    ids = [e.episode_index for e in episodes if e.episode_index not in labelled]
    if not ids:
        return None
    shown = ", ".join(f"{episode_index:08d}" for episode_index in ids[:_MOST_IDS])
    more = "" if len(ids) <= _MOST_IDS else ", …"
    what = (
        "episode has no labelled frame and is"
        if len(ids) == 1
        else ("episodes have no labelled frame and are")
    )
    return f"--annotated-only: {len(ids)} {what} not selected: {shown}{more}"


def _range_of(source: AnnotatedSource, episode: Episode) -> tuple[int, int] | None:
    path = source.annotation_path(episode.episode_index)
    if path is None or episode.num_frames is None:
        return None
    try:
        annotation = msgspec.json.decode((source.root / path).read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return labelled_range(annotation, episode.num_frames)
