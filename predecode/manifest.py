"""Receipts and quarantine -> completeness -> manifest, published last.

Everything here is a function of the plans and their receipts, so that publishing twice, or after a
crash, ends with the same bytes.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.dropped import Dropped
from predecode.errors import EpisodeFault
from predecode.planning import Plan, PlannedEpisode
from predecode.progress_lines import ProgressLine, figures_text, read_lines, total_of
from predecode.receipts import TEMPORARY_FOLDER, LowdimReceipt, ShardReceipt
from predecode.sources.episode import Episode
from train_shards.format import MANIFEST_PATH, SPLITS, index_path, plan_path
from train_shards.index import (
    EPISODE_DTYPE,
    LIVE,
    NOT_STORED,
    RUN_EPISODE_DTYPE,
    write_index,
)
from train_shards.ledger import check_extents, decode_ledger
from train_shards.manifest import (
    DroppedEpisode,
    FormatVersion,
    GenerationEntry,
    IndexEntry,
    LowdimEntry,
    Manifest,
    MissingEpisode,
    ShardEntry,
    Totals,
    encode_json,
)
from train_shards.storage import atomic_file, write_atomic

__all__ = [
    "CARD_FIGURES",
    "QUARANTINE_PATH",
    "WIDS_KIND",
    "Finished",
    "build_manifest",
    "faults_of",
    "is_published",
    "publish",
    "remove_unnamed",
    "reproduce_command",
    "retry_command",
    "write_split_index",
]

Read = Callable[[str], bytes]

CARD_FIGURES = "\n## How it was made\n"
_FIGURES_ARE = (
    "All calls of `predecode run` and `retry` that stored something, by their lines in\n"
    "`.predecode/progress.jsonl`; one that was killed counts up to its last line:\n\n"
)
QUARANTINE_PATH = ".predecode/quarantine.jsonl"
WIDS_KIND = "wids-shard-index-v1"
"""Source: webdataset's wids."""


_MASKED = (
    "\n{} dropped episodes still stand in shards and tables: readers of predecode leave them out, "
    "others do not. `predecode drop --rewrite` removes them.\n"
)


class Finished(NamedTuple):
    """One plan and what its tasks made, both in the plan's order."""

    plan: Plan
    shards: list[ShardReceipt]
    tables: list[LowdimReceipt]
    dropped: frozenset[int] = frozenset()
    """Those of its episodes that were taken out."""

    @property
    def masked(self) -> set[int]:
        """Episodes that readers are not served: at fault in any of its tasks, or dropped."""
        faults = _generation_faults(self.plan, self.shards, self.tables)
        return {fault.episode_index for fault in faults} | self.dropped


def faults_of(finished: list[Finished]) -> dict[int, EpisodeFault]:
    """Returns the episodes that are missing and why: each one's fault in its last generation."""
    faults: dict[int, EpisodeFault] = {}
    for item in finished:
        for planned in item.plan.episodes:
            faults.pop(planned.episode.episode_index, None)
        for fault in _generation_faults(item.plan, item.shards, item.tables):
            if fault.episode_index not in item.dropped:
                faults.setdefault(fault.episode_index, fault)
    return dict(sorted(faults.items()))


def publish(
    out: Path,
    finished: list[Finished],
    old: Manifest | None,
    dropped: Sequence[DroppedEpisode] = (),
    *,
    name: str = "",
    read: Read | None = None,
) -> Manifest:
    """Writes indexes, quarantine list, card and wids index, then the manifest; returns it.

    Indexes that the manifest does not name go last.

    Args:
        out: the output.
        finished: all generations.
        old: the manifest so far; indexes of its generations that mask the same are kept.
        dropped: every episode that was taken out.
        name: what the operator calls the output, where that is not ``out``.
        read: returns a ledger by its path, where the ledgers do not lie in ``out``.

    Cost: reads the ledgers of new generations, about 100 bytes a sample.
    """
    temporary = out / TEMPORARY_FOLDER
    kept = {entry.plan_digest: entry.indexes for entry in (old.generations if old else [])}
    read = read or (lambda path: (out / path).read_bytes())
    indexes = [
        _publish_indexes(out, item, kept.get(item.plan.digest, {}), read) for item in finished
    ]
    manifest = build_manifest(finished, indexes, dropped)
    rows = [_quarantine_row(name or out, fault) for fault in faults_of(finished).values()]
    write_atomic(out / QUARANTINE_PATH, b"".join(row + b"\n" for row in rows), temporary)
    for path, text in (("README.md", _card(manifest, total_of(read_lines(out)))), *_wids(manifest)):
        write_atomic(out / path, text.encode(), temporary)
    write_atomic(out / MANIFEST_PATH, encode_json(manifest), temporary)
    remove_unnamed(out, manifest)
    return manifest


