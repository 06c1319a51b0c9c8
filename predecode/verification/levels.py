"""A verification from first to last: its levels one after the other, on a cluster, into a report.

Findings add up; what cannot be looked at is said and never counts as proven.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from predecode.cluster import Cluster
from predecode.display import Display
from predecode.errors import DataError, InfraError
from predecode.manifest import faults_of
from predecode.output import finished_generations, load_plans, source_root
from predecode.places import Place, at
from predecode.sources.episode import Source
from predecode.survey.episodes import source_level, survey_episodes, survey_jobs
from predecode.verification.backends import backends_level, compare_backends
from predecode.verification.image_difference import ImageDifference
from predecode.verification.jobs import Asked, Jobs, make_jobs
from predecode.verification.on_node import (
    pictures_on_node,
    verify_samples_on_node,
    verify_shard_on_node,
    verify_table_on_node,
)
from predecode.verification.page import ImagePair
from predecode.verification.pictures import VerifyJob
from predecode.verification.report import (
    Finding,
    FramesLevel,
    Report,
    SamplesLevel,
    StructureLevel,
)
from predecode.verification.samples import SamplesVerdict
from predecode.verification.shard import ShardVerdict
from predecode.verification.structure import check_bytes, check_output
from predecode.verification.tables import TableVerdict
from predecode.video.backends import load_backend
from train_shards.format import parse_key
from train_shards.manifest import Manifest, load_manifest

__all__ = ["Verified", "verify_bytes", "verify_output", "verify_source"]

StartCluster = Callable[[], AbstractContextManager[Cluster]]


class _Job(Protocol):
    @property
    def name(self) -> str: ...


class _Verdict(Protocol):
    @property
    def findings(self) -> list[Finding]: ...


P = TypeVar("P", bound=_Job)
V = TypeVar("V", bound=_Verdict)


class Verified(NamedTuple):
    """What a verification found, and what shows it."""

    report: Report
    worst: list[ImagePair]
    """The images that the report lists as worst, decoded once more."""


def verify_output(
    out: Path | Place,
    root: Path | None,
    asked: Asked,
    start_cluster: StartCluster,
    display: Display,
) -> Verified:
    """Returns what was found in an output: structure, frames, samples, and decoders if several.

    Args:
        out: the output.
        root: its source; None for the folder that the newest plan was made from.
        asked: how much to look at.
        start_cluster: starts what runs the tasks; called once there is something to run.
        display: is told of progress.

    Raises:
        UserError: no finished output here, its source is not there, or a decoder cannot be loaded.
    """
    report = _new_report(_named(out))
    place = at(out.resolve() if isinstance(out, Path) else out)  # tasks run elsewhere
    for name in asked.backends:
        load_backend(name, asked.pythons)
    try:
        manifest = load_manifest(place.name)
        plans = load_plans(place.folder)
        root = source_root(place.name, plans, root).resolve()
        # The source may have moved since.
        plans = [msgspec.structs.replace(plan, root=str(root)) for plan in plans]
        finished = finished_generations(place.folder, plans, check_files=False)
        report.findings += check_output(place, manifest, finished)
        report.quarantined = [fault for _, fault in sorted(faults_of(finished).items())]
        failed = partial(_unreadable, report)
        jobs = make_jobs(place.name, root, manifest, finished, asked, failed)
    except DataError as error:
        report.findings.append(_damage("unreadable", "a whole output", error))
        return Verified(_closed(report), [])
    except InfraError as error:
        report.findings.append(_damage("receipts", "plans and receipts of every task", error))
        report.unchecked = str(error)
        return Verified(_closed(report), [])
    worst: list[ImagePair] = []
    try:
        with start_cluster() as cluster:
            _run_levels(report, cluster, jobs, manifest, asked, display)
        worst = list(_worst(report, jobs.shards))
    except InfraError as error:
        report.unchecked = str(error)
    return Verified(_closed(report), worst)


def verify_bytes(out: Path | Place, display: Display) -> Report:
    """Returns whether every file that the manifest names has the bytes that it names.

    Reads the output once, and neither decodes nor needs the source.

    Raises:
        UserError: no finished output here.
    """
    report, place = _new_report(_named(out)), at(out)
    try:
        manifest = load_manifest(place.name)
    except DataError as error:
        report.findings.append(_damage("unreadable", "a whole output", error))
        return _closed(report)
    report.findings += check_bytes(place, manifest, display)
    report.structure = _structure(manifest)
    return _closed(report)


def verify_source(source: Source, start_cluster: StartCluster, display: Display) -> Report:
    """Returns what is wrong with a data set, before anything of it is decoded."""
    report = _new_report(str(source.root))
    try:
        with start_cluster() as cluster:
            display.phase("looking at", "episodes", len(source.episodes))
            verdicts = [
                verdict
                for _, verdict in cluster.run(
                    survey_episodes, survey_jobs(source), lambda n: display.advance(n, 0)
                )
            ]
        report.source, report.findings = source_level(source, verdicts)
    except InfraError as error:
        report.unchecked = str(error)
    return _closed(report)


def _named(out: Path | Place) -> str:
    return str(out) if isinstance(out, Path) else out.name


def _new_report(subject: str) -> Report:
    """Returns an empty report."""
    return Report(
        written_by=f"predecode {version('predecode')}",
        subject=subject,
        status="unchecked",
        findings=[],
        num_faults=0,
    )


def _closed(report: Report) -> Report:
    """Returns the report with its findings in order and its verdict."""
    report.findings.sort(key=lambda f: (not f.is_fault, f.level, f.where, f.key, f.kind))
    report.num_faults = sum(finding.is_fault for finding in report.findings)
    if report.num_faults:
        report.status = "different"
    elif not report.unchecked:
        report.status = "proven"
    return report


def _run_levels(
    report: Report,
    cluster: Cluster,
    jobs: Jobs,
    manifest: Manifest,
    asked: Asked,
    display: Display,
) -> None:
    def run(task: Callable[[P, Callable[[int], None]], V], payloads: Sequence[P]) -> list[V]:
        """Verdicts in the order of the jobs, whatever finished first: sums stay the same."""
        verdicts: dict[str, V] = {}
        for payload, verdict in cluster.run(task, payloads, lambda n: display.advance(n, 0)):
            verdicts[payload.name] = verdict
            report.findings += verdict.findings
            display.detail(f"{payload.name}: {len(verdict.findings)} findings")
        return [verdicts[payload.name] for payload in payloads]

    display.phase("comparing tables", "tables", len(jobs.tables))
    tables = run(verify_table_on_node, jobs.tables)
    num_cameras = len(manifest.settings.cameras)
    num_frames = _num_frames(jobs.shards)
    display.phase("decoding anew", "frames", num_frames, parts_per_step=num_cameras)
    shards = run(verify_shard_on_node, jobs.shards)
    report.structure = _structure(manifest)
    report.frames = _frames(shards, manifest, asked)
    display.phase("comparing items", "items", sum(len(job.samples) for job in jobs.samples))
    report.samples = _samples(run(verify_samples_on_node, jobs.samples), tables)
    if jobs.backends:
        num_frames = sum(job.num_frames for job in jobs.backends)
        display.phase("comparing decoders", "frames", num_frames, parts_per_step=num_cameras)
        verdicts = run(compare_backends, jobs.backends)
        report.backends, findings = backends_level(asked.backends, asked.pythons, verdicts)
        # These hold what the jobs found, too.
        report.findings = [f for f in report.findings if f.level != "backends"] + findings


def _worst(report: Report, jobs: Sequence[VerifyJob]) -> Iterator[ImagePair]:
    """The worst images of each camera, stored and decoded now."""
    for camera, figures in report.frames.cameras.items() if report.frames else ():
        for image in figures.worst:
            sample = parse_key(image.key)
            job = next(job for job in jobs if job.holds(sample))
            yield ImagePair(camera, image, *pictures_on_node(job, sample, camera))


def _num_frames(jobs: Sequence[VerifyJob]) -> int:
    return sum(
        job.entry.num_samples if job.samples is None else sum(map(len, job.samples.values()))
        for job in jobs
    )


def _structure(manifest: Manifest) -> StructureLevel:
    totals = manifest.totals
    return StructureLevel(
        num_shards=totals.num_shards,
        num_tables=sum(len(g.lowdim) for g in manifest.generations),
        num_samples=totals.num_samples,
        num_bytes=totals.num_shard_bytes + totals.num_lowdim_bytes,
    )


def _frames(verdicts: Sequence[ShardVerdict], manifest: Manifest, asked: Asked) -> FramesLevel:
    settings = manifest.settings
    cameras = {camera: ImageDifference() for camera in settings.camera_names}
    chosen: dict[str, int] = {}
    for verdict in verdicts:
        for camera, difference in verdict.cameras.items():
            cameras[camera].add(difference)
        for reason, count in verdict.chosen.items():
            chosen[reason] = chosen.get(reason, 0) + count
    return FramesLevel(
        backend=asked.backends[0],
        is_lossless=all(map(settings.is_lossless, settings.cameras)),
        min_psnr_db=asked.min_psnr_db,
        num_samples=sum(chosen.values()),
        chosen=chosen,
        cameras={camera: difference.figures() for camera, difference in cameras.items()},
    )


def _samples(verdicts: Sequence[SamplesVerdict], tables: Sequence[TableVerdict]) -> SamplesLevel:
    equal: dict[str, int] = {}
    for verdict in verdicts:
        for name, count in verdict.equal.items():
            equal[name] = equal.get(name, 0) + count
    return SamplesLevel(
        num_samples=sum(verdict.num_samples for verdict in verdicts),
        equal=dict(sorted(equal.items())),
        num_episodes=sum(verdict.num_episodes for verdict in tables),
        num_rows=sum(verdict.num_rows for verdict in tables),
    )


def _damage(kind: str, expected: str, error: Exception) -> Finding:
    return Finding(kind=kind, where=".predecode", expected=expected, got=str(error))


def _unreadable(report: Report, path: str, error: object) -> None:
    report.findings.append(
        Finding(level="frames", kind="decode", where=path, expected="keyframes", got=str(error))
    )
