"""Does an output hold what its plan promised, and does the source still decode to it?

One task a shard: the tar against manifest, plan and ledger, then stored pictures against a fresh
decode. The rest (manifest, tables, index, coverage) is checked once, in the driver.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from predecode.errors import DataError, EpisodeError
from predecode.pipeline import row_members
from predecode.shard_writer import Member, iter_members
from predecode.verification.image_difference import ImageDifference
from predecode.verification.pictures import (
    PICTURE_KINDS,
    VerifiedShard,
    VerifyJob,
    check_pictures,
    member_bytes,
)
from predecode.verification.report import MOST_FINDINGS, Finding, capped
from train_shards.format import format_key
from train_shards.ledger import check_extents, decode_ledger
from train_shards.storage import sha256_of_file

__all__ = ["ShardVerdict", "verify_shard"]


class ShardVerdict(msgspec.Struct, kw_only=True):
    """What was found in one shard."""

    findings: list[Finding]
    chosen: dict[str, int]
    """Why samples were decoded again -> how many."""
    cameras: dict[str, ImageDifference]


def verify_shard(job: VerifyJob, report: Callable[[int], None]) -> ShardVerdict:
    """Checks one shard; damage becomes findings, never an exception.

    Raises:
        InfraError: the source cannot be reached or changed, so nothing can be said of it.
    """
    findings: list[Finding] = []

    def found(kind: str, key: str, expected: object, got: object) -> None:
        findings.append(
            Finding(
                level="frames" if kind in PICTURE_KINDS else "structure",
                kind=kind,
                where=job.entry.name,
                key=key,
                expected=str(expected),
                got=str(got),
            )
        )

    shard = VerifiedShard(job, Path(job.shard.out) / job.entry.path, job.expected_samples(), found)
    cameras: dict[str, ImageDifference] = {}
    chosen: dict[str, int] = {}
    rows = _check_ledger(shard)
    if shard.path.is_file():
        has_members = _check_members(shard, rows)
        # Behind a missing or extra member every offset is off: no use in comparing there.
        _check_bytes(shard, rows if has_members else None)
        if rows is not None:
            _check_rows(shard, rows)
            cameras = check_pictures(shard, rows, report)
            chosen = {reason: len(s) for reason, s in job.chosen(shard.order).items()}
    else:
        found("missing-file", "", f"{job.entry.num_bytes} bytes", "no file")
    return ShardVerdict(findings=capped(findings), chosen=chosen, cameras=cameras)


def _check_ledger(shard: VerifiedShard) -> NDArray[np.void] | None:
    """The ledger's rows, if it is the one of the manifest and lists what the plan says."""
    entry, settings = shard.job.entry, shard.job.shard.settings
    path = Path(shard.job.shard.out) / entry.ledger
    if not path.is_file():
        shard.found("ledger", "", entry.ledger, "no file")
        return None
    digest = sha256_of_file(path)
    if digest != entry.ledger_sha256:
        shard.found("ledger", "", f"SHA-256 {entry.ledger_sha256}", digest)
        return None
    try:
        rows = decode_ledger(
            path.read_bytes(), len(settings.fields), len(settings.cameras), where=entry.ledger
        )
        check_extents(rows, entry.num_bytes, where=entry.ledger)
    except DataError as error:
        shard.found("ledger", "", "places of members in the shard", error)
        return None
    listed = list(zip(rows["episode_index"].tolist(), rows["frame_index"].tolist(), strict=True))
    for sample in sorted(set(shard.order) - set(listed))[:MOST_FINDINGS]:
        shard.found("keys", format_key(*sample), "in the shard, as planned", "not in its ledger")
    for sample in sorted(set(listed) - set(shard.order))[:MOST_FINDINGS]:
        shard.found("keys", format_key(*sample), "not in this shard's plan", "in its ledger")
    return rows if listed == shard.order else None


