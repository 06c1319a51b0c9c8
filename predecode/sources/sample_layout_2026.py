"""What the sample of the 2026 edition consists of: episodes, tasks, keys and which file holds what.

Plain constants, no input or output. Source of the layout: the 2026 edition of the BEHAVIOR-1K
challenge demonstrations (LeRobot v3.0 with columns and files of its own).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from predecode.sources.sample_layout import CHUNKS_SIZE, TASKS, EpisodeSpec, TaskSpec

__all__ = [
    "DATA_KEY",
    "DATA_PATH_2026",
    "DEPTH_KEYS",
    "EPISODES_2026",
    "EPISODES_PATH",
    "MODALITIES_2026",
    "POSE_KEYS",
    "RGB_KEYS",
    "TASKS_2026",
    "VIDEO_PATH_2026",
    "EpisodeSpec2026",
    "SharedFile",
    "shared_files",
]

DATA_PATH_2026 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH_2026 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_SENSORS = {
    "left_wrist": "left_realsense_link_camera_0",
    "right_wrist": "right_realsense_link_camera_0",
    "head": "zed_link_camera_0",
}
RGB_KEYS = {camera: f"observation.rgb.{sensor}" for camera, sensor in _SENSORS.items()}
"""Camera -> the edition's own key of its pictures, in the order of the metadata."""
DEPTH_KEYS = {camera: f"observation.depth_linear.{sensor}" for camera, sensor in _SENSORS.items()}
MODALITIES_2026 = {"rgb": RGB_KEYS, "depth": DEPTH_KEYS}
POSE_KEYS = {camera: f"observation.robot2cam_pose.{sensor}" for camera, sensor in _SENSORS.items()}

TASKS_2026 = (
    TASKS[0],
    TaskSpec(
        task_index=49,
        task_name="make_pizza",
        # The sentence of the 2025 sample with its spelling put right, as the edition did.
        task=(
            "Take the chef's pizza dough out of the refrigerator, put the tomato sauce and the "
            "grated cheese on it, and bake it in the oven."
        ),
        objects=TASKS[1].objects,
    ),
    TaskSpec(
        task_index=50,
        task_name="freeze_fruit",
        task="Put the apple and the pear into the freezer, and close its door.",
        objects=("apple_87", "electric_refrigerator_dszchb_0", "agent_n_01_1"),
    ),
)


@dataclass(frozen=True)
class EpisodeSpec2026(EpisodeSpec):
    """One episode of the 2026 edition: a dense id, and the sparse one that holds its task."""

    raw_episode_id: int = 0
    """The id of the 2025 edition's kind, which names the annotation file."""
    demo_index: int = 0
    """Place among the task's episodes."""

    @property
    def annotation_id(self) -> int:
        """The id under which the annotation file stands."""
        return self.raw_episode_id

    @property
    def task(self) -> TaskSpec:
        """The task's row."""
        task_index = self.raw_episode_id // CHUNKS_SIZE
        return next(task for task in TASKS_2026 if task.task_index == task_index)

    @property
    def task_index(self) -> int:
        """The task, by the rule for raw ids."""
        return self.task.task_index


EPISODES_2026 = (
    EpisodeSpec2026(0, 61, raw_episode_id=50, annotation_traits=("contiguous",)),
    EpisodeSpec2026(1, 100, raw_episode_id=60, demo_index=1),
    EpisodeSpec2026(2, 43, raw_episode_id=80, demo_index=2),
    EpisodeSpec2026(3, 77, raw_episode_id=110, demo_index=3),
    EpisodeSpec2026(4, 531, raw_episode_id=490030, annotation_traits=("nonzero valid start",)),
    EpisodeSpec2026(5, 50, raw_episode_id=490050, demo_index=1),
    EpisodeSpec2026(6, 85, raw_episode_id=500010, annotation_traits=("unlabelled tail",)),
)
"""All episodes. No length is a whole number of the 8-frame GOPs, so that no later episode of a file
begins at a multiple of 8; the longest has room for two pieces."""

DATA_KEY = ""
"""In place of a video key: the tables."""

_FILES = {
    DATA_KEY: ((0, 1), (2, 3), (4, 5), (6,)),
    RGB_KEYS["head"]: ((0,), (1, 2), (3,), (4,), (5,), (6,)),
    RGB_KEYS["left_wrist"]: ((0, 1, 2), (3,), (4, 5), (6,)),
    RGB_KEYS["right_wrist"]: ((0, 1, 2, 3), (4, 5), (6,)),
    DEPTH_KEYS["head"]: ((0,), (1,), (2, 3), (4,), (5,), (6,)),
    DEPTH_KEYS["left_wrist"]: ((0, 1), (2, 3), (4,), (5,), (6,)),
    DEPTH_KEYS["right_wrist"]: ((0,), (1, 2, 3), (4, 5), (6,)),
}
"""Video key -> the episodes of each of its files; a file holds episodes of one task, and the keys
are cut at different ones."""


@dataclass(frozen=True)
class SharedFile:
    """One parquet or mp4 file and the episodes in it."""

    chunk_index: int
    """The task, as in the published set; stock LeRobot counts files."""
    file_index: int
    """Number within the task."""
    specs: tuple[EpisodeSpec2026, ...]


def shared_files(key: str) -> Iterator[SharedFile]:
    """Yields the files of a video key, or of the tables, in order."""
    counts: dict[int, int] = {}
    for numbers in _FILES[key]:
        specs = tuple(EPISODES_2026[number] for number in numbers)
        task_index = specs[0].task_index
        file_index = counts.setdefault(task_index, 0)
        counts[task_index] += 1
        yield SharedFile(task_index, file_index, specs)
