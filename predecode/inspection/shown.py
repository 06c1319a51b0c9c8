"""What the page of an output shows: pictures, episodes and counts, drawn by the output's seed.

Owns the bounds, so that the page of a large output stays small and only what it shows is read.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predecode.inspection.found import OutputFound, TaskFigures
from predecode.inspection.opened import OpenOutput, StoredEpisode
from predecode.inspection.pictures import picture_of, thumbnail
from predecode.inspection.sample import decoded_images
from predecode.inspection.texts import OutputTexts, Said
from predecode.page.plots import Plot, line_plot
from predecode.planning import seeded_rank
from train_shards.b1k_state import STATE_KEY
from train_shards.prompts import Segment

__all__ = ["ContactSheet", "EpisodeShown", "PageContent", "Shot", "TaskShown", "page_content"]

_TASKS, _EPISODES = 12, 6
_IMAGES = 12
"""Of a task; a robot may have many cameras."""
_SHOTS, _STRIP_SHOTS = 4, 8
_EDGE_PX = 144
_DRAWN = 2000
"""Samples whose bytes are counted: a small read of the index each."""
_PLOTTED = (STATE_KEY, "action")


class Shot(NamedTuple):
    """One stored image, small."""

    key: str
    frame: int
    picture: NDArray[np.uint8]
    note: str
    """Range of a depth image, number of instances of a segmentation, else ``""``."""


class ContactSheet(NamedTuple):
    """Some samples of one task by one image."""

    image: str
    modality: str
    shots: list[Shot]


class TaskShown(NamedTuple):
    """One task."""

    figures: TaskFigures
    sheets: list[ContactSheet]


class EpisodeShown(NamedTuple):
    """One episode."""

    episode: StoredEpisode
    num_frames: int
    frames: Sequence[int]
    """That are stored."""
    said: Said
    """At its first stored frame."""
    image: str
    strip: list[Shot]
    """Evenly spread over the stored frames."""
    skills: list[Segment]
    plots: dict[str, Plot]


class PageContent(NamedTuple):
    """Everything that the page shows and the summary does not say."""

    tasks: list[TaskShown]
    episodes: list[EpisodeShown]
    num_images_unshown: int
    """Of each task."""
    lengths: dict[int, int]
    """Frames of an episode -> how many episodes."""
    image_bytes: dict[str, dict[int, int]]
    """Image -> bytes of its member -> how many of the samples that were drawn."""
    num_drawn: int
    roots: list[str]
    """Where the source of each generation lay."""


def page_content(output: OpenOutput, found: OutputFound) -> PageContent:
    """Returns what the page shows.

    Raises:
        DataError: something of it is damaged; shard, key and offset are named.

    Cost: reads at most 96 samples and 2,000 places of the index, the tables of 6 episodes, and the
    plans.
    """
    images = output.settings.camera_names[:_IMAGES]
    by_task: dict[int, list[StoredEpisode]] = {}
    for episode in sorted(output.episodes.values(), key=lambda one: _rank(output, one)):
        by_task.setdefault(episode.span.task_index, []).append(episode)
    tasks = [task for task in found.tasks if task.num_episodes][:_TASKS]
    lengths, image_bytes, num_drawn = _counts(output, images)
    texts = OutputTexts(output)
    return PageContent(
        tasks=[
            TaskShown(task, _sheets(output, by_task[task.task_index], images)) for task in tasks
        ],
        episodes=[
            _episode(output, texts, episode)
            for episode in _in_turn([by_task[task.task_index] for task in tasks])
        ],
        num_images_unshown=len(output.settings.cameras) - len(images),
        lengths=lengths,
        image_bytes=image_bytes,
        num_drawn=num_drawn,
        roots=[output.plan(generation).root for generation in output.manifest.generations],
    )


def _rank(output: OpenOutput, episode: StoredEpisode, number: int = 0) -> int:
    return seeded_rank(output.settings.seed, "inspect", episode.span.episode_index, number)


def _in_turn(groups: Sequence[Sequence[StoredEpisode]]) -> list[StoredEpisode]:
    """The first episode of each task, then the second, … as far as there is room; by id."""
    turns = max(map(len, groups), default=0)
    mixed = [group[turn] for turn in range(turns) for group in groups if turn < len(group)]
    return sorted(mixed[:_EPISODES], key=lambda episode: episode.span.episode_index)


def _sheets(
    output: OpenOutput, episodes: Sequence[StoredEpisode], images: Sequence[str]
) -> list[ContactSheet]:
    drawn: set[tuple[StoredEpisode, int]] = set()
    for number in range(_SHOTS):
        episode = episodes[number % len(episodes)]
        frames = output.frames(episode)
        first = _rank(output, episode, number) % len(frames)
        following = (frames[(first + n) % len(frames)] for n in range(_SHOTS))
        new = next((frame for frame in following if (episode, frame) not in drawn), None)
        if new is not None:  # else the episode is shorter than that
            drawn.add((episode, new))
    chosen = sorted(drawn, key=lambda one: (one[0].span.episode_index, one[1]))
    shots = _shots(output, chosen, images)
    return [
        ContactSheet(image, output.settings.modality_of(image), shots[image]) for image in images
    ]


def _shots(
    output: OpenOutput, samples: Iterable[tuple[StoredEpisode, int]], images: Sequence[str]
) -> dict[str, list[Shot]]:
    """Image -> its shots of some samples, all read at once."""
    settings = output.settings
    fields = [settings.field_of(image) for image in images]
    shots: dict[str, list[Shot]] = {image: [] for image in images}
    placed = [(episode, output.place(episode, frame)) for episode, frame in samples]
    contents = output.read(placed, fields)
    for (episode, place), members in zip(placed, contents, strict=True):
        of_field = dict(zip(fields, members, strict=True))
        for image, decoded in decoded_images(output, episode, place, of_field).items():
            modality = settings.modality_of(image)
            is_smooth = modality != "seg_instance_id"
            small = thumbnail(picture_of(decoded, modality), _EDGE_PX, is_smooth=is_smooth)
            note = _note(decoded, modality)
            shots[image].append(Shot(place.key, place.frame_index, small, note))
    return shots


def _note(image: NDArray[Any], modality: str) -> str:
    if modality == "depth":
        return f"{image.min():.2f} to {image.max():.2f} m"
    return f"{len(np.unique(image))} ids" if modality == "seg_instance_id" else ""


def _episode(output: OpenOutput, texts: OutputTexts, episode: StoredEpisode) -> EpisodeShown:
    settings, frames = output.settings, output.frames(episode)
    rgb = [name for name in settings.camera_names if settings.is_rgb(name)]
    image = (rgb or settings.camera_names)[0]
    even = sorted({frames[i] for i in np.linspace(0, len(frames) - 1, _STRIP_SHOTS).astype(int)})
    place = output.place(episode, frames[0])
    columns = output.reader(episode).columns(place)
    return EpisodeShown(
        episode,
        place.num_frames,
        frames,
        texts.at(episode, frames[0], columns),
        image,
        _shots(output, [(episode, frame) for frame in even], [image])[image],
        texts.skills(episode),
        {
            name: line_plot(columns[name].reshape(place.num_frames, -1))
            for name in _PLOTTED
            if isinstance(columns.get(name), np.ndarray)
        },
    )


def _counts(
    output: OpenOutput, images: Sequence[str]
) -> tuple[dict[int, int], dict[str, dict[int, int]], int]:
    """Lengths of all episodes; bytes of each image in samples drawn evenly over all of them."""
    episodes = list(output.episodes.values())
    lengths = Counter(
        output.place(episode, output.frames(episode)[0]).num_frames for episode in episodes
    )
    stops = np.cumsum([episode.num_samples for episode in episodes])
    num_samples = int(stops[-1]) if len(stops) else 0
    bytes_of: dict[str, Counter[int]] = {name: Counter() for name in images}
    positions = np.unique(np.linspace(0, num_samples - 1, min(_DRAWN, num_samples)).astype(int))
    numbers = np.searchsorted(stops, positions, "right")
    for number in np.unique(numbers).tolist():
        episode = episodes[number]
        frames, reader = output.frames(episode), output.reader(episode)
        for offset in (positions[numbers == number] - stops[number]).tolist():  # from its end
            place = output.place(episode, frames[offset])
            for name, counts in bytes_of.items():
                counts[place.members[reader.fields.index(output.settings.field_of(name))][1]] += 1
    return dict(lengths), {name: dict(c) for name, c in bytes_of.items()}, len(positions)
