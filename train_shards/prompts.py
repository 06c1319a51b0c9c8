"""What is said about a frame: orchestrator levels, annotated segments, skills. Pure.

Ranges are ``[start, stop)`` in frames of the episode, as the files have them. Two rules of lookup
stand side by side: the right ones, and those of openpi-comet's reader (``upstream_…``), which take
``stop - 1`` or ``stop`` for a segment's last frame and so err at its end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from train_shards.phrases import first_text

__all__ = [
    "NUM_LEVELS",
    "Levels",
    "Segment",
    "annotated_segments",
    "constant_runs",
    "in_order",
    "joined_segments",
    "level_text",
    "levels_of_sentence",
    "segment_text",
    "skill_segments",
    "upstream_level_text",
    "upstream_segment_text",
    "whole_episode",
]

NUM_LEVELS = 4
"""0 the task, 1 skills, 2 subtasks, 3 events."""
_NO_END = 1 << 62


class Segment(NamedTuple):
    """Frames of an episode and what is said about them."""

    start: int
    stop: int
    text: str


Levels = Sequence[Sequence[Segment]]
"""Segments of each level; a level may be empty."""


def whole_episode(text: str) -> Segment:
    """Returns the segment of every frame."""
    return Segment(0, _NO_END, text)


def levels_of_sentence(sentence: str) -> Levels:
    """Returns the levels of an episode without orchestrators: the sentence in each."""
    return [[whole_episode(sentence)]] * NUM_LEVELS


def level_text(levels: Levels, level: int, frame: int) -> str | None:
    """Returns a level's text at a frame, None where the level is empty.

    A frame between two segments belongs to the next, one after the last to the last: a level
    covers the whole episode. Segments stand as ``in_order`` returns them.

    >>> levels = [[], [Segment(0, 10, "reach"), Segment(10, 20, "grasp")]]
    >>> [level_text(levels, 1, frame) for frame in (0, 9, 10, 25)]
    ['reach', 'reach', 'grasp', 'grasp']
    """
    segments = levels[level]
    if not segments:
        return None
    return next((s.text for s in segments if frame < s.stop), segments[-1].text)


def upstream_level_text(levels: Levels, level: int, frame: int, *, looked_up_at: int) -> str | None:
    """Returns what upstream takes for a level's text: at a place found in another level.

    Source: ``_get_task_at_level`` of openpi-comet: ``bisect_right`` on inclusive ends, so that a
    segment's last frame gets the next one's text; the place is that of the level of the prompt.

    >>> levels = [[], [Segment(0, 10, "reach"), Segment(10, 20, "grasp")]]
    >>> [upstream_level_text(levels, 1, frame, looked_up_at=1) for frame in (8, 9)]
    ['reach', 'grasp']
    """
    lasts = [segment.stop - 1 for segment in levels[looked_up_at]]
    place = bisect_right(lasts, frame, hi=len(lasts) - 1) if lasts else 0
    return levels[level][place].text if place < len(levels[level]) else None


def segment_text(segments: Sequence[Segment], frame: int) -> str | None:
    """Returns the text of the first segment that contains a frame; None for none.

    >>> segment_text([Segment(0, 10, "reach"), Segment(10, 20, "grasp")], 10)
    'grasp'
    """
    return next((s.text for s in segments if s.start <= frame < s.stop), None)


def upstream_segment_text(segments: Sequence[Segment], frame: int) -> str | None:
    """Returns what upstream takes for it: a segment's ``stop`` belongs to it, and one is tried.

    Source: ``_get_subtask_text`` of openpi-comet: ``bisect_left`` on the ends in order of starts.

    >>> upstream_segment_text([Segment(0, 10, "reach"), Segment(10, 20, "grasp")], 10)
    'reach'
    """
    place = bisect_left([segment.stop for segment in segments], frame)
    if place < len(segments) and segments[place].start <= frame <= segments[place].stop:
        return segments[place].text
    return None


def annotated_segments(
    entries: object, text_of: Callable[[Mapping[str, Any]], str], *, keep_empty: bool = False
) -> list[Segment]:
    """Returns the segments of ``skill_annotation`` or ``primitive_annotation`` in order.

    Args:
        entries: the list in the annotation.
        text_of: gives an entry's text; an entry whose text is ``""`` is left out.
        keep_empty: keep what ends where it starts or before, as upstream does.
    """
    segments = [
        Segment(start, stop, text)
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and (text := text_of(entry))
        for start, stop in _ranges(entry.get("frame_duration"))
    ]
    return sorted(segments, key=_range_of) if keep_empty else in_order(segments)


def joined_segments(segments: Iterable[Segment], *, gap: int = 0) -> list[Segment]:
    """Returns the segments with neighbours of equal text made one, at most ``gap`` frames apart.

    >>> joined_segments([Segment(0, 10, "reach"), Segment(10, 20, "reach")])
    [Segment(start=0, stop=20, text='reach')]
    """
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if last and last.text == segment.text and segment.start <= last.stop + gap:
            joined[-1] = Segment(last.start, max(last.stop, segment.stop), last.text)
        else:
            joined.append(segment)
    return joined


def skill_segments(annotation: Mapping[str, Any], field: str, *, compat: bool) -> list[Segment]:
    """Returns the segments by one field of the skills, ``skill_type`` or ``skill_description``.

    With ``compat`` as upstream: a type is the text of its list (``"['navigation']"``), and skills
    without a text or a length count.
    """
    entries = annotation.get("skill_annotation")
    if not compat:
        return annotated_segments(entries, lambda entry: first_text(entry.get(field)))

    def upstream_text(entry: Mapping[str, Any]) -> str:
        value = entry.get(field)
        text = str(value) if field == "skill_type" and value is not None else first_text(value)
        return f"{text}."  # never empty: also a skill without a text hides others

    marked = annotated_segments(entries, upstream_text, keep_empty=True)
    return [segment._replace(text=segment.text[:-1]) for segment in marked]


def constant_runs(
    text_at: Callable[[int], str], segments: Iterable[Segment], num_frames: int
) -> list[Segment]:
    """Returns the runs of equal text that cover an episode.

    Args:
        text_at: gives a frame's text, which changes only within a frame of an end of a segment.
        segments: all that have a part in the text.
        num_frames: length of the episode.
    """
    edges = {0}
    for segment in segments:
        for edge in (segment.start, segment.stop):
            edges |= {edge - 1, edge, edge + 1}
    starts = sorted(edge for edge in edges if 0 <= edge < num_frames)
    runs = [
        Segment(start, stop, text_at(start))
        for start, stop in zip(starts, [*starts[1:], num_frames], strict=True)
    ]
    return joined_segments(runs)


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Returns the segments that have a frame, by their ranges."""
    return sorted((s for s in segments if s.start < s.stop), key=_range_of)


def _range_of(segment: Segment) -> tuple[int, int]:
    return segment.start, segment.stop


def _ranges(frame_duration: object) -> list[tuple[int, int]]:
    """A pair, or a list of pairs where a skill is split; what is neither has no range."""
    if not isinstance(frame_duration, list):
        return []
    pairs = [frame_duration] if _is_pair(frame_duration) else frame_duration
    return [(pair[0], pair[1]) for pair in pairs if _is_pair(pair)]


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int for n in value)
