"""Annotations of the sample, faults of published ones included, and two optional folders.

``annotations/`` has one JSON per episode (rollouts have none), ``orchestrators/`` a folder for one
episode, ``subtasks/`` a file for another. All ranges are ``[start, end)`` in frames of the episode.
Source of shapes and faults: annotation files of both editions, as parsed by several readers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predecode.sources.sample_layout import ANNOTATION_PATH, EpisodeSpec, episode_path
from predecode.sources.sample_metadata import write_json

__all__ = ["write_annotations", "write_touching_skills"]

_Range = list[int] | list[list[int]]


@dataclass(frozen=True)
class _Annotation:
    task_duration: int
    valid_duration: tuple[int, int]
    skills: tuple[tuple[str | None, _Range], ...]
    """Description and frames of each skill."""
    primitives: tuple[tuple[str | None, _Range, tuple[int, ...]], ...]
    """Description, frames and the positions of the skills it is made of."""


_ANNOTATIONS = {
    # Skills touch; the last 20 of 120 frames carry no label.
    10: _Annotation(
        100,
        (0, 100),
        (("move to", [0, 40]), ("pick up from", [40, 70]), ("press", [70, 100])),
        (("pick up from", [0, 70], (0, 1)), ("press", [70, 100], (2,))),
    ),
    # Frames 60 to 74 belong to no skill, frames 130 to 139 to two; no primitives at all.
    20: _Annotation(
        250,
        (0, 250),
        (
            ("move to", [0, 60]),
            ("pick up from", [75, 140]),
            ("press", [130, 200]),
            ("place on", [200, 250]),
        ),
        (),
    ),
    # The second skill is split in two; the third has no description.
    40: _Annotation(
        751,
        (0, 751),
        (
            ("move to", [0, 240]),
            ("pick up from", [[240, 300], [360, 420]]),
            (None, [300, 360]),
            ("press", [420, 751]),
        ),
        (("pick up from", [0, 420], (0, 1, 2)), ("press", [420, 751], (3,))),
    ),
    # The second skill ends 42 frames before it starts; the last ends after task_duration.
    490010: _Annotation(
        450,
        (0, 450),
        (
            ("move to", [0, 150]),
            ("open door", [192, 150]),
            ("pick up from", [150, 320]),
            ("place in", [320, 490]),
        ),
        (("pick up from", [0, 320], (0, 1, 2)), ("place in", [320, 490], (3,))),
    ),
    # Starts late and ends early.
    490020: _Annotation(
        949,
        (14, 963),
        (("move to", [14, 300]), ("pick up from", [300, 610]), ("place in", [610, 963])),
        (("pick up from", [14, 610], (0, 1)), ("place in", [610, 963], (2,))),
    ),
    # The rest is the 2026 edition's, by raw id; its newer files name no primitives.
    50: _Annotation(
        61, (0, 61), (("move to", [0, 20]), ("press", [20, 61])), (("press", [0, 61], (0, 1)),)
    ),
    490030: _Annotation(510, (12, 522), (("move to", [12, 260]), ("place in", [260, 522])), ()),
    500010: _Annotation(70, (0, 70), (("move to", [0, 40]), ("place in", [40, 70])), ()),
}

_SKILL_NUMBERS = {
    "move to": 0,
    "pick up from": 2,
    "place on": 3,
    "place in": 4,
    "open door": 6,
    "press": 12,
}


def write_annotations(root: Path, spec: EpisodeSpec) -> None:
    """Writes what the episode has of annotation, orchestrators and subtasks."""
    annotation = _ANNOTATIONS.get(spec.annotation_id)
    if annotation is not None:
        _write_files(root, spec, annotation)


def write_touching_skills(root: Path, spec: EpisodeSpec, descriptions: Sequence[str]) -> None:
    """Writes an annotation without any fault, and what else the episode has.

    Its skills share all frames evenly and touch; each is a primitive as well.
    """
    bounds = [spec.length * number // len(descriptions) for number in range(len(descriptions) + 1)]
    skills = tuple(
        (text, [start, stop])
        for text, start, stop in zip(descriptions, bounds[:-1], bounds[1:], strict=True)
    )
    primitives = tuple((text, frames, (n,)) for n, (text, frames) in enumerate(skills))
    whole = _Annotation(spec.length, (0, spec.length), skills, primitives)
    _write_files(root, spec, whole)


def _write_files(root: Path, spec: EpisodeSpec, annotation: _Annotation) -> None:
    path = root / episode_path(ANNOTATION_PATH, spec.annotation_id)
    write_json(path, _annotation_json(spec, annotation))
    name = f"task-{spec.task_index:04d}/episode_{spec.annotation_id:08d}"
    if spec.has_orchestrators:
        _write_orchestrators(root / "orchestrators" / name, spec, annotation)
    if spec.has_subtasks:
        _write_subtasks(root / "subtasks" / f"{name}.json", spec, annotation)


def _annotation_json(spec: EpisodeSpec, annotation: _Annotation) -> dict[str, Any]:
    skills = [
        {"skill_idx": position}
        | _segment("skill", spec, description, frames)
        | {"mp_ef": [], "skill_type": [_skill_type(description)]}
        for position, (description, frames) in enumerate(annotation.skills)
    ]
    primitives = [
        {"primitive_idx": position}
        | _segment("primitive", spec, description, frames)
        | {"skill_idxes": list(skill_positions)}
        for position, (description, frames, skill_positions) in enumerate(annotation.primitives)
    ]
    return {
        "task_name": spec.task.task_name.replace("_", " "),
        "data_folder": "",
        "meta_data": {
            "task_duration": annotation.task_duration,
            "valid_duration": list(annotation.valid_duration),
        },
        "skill_annotation": skills,
        "primitive_annotation": primitives,
    }


def _skill_type(description: str | None) -> str:
    return "navigation" if description == "move to" else "uncoordinated"


def _segment(
    kind: str, spec: EpisodeSpec, description: str | None, frames: _Range
) -> dict[str, Any]:
    target, support = spec.task.objects[:2]
    is_split = isinstance(frames[0], list)
    number = _SKILL_NUMBERS.get(description) if description is not None else None
    return {
        f"{kind}_id": [number],
        f"{kind}_description": [description],
        "object_id": [[target, support]] * (len(frames) if is_split else 1),
        "manipulating_object_id": [target],
        "memory_prefix": [],
        "spatial_prefix": [""] if description == "move to" else [],
        "frame_duration": frames,
    }


def _write_orchestrators(folder: Path, spec: EpisodeSpec, annotation: _Annotation) -> None:
    """Writes the folder of one episode: its task, one file per subtask, two events for each."""
    subtasks = [_phrase(spec, description) for description, _ in annotation.skills]
    write_json(
        folder / "task_annotated.json",
        {
            "cot_task_description": f"{spec.task.task} First find it, then act.",
            "cot_subtask_description_list": subtasks,
        },
    )
    for position, (description, frames) in enumerate(annotation.skills):
        start, end = (bound for bound in frames if isinstance(bound, int))
        subtask = {
            "cot_subtask_description": f"The next step is to {subtasks[position]}.",
            "skill_description": description,
            "start_frame": start,
            "end_frame": end,
        }
        write_json(folder / f"subtask_{position}_annotated.json", subtask)
        middle = (start + end) // 2
        for number, (first, last) in enumerate(((start, middle), (middle, end))):
            event = {
                "subtask_answer_detailed": f"{subtasks[position]}, part {number + 1} of 2",
                "start_frame": first,
                "end_frame": last,
            }
            write_json(folder / f"event_{position}_{number}_annotated.json", event)


def _write_subtasks(path: Path, spec: EpisodeSpec, annotation: _Annotation) -> None:
    """Writes the phrases of one episode, made of its annotation; empty ranges are left out."""
    pairs = {
        "skill": annotation.skills,
        "primitive": tuple((text, frames) for text, frames, _ in annotation.primitives),
    }
    value: dict[str, Any] = {"episode_index": spec.episode_index}
    for kind, segments in pairs.items():
        merged = []
        for description, frames in segments:
            start, end = (bound for bound in frames if isinstance(bound, int))
            if start < end:
                phrase = _phrase(spec, description)
                merged.append({"start_frame": start, "end_frame": end, "phrase": phrase})
        items = [_segment(kind, spec, description, frames) for description, frames in segments]
        value[kind] = {"items": items, "merged_segments": merged}
    write_json(path, value)


def _phrase(spec: EpisodeSpec, description: str | None) -> str:
    """Skill and object in words, digits of the object's id dropped."""
    words = [word for word in spec.task.objects[0].split("_") if not word.isdigit()]
    return f"{description} the {' '.join(words)}"