def _check_bytes(shard: VerifiedShard, rows: NDArray[np.void] | None) -> None:
    """Size and digest of the tar; on a difference, the members whose bytes are not the ledger's."""
    entry, fields = shard.job.entry, shard.job.shard.settings.fields
    num_bytes = shard.path.stat().st_size
    if num_bytes != entry.num_bytes:
        shard.found("size", "", f"{entry.num_bytes} bytes", f"{num_bytes} bytes")
    digest = sha256_of_file(shard.path)
    if digest == entry.sha256:
        return
    shard.found("bytes", "", f"SHA-256 {entry.sha256}", digest)
    if rows is None:
        return
    with shard.path.open("rb") as file:
        for row in rows:
            for member, field in enumerate(fields):
                data = member_bytes(file.fileno(), row, member)
                if xxhash.xxh3_64_intdigest(data) != int(row["member_xxh3"][member]):
                    key = format_key(int(row["episode_index"]), int(row["frame_index"]))
                    shard.found(
                        "bytes",
                        key,
                        f"member {field} with xxh3 {int(row['member_xxh3'][member]):016x}",
                        f"{xxhash.xxh3_64_hexdigest(data)} of {len(data)} bytes",
                    )


def _check_members(shard: VerifiedShard, rows: NDArray[np.void] | None) -> bool:
    """Names and order of the members, by a tar reader that knows nothing of the ledger.

    Returns whether they are as planned.
    """
    expected = [
        f"{format_key(*sample)}.{field}"
        for sample in shard.order
        for field in shard.job.shard.settings.fields
    ]
    members: list[Member] = []
    try:
        members.extend(iter_members(shard.path))
    except DataError as error:
        next_name = [*expected, ""][min(len(members), len(expected))]
        shard.found("tar", next_name.split(".")[0], "a whole tar", error)
        return False
    names = [member.name for member in members]
    if names != expected:
        for name, count in sorted((Counter(names) - Counter(expected)).items()):
            kind = "duplicate-member" if name in expected else "extra-member"
            shard.found(
                kind, name.split(".")[0], "each planned member once", f"{count} more {name}"
            )
        missing = Counter(expected) - Counter(names)
        for name in [name for name in expected if name in missing][:MOST_FINDINGS]:
            shard.found("missing-member", name.split(".")[0], name, "nothing")
        if Counter(names) == Counter(expected):
            first = next(i for i, name in enumerate(names) if name != expected[i])
            shard.found("order", expected[first].split(".")[0], expected[first], names[first])
        return False
    if rows is not None:
        sizes = [member.num_bytes for member in members]
        if sizes != rows["data_bytes"].reshape(-1).tolist():
            shard.found("ledger", "", "the sizes in the tar's headers", "other sizes")
    return True


def _check_rows(shard: VerifiedShard, rows: NDArray[np.void]) -> None:
    """Every member that is no picture, such as ids, task and time, against the source's table."""
    job, settings = shard.job.shard, shard.job.shard.settings
    row_of = dict(zip(shard.order, rows, strict=True))
    with shard.path.open("rb") as file:
        for planned in job.episodes:
            episode_index = planned.episode.episode_index
            if episode_index in shard.job.masked:
                continue
            frames = sorted(frame for e, frame in shard.order if e == episode_index)
            try:
                for frame, field, data in row_members(Path(job.root), settings, planned, frames):
                    member = settings.fields.index(field)
                    got = member_bytes(file.fileno(), row_of[episode_index, frame], member)
                    if got != data:
                        key = format_key(episode_index, frame)
                        shard.found(field.split(".")[0], key, _shown(data), _shown(got))
            except EpisodeError as error:
                shard.found("source", format_key(episode_index, 0), "the plan's rows", error)


def _shown(data: bytes) -> str:
    """A member's content as messages show it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"{len(data)} bytes with xxh3 {xxhash.xxh3_64_hexdigest(data)}"
