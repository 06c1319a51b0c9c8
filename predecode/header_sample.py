"""Which headers of a large data set are read, and what is supposed of the others. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from predecode.source_check import CheckedEpisode, InputFile
from predecode.sources.episode import Episode

__all__ = ["MOST_CHECKED", "choose_checked", "keyframe_distances", "supposed"]

MOST_CHECKED = 64
"""Episodes whose headers are read for a prediction. Measured: 75 ms of a busy core for one of three
cameras and 12,000 frames, so that all of 10,000 would take 12 minutes of one."""


def choose_checked(episodes: Sequence[Episode]) -> list[Episode]:
    """Returns the episodes whose headers are read, in the order given.

    Those whose length only the video knows, and so many others at equal distances, by task.
    """
    known = sorted(
        (e for e in episodes if e.num_frames is not None),
        key=lambda e: (e.task_index, e.episode_index),
    )
    count = min(len(known), MOST_CHECKED)
    chosen = {known[number * len(known) // count].episode_index for number in range(count)}
    return [e for e in episodes if e.num_frames is None or e.episode_index in chosen]


def supposed(
    episodes: Sequence[Episode], cameras: Sequence[str], checked: Sequence[CheckedEpisode]
) -> list[CheckedEpisode]:
    """Returns episodes as if they were checked: as long as the metadata say, else as the checked.

    Keyframes stand at the distance that most of the checked have, files are as large as theirs.

    Args:
        episodes: with a length.
        cameras: those asked for, sorted.
        checked: some of the same data set.
    """
    distances = keyframe_distances(checked)
    distance = max(distances, key=lambda d: distances[d], default=1)
    num_frames = max(sum(c.num_frames for c in checked), 1)
    table_bytes = sum(c.inputs[0].num_bytes for c in checked if c.episode.table is not None)
    video_bytes = {
        camera: sum(_video_bytes(c, camera) for c in checked) / num_frames for camera in cameras
    }
    return [
        _supposed(episode, distance, table_bytes / num_frames, video_bytes) for episode in episodes
    ]


def keyframe_distances(checked: Sequence[CheckedEpisode]) -> Counter[int]:
    """Returns how often keyframes of the first camera are so many frames apart, ends left out."""
    return Counter(b - a for c in checked for a, b in pairwise(c.keyframes))


def _video_bytes(checked: CheckedEpisode, camera: str) -> int:
    path = checked.episode.videos[camera].path
    return next(given.num_bytes for given in checked.inputs if given.path == path)


def _supposed(
    episode: Episode, distance: int, table_bytes: float, video_bytes: Mapping[str, float]
) -> CheckedEpisode:
    """An episode whose files have so many bytes a frame."""
    num_frames = episode.num_frames or 0
    files = [] if episode.table is None else [(episode.table.path, table_bytes)]
    files += [(episode.videos[camera].path, size) for camera, size in video_bytes.items()]
    return CheckedEpisode(
        episode=episode,
        num_frames=num_frames,
        keyframes=list(range(0, num_frames, distance)),
        inputs=[
            InputFile(path=path, num_bytes=round(num_frames * per_frame), digest="0" * 32)
            for path, per_frame in files
        ],
    )
