"""Metadata written by hand for tiny outputs: sentences, orchestrators, annotations, templates."""

import json
from pathlib import Path
from typing import Any

from tests.support.stored import StoredEpisode, settings_of, write_generation, write_manifest

__all__ = ["EPISODES", "NAMES", "TEMPLATES", "annotation", "output_with_texts", "write_json"]

EPISODES = [StoredEpisode(10, 12), StoredEpisode(20, 6), StoredEpisode(70010, 4, task_index=7)]
"""10 has orchestrators and an annotation, 20 an annotation, 70010 nothing."""

TEMPLATES: dict[str, Any] = {
    "skill": {
        "move to": {"fields": ["target"], "template": "move to the {target}"},
        "pick up from": {"fields": ["obj", "src"], "template": "pick up the {obj} from the {src}"},
        "place in": {"fields": ["obj", "dst"], "template": "place the {obj} in the {dst}"},
        "press": {"fields": ["obj"], "template": "press the {obj}"},
        "open door": {"fields": ["target"], "template": "open the {target}"},
    },
    "primitive": {
        "press": {"fields": ["obj"], "template": "unused: skills come first"},
        "wipe hard": {"fields": ["obj"], "template": "wipe the {obj} firmly"},
    },
}
NAMES: dict[str, str | None] = {"fridge_dszchb_0": "fridge", "agent_n_01_1": None, "left": "left"}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def annotation(
    skills: list[tuple[Any, Any, Any]],
    primitives: list[tuple[Any, Any, Any]] = [],  # noqa: B006
) -> dict[str, Any]:
    """An annotation file: description, objects and frames of each skill and primitive."""
    return {
        "task_name": "opening the drawer",
        "meta_data": {"task_duration": 9, "valid_duration": [0, 9]},
        "skill_annotation": [
            {
                "skill_description": [text],
                "object_id": objects,
                "manipulating_object_id": ["cup_12"],
                "frame_duration": frames,
                "skill_type": ["navigation" if text == "move to" else "uncoordinated"],
            }
            for text, objects, frames in skills
        ],
        "primitive_annotation": [
            {"primitive_description": texts, "object_id": objects, "frame_duration": frames}
            for texts, objects, frames in primitives
        ],
    }


def output_with_texts(out: Path) -> Path:
    """Writes an output of ``EPISODES``, with its metadata and, beside them, two tables."""
    samples = [(e.episode_index, f) for e in EPISODES for f in range(e.num_frames)]
    shuffled = [samples[i * 7 % len(samples)] for i in range(len(samples))]
    generation = write_generation(out, settings_of(), EPISODES, [shuffled[:9], shuffled[9:]])
    write_manifest(
        out, settings_of(), [generation], task_names={"open_drawer": 0, "close_drawer": 7}
    )
    meta = out / "meta"
    write_json(meta / "templates.json", TEMPLATES)
    write_json(meta / "names.json", NAMES)
    rows = [
        {"episode_index": 10, "tasks": ["Open the drawer, please."], "length": 12},
        {"episode_index": 20, "tasks": ["Open the drawer at once."], "length": 6},
        {"episode_index": 70010, "tasks": ["Close the drawer, please."], "length": 4},
    ]
    (meta / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [
        {"task_index": 0, "task_name": "open_drawer", "task": "Open the drawer."},
        {"task_index": 7, "task_name": "close_drawer", "task": "Close the drawer."},
    ]
    (meta / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    folder = meta / "annotations/task-0000"
    cabinet = [["cup_12", "bottom_cabinet_jhymlr_0"]]
    write_json(
        folder / "episode_00000010.json",
        annotation(
            [
                ("move to", [["drawer_3"]], [0, 4]),
                ("pick up from", cabinet, [4, 7]),
                ("place in", [["cup_12", "fridge_dszchb_0"]], [7, 9]),
            ],
            [
                (
                    ["pick up from", "wipe hard"],
                    [["cup_12", "fridge_dszchb_0"], ["sink_a_0"]],
                    [4, 9],
                )
            ],
        ),
    )
    write_json(
        folder / "episode_00000020.json",
        annotation([("move to", [["drawer_3"]], [0, 3]), ("press", [["button_1"]], [4, 6])]),
    )
    _write_orchestrators(meta / "orchestrators/task-0000/episode_00000010")
    return out


def _write_orchestrators(folder: Path) -> None:
    subtasks = [("move to", "Go to the drawer.", 0, 4), ("open drawer", "Pull it open.", 4, 8)]
    write_json(
        folder / "task_annotated.json",
        {
            "cot_task_description": "Open the drawer. First find it.",
            "cot_subtask_description_list": ["go", "pull"],
        },
    )
    for number, (skill, sentence, start, stop) in enumerate(subtasks):
        subtask = {"skill_description": skill, "cot_subtask_description": sentence}
        frames = {"start_frame": start, "end_frame": stop}
        write_json(folder / f"subtask_{number}_annotated.json", subtask | frames)
    events = [
        (0, 0, "walk", 0, 2),
        (0, 1, "stop", 2, 4),
        (1, 0, "grasp", 4, 6),
        (1, 1, "pull", 6, 8),
    ]
    for number, event, text, start, stop in events:
        value = {"subtask_answer_detailed": text, "start_frame": start, "end_frame": stop}
        write_json(folder / f"event_{number}_{event}_annotated.json", value)