def is_published(manifest: Manifest, plans: Sequence[Plan], dropped: Dropped) -> bool:
    """Whether a manifest is of these plans, whose receipts never change, and of what is dropped."""
    published = [generation.plan_digest for generation in manifest.generations]
    return published == [plan.digest for plan in plans] and manifest.dropped == dropped.episodes


def remove_unnamed(out: Path, manifest: Manifest) -> None:
    """Removes indexes, also of ``wids``, that an earlier manifest had and this one has not."""
    named = {entry.path for g in manifest.generations for entry in g.indexes.values()}
    named |= {path for path, _ in _wids(manifest)}
    indexes = (out / index_path(SPLITS[0], 0)).parent.glob("*.idx")
    wids = [out / _wids_path(manifest.settings.name, split) for split in SPLITS]
    for path in [*indexes, *wids]:
        if path.relative_to(out).as_posix() not in named:
            path.unlink(missing_ok=True)


def _quarantine_row(out: Path | str, fault: EpisodeFault) -> bytes:
    row = {**msgspec.to_builtins(fault), "retry": retry_command(out, fault)}
    if (command := reproduce_command(out, fault)) is not None:
        row["reproduce"] = command
    return msgspec.json.encode(row, order="sorted")


def retry_command(out: Path | str, fault: EpisodeFault) -> str:
    """Returns the command that tries a repaired episode again."""
    return f"predecode retry {out} --episodes {fault.episode_index:08d}"


def reproduce_command(out: Path | str, fault: EpisodeFault) -> str | None:
    """Returns what makes a process die again of this fault, None of a fault of another kind."""
    if fault.death is msgspec.UNSET:
        return None
    words = ["--episode", f"{fault.episode_index:08d}", "--task", fault.death.task]
    return shlex.join(["python", "-m", "predecode.reproduce", str(out), *words])


def build_manifest(
    finished: list[Finished],
    indexes: list[dict[str, IndexEntry]],
    dropped: Sequence[DroppedEpisode] = (),
) -> Manifest:
    """Returns the manifest of all generations and their indexes. Pure."""
    faults = faults_of(finished)
    gone = {episode.episode_index for episode in dropped}
    generations = [
        _generation(item, entries) for item, entries in zip(finished, indexes, strict=True)
    ]
    settings, run = finished[-1].plan.settings, finished[-1].plan.run_scope
    num_samples = sum(i.num_live for g in generations for i in g.indexes.values())
    shards = [shard for g in generations for shard in g.shards]
    planned = {p.episode.episode_index: p for item in finished for p in item.plan.episodes}
    refused = {e.episode_index: e for item in finished for e in item.plan.failed}
    episodes = refused | {number: p.episode for number, p in planned.items()}
    rates = {episode.fps for episode in episodes.values()}
    return Manifest(
        # An older output stays what it is until it grows or something of it is dropped.
        format=FormatVersion() if dropped and run is msgspec.UNSET else finished[-1].plan.format,
        written_by=f"predecode {version('predecode')}",
        settings=settings,
        complete=not faults,
        totals=Totals(
            num_samples=num_samples,
            num_images=num_samples * len(settings.cameras),
            num_episodes=len(set(planned) - set(faults) - gone),
            num_shards=len(shards),
            num_shard_bytes=sum(shard.num_bytes for shard in shards),
            num_lowdim_bytes=sum(t.num_bytes for g in generations for t in g.lowdim),
            num_quarantined=len(faults),
        ),
        fps=next(iter(rates)) if len(rates) == 1 else None,
        tasks=dict(sorted(task for e in episodes.values() for task in e.tasks.items())),
        task_names={e.task_name: e.task_index for e in episodes.values() if e.task_name},
        generations=generations,
        missing=[_missing(episodes[e], planned.get(e)) for e in faults],
        dropped=list(dropped),
        run_scope=run,
    )


