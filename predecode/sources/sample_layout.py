"""What the sample data set consists of: episodes, tasks, cameras, sizes and paths.

Plain constants, no input or output. Source of the layout: the 2025 edition of the BEHAVIOR-1K
challenge demonstrations (``meta/info.json``, LeRobot v2.1 with paths of its own).
"""

from dataclasses import dataclass

__all__ = [
    "ANNOTATION_PATH",
    "CHUNKS_SIZE",
    "DATA_PATH",
    "DECLARED_CAMERAS",
    "EPISODES",
    "FPS",
    "FULL_SIZE_PX",
    "METAINFO_PATH",
    "MODALITIES",
    "SENSORS",
    "SMALL_SIZE_PX",
    "TASKS",
    "VIDEO_PATH",
    "EpisodeSpec",
    "TaskSpec",
    "episode_path",
    "video_key",
]

FPS = 30
CHUNKS_SIZE = 10000
"""Ids per task; ``episode_index // CHUNKS_SIZE`` is the task."""

DATA_PATH = "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet"
VIDEO_PATH = "videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4"
METAINFO_PATH = "meta/episodes/task-{episode_chunk:04d}/episode_{episode_index:08d}.json"
ANNOTATION_PATH = "annotations/task-{episode_chunk:04d}/episode_{episode_index:08d}.json"

MODALITIES = ("rgb", "depth", "seg_instance_id")
DECLARED_CAMERAS = ("left_wrist", "right_wrist", "head")
"""Cameras in the order in which the published metadata declare them."""
SENSORS = {
    "left_wrist": "robot_r1::robot_r1:left_realsense_link:Camera:0",
    "right_wrist": "robot_r1::robot_r1:right_realsense_link:Camera:0",
    "head": "robot_r1::robot_r1:zed_link:Camera:0",
}
"""Camera -> the simulator's own name of its sensor; stands in the per-episode JSON."""

FULL_SIZE_PX = {"left_wrist": 480, "right_wrist": 480, "head": 720}
"""Side of the square pictures, as published."""
SMALL_SIZE_PX = {"left_wrist": 160, "right_wrist": 160, "head": 240}
"""A third of the published sides."""


@dataclass(frozen=True)
class TaskSpec:
    """One row of ``tasks.jsonl`` and what depends on the task."""

    task_index: int
    task_name: str
    task: str
    objects: tuple[str, ...]
    """Instances that the task is about; each adds seven numbers to ``observation.task_info``."""


TASKS = (
    TaskSpec(
        task_index=0,
        task_name="turning_on_radio",
        task="Turn on the radio receiver that's on the table in the living room.",
        objects=("radio_89", "coffee_table_koagbh_0", "agent_n_01_1"),
    ),
    TaskSpec(
        task_index=49,
        task_name="make_pizza",
        # The misspelt word is meant: published sentences of this edition hold such words too.
        task=(
            "Take the chef's pizza dough out of the refrigirator, put the tomato sauce and the "
            "grated cheese on it, and bake it in the oven."
        ),
        objects=(
            "pizza_dough_201",
            "oven_wuinhm_0",
            "electric_refrigerator_dszchb_0",
            "grated_cheese_sack_204",
            "agent_n_01_1",
        ),
    ),
)


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode of the sample and what is special about it."""

    episode_index: int
    length: int
    """Number of frames."""
    head_cut_frame: int | None = None
    """Frame at which the head camera's RGB picture changes at once, which moves its keyframes."""
    has_double_state: bool = False
    """Whether ``observation.state`` is ``list<double>`` rather than ``list<float>``."""
    is_rft: bool = False
    """Whether it is written as rollouts are: x264, RGB only, no camera poses, no task info."""
    annotation_traits: tuple[str, ...] = ()
    """What its annotation file shows, faults included; empty where there is no such file."""
    has_orchestrators: bool = False
    has_subtasks: bool = False

    @property
    def annotation_id(self) -> int:
        """The id under which the annotation file stands."""
        return self.episode_index

    @property
    def task_index(self) -> int:
        """The task, by the data set's rule for ids."""
        return self.episode_index // CHUNKS_SIZE

    @property
    def task(self) -> TaskSpec:
        """The task's row."""
        return next(task for task in TASKS if task.task_index == self.task_index)


EPISODES = (
    EpisodeSpec(
        10,
        120,
        annotation_traits=("contiguous", "unlabelled tail"),
        has_orchestrators=True,
    ),
    EpisodeSpec(
        20,
        250,
        annotation_traits=("gap", "overlap", "empty primitive list"),
    ),
    EpisodeSpec(
        40,
        751,
        head_cut_frame=120,
        annotation_traits=("split range", "None description"),
    ),
    EpisodeSpec(
        490010,
        501,
        annotation_traits=("negative length", "end > task_duration"),
        has_subtasks=True,
    ),
    EpisodeSpec(
        490020,
        1003,
        has_double_state=True,
        annotation_traits=("nonzero valid start", "unlabelled tail"),
    ),
    EpisodeSpec(490040, 90, is_rft=True),
)
"""All episodes of the sample, by id. Ids are sparse (30 and 490030 do not exist); the lengths lie
under, at and just above whole numbers of 250-frame GOPs."""


def video_key(modality: str, camera: str) -> str:
    """Returns the data set's key of one video stream.

    >>> video_key("rgb", "head")
    'observation.images.rgb.head'
    """
    return f"observation.images.{modality}.{camera}"


def episode_path(template: str, episode_index: int, key: str = "") -> str:
    """Returns a path relative to the root; ``key`` is needed for ``VIDEO_PATH`` only.

    >>> episode_path(DATA_PATH, 490010)
    'data/task-0049/episode_00490010.parquet'
    """
    return template.format(
        episode_chunk=episode_index // CHUNKS_SIZE, episode_index=episode_index, video_key=key
    )
