"""``python -m predecode.reproduce``: tries again what ended a process, and says how it ends now.

Reads the plans of an output, stores nothing. Exit status: 0 it lives, 1 it dies.
"""

import argparse
import sys
from collections.abc import Sequence

from predecode.child import Limits
from predecode.errors import DataError, InfraError, UserError
from predecode.isolation import try_alone
from predecode.output import jobs_of, load_plans
from predecode.planning import Plan
from predecode.remote_place import readable
from predecode.tasks import CheckJob, Job, episodes_of

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Tries one episode's part of one task; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m predecode.reproduce", description=__doc__)
    parser.add_argument("out", help="A folder or a URL.")
    parser.add_argument("--episode", type=int, required=True)
    parser.add_argument("--task", help="Name of the shard or table. Default: every one with it.")
    parser.add_argument("--hang-limit-s", type=float, default=Limits().hang_s)
    given = parser.parse_args(words)
    try:
        with readable(given.out) as place:
            plans = load_plans(place.folder)
        faults = [
            try_alone(job, episode, Limits(given.hang_limit_s))
            for plan in plans
            for job in _jobs(given.out, plan)
            if given.task in (None, job.name)
            for episode in episodes_of(job)
            if episode.episode_index == given.episode
        ]
        if not faults:
            raise UserError(
                f"{given.out}: no task {given.task or ''} with episode {given.episode}."
            )
    except (UserError, DataError, InfraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        if fault is not None and fault.death:
            print(f"{fault}", *fault.death.stderr, sep="\n    ")
    num_dead = sum(fault is not None for fault in faults)
    print(f"{len(faults)} tried, {num_dead} died")
    return 1 if num_dead else 0


def _jobs(out: str, plan: Plan) -> list[Job]:
    checks = [
        CheckJob(root=plan.root, episodes=[episode], cameras=plan.settings.camera_names)
        for episode in plan.failed
    ]
    return [*checks, *jobs_of(out, plan)]


if __name__ == "__main__":
    sys.exit(main())