def _generation_faults(
    plan: Plan, shards: list[ShardReceipt], tables: list[LowdimReceipt]
) -> Iterator[EpisodeFault]:
    yield from plan.faults
    for table in tables:
        yield from table.faults
    for shard in shards:
        yield from shard.faults


def _missing(episode: Episode, planned: PlannedEpisode | None) -> MissingEpisode:
    if planned is not None:
        ranges = [planned.asked]
    else:
        ranges = [] if episode.num_frames is None else [(0, episode.num_frames)]
    return MissingEpisode(
        episode_index=episode.episode_index, task_index=episode.task_index, ranges=ranges
    )


def _generation(item: Finished, indexes: dict[str, IndexEntry]) -> GenerationEntry:
    plan = item.plan
    return GenerationEntry(
        generation=plan.generation,
        plan=plan_path(plan.generation),
        plan_digest=plan.digest,
        probe=plan.probe,
        environment=plan.environment,
        backend=plan.backend,
        shards=_shard_entries(item),
        lowdim=_lowdim_entries(item),
        indexes=indexes,
    )


def _shard_entries(item: Finished) -> list[ShardEntry]:
    return [receipt.entry for receipt in item.shards if receipt.entry.num_samples]


def _lowdim_entries(item: Finished) -> list[LowdimEntry]:
    return [receipt.entry for receipt in item.tables if receipt.entry.episodes]


def _publish_indexes(
    out: Path, item: Finished, kept: dict[str, IndexEntry], read: Read
) -> dict[str, IndexEntry]:
    entries = {}
    for split in SPLITS:
        if any(p.split == split for p in item.plan.episodes):
            path = _index_path(item, split)
            if split in kept and kept[split].path == path:
                entries[split] = kept[split]
                continue
            with atomic_file(out / path, out / TEMPORARY_FOLDER) as file:
                entries[split] = write_split_index(file, item, split, read)
    return entries


def _index_path(item: Finished, split: str) -> str:
    """Where an index lies; what a generation drops only grows, so that the number tells which."""
    mine = {p.episode.episode_index for p in item.plan.episodes if p.split == split}
    return index_path(split, item.plan.generation, len(mine & item.dropped))


def write_split_index(file: BinaryIO, item: Finished, split: str, read: Read) -> IndexEntry:
    """Writes the index of one split of one generation to ``file``; returns its entry.

    ``read`` returns a ledger by its path.

    Masked episodes keep their rows and lose their live bit.

    Raises:
        DataError: a ledger that is none, or not of the planned samples of its shard.

    Cost: reads the split's ledgers.
    """
    plan, shards = item.plan, _shard_entries(item)
    episodes = _episode_rows(plan, split, _lowdim_entries(item), masked=item.masked)
    num_members, num_images = len(plan.settings.fields), len(plan.settings.cameras)

    def ledgers() -> Iterator[tuple[int, NDArray[np.void]]]:
        for number, shard in enumerate(shards):
            if shard.split == split:
                data = read(shard.ledger)
                rows = decode_ledger(data, num_members, num_images, where=shard.ledger)
                check_extents(rows, shard.num_bytes, where=shard.ledger)
                yield number, rows

    planned = {p.episode.episode_index: p for p in plan.episodes}

    def ranks_of(episode_index: int, frames: NDArray[np.uint32]) -> NDArray[np.int64]:
        return _ranks(planned[episode_index].stored_frames(plan.settings.stride), frames)

    header_xxh3 = write_index(file, episodes, num_members, ledgers(), ranks_of)
    live = (episodes["flags"] & LIVE) != 0
    return IndexEntry(
        path=_index_path(item, split),
        num_bytes=Path(file.name).stat().st_size,
        header_xxh3=header_xxh3,
        num_samples=int(episodes["num_rows"].sum()),
        num_live=int(episodes["num_rows"][live].sum()),
    )


