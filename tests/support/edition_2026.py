"""What tests of the 2026 edition's sample know of it: cameras, keys, lengths, identities."""

from typing import Any

from predecode.sources.barcode import Identity, read
from train_shards.dataset import IMAGE_KEY

__all__ = [
    "CAMERAS", "EPISODES", "HEAD", "LEFT", "LENGTHS", "RIGHT", "SENTENCES",
    "identities", "is_itself",
]  # fmt: skip

CAMERAS = ("head", "left_wrist", "right_wrist")
HEAD = "observation.rgb.zed_link_camera_0"
LEFT = "observation.rgb.left_realsense_link_camera_0"
RIGHT = "observation.rgb.right_realsense_link_camera_0"
LENGTHS = {0: 61, 1: 100, 2: 43, 3: 77, 4: 531, 5: 50, 6: 85}
SENTENCES = {
    0: "Turn on the radio receiver that's on the table in the living room.",
    49: "Take the chef's pizza dough out of the refrigerator, put the tomato sauce and the grated "
    "cheese on it, and bake it in the oven.",
    50: "Put the apple and the pear into the freezer, and close its door.",
}
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def identities(item: dict[str, Any]) -> set[Identity]:
    return {read(item[IMAGE_KEY + camera]) for camera in CAMERAS}


def is_itself(item: dict[str, Any]) -> bool:
    """Whether every picture of an item is of its own episode, frame and camera."""
    identity = int(item["episode_index"]), int(item["frame_index"])
    return identities(item) == {Identity(*identity, camera) for camera in CAMERAS}
