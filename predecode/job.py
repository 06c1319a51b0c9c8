"""The job: plan what is new, run what has no receipt, publish. The same command resumes it."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from predecode.cluster import Cluster
from predecode.display import CHECKING, Display, Ended, ended_text
from predecode.dropped import Dropped, load_dropped
from predecode.errors import EpisodeFault, UserError
from predecode.for_run import AskedRun, extended
from predecode.free_space import Unwritten, check_free_space
from predecode.manifest import faults_of, is_published, publish
from predecode.metadata_copies import without_episodes
from predecode.output import (
    Job,
    finished_generations,
    free_numbers,
    jobs_of,
    load_all_plans,
    load_plans,
    receipt_of,
)
from predecode.pipeline import ShardJob
from predecode.places import LocalPlace, Place, at
from predecode.planning import Plan, PlannedEpisode, make_plan
from predecode.probe import environment, probe_hash
from predecode.receipts import TEMPORARY_FOLDER, LowdimReceipt, ShardReceipt
from predecode.selection import held_out
from predecode.source_check import CheckedEpisode, check_unchanged
from predecode.sources.episode import Episode, Source, with_images
from predecode.sources.instances import id_list_path, read_instances
from predecode.standing_output import (
    known_episodes,
    listed_ids,
    refuse_other_run,
    refuse_other_settings,
    refuse_shrinking,
)
from predecode.tasks import CHECK_BATCH, CheckJob, CheckReceipt, Done, Work, run_task
from predecode.to_plan import ToPlan, longer_run, new_episodes, repaired, run_part
from predecode.video.backends import STORING_BACKEND, load_backend
from train_shards.format import MANIFEST_PATH, plan_path
from train_shards.instances import instances_path
from train_shards.manifest import Manifest, Settings, encode_json, load_manifest
from train_shards.storage import write_atomic

__all__ = ["Outcome", "StartCluster", "check_episodes", "retry_job", "run_job"]

StartCluster = Callable[[], AbstractContextManager[Cluster]]


class Outcome(NamedTuple):
    """What a job ended with."""

    manifest: Manifest
    faults: dict[int, EpisodeFault]
    """Missing episodes and why."""
    num_new_images: int
    """Images that this call stored; 0 when there was nothing to do."""
    new_episodes: Sequence[Episode] = ()
    """Those whose metadata this call copied for the first time: of the generations it published."""


def run_job(
    out: Path | Place,
    source: Source,
    settings: Settings,
    selected: Sequence[Episode],
    start_cluster: StartCluster,
    display: Display,
    *,
    overwrite: bool,
    work: Work = run_task,
    for_run: AskedRun | None = None,
) -> Outcome:
    """Makes ``out`` hold the selected episodes; does only what is not done yet.

    ``work`` does one job: where it is called, or in a process of its own. With ``for_run`` only the
    samples of that training run are stored in ``train``.

    Raises:
        UserError: the output has other settings or more episodes than selected, holds another run's
            samples, or is locked.
        InfraError: a disk, node or the source failed; what is finished stays.
    """
    place = at(out)
    if not overwrite:
        place.refuse_strangers()  # before a lock is left among them
    with place.held():
        if overwrite:
            place.wipe()
        folder = place.folder
        shutil.rmtree(folder / TEMPORARY_FOLDER, ignore_errors=True)
        plans = load_plans(folder)
        dropped = load_dropped(folder).ids
        if plans:
            refuse_other_settings(place.name, plans, settings)
            refuse_shrinking(place.name, known_episodes(plans) - dropped, selected)
        else:
            place.refuse_strangers()
        known = known_episodes(plans) | dropped
        unknown = [episode for episode in selected if episode.episode_index not in known]
        if plans and (for_run is not None or plans[0].run_scope):
            scope = plans[-1].run_scope
            refuse_other_run(place.name, plans, for_run, unknown)
            new = ToPlan([], {})
            if for_run is not None and scope and extended(scope, for_run, where=place.name):
                # What is at fault must be known first: an extension leaves it alone.
                _complete(place, source, settings, plans, new, start_cluster, work, display)
                new = longer_run(place, source, plans, for_run)
        else:
            new = new_episodes(source, settings, unknown, display, is_first=not plans)
            new = new._replace(run=for_run)
        return _complete(place, source, settings, plans, new, start_cluster, work, display)


def retry_job(
    out: Path | Place,
    source: Source,
    wanted: set[int] | None,
    start_cluster: StartCluster,
    display: Display,
    *,
    work: Work = run_task,
    backend: str = STORING_BACKEND,
) -> Outcome:
    """Tries quarantined episodes again, as a new generation.

    Args:
        out: a published output.
        source: its source, repaired.
        wanted: ``episode_index`` of those to try; None for all.
        start_cluster: as in ``run_job``.
        display: as in ``run_job``.
        work: as in ``run_job``.
        backend: the decoder that makes the new generation's pictures; it is recorded.

    Raises:
        UserError: nothing is quarantined, or an asked-for episode is not; the decoder cannot be
            loaded.
    """
    load_backend(backend)
    place = at(out)
    with place.held():
        shutil.rmtree(place.folder / TEMPORARY_FOLDER, ignore_errors=True)
        load_manifest(place.folder)
        plans = load_plans(place.folder)
        finished = finished_generations(place.folder, plans, size_of=place.size_of)
        faulty = set(faults_of(finished))
        strangers = sorted((wanted or set()) - faulty)
        if not faulty:
            raise UserError(f"{place.name}: no episode is quarantined. There is nothing to retry.")
        if strangers:
            raise UserError(
                f"{place.name}: --episodes {listed_ids(strangers)}: not quarantined. "
                f"Choose from {listed_ids(sorted(faulty))}."
            )
        chosen = faulty if wanted is None else wanted
        episodes = [e for e in source.episodes if e.episode_index in chosen]
        settings = plans[0].settings
        if scope := plans[-1].run_scope:
            new = repaired(place.name, finished, plans, scope, episodes)
        else:
            new = new_episodes(source, settings, episodes, display, is_first=False)
        return _complete(place, source, settings, plans, new, start_cluster, work, display, backend)


def _complete(
    place: Place,
    source: Source,
    settings: Settings,
    plans: list[Plan],
    new: ToPlan,
    start_cluster: StartCluster,
    work: Work,
    display: Display,
    backend: str = STORING_BACKEND,
) -> Outcome:
    """Plans the new episodes, runs every task without a receipt, and publishes if that changed."""
    out, size_of = place.folder, place.size_of
    old = load_manifest(out) if (out / MANIFEST_PATH).is_file() else None
    # The root may have moved since; the inputs' digests tell whether it is the same data.
    plans = [msgspec.structs.replace(plan, root=str(source.root.resolve())) for plan in plans]
    to_do = [
        job
        for plan in plans
        for job in jobs_of(out, plan)
        if receipt_of(out, job, size_of=size_of) is None
    ]
    dropped = load_dropped(out)
    if old is not None and is_published(old, plans, dropped) and not to_do and not new.is_any:
        return Outcome(old, faults_of(finished_generations(out, plans, size_of=size_of)), 0)
    num_new_images = 0
    if to_do or new.is_any:
        with start_cluster() as cluster:
            added: Plan | None = None
            if new.is_any:
                plan = _plan(out, source, settings, new, cluster, work, display, backend)
                # A retry that fails again adds nothing; a first fault must be remembered.
                is_known = known_episodes([plan]) <= known_episodes(plans)
                if plan.episodes or not is_known or plan.run_scope != plans[-1].run_scope:
                    added = plan
                    plans = [*plans, plan]
                    to_do += jobs_of(out, plan)
            if isinstance(place, LocalPlace):  # an object store does not tell what is free
                unwritten = Unwritten(out, source, plans, to_do, _published(old), added)
                check_free_space(unwritten, cluster, work, display)
            if added is not None:
                write_atomic(
                    out / plan_path(added.generation), encode_json(added), out / TEMPORARY_FOLDER
                )
                place.push()
            num_new_images = _run_tasks(place, cluster, place.work(work), to_do, display)
    _copy_metadata(out, source, plans, dropped)
    finished = finished_generations(out, plans, size_of=size_of)
    manifest = publish(out, finished, old, dropped.episodes, name=place.name, read=place.read)
    place.push()
    # A task of an earlier call that was still dying when this one began may have left a file.
    shutil.rmtree(out / TEMPORARY_FOLDER, ignore_errors=True)
    return Outcome(manifest, faults_of(finished), num_new_images, _new_episodes(old, plans))


def _published(old: Manifest | None) -> set[str]:
    """Digests of the plans that a manifest names."""
    return {generation.plan_digest for generation in old.generations} if old else set()


def _new_episodes(old: Manifest | None, plans: list[Plan]) -> list[Episode]:
    published = _published(old)
    new = [plan for plan in plans if plan.digest not in published]
    return [planned.episode for plan in new for planned in plan.episodes]


def _plan(
    out: Path,
    source: Source,
    settings: Settings,
    new: ToPlan,
    cluster: Cluster,
    work: Work,
    display: Display,
    backend: str,
) -> Plan:
    """Checks the source of the new episodes and plans those that pass."""
    checked, failed = check_episodes(source, settings, new.episodes, cluster, work, display)
    free = free_numbers(load_all_plans(out), load_dropped(out).used)
    val = held_out(source.episodes, settings.val_episodes, settings.seed)
    seen = run_part(new, checked, val, settings)
    if seen is not None:
        display.note(seen.note)
    return make_plan(
        generation=free.generation,
        settings=settings,
        root=str(source.root.resolve()),
        probe=probe_hash(settings, backend),
        environment=environment(backend),
        backend=backend,
        checked=checked,
        failed=failed,
        held_out=val,
        first_shards=free.shards,
        first_table=free.table,
        labelled=new.labelled,
        run=seen and seen.part,
    )


def check_episodes(
    source: Source,
    settings: Settings,
    episodes: Sequence[Episode],
    cluster: Cluster,
    work: Work,
    display: Display,
) -> tuple[list[CheckedEpisode], list[tuple[Episode, EpisodeFault]]]:
    """Returns the episodes that pass the source check, and those that do not, with the reason."""
    episodes = [with_images(episode, settings.cameras) for episode in episodes]
    display.phase(CHECKING, "episodes", len(episodes))
    batches = [
        CheckJob(
            root=str(source.root.resolve()),
            episodes=episodes[start : start + CHECK_BATCH],
            cameras=settings.camera_names,
        )
        for start in range(0, len(episodes), CHECK_BATCH)
    ]
    by_id = {episode.episode_index: episode for episode in episodes}
    checked: list[CheckedEpisode] = []
    failed: list[tuple[Episode, EpisodeFault]] = []
    for job, done in cluster.run(work, batches, lambda n: display.advance(n, 0)):
        receipt = done.receipt
        figures = _figures(done, cluster)
        display.ended(figures)
        display.detail(ended_text(job.name, figures))
        if isinstance(receipt, CheckReceipt):
            checked += receipt.checked
        for fault in receipt.faults:
            failed.append((by_id[fault.episode_index], fault))
            display.quarantined(fault)
    return checked, failed


def _run_tasks(
    place: Place, cluster: Cluster, work: Work, jobs: list[Job], display: Display
) -> int:
    """Runs the tasks; returns the number of images stored."""
    num_cameras = len(jobs[0].settings.cameras) if jobs else 0
    shards = [job for job in jobs if isinstance(job, ShardJob)]
    num_frames = sum(job.task.num_samples for job in shards)
    display.phase("decoding", "frames", num_frames, parts_per_step=max(num_cameras, 1))
    num_images, num_left = 0, len(jobs)
    for job, done in cluster.run(work, jobs, lambda n: display.advance(n, 0)):
        num_left -= 1
        if isinstance(done.receipt, ShardReceipt | LowdimReceipt):
            place.take(job, done.receipt)
        figures = _figures(done, cluster, num_cameras, is_last=not num_left)
        display.ended(figures)
        display.detail(ended_text(job.name, figures))
        num_images += figures.num_images
        for fault in done.receipt.faults:
            display.quarantined(fault)
    return num_images


def _figures(done: Done, cluster: Cluster, num_cameras: int = 0, *, is_last: bool = False) -> Ended:
    receipt = done.receipt
    num_samples = receipt.entry.num_samples if isinstance(receipt, ShardReceipt) else 0
    return Ended(
        spent=done.spent,
        num_slots=cluster.slots,
        failed=frozenset(fault.episode_index for fault in receipt.faults),
        num_samples=num_samples,
        num_images=num_samples * num_cameras,
        num_bytes=receipt.entry.num_bytes
        if isinstance(receipt, ShardReceipt | LowdimReceipt)
        else 0,
        is_last=is_last,
    )


def _copy_metadata(out: Path, source: Source, plans: list[Plan], dropped: Dropped) -> None:
    """Copies what training needs of the source's metadata to ``meta/``; equal files stay."""
    planned = [p for plan in plans for p in plan.episodes]
    erased = dropped.ids - known_episodes(plans)
    known: set[int] = set()
    for one in reversed(planned):  # an episode that was retried is as its last plan has it
        if one.episode.episode_index not in known:
            _write_instances(out, source.root, one)
        known.add(one.episode.episode_index)
    episodes = [one.episode for one in planned]
    for path in source.metadata_files(episodes):
        data = without_episodes(path, (source.root / path).read_bytes(), erased)
        target = out / "meta" / path.removeprefix("meta/")
        if not target.is_file() or target.read_bytes() != data:
            write_atomic(target, data, out / TEMPORARY_FOLDER)


def _write_instances(out: Path, root: Path, planned: PlannedEpisode) -> None:
    """Writes what the ids of a stored segmentation are called, once: the plan names its source.

    Cost: parses an episode's JSON, about 10 ms for one of 2 MB.
    """
    target = out / instances_path(planned.episode.episode_index)
    path = id_list_path(planned.episode)
    if path is not None and not target.is_file():
        check_unchanged(root, planned.input_at(path))
        data = encode_json(read_instances(root, planned.episode))
        write_atomic(target, data, out / TEMPORARY_FOLDER)
