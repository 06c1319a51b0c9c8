"""A task in disposable processes: an episode that ends one is found and left out.

The task runs in a process of its own. If that dies, hangs or grows beyond a limit, it runs once
more; if it dies again, each episode's part is tried alone, storing nothing, and the task runs
without those that die. A second decoder only says what it makes of such a part. Nothing of this is
recorded but the receipt, so that an interrupted task finds the same again.
"""

from collections.abc import Callable

import msgspec

from predecode.child import Died, Limits, run_child
from predecode.errors import Death, EpisodeFault, ExhaustedError, InfraError, UserError
from predecode.lowdim_task import LowdimJob
from predecode.piece_costs import MeasureJob, MeasureReceipt
from predecode.pipeline import ShardJob, frames_of
from predecode.sizing import SizeJob, SizeReceipt
from predecode.sources.episode import Episode
from predecode.task_process import Answer, Request, decode_receipt
from predecode.tasks import AnyJob, CheckJob, Done, Job, alone, episodes_of, without
from predecode.video.backends import STORING_BACKEND, backend_versions

__all__ = ["run_isolated", "try_alone"]

_TRIES = 2
_SIZE_HANG_S = 60.0
"""A look at sizes may hold a run up for so long."""
_SECOND_BACKEND = "torchcodec"

Report = Callable[[int], None]


def run_isolated(job: AnyJob, report: Report, *, limits: Limits) -> Done:
    """Does a job as ``run_task`` does, but what ends a process costs an episode at most.

    A job that only looks is not tried again: what ends its process is found by the tasks.
    What it took is told of the attempt that succeeded.

    Raises:
        InfraError: as ``run_task``.
        ExhaustedError: the process dies though no episode's part dies alone.
        RuntimeError: a bug in the task; its traceback is in the message.

    Cost: 0.4 s for the process. After two deaths, one more process an episode, and all of the
    work once more.
    """
    if isinstance(job, SizeJob):
        sizes = _run(job, report, limits._replace(hang_s=min(limits.hang_s, _SIZE_HANG_S)))
        return Done(SizeReceipt()) if isinstance(sizes, Died) else sizes
    if isinstance(job, MeasureJob):
        costs = _run(job, report, limits)
        return Done(MeasureReceipt()) if isinstance(costs, Died) else costs
    deaths: list[Died] = []
    for _ in range(_TRIES):
        done = _run(job, report, limits)
        if not isinstance(done, Died):
            return done
        deaths.append(done)
    faults = [
        fault
        for episode in episodes_of(job)
        if (fault := try_alone(job, episode, limits)) is not None
    ]
    done = _run(without(job, faults), report, limits)
    if isinstance(done, Died):
        deaths.append(done)
        raise ExhaustedError(_give_up(job, deaths, faults))
    return done


def try_alone(job: Job, episode: Episode, limits: Limits) -> EpisodeFault | None:
    """Returns the fault of an episode whose part of a job ends the process that tries it."""
    part = alone(job, episode.episode_index)
    died = _try(part, limits)
    if not isinstance(died, Died):
        return None
    camera, path, expected, at = _place(part, episode, died.num_done)
    versions, _ = backend_versions(_backend(part))
    return EpisodeFault(
        episode_index=episode.episode_index,
        path=path,
        problem="ends the process that reads it",
        expected=expected,
        got=f"{died.reason} {at}",
        camera=camera,
        death=Death(
            reason=died.reason,
            task=part.name,
            stderr=died.stderr,
            decoder={"backend": _backend(part), **versions},
            others=_second_opinion(part, limits),
        ),
    )


def _run(job: AnyJob, report: Report, limits: Limits) -> Done | Died:
    answer = _ask(Request(job=job, is_trial=False), report, limits)
    if isinstance(answer, Died):
        return answer
    return Done(decode_receipt(job, answer.receipt), answer.spent)


def _try(part: Job, limits: Limits) -> list[EpisodeFault] | Died:
    answer = _ask(Request(job=part, is_trial=True), lambda _: None, limits)
    return answer if isinstance(answer, Died) else answer.faults


def _ask(request: Request, report: Report, limits: Limits) -> Answer | Died:
    """What a new process makes of a request; raises the error that it tells of."""
    given = msgspec.json.encode(request)
    ended = run_child("predecode.task_process", given, limits, report)
    if isinstance(ended, Died):
        if ended.reason == "exit status 1":  # Python's own, after a traceback
            raise RuntimeError("\n".join([f"task {request.job.name}:", *ended.stderr]))
        return ended
    answer = msgspec.json.decode(ended, type=Answer)
    if answer.infra_error is not None:
        raise InfraError(answer.infra_error)
    if answer.user_error is not None:
        raise UserError(answer.user_error)
    return answer


def _second_opinion(part: Job, limits: Limits) -> dict[str, str]:
    """What another decoder makes of the same pictures."""
    if not isinstance(part, ShardJob):
        return {}
    name = _SECOND_BACKEND if part.backend == STORING_BACKEND else STORING_BACKEND
    try:
        found = _try(msgspec.structs.replace(part, backend=name), limits)
    except UserError as error:
        return {name: str(error)}
    if isinstance(found, Died):
        _, _, _, at = _place(part, episodes_of(part)[0], found.num_done)
        return {name: f"dies too: {found.reason} {at}"}
    return {name: f"refuses it: {found[0]}" if found else "decodes it"}


def _backend(job: Job) -> str:
    return job.backend if isinstance(job, ShardJob) else STORING_BACKEND


def _place(part: Job, episode: Episode, num_done: int) -> tuple[str | None, str, str, str]:
    """Camera, path, what was expected, and where a part's process was after so many images."""
    if isinstance(part, CheckJob):
        files = sorted({span.path for span in episode.videos.values()})
        if episode.table is not None:
            files.insert(0, episode.table.path)
        return None, " or ".join(files), "files that can be checked", "in the source check"
    if isinstance(part, LowdimJob):
        path = episode.table.path if episode.table else ""
        return None, path, "a table that can be read", "while it is read"
    cameras = part.settings.camera_names
    frames = frames_of(part.task.pieces, part.episodes[0], part.settings)
    position, num_of_camera = divmod(min(num_done, len(frames) * len(cameras) - 1), len(frames))
    camera = cameras[position]
    at = f"after frame {frames[num_of_camera - 1]}" if num_of_camera else "before the first picture"
    expected = f"pictures of frames {frames[0]}-{frames[-1]}"
    return camera, episode.videos[camera].path, expected, at


def _give_up(job: Job, deaths: list[Died], faults: list[EpisodeFault]) -> str:
    reasons = ", ".join(died.reason for died in deaths)
    blamed = ", ".join(f"{fault.episode_index:08d}" for fault in faults)
    return (
        f"task {job.name}: its process died {len(deaths)} times ({reasons}), at last "
        + (f"without the episodes {blamed}, which die alone" if faults else "as a whole")
        + ", though every other episode in it was read alone without harm. Last lines: "
        f"{' / '.join(deaths[-1].stderr[-3:]) or 'none'}. Nothing of it was published; the same "
        "command tries again, with more memory a task by --memory-limit-mb, more patience by "
        "--hang-limit-s."
    )
