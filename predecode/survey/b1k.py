"""What only BEHAVIOR-1K has to look at: its metadata, and the files that no decoder opens.

Whole set; a fault (F) makes items wrong, a remark (R) does not:

=================== = ==========================================================================
tasks               F an index, a name or a sentence stands twice in ``tasks.jsonl``: which task an
                      episode belongs to is then chance; an empty sentence: an empty prompt
totals              R totals of ``info.json`` that are not those of ``episodes.jsonl`` and
                      ``tasks.jsonl``; rollouts sum ``total_frames`` from a copied file
unknown-task        R an episode's sentence stands in no task: its id tells the task
id-rule             R the task is not ``episode_index // 10000``; the sentence decides
unknown-file        R files below data/, videos/ and annotations/ that no episode names
annotation-id       F the metadata name the annotation of another episode's raw id: its labels;
                    R where no episode has that id
=================== = ==========================================================================

Of these the 2026 edition has ``tasks`` and ``totals``, and alone ``annotation-id``.

An episode; ``predecode run`` makes its pictures and rows without these files:

=================== = ==========================================================================
missing-file        R no annotation though another episode of the task has one; no metadata file or
                      video of another modality though another episode has one
empty-file          R one of these has 0 bytes (an annotation: ``annotation-unreadable``)
episode-metadata    R not readable, or ``num_samples`` is not the episode's length: rollouts carry a
                      copy of the first episode's file
duplicate-metadata  R the same bytes as another episode's
annotation-…          see ``annotations``
=================== = ==========================================================================

Of these the 2026 edition has only what concerns annotations.

Broken lines and ids that stand twice in ``episodes.jsonl`` are refused when the source is opened:
nothing could be said of which episodes there are.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import xxhash

from predecode.sources.b1k import B1kSource
from predecode.sources.b1k_2026 import B1k2026Source
from predecode.sources.episode import Episode
from predecode.survey.annotations import check_annotation
from predecode.survey.findings import counted, episode_key, noting
from predecode.verification.report import Finding

__all__ = [
    "AnySource",
    "check_annotation_file",
    "check_annotation_id",
    "check_metadata",
    "check_others",
    "missing_others",
    "other_files",
]

AnySource = B1kSource | B1k2026Source
"""The two editions."""

_ANNOTATION = "annotation"
_EPISODE_METADATA = "episode metadata"
_IDS_PER_TASK = 10000
"""Source: the published ids; the trainer's reader takes an episode's task from its id."""
_ID_IN_NAME = re.compile(r"\d+$")
"""Source: ``annotations/task-TTTT/episode_RRRRRRRR.json`` of the 2026 edition."""
_FOLDERS = ("data", "videos", "annotations")
_LISTED = 3


def other_files(source: AnySource, episode: Episode) -> dict[str, str]:
    """Returns what the metadata name beside table and RGB videos: kind or video key -> path."""
    annotation = source.annotation_path(episode.episode_index)
    files = {} if annotation is None else {_ANNOTATION: annotation}
    if isinstance(source, B1k2026Source):
        return files
    if "metainfo_path" in source.info:
        files[_EPISODE_METADATA] = source.path_of("metainfo_path", episode.episode_index)
    for key, feature in source.info["features"].items():
        is_video = isinstance(feature, dict) and feature.get("dtype") == "video"
        if is_video and key not in source.cameras.values():
            files[key] = source.path_of("video_path", episode.episode_index, key)
    return files


class _EpisodeMetadata(msgspec.Struct):
    num_samples: int


def check_others(
    root: Path, episode: Episode, others: dict[str, str], task_names: Collection[str]
) -> tuple[dict[str, str], list[Finding]]:
    """Looks at the other files of one episode.

    Args:
        root: of the data set.
        episode: whose files they are.
        others: from ``other_files``.
        task_names: short names of all tasks of the set.

    Returns:
        Which of them are there, kind -> digest (``""`` where content does not matter); findings.

    Cost: reads annotation and metadata (published: 13 kB and 1.9 MB an episode), lists the videos.
    """
    present: dict[str, str] = {}
    findings: list[Finding] = []
    for kind, path in others.items():
        file = root / path
        if not file.is_file():
            continue
        present[kind] = ""
        note = noting(path, episode)
        if kind == _ANNOTATION:
            findings += check_annotation_file(file, path, episode, task_names)
        elif file.stat().st_size == 0:
            findings.append(note(kind="empty-file", expected=kind, got="0 bytes", is_fault=False))
        elif kind == _EPISODE_METADATA:
            data = file.read_bytes()
            present[kind] = xxhash.xxh3_128_hexdigest(data)
            expected, got = f"num_samples {episode.num_frames}", ""
            try:
                num_samples = msgspec.json.decode(data, type=_EpisodeMetadata).num_samples
                got = "" if num_samples == episode.num_frames else f"num_samples {num_samples}"
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                got = str(error)
            if got:
                remark = note(kind="episode-metadata", expected=expected, got=got, is_fault=False)
                findings.append(remark)
    return present, findings


def check_annotation_file(
    file: Path, path: str, episode: Episode, task_names: Collection[str]
) -> list[Finding]:
    """Returns what is to be said of an episode's annotation.

    Args:
        file: where it lies, which is there.
        path: the same, relative to the data set's root.
        episode: as ``check_annotation`` takes it.
        task_names: as ``check_annotation`` takes them.
    """
    try:
        value = msgspec.json.decode(file.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        note = noting(path, episode)
        return [note(kind="annotation-unreadable", expected="JSON", got=str(error))]
    return check_annotation(value, path, episode, task_names)


def check_annotation_id(source: AnySource, episode: Episode) -> Iterator[Finding]:
    """Yields a finding where the metadata of 2026 name an annotation of another raw id."""
    path = source.annotation_path(episode.episode_index)
    if isinstance(source, B1kSource) or path is None:
        return
    raw_id = source.raw_ids.get(episode.episode_index)
    named = _ID_IN_NAME.search(Path(path).stem)
    if raw_id is None or named is None or int(named[0]) == raw_id:
        return
    is_other = int(named[0]) in source.raw_ids.values()
    note = noting(path, episode)
    got = f"that of raw id {int(named[0])}, {'another' if is_other else 'no'} episode's"
    expected = f"the annotation of raw id {raw_id}"
    yield note(kind="annotation-id", expected=expected, got=got, is_fault=is_other)


def missing_others(source: AnySource, present: dict[int, dict[str, str]]) -> Iterator[Finding]:
    """Yields what an episode lacks that others have, and metadata files that are copies.

    Args:
        source: the data set.
        present: ``episode_index`` -> what ``check_others`` returned.
    """
    num_with: Counter[tuple[str, int]] = Counter()
    for episode in source.episodes:
        for kind in present[episode.episode_index]:
            num_with[kind, _task_of(kind, episode)] += 1
    first_with: dict[str, str] = {}
    for episode in source.episodes:
        has = present[episode.episode_index]
        for kind, path in other_files(source, episode).items():
            number = num_with[kind, _task_of(kind, episode)]
            note = noting(path, episode)
            if kind not in has and number:
                of = " of the task" if kind == _ANNOTATION else ""
                expected = f"{kind}, there for {counted(number, 'episode')}{of}"
                yield note(kind="missing-file", expected=expected, got="no file", is_fault=False)
            elif digest := has.get(kind):
                other = first_with.setdefault(digest, path)
                if other != path:
                    got = f"the bytes of {other}"
                    yield note(
                        kind="duplicate-metadata", expected="its own file", got=got, is_fault=False
                    )


def _task_of(kind: str, episode: Episode) -> int:
    """Annotations came task by task; the rest is there for a whole set or not."""
    return episode.task_index if kind == _ANNOTATION else -1


def check_metadata(source: AnySource) -> Iterator[Finding]:
    """Yields what is wrong with tasks, totals, ids and the files of the set as a whole.

    Cost: lists data/, videos/ and annotations/.
    """
    rows = [
        json.loads(line)
        for line in (source.root / "meta/tasks.jsonl").read_text().splitlines()
        if line.strip()
    ]
    yield from _check_tasks(rows)
    yield from _check_totals(source, num_tasks=len(rows))
    if isinstance(source, B1k2026Source):
        for episode in source.episodes:
            yield from check_annotation_id(source, episode)
    else:
        yield from _check_ids(source, rows)
        yield from _unknown_files(source)


def _check_ids(source: B1kSource, rows: Sequence[dict[str, object]]) -> Iterator[Finding]:
    sentences = {row["task"] for row in rows}
    strangers = [e for e in source.episodes if e.task not in sentences]
    misplaced = [e for e in source.episodes if e.task_index != e.episode_index // _IDS_PER_TASK]
    for kind, expected, episodes in (
        ("unknown-task", "sentences of meta/tasks.jsonl", strangers),
        ("id-rule", "task_index episode_index // 10000", misplaced),
    ):
        if episodes:
            got = f"{counted(len(episodes), 'other')}: {_first(_named(episodes))}"
            note = noting("meta/episodes.jsonl")
            yield note(kind=kind, expected=expected, got=got, is_fault=False)


def _check_tasks(rows: Sequence[dict[str, object]]) -> Iterator[Finding]:
    note = noting("meta/tasks.jsonl")
    for field in ("task_index", "task_name", "task"):
        counts = Counter(str(row[field]) for row in rows)
        twice = [repr(value) for value, count in counts.items() if count > 1]
        if twice:
            got = f"{len(twice)} more than once: {_first(twice)}"
            yield note(kind="tasks", expected=f"each {field} once", got=got)
    nameless = [str(row["task_index"]) for row in rows if not str(row["task"]).strip()]
    if nameless:
        got = f"none for task {_first(nameless)}"
        yield note(kind="tasks", expected="a sentence for each task", got=got)


def _check_totals(source: AnySource, *, num_tasks: int) -> Iterator[Finding]:
    counts = {
        "total_episodes": len(source.episodes),
        "total_frames": sum(episode.num_frames or 0 for episode in source.episodes),
        "total_tasks": num_tasks,
    }
    note = noting("meta/info.json")
    for name, count in counts.items():
        total = source.info.get(name)
        if total != count:
            yield note(kind="totals", expected=f"{name} {count}", got=str(total), is_fault=False)


def _unknown_files(source: B1kSource) -> Iterator[Finding]:
    """One remark a folder."""
    known: set[str] = set()
    for episode in source.episodes:
        known |= {span.path for span in episode.videos.values()}
        known |= set(other_files(source, episode).values())
        known |= {episode.table.path} if episode.table else set()
    unknown: defaultdict[str, list[str]] = defaultdict(list)
    for top in _FOLDERS:
        for path in (source.root / top).rglob("*"):
            name = path.relative_to(source.root).as_posix()
            if name not in known and path.is_file():
                unknown[path.parent.relative_to(source.root).as_posix()].append(path.name)
    for folder, names in sorted(unknown.items()):
        got = f"{counted(len(names), 'other')}: {_first(sorted(names))}"
        expected = "only files that an episode of the metadata names"
        yield noting(folder)(kind="unknown-file", expected=expected, got=got, is_fault=False)


def _named(episodes: Iterable[Episode]) -> list[str]:
    return [episode_key(episode.episode_index) for episode in episodes]


def _first(names: Sequence[str]) -> str:
    more = [f"{len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])
