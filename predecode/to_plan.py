"""What is to be planned: new episodes, what a longer run sees, or episodes that were repaired."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from predecode.display import Display
from predecode.dropped import load_dropped
from predecode.errors import UserError
from predecode.for_run import (
    AskedRun,
    Decoding,
    Universe,
    decoding_of,
    first_part,
    missing_part,
    run_note,
)
from predecode.labels import labelled_frames, unlabelled_note
from predecode.manifest import Finished, faults_of
from predecode.output import finished_generations
from predecode.places import Place
from predecode.planning import Plan, RunPart
from predecode.source_check import CheckedEpisode
from predecode.sources.episode import Episode, Source, annotated_source
from predecode.standing_output import listed_ids
from train_shards.manifest import Settings
from train_shards.run_scope import RunScope

__all__ = ["RunSeen", "ToPlan", "longer_run", "new_episodes", "repaired", "run_part"]


class RunSeen(NamedTuple):
    """What one generation stores of a training run."""

    part: RunPart
    decoding: Decoding
    note: str
    """What that saves, in words."""


class ToPlan(NamedTuple):
    """What is to be planned."""

    episodes: Sequence[Episode]
    labelled: dict[int, tuple[int, int]]
    """``episode_index`` -> the frames ``[start, stop)`` that are asked for; empty for all."""
    run: AskedRun | RunPart | None = None
    """The training run whose samples alone are wanted: of an output's first plan as asked for, of a
    later one what is missing of it."""

    @property
    def is_any(self) -> bool:
        """Whether there is something to plan; a longer run may see nothing new."""
        return bool(self.episodes) or isinstance(self.run, RunPart)


def new_episodes(
    source: Source,
    settings: Settings,
    episodes: Sequence[Episode],
    display: Display,
    *,
    is_first: bool,
) -> ToPlan:
    """Returns all of ``episodes``, or those with a labelled frame, and which frames these are.

    What is planned already is not looked at again, so that annotations may change.

    Raises:
        UserError: none has a labelled frame, and ``is_first``: the first plan must have an episode.
    """
    if not settings.annotated_only:
        return ToPlan(episodes, {})
    labelled = labelled_frames(annotated_source(source), episodes, settings.stride)
    note = unlabelled_note(episodes, labelled)
    if is_first and not labelled:
        raise UserError(
            f"{note}. None is left: see 'predecode verify --source', select others, or leave "
            "--annotated-only out."
        )
    if note:
        display.note(note)
    return ToPlan([e for e in episodes if e.episode_index in labelled], labelled)


def longer_run(place: Place, source: Source, plans: list[Plan], asked: AskedRun) -> ToPlan:
    """Returns what a longer run sees beyond what is stored, but of episodes at fault or dropped.

    Args:
        place: the output.
        source: its source.
        plans: all that there are, finished.
        asked: the longer run.
    """
    finished = finished_generations(place.folder, plans, size_of=place.size_of)
    gone = {*faults_of(finished), *load_dropped(place.folder).ids}
    part = missing_part(finished, asked, without=gone)
    return _of_run([e for e in source.episodes if e.episode_index in part.frames], plans, part)


def repaired(
    name: str,
    finished: Sequence[Finished],
    plans: list[Plan],
    scope: RunScope,
    episodes: Sequence[Episode],
) -> ToPlan:
    """Returns all that the run sees of episodes at fault.

    Args:
        name: of the output, for messages.
        finished: its generations.
        plans: those of the generations.
        scope: of the run.
        episodes: the ones to try again.

    Raises:
        UserError: one was refused before the run was planned, so that it is no part of it.
    """
    ids = {e.episode_index for e in episodes}
    if strangers := sorted(ids - {p.episode.episode_index for p in plans[0].episodes}):
        raise UserError(
            f"{name}: episodes {listed_ids(strangers)} were at fault before the run {scope} was "
            f"planned and are no part of it; among {scope.num_samples} samples and theirs it would "
            "see others. Name the others with --episodes, or store the run in a new output."
        )
    return _of_run(episodes, plans, missing_part(finished, scope, only=ids))


def _of_run(episodes: Sequence[Episode], plans: list[Plan], part: RunPart) -> ToPlan:
    """Episodes with the frames that were asked for of them at first; labels may have changed."""
    asked = {p.episode.episode_index: p.asked for p in plans[0].episodes}
    return ToPlan(episodes, {e.episode_index: asked[e.episode_index] for e in episodes}, part)


def run_part(
    new: ToPlan,
    checked: Sequence[CheckedEpisode],
    held_out: Collection[int],
    settings: Settings,
) -> RunSeen | None:
    """Returns what is stored of the run; None without one.

    Args:
        new: what is to be planned.
        checked: its episodes that passed the source check.
        held_out: ``episode_index`` of those that no run sees.
        settings: of the output.

    Raises:
        UserError: a step of the run takes more samples than there are, or an episode has other
            frames than when the run was planned.
    """
    if new.run is None:
        return None
    checked = [c for c in checked if c.episode.episode_index not in held_out]
    checked.sort(key=lambda c: c.episode.episode_index)
    num_frames = {c.episode.episode_index: c.num_frames for c in checked}
    part = new.run
    if isinstance(part, AskedRun):
        ranges = {e: new.labelled.get(e, (0, frames)) for e, frames in num_frames.items()}
        part = first_part(Universe(ranges, settings.stride), part)
    elif longer := [e for e, frames in num_frames.items() if new.labelled[e][1] > frames]:
        raise UserError(
            f"episode {longer[0]:08d}: {num_frames[longer[0]]} frames, "
            f"{new.labelled[longer[0]][1]} when the run was planned: it would see other samples. "
            "Store it in a new output."
        )
    decoding = decoding_of({c.episode.episode_index: c.keyframes for c in checked}, part.frames)
    return RunSeen(part, decoding, run_note(part.scope, decoding, sum(num_frames.values())))
