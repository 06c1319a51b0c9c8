"""Verification of an output as a whole: manifest, plans, coverage, tables, indexes, strange files.

Yields findings and makes the jobs that verify its shards.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from predecode.errors import DataError, InfraError
from predecode.manifest import Finished, build_manifest, write_split_index
from predecode.output import finished_generations, jobs_of, load_plans
from predecode.pipeline import ShardJob, frames_of
from predecode.planning import Plan, plan_digest
from predecode.selection import selected_frames
from predecode.verification.pictures import VerifyJob
from predecode.verification.report import Finding
from train_shards.index import Index
from train_shards.manifest import Manifest
from train_shards.storage import sha256_of_file

__all__ = ["check_output", "shard_jobs"]


def check_output(out: Path, manifest: Manifest) -> Iterator[Finding]:
    """Yields what is wrong with everything but the shards' own content.

    Cost: reads the tables and the ledgers once.
    """
    try:
        plans = load_plans(out)
        finished = finished_generations(out, plans, check_files=False)
    except (DataError, InfraError) as error:
        yield _finding("receipts", ".predecode", "plans and receipts of every task", error)
        return
    for plan in plans:
        yield from _check_plan(plan)
    yield from _check_manifest(manifest, finished)
    yield from _check_tables(out, manifest)
    yield from _check_indexes(out, manifest, finished)
    known = {shard.path for g in manifest.generations for shard in g.shards}
    known |= {f"{path}.idx" for path in known}  # Energon puts its own index beside each tar
    for path in sorted((out / "data").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in known:
            yield _finding("unknown-file", name, "only files of the manifest", "this file")


def shard_jobs(
    out: Path, root: Path, manifest: Manifest, *, num_samples: int | None, seed: int,
    min_psnr_db: float,
) -> list[VerifyJob]:  # fmt: skip
    """Returns one job a shard.

    Args:
        out: the output.
        root: the source to decode again.
        manifest: of the output.
        num_samples: how many samples to decode again, drawn evenly by ``seed``; None for all.
        seed: of the draw.
        min_psnr_db: least PSNR of a lossy picture.

    Raises:
        DataError: a plan that cannot be read.
        InfraError: a receipt is missing.
    """
    plans = [msgspec.structs.replace(p, root=str(root.resolve())) for p in load_plans(out)]
    entries = {shard.name: shard for g in manifest.generations for shard in g.shards}
    absent = {
        Path(receipt.entry.path).stem: [fault.episode_index for fault in receipt.faults]
        for item in finished_generations(out, plans, check_files=False)
        for receipt in item.shards
    }
    jobs = {
        job.name: job for plan in plans for job in jobs_of(out, plan) if isinstance(job, ShardJob)
    }
    positions = _draw(manifest, num_samples, seed)
    return [
        VerifyJob(
            shard=jobs[name],
            entry=entry,
            absent=absent[name],
            positions=None if positions is None else positions[name],
            min_psnr_db=min_psnr_db,
        )
        for name, entry in entries.items()
        if name in jobs
    ]


def _draw(manifest: Manifest, num_samples: int | None, seed: int) -> dict[str, list[int]] | None:
    if num_samples is None:
        return None
    shards = [shard for g in manifest.generations for shard in g.shards]
    total = sum(shard.num_samples for shard in shards)
    chosen = sorted(random.Random(seed).sample(range(total), min(num_samples, total)))
    positions: dict[str, list[int]] = {}
    start = 0
    for shard in shards:
        stop = start + shard.num_samples
        positions[shard.name] = [p - start for p in chosen if start <= p < stop]
        start = stop
    return positions


def _check_plan(plan: Plan) -> Iterator[Finding]:
    """The plan is the one that was made, and deals every selected frame exactly once."""
    where = f"plan of generation {plan.generation}"
    digest = plan_digest(plan)
    if digest != plan.digest:
        yield _finding("plan", where, f"digest {plan.digest}", digest)
    dealt: dict[int, list[int]] = {p.episode.episode_index: [] for p in plan.episodes}
    for shard in plan.shards:
        for piece in shard.pieces:
            frames = frames_of([piece], plan.settings)
            dealt.setdefault(piece.episode_index, []).extend(frames)
    for planned in plan.episodes:
        frames = sorted(dealt[planned.episode.episode_index])
        if frames != list(selected_frames(0, planned.num_frames, plan.settings.stride)):
            yield _finding(
                "coverage",
                f"{where}, episode {planned.episode.episode_index:08d}",
                "every selected frame exactly once",
                f"{len(frames)} frames, {len(set(frames))} of them different",
            )


def _check_manifest(manifest: Manifest, finished: list[Finished]) -> Iterator[Finding]:
    """The manifest says what plans and receipts say."""
    if len(manifest.generations) != len(finished):
        yield _finding(
            "manifest", "generations", len(finished), f"{len(manifest.generations)} in the manifest"
        )
        return
    expected = build_manifest(finished, [g.indexes for g in manifest.generations])
    got = msgspec.to_builtins(manifest, str_keys=True)
    for path, want, have in _differences(msgspec.to_builtins(expected, str_keys=True), got, ""):
        if path != "written_by":
            yield _finding("manifest", path, want, have)


def _differences(want: object, have: object, path: str) -> Iterator[tuple[str, object, object]]:
    if isinstance(want, dict) and isinstance(have, dict):
        for name in sorted({*want, *have}, key=str):
            where = f"{path}.{name}".lstrip(".")
            yield from _differences(want.get(name), have.get(name), where)
    elif isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        for number, (left, right) in enumerate(zip(want, have, strict=True)):
            yield from _differences(left, right, f"{path}[{number}]")
    elif want != have:
        yield path, want, have


def _check_tables(out: Path, manifest: Manifest) -> Iterator[Finding]:
    for generation in manifest.generations:
        for table in generation.lowdim:
            path = out / table.path
            if not path.is_file():
                yield _finding("missing-file", table.path, f"{table.num_bytes} bytes", "no file")
            elif (digest := sha256_of_file(path)) != table.sha256:
                yield _finding("table", table.path, f"SHA-256 {table.sha256}", digest)


def _check_indexes(out: Path, manifest: Manifest, finished: list[Finished]) -> Iterator[Finding]:
    """Each index is whole, and is what the ledgers give when it is made again."""
    for generation, item in zip(manifest.generations, finished, strict=False):
        for split, entry in generation.indexes.items():
            try:
                index = Index(out / entry.path, len(manifest.settings.fields))
                index.check_all_blocks()
                index.close()
                with tempfile.TemporaryDirectory() as folder, Path(folder, "i").open("wb") as file:
                    again = write_split_index(file, out, item, split).header_xxh3
            except (DataError, OSError) as error:
                yield _finding("index", entry.path, "a whole index", error)
                continue
            if not again == entry.header_xxh3 == index.header_xxh3:
                yield _finding("index", entry.path, f"digest {again}", index.header_xxh3)


def _finding(kind: str, where: str, expected: object, got: object) -> Finding:
    return Finding(kind=kind, where=where, key="", expected=str(expected), got=str(got))
