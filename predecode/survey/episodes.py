"""A data set before any decoding: is every file there, whole, and of its own episode?

Where the source check of a run stops at an episode's first fault, since the episode is lost anyway,
the survey looks at every file that the metadata name and tells all that it sees. Kinds of findings
stand in the tables of ``videos``, ``tables``, ``annotations``, ``b1k`` and:

=================== = ==========================================================================
duplicate-video     F a video with the packets of another one (pts, sizes and keyframes of all), in
                      an episode that is no whole copy: one of the two shows another episode
duplicate-table     F the actions of another episode, where the videos differ; R in a LeRobot set
duplicate-episode   R videos and actions of another episode: its items are right, but count twice;
                    F where the two have different sentences
metadata            F what the metadata say of the episode contradicts itself or another episode
more                  how many findings were left out: of an episode beyond 20, and remarks of one
                      kind beyond 20 of the whole set
=================== = ==========================================================================

A fault (F) makes ``predecode run`` leave the episode out, or an item wrong; a remark (R) neither.

Cost: headers, packet tables, ids, times and actions, annotations and per-episode metadata
(published: 1.9 MB an episode, the larger part of what is read). With the files in memory 41 ms of
one core for an episode of 12,000 frames and three cameras, 8 ms for one of 450; most of it are the
packet tables.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from predecode.errors import disk_errors_of
from predecode.source_check import check_root
from predecode.sources.episode import Episode, Source
from predecode.survey.b1k import (
    AnySource,
    check_metadata,
    check_others,
    missing_others,
    other_files,
)
from predecode.survey.findings import (
    bounded,
    episode_key,
    fault_finding,
    folded_remarks,
    noting,
)
from predecode.survey.tables import survey_table
from predecode.survey.videos import merge_cameras, survey_video
from predecode.verification.report import CameraSurvey, Finding, SourceSurvey

__all__ = [
    "SurveyJob",
    "SurveyVerdict",
    "SurveyedEpisode",
    "source_level",
    "survey_episodes",
    "survey_jobs",
]

_SLICE_EPISODES = 32
"""Of one task: seconds of work, so that a task's overhead does not count."""


class SurveyJob(msgspec.Struct, frozen=True, kw_only=True):
    """Some episodes to look at."""

    root: str
    cameras: tuple[str, ...]
    task_names: list[str]
    """Short names of all tasks of the set."""
    episodes: list[Episode]
    others: list[dict[str, str]]
    """For each episode, kind -> path of what its metadata name beside table and videos."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"survey from {episode_key(self.episodes[0].episode_index)}"


class SurveyedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """What tells an episode from the others of the set; less than 1 kB."""

    episode_index: int
    num_frames: int
    """As the metadata say; the pictures of the first camera where they do not."""
    num_bytes: int
    """Of the table and the videos."""
    videos: dict[str, tuple[str, int]]
    """Camera -> digest of the packet table and bytes, of each video that could be read."""
    actions: str
    """Digest of the table's actions; see ``survey_table``."""
    others: dict[str, str]
    """What else is there; see ``check_others``."""


class SurveyVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the episodes of one job."""

    episodes: list[SurveyedEpisode]
    cameras: dict[str, CameraSurvey]
    findings: list[Finding]


def survey_jobs(source: Source) -> list[SurveyJob]:
    """Returns one job for every 32 episodes."""
    slices = [
        source.episodes[start : start + _SLICE_EPISODES]
        for start in range(0, len(source.episodes), _SLICE_EPISODES)
    ]
    return [
        SurveyJob(
            root=str(source.root.resolve()),
            cameras=tuple(source.cameras),
            task_names=sorted(source.task_names),
            episodes=episodes,
            others=[
                other_files(source, episode) if isinstance(source, AnySource) else {}
                for episode in episodes
            ],
        )
        for episodes in slices
    ]


def survey_episodes(job: SurveyJob, report: Callable[[int], None]) -> SurveyVerdict:
    """Looks at some episodes; damage becomes findings. Calls ``report`` with 1 after each.

    Raises:
        InfraError: the root is gone, or the disk refuses.
    """
    verdict = SurveyVerdict(episodes=[], cameras={}, findings=[])
    with disk_errors_of(job.root):
        for episode, others in zip(job.episodes, job.others, strict=True):
            _survey_episode(job, episode, others, verdict)
            report(1)
    return verdict


def _survey_episode(
    job: SurveyJob, episode: Episode, others: dict[str, str], verdict: SurveyVerdict
) -> None:
    """Adds what is seen of one episode."""
    root = Path(job.root)
    num_frames, num_bytes, actions = episode.num_frames, 0, ""
    videos: dict[str, tuple[str, int]] = {}
    findings = [fault_finding("metadata", fault) for fault in episode.faults or ()]
    if episode.table is not None:
        num_bytes, actions, found = survey_table(root, episode)
        findings += found
    for camera in job.cameras:
        video, found = survey_video(root, episode, camera)
        findings += found
        if video is not None:
            figures = video.figures
            known = verdict.cameras.get(camera)
            verdict.cameras[camera] = merge_cameras(known, figures) if known else figures
            videos[camera] = (video.digest, figures.num_bytes)
            num_bytes += figures.num_bytes
            num_frames = figures.num_frames if num_frames is None else num_frames
    present, found = check_others(root, episode, others, job.task_names)
    findings += found
    check_root(root)  # a vanished mount is no fault of the data
    verdict.findings.extend(bounded(findings))
    verdict.episodes.append(
        SurveyedEpisode(
            episode_index=episode.episode_index,
            num_frames=num_frames or 0,
            num_bytes=num_bytes,
            videos=videos,
            actions=actions,
            others=present,
        )
    )


def source_level(
    source: Source, verdicts: Iterable[SurveyVerdict]
) -> tuple[SourceSurvey, list[Finding]]:
    """Returns the figures of the whole set and its findings, faults first.

    Args:
        source: the data set.
        verdicts: of all its jobs, in any order.

    Raises:
        InfraError: the disk refuses.

    Cost: lists the folders of data, videos and annotations.
    """
    ordered = sorted(verdicts, key=lambda verdict: verdict.episodes[0].episode_index)
    surveyed = [episode for verdict in ordered for episode in verdict.episodes]
    findings = [finding for verdict in ordered for finding in verdict.findings]
    with disk_errors_of(str(source.root)):
        findings += _duplicates(source, surveyed)
        if isinstance(source, AnySource):
            findings += missing_others(source, {e.episode_index: e.others for e in surveyed})
            findings += check_metadata(source)
    cameras: dict[str, CameraSurvey] = {}
    for verdict in ordered:
        for camera, figures in verdict.cameras.items():
            known = cameras.get(camera)
            cameras[camera] = merge_cameras(known, figures) if known else figures
    survey = SourceSurvey(
        kind=source.kind,
        num_episodes=len(surveyed),
        num_frames=sum(episode.num_frames for episode in surveyed),
        num_bytes=sum(episode.num_bytes for episode in surveyed),
        cameras=dict(sorted(cameras.items())),
    )
    return survey, folded_remarks(findings)


def _duplicates(source: Source, surveyed: list[SurveyedEpisode]) -> Iterator[Finding]:
    """Videos, actions and episodes that are those of an earlier episode.

    Of a table only the actions are compared: ids differ in a copy, and the rest is 15 times as much
    to read. Two recordings share no actions, as a robot's joints never come to the same floats.
    """
    episodes = {episode.episode_index: episode for episode in source.episodes}
    first_video: dict[tuple[str, int], tuple[int, str]] = {}
    first_actions: dict[str, int] = {}
    for found in surveyed:
        episode = episodes[found.episode_index]
        copies = {
            camera: place
            for camera, digest in found.videos.items()
            if (place := first_video.setdefault(digest, (found.episode_index, camera)))
            != (found.episode_index, camera)
        }
        twin = found.episode_index
        if found.actions:
            twin = first_actions.setdefault(found.actions, found.episode_index)
        owners = {owner for owner, _ in copies.values()} | ({twin} if episode.table else set())
        is_whole = len(copies) == len(source.cameras) and len(owners) == 1
        if is_whole and all(camera == copies[camera][1] for camera in copies):
            note = noting(episode.videos[next(iter(source.cameras))].path, episode)
            original = episodes[next(iter(copies.values()))[0]]
            yield note(
                kind="duplicate-episode",
                expected="a recording of its own",
                got=f"that of {episode_key(original.episode_index)}",
                is_fault=original.task != episode.task,
            )
            continue
        for camera, (owner, owner_camera) in copies.items():
            got = f"the packets of {episodes[owner].videos[owner_camera].path}"
            note = noting(episode.videos[camera].path, episode)
            yield note(kind="duplicate-video", expected="its own pictures", got=got)
        if twin != found.episode_index and episode.table is not None:
            table = episodes[twin].table
            note = noting(episode.table.path, episode)
            got = f"those of {table.path if table else ''}"
            # Commands may be alike in any data set; a robot's joints are not.
            is_fault = not episode.table.keeps_types
            yield note(
                kind="duplicate-table", expected="its own actions", got=got, is_fault=is_fault
            )
