"""The jobs of a verification on a node, which has of an output behind a URL what a job looks at."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from predecode.remote_place import brought, storage_errors_as_infra
from predecode.verification.pictures import VerifyJob, both_pictures
from predecode.verification.samples import SamplesJob, SamplesVerdict, verify_samples
from predecode.verification.shard import ShardVerdict, verify_shard
from predecode.verification.tables import TableJob, TableVerdict, verify_table
from train_shards.images import StoredImage

__all__ = [
    "pictures_on_node",
    "verify_samples_on_node",
    "verify_shard_on_node",
    "verify_table_on_node",
]

Report = Callable[[int], None]


def verify_shard_on_node(job: VerifyJob, report: Report) -> ShardVerdict:
    """As ``verify_shard``. Cost: of a URL, the shard comes whole, and goes again."""
    with brought(job.shard.out, [job.entry.path, job.entry.ledger]) as out:
        return verify_shard(_shard_in(job, out), report)


def verify_table_on_node(job: TableJob, report: Report) -> TableVerdict:
    """As ``verify_table``. Cost: of a URL, the table comes whole, and goes again."""
    with brought(job.lowdim.out, [job.entry.path]) as out:
        lowdim = msgspec.structs.replace(job.lowdim, out=str(out))
        return verify_table(msgspec.structs.replace(job, lowdim=lowdim), report)


def verify_samples_on_node(job: SamplesJob, report: Report) -> SamplesVerdict:
    """As ``verify_samples``, which reads a URL as training does."""
    with storage_errors_as_infra():
        return verify_samples(job, report)


def pictures_on_node(
    job: VerifyJob, sample: tuple[int, int], camera: str
) -> tuple[StoredImage, StoredImage]:
    """As ``both_pictures``. Cost: of a URL, the shard comes whole, and goes again."""
    with brought(job.shard.out, [job.entry.path, job.entry.ledger]) as out:
        return both_pictures(_shard_in(job, out), sample, camera)


def _shard_in(job: VerifyJob, out: Path) -> VerifyJob:
    shard = msgspec.structs.replace(job.shard, out=str(out))
    return msgspec.structs.replace(job, shard=shard)