def _ranks(stored: Sequence[int], frames: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Positions of frames among those that are stored; -1 of one that is not among a run's."""
    if isinstance(stored, range):
        return (frames.astype(np.int64) - stored.start) // stored.step
    known = np.array([*stored, -1], np.int64)
    ranks = np.searchsorted(known[:-1], frames)
    return np.where(known[ranks] == frames, ranks, -1)


def _episode_rows(
    plan: Plan, split: str, lowdim: list[LowdimEntry], *, masked: set[int]
) -> NDArray[np.void]:
    batches = {
        episode_index: (table, batch)
        for table, entry in enumerate(lowdim)
        for batch, episode_index in enumerate(entry.episodes)
    }
    mine = [p for p in plan.episodes if p.split == split]
    is_run = plan.run_scope is not msgspec.UNSET and split == "train"
    rows = np.zeros(len(mine), RUN_EPISODE_DTYPE if is_run else EPISODE_DTYPE)
    row_start = 0
    for row, planned in zip(rows, mine, strict=True):
        episode = planned.episode
        row["episode_index"] = episode.episode_index
        row["task_index"] = episode.task_index
        row["row_start"] = row_start
        selected = planned.selected_frames(plan.settings.stride)
        row["num_rows"] = len(planned.stored_frames(plan.settings.stride))
        row["first_frame"] = selected.start
        if is_run:
            row["num_samples"] = len(selected)
        row["num_frames"] = planned.num_frames
        row["flags"] = 0 if episode.episode_index in masked else LIVE
        row["lowdim_table"], row["lowdim_batch"] = batches.get(
            episode.episode_index, (NOT_STORED, NOT_STORED)
        )
        row_start += int(row["num_rows"])
    return rows


def _card(manifest: Manifest, made: ProgressLine | None) -> str:
    """The data set card; its front matter lets the Hugging Face hub find the tars.

    What is known of how it was made comes last, behind ``CARD_FIGURES``: it is no function of plans
    and receipts.
    """
    splits = sorted({s.split for g in manifest.generations for s in g.shards})
    files = "\n".join(f"  - split: {s}\n    path: data/{s}/*.tar" for s in splits)
    settings, totals = manifest.settings, manifest.totals
    stored = {e for g in manifest.generations for table in g.lowdim for e in table.episodes}
    scope = manifest.run_scope
    of_run = f", in train those of one run alone ({scope})" if scope else ""
    masked = sorted(stored & {episode.episode_index for episode in manifest.dropped})
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}\n---\n"
        f"# {settings.name}\n\n"
        f"{totals.num_samples:,} samples of {totals.num_episodes:,} episodes"
        f"{', labelled frames only' if settings.annotated_only else ''}"
        f"{of_run}, cameras "
        f"{', '.join(settings.camera_names)}, {settings.size} pixels, {settings.codec}"
        f"{'' if settings.quality is None else f' quality {settings.quality}'}, in WebDataset "
        f"shards made by {manifest.written_by} from {settings.source}.\n\n"
        f"Complete: {'yes' if manifest.complete else 'no, see .predecode/quarantine.jsonl'}.\n\n"
        "Low-dimensional columns of whole episodes stand in `lowdim/` (Arrow IPC).\n"
        + (_MASKED.format(len(masked)) if masked else "")
        + (f"{CARD_FIGURES}\n{_FIGURES_ARE}{figures_text(made)}.\n" if made else "")
    )


def _wids(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The wids index of each split. Source: ``wids-shard-index-v1`` of webdataset's wids."""
    name = manifest.settings.name
    for split in SPLITS:
        shards = [s for g in manifest.generations for s in g.shards if s.split == split]
        if shards:
            index = {
                "__kind__": WIDS_KIND,
                "wids_version": 1,
                "name": f"{name}-{split}",
                "shardlist": [
                    {
                        "url": shard.path,
                        "nsamples": shard.num_samples,
                        "md5sum": shard.md5,
                        "filesize": shard.num_bytes,
                    }
                    for shard in shards
                ],
            }
            yield _wids_path(name, split), encode_json(index).decode()


def _wids_path(name: str, split: str) -> str:
    return f"{name}.json" if split == "train" else f"{name}-{split}.json"
