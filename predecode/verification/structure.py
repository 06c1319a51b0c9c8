"""An output as a whole: manifest, plans, coverage, indexes, strange files; or its bytes alone."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from predecode.display import Display
from predecode.dropped import load_dropped
from predecode.errors import DataError
from predecode.for_run import first_part, universe_of
from predecode.manifest import Finished, build_manifest, faults_of, write_split_index
from predecode.pipeline import frames_of
from predecode.places import Place, at
from predecode.planning import Piece, Plan, plan_digest
from predecode.verification.report import Finding
from train_shards.index import Index
from train_shards.manifest import DroppedEpisode, IndexEntry, Manifest
from train_shards.storage import sha256_of_file

__all__ = ["check_bytes", "check_output"]


def check_output(
    out: Path | Place, manifest: Manifest, finished: Sequence[Finished]
) -> Iterator[Finding]:
    """Yields what is wrong with everything but the content of shards and tables.

    Cost: reads the ledgers once.
    """
    for item in finished:
        yield from _check_plan(item.plan)
    place = at(out)
    yield from _check_manifest(manifest, finished, load_dropped(place.folder).episodes)
    yield from _check_run(finished)
    yield from _check_indexes(place, manifest, finished)
    known = {shard.path for g in manifest.generations for shard in g.shards}
    known |= {f"{path}.idx" for path in known}  # Energon puts its own index beside each tar
    for name in sorted(place.names()):
        if name.startswith("data/") and name not in known:
            yield _finding("unknown-file", name, "only files of the manifest", "this file")


def check_bytes(place: Place, manifest: Manifest, display: Display) -> list[Finding]:
    """Returns the files whose bytes are not those that the manifest names.

    Cost: reads every file of the output once.
    """
    files = [
        file
        for generation in manifest.generations
        for file in (
            *((shard.path, shard.sha256) for shard in generation.shards),
            *((shard.ledger, shard.ledger_sha256) for shard in generation.shards),
            *((table.path, table.sha256) for table in generation.lowdim),
        )
    ]
    findings = []
    display.phase("hashing", "files", len(files))
    for path, sha256 in files:
        with place.local(path) as file:
            if not file.is_file():
                findings.append(_finding("missing-file", path, f"SHA-256 {sha256}", "no file"))
            elif (digest := sha256_of_file(file)) != sha256:
                findings.append(_finding("bytes", path, f"SHA-256 {sha256}", digest))
        display.advance(1, 0)
    for generation in manifest.generations:
        for entry in generation.indexes.values():
            try:
                digest = _index_digest(place, manifest, entry)
            except (DataError, OSError) as error:
                findings.append(_finding("index", entry.path, "a whole index", error))
                continue
            if digest != entry.header_xxh3:
                findings.append(_finding("index", entry.path, entry.header_xxh3, digest))
    return findings


def _check_plan(plan: Plan) -> Iterator[Finding]:
    """The plan is the one that was made, and deals every selected frame exactly once."""
    where = f"plan of generation {plan.generation}"
    digest = plan_digest(plan)
    if digest != plan.digest:
        yield _finding("plan", where, f"digest {plan.digest}", digest)
    pieces: dict[int, list[Piece]] = {}
    for shard in plan.shards:
        for piece in shard.pieces:
            pieces.setdefault(piece.episode_index, []).append(piece)
    for planned in plan.episodes:
        own = pieces.get(planned.episode.episode_index, [])
        frames = sorted(frames_of(own, planned, plan.settings))
        if frames != list(planned.stored_frames(plan.settings.stride)):
            yield _finding(
                "coverage",
                f"{where}, episode {planned.episode.episode_index:08d}",
                "every selected frame exactly once",
                f"{len(frames)} frames, {len(set(frames))} of them different",
            )


def _check_run(finished: Sequence[Finished]) -> Iterator[Finding]:
    """The plans deal every sample that the run sees, computed again, and no other.

    An episode that is at fault or dropped need not have all: an extension leaves it alone.
    """
    scope = finished[-1].plan.run_scope
    if not scope:
        return
    universe = universe_of(finished[0].plan)
    if universe.num_samples != scope.num_samples:
        yield _finding("run", "universe", f"{scope.num_samples} samples", universe.num_samples)
        return
    part = first_part(universe, scope)
    if part.scope != scope:
        yield _finding("run", "plan", part.scope, scope)
    dealt: dict[int, set[int]] = {}
    for item in finished:
        for planned in item.plan.episodes:
            if planned.split == "train":
                frames = planned.stored_frames(universe.stride)
                dealt.setdefault(planned.episode.episode_index, set()).update(frames)
    gone = {*faults_of(list(finished))}.union(*(item.dropped for item in finished))
    for episode in sorted({*dealt, *part.frames}):
        wanted, have = set(part.frames.get(episode, ())), dealt.get(episode, set())
        if have - wanted or (wanted - have and episode not in gone):
            yield _finding(
                "run",
                f"episode {episode:08d}",
                f"the {len(wanted)} frames that the run {scope} sees",
                f"{len(wanted - have)} of them missing, {len(have - wanted)} others",
            )


def _check_manifest(
    manifest: Manifest, finished: Sequence[Finished], dropped: Sequence[DroppedEpisode]
) -> Iterator[Finding]:
    """The manifest says what plans and receipts say."""
    if len(manifest.generations) != len(finished):
        yield _finding(
            "manifest", "generations", len(finished), f"{len(manifest.generations)} in the manifest"
        )
        return
    expected = build_manifest(list(finished), [g.indexes for g in manifest.generations], dropped)
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


def _check_indexes(
    place: Place, manifest: Manifest, finished: Sequence[Finished]
) -> Iterator[Finding]:
    """Each index is whole, and is what the ledgers give when it is made again."""
    for generation, item in zip(manifest.generations, finished, strict=False):
        for split, entry in generation.indexes.items():
            try:
                digest = _index_digest(place, manifest, entry)
                with tempfile.TemporaryDirectory() as folder, Path(folder, "i").open("wb") as file:
                    again = write_split_index(file, item, split, place.read).header_xxh3
            except (DataError, OSError) as error:
                yield _finding("index", entry.path, "a whole index", error)
                continue
            if not again == entry.header_xxh3 == digest:
                yield _finding("index", entry.path, f"digest {again}", digest)


def _index_digest(place: Place, manifest: Manifest, entry: IndexEntry) -> str:
    """The digest that an index has, all of whose blocks are whole."""
    with (
        place.local(entry.path) as file,
        contextlib.closing(Index(file, len(manifest.settings.fields))) as index,
    ):
        index.check_all_blocks()
        return index.header_xxh3


def _finding(kind: str, where: str, expected: object, got: object) -> Finding:
    return Finding(kind=kind, where=where, key="", expected=str(expected), got=str(got))
