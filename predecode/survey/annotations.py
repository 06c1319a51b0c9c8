"""An episode's annotation against its length and task. Pure.

A fault (F): the drop-in would serve another episode's labels or lose labels that the file means to
give. A remark (R): it serves what the file says (``train_shards/prompts.py``), but the file is not
what one would expect.

======================= = ======================================================================
annotation-unreadable   F not JSON, or not an object with lists of skills and primitives
annotation-range        F a ``frame_duration`` that is neither a pair nor a list of pairs of whole
                          numbers: its labels are lost
annotation-task         F the task's name is another task's: another episode's file;
                        R where it is no task's
annotation-empty-range  R ends where it starts or before: such a segment has no frame
annotation-beyond-end   R frames before 0 or beyond the episode's length, which nobody asks for
annotation-skill        R no description: the reader leaves the segment out
annotation-overlap      R frames in several segments get the text of the first
annotation-gap          R frames between two segments get no text
annotation-start        R the first frames are not valid or carry no label
annotation-tail         R the last frames carry no label
annotation-duration     R labels beyond ``valid_duration``, or no such pair
annotation-empty        R no skill at all
======================= = ======================================================================

Names of skills are not compared with a vocabulary: the reader makes a phrase of any.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from predecode.sources.episode import Episode
from predecode.survey.findings import counted, noting
from predecode.verification.report import Finding
from train_shards.phrases import first_text
from train_shards.prompts import annotated_segments

__all__ = ["Coverage", "check_annotation", "coverage"]

_Range = tuple[int, int]


class Coverage(NamedTuple):
    """How often frames from the first label to the last are labelled."""

    num_gaps: int
    """Runs of frames in no range."""
    gap_frames: int
    num_overlaps: int
    """Runs of frames in more than one range."""
    overlap_frames: int


def coverage(ranges: Iterable[_Range]) -> Coverage:
    """Returns gaps and overlaps of ranges ``[start, stop)`` that have a frame each.

    >>> coverage([(0, 60), (75, 140), (130, 200)])
    Coverage(num_gaps=1, gap_frames=15, num_overlaps=1, overlap_frames=10)
    """
    changes: Counter[int] = Counter()
    for start, stop in ranges:
        changes[start] += 1
        changes[stop] -= 1
    edges = sorted(edge for edge, change in changes.items() if change)
    depth, runs = 0, []
    for edge, next_edge in pairwise(edges):
        before, depth = depth, depth + changes[edge]
        runs.append((before, depth, next_edge - edge))
    return Coverage(
        num_gaps=sum(depth == 0 for _, depth, _ in runs),
        gap_frames=sum(width for _, depth, width in runs if depth == 0),
        num_overlaps=sum(before < 2 <= depth for before, depth, _ in runs),
        overlap_frames=sum(width for _, depth, width in runs if depth >= 2),
    )


def check_annotation(
    value: object, where: str, episode: Episode, task_names: Collection[str]
) -> list[Finding]:
    """Returns what is to be said of a decoded annotation file.

    Args:
        value: as decoded.
        where: the file, relative to the root.
        episode: whose annotation it should be.
        task_names: short names of all tasks of the set.
    """
    note = noting(where, episode)
    lists = {"skill": "skill_annotation", "primitive": "primitive_annotation"}
    if not isinstance(value, dict) or not all(
        isinstance(value.get(name, []), list) for name in lists.values()
    ):
        expected = "an object with lists " + " and ".join(lists.values())
        return [note(kind="annotation-unreadable", expected=expected, got=_short(value))]
    findings = list(_check_task(value, note, episode, task_names))
    remark = partial(note, is_fault=False)
    if not value.get("skill_annotation"):
        findings.append(remark(kind="annotation-empty", expected="skills", got="none"))
    valid = _valid_range(value)
    if valid is None:
        got = _short(_meta_data(value).get("valid_duration"))
        findings.append(
            remark(kind="annotation-duration", expected="valid_duration [start, end]", got=got)
        )
    elif valid[0] != 0:
        expected, got = "valid_duration from frame 0", f"from frame {valid[0]}"
        findings.append(remark(kind="annotation-start", expected=expected, got=got))
    for kind, name in lists.items():
        entries = value.get(name, [])
        findings += _check_entries(entries, kind, note)
        findings += _check_ranges(entries, kind, note, episode.num_frames)
        findings += _check_coverage(entries, kind, remark, episode.num_frames, valid)
    return findings


def _check_task(
    value: Mapping[str, Any],
    note: "partial[Finding]",
    episode: Episode,
    task_names: Collection[str],
) -> Iterator[Finding]:
    """Annotations name the task in words with blanks, ``tasks.jsonl`` with underscores."""
    got = str(value.get("task_name"))
    if episode.task_name and _plain(got) != _plain(episode.task_name):
        is_other = _plain(got) in {_plain(name) for name in task_names}
        expected = f"task {episode.task_name!r}"
        yield note(kind="annotation-task", expected=expected, got=repr(got), is_fault=is_other)


def _check_entries(entries: list[Any], kind: str, note: "partial[Finding]") -> Iterator[Finding]:
    """What cannot be read of single entries, as the drop-in reads them."""
    malformed, nameless = [], []
    for number, entry in enumerate(entries):
        duration = entry.get("frame_duration") if isinstance(entry, dict) else entry
        is_list = isinstance(duration, list) and all(isinstance(p, list) for p in duration)
        pairs = duration if is_list and isinstance(duration, list) else [duration]
        if not pairs or len(_ranges([entry])) != len(pairs):
            malformed.append(f"{kind} {number}: {_short(duration)}")
        elif not first_text(entry.get(f"{kind}_description")):
            nameless.append(f"{kind} {number}: {_short(entry.get(f'{kind}_description'))}")
    if malformed:
        expected = "frame_duration a pair or a list of pairs"
        yield note(kind="annotation-range", expected=expected, got=_listed(malformed))
    if nameless:
        expected, got = f"a {kind}_description", _listed(nameless)
        yield note(kind="annotation-skill", expected=expected, got=got, is_fault=False)


def _check_ranges(
    entries: list[Any], kind: str, note: "partial[Finding]", num_frames: int | None
) -> Iterator[Finding]:
    empty, beyond = [], []
    for number, entry in enumerate(entries):
        for start, stop in _ranges([entry]):
            place = f"{kind} {number}: [{start}, {stop}]"
            if stop <= start:
                empty.append(place)
            elif start < 0 or (num_frames is not None and stop > num_frames):
                beyond.append(place)
    for name, expected, places in (
        ("annotation-empty-range", "ranges that end after they start", empty),
        ("annotation-beyond-end", f"ranges within {num_frames} frames", beyond),
    ):
        if places:
            yield note(kind=name, expected=expected, got=_listed(places), is_fault=False)


def _check_coverage(
    entries: list[Any],
    kind: str,
    remark: "partial[Finding]",
    num_frames: int | None,
    valid: _Range | None,
) -> Iterator[Finding]:
    """What of the episode carries no label, or several."""
    ranges = [pair for pair in _ranges(entries) if pair[0] < pair[1]]
    if not ranges:
        return
    found = coverage(ranges)
    if found.num_gaps:
        got = f"{counted(found.num_gaps, 'gap')} of {counted(found.gap_frames, 'frame')}"
        yield remark(kind="annotation-gap", expected=f"{kind}s without gaps", got=got)
    if found.num_overlaps:
        got = (
            f"{counted(found.num_overlaps, 'overlap')} of {counted(found.overlap_frames, 'frame')}"
        )
        yield remark(kind="annotation-overlap", expected=f"one {kind} a frame", got=got)
    start, stop = min(ranges)[0], max(stop for _, stop in ranges)
    if start > 0:
        got = f"{counted(start, 'frame')} before the first {kind}"
        yield remark(kind="annotation-start", expected=f"{kind}s from frame 0", got=got)
    if num_frames is not None and stop < num_frames:
        got = f"{counted(num_frames - stop, 'frame')} after the last {kind}"
        yield remark(kind="annotation-tail", expected=f"{kind}s to frame {num_frames}", got=got)
    if valid is not None and stop > valid[1]:
        expected, got = f"{kind}s within valid_duration {list(valid)}", f"one ends at {stop}"
        yield remark(kind="annotation-duration", expected=expected, got=got)


def _ranges(entries: list[Any]) -> list[_Range]:
    """All ranges that the drop-in reads in entries, empty ones too."""
    segments = annotated_segments(entries, lambda _: "any text", keep_empty=True)
    return [(segment.start, segment.stop) for segment in segments]


def _valid_range(value: Mapping[str, Any]) -> _Range | None:
    valid = _meta_data(value).get("valid_duration")
    ranges = _ranges([{"frame_duration": valid}])
    return ranges[0] if isinstance(valid, list) and ranges == [tuple(valid)] else None


def _meta_data(value: Mapping[str, Any]) -> Mapping[str, Any]:
    meta_data = value.get("meta_data")
    return meta_data if isinstance(meta_data, dict) else {}


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def _listed(places: list[str]) -> str:
    more = [f"{len(places) - 3} more"] if len(places) > 3 else []
    return ", ".join([*places[:3], *more])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
