"""predecode status: how far an output is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from predecode.commands.options import Reported, Standing
from predecode.commands.words import with_options
from predecode.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from predecode.status import Status

__all__ = ["status"]

_MOST_IDS = 10


@with_options
def status(standing: Standing, reported: Reported) -> None:
    """Tell how far an output is: while a run works, from another terminal, or after it.

    Writes nothing.

    Exit status: 0 complete, 1 not complete or with quarantined episodes, 2 no output.

    Examples:
        predecode status shards/
        predecode status s3://bucket/shards --json
    """
    from predecode.display import one_line
    from predecode.remote_place import readable
    from predecode.status import status_of

    with readable(str(standing.out)) as place:
        found = status_of(place)
    # A lock may be a stranger's: nothing in it may speak to the terminal.
    reported.show(
        found,
        map(one_line, _lines(found)),
        EXIT_DONE if found.state == "complete" else EXIT_INCOMPLETE,
    )


def _lines(found: "Status") -> Iterator[str]:
    """A status for people."""
    from predecode.display import format_bytes
    from predecode.progress_lines import figures_text

    yield f"{found.output}: {_state(found)}"
    if found.num_tasks:
        flying = found.num_tasks_in_flight
        yield (
            f"tasks: {found.num_tasks_done:,} of {found.num_tasks:,} done"
            f"{f', at most {flying} in flight' if flying else ''}; "
            f"frames: {found.num_samples_done:,} of {found.num_samples:,} stored, "
            f"{format_bytes(found.num_bytes)}"
        )
    elif found.state == "running":
        yield "no plan yet: the source is being checked"
    ids = [f"{episode:08d}" for episode in found.quarantined]
    shown = ", ".join(ids[:_MOST_IDS]) + (", …" if len(ids) > _MOST_IDS else "")
    if found.num_tasks:
        yield (
            f"episodes: {found.num_episodes:,}, of which {len(ids):,} quarantined"
            f"{f' ({shown})' if ids else ''}"
        )
    line = found.last
    if line is not None and found.state in ("running", "elsewhere", "killed"):
        yield (
            f"{line.phase}: {line.done:,} of {line.total:,} {line.unit}, "
            f"{line.frames_per_s:,.1f} frames/s, {_duration(found.last_age_s or 0)} ago"
            f"{f'; {_duration(found.left_s)} left' if found.left_s is not None else ''}"
        )
    if line is not None and line.num_samples:
        yield f"last call: {figures_text(line)}"
    if found.versions:
        yield "versions: " + ", ".join(f"{name} {value}" for name, value in found.versions.items())


def _state(found: "Status") -> str:
    """What goes on, and what to do about it."""
    writer = found.writer
    if writer is None:
        return {
            "complete": "complete",
            "incomplete": "finished, INCOMPLETE: predecode retry tries quarantined episodes again",
        }.get(found.state, "NOT finished, and nothing runs: the same command goes on from here")
    who = f"process {writer.pid} of host {writer.host}, since {writer.since}"
    if found.state == "running":
        return f"running: {who}: {writer.command}"
    if found.state == "killed":
        return f"KILLED: {who}, is gone. To go on: {writer.command}"
    return (
        f"held by {who}, which cannot be judged from this host. If it is dead, remove "
        f"{found.output}/.predecode/lock; to go on: {writer.command}"
    )


def _duration(time_s: float) -> str:
    """A time for people.

    >>> _duration(59), _duration(7384)
    ('59 s', '2 h 3 min')
    """
    minutes, seconds = divmod(round(time_s), 60)
    if not minutes:
        return f"{seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {seconds} s"
