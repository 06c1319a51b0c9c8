"""Names, keys and versions of the on-disk format; ``docs/format.md`` is its normative text.

Owns every file name and every text pattern. Writer's and reader's halves stand side by side.
Imports nothing of the project but errors.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from train_shards.errors import DataError

__all__ = [
    "DROPPED_PATH",
    "FORMAT_MAJOR",
    "FORMAT_MINOR",
    "IMAGE_EXTENSIONS",
    "JSON_FIELD",
    "LEROBOT",
    "MANIFEST_PATH",
    "MAX_EPISODE_INDEX",
    "MODALITIES",
    "RUN_MAJOR",
    "SPLITS",
    "check_name",
    "check_relative_path",
    "check_version",
    "format_key",
    "image_field",
    "image_name",
    "index_path",
    "ledger_path",
    "lowdim_path",
    "parse_key",
    "picture_size",
    "plan_path",
    "receipt_path",
    "sample_fields",
    "shard_name",
    "shard_path",
]

FORMAT_MAJOR = 1
"""Of an output that holds every selected frame."""
RUN_MAJOR = 2
"""Of an output that holds one run's samples alone: whoever takes its rows for consecutive frames
must refuse it. A reader refuses a higher one."""
FORMAT_MINOR = 2
"""A reader ignores what it does not know within a major version. 1.1 tells the state's layout, 1.2
knows depth and segmentation."""

SPLITS = ("train", "val")
LEROBOT = "lerobot"
"""Source whose rows name their own task, and whose images have the source's own keys in items."""
JSON_FIELD = "json"
IMAGE_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "raw": "npy"}
"""Codec -> last extension of a member. Source: webdataset decodes by the last extension; these
four are safe in webdataset, wids, Energon and datasets."""
MODALITIES = {"rgb": "", "depth": "_depth", "seg_instance_id": "_seg"}
"""What an image shows -> what its name has after the camera's. Source: BEHAVIOR-1K's own words."""

MANIFEST_PATH = ".predecode/manifest.json"
DROPPED_PATH = ".predecode/dropped.json"

MAX_EPISODE_INDEX = 10**18 - 1
"""The largest that a key can name."""

_KEY = re.compile(r"ep(\d{8,18})_f(\d{6,18})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def format_key(episode_index: int, frame_index: int) -> str:
    """Returns the text id of a sample; text order is numeric order below 10^8 and 10^6.

    >>> format_key(10041, 310)
    'ep00010041_f000310'
    """
    return f"ep{episode_index:08d}_f{frame_index:06d}"


def parse_key(key: str) -> tuple[int, int]:
    """Returns ``(episode_index, frame_index)`` of a key.

    Raises:
        DataError: the text is not what ``format_key`` writes.

    >>> parse_key('ep00010041_f000310')
    (10041, 310)
    """
    match = _KEY.fullmatch(key)
    if match is None or format_key(int(match[1]), int(match[2])) != key:
        raise DataError(f"key {key!r}: expected the form 'ep00010041_f000310'")
    return int(match[1]), int(match[2])


def image_field(camera: str, codec: str) -> str:
    """Returns the member's part after the key, ``<camera>.<extension>``.

    >>> image_field("left_wrist", "jpeg")
    'left_wrist.jpg'
    """
    return f"{camera}.{IMAGE_EXTENSIONS[codec]}"


def image_name(camera: str, modality: str) -> str:
    """Returns the name of one camera's image of one modality.

    >>> image_name("head", "rgb"), image_name("head", "depth")
    ('head', 'head_depth')
    """
    return camera + MODALITIES[modality]


def picture_size(size: str) -> tuple[int, int] | None:
    """Returns ``(h, w)`` in pixels of a size ``<width>x<height>``; None for ``native``.

    >>> picture_size("320x240")
    (240, 320)
    """
    if size == "native":
        return None
    width, height = size.split("x")
    return int(height), int(width)


def sample_fields(image_fields: Iterable[str], *, embed_lowdim: bool) -> tuple[str, ...]:
    """Returns the fields of every sample, in the order of their members in a shard.

    >>> sample_fields(["head.jpg", "left_wrist.jpg"], embed_lowdim=False)
    ('head.jpg', 'json', 'left_wrist.jpg')
    """
    fields = [*image_fields, JSON_FIELD]
    if embed_lowdim:
        fields += ["action.npy", "state.npy"]
    return tuple(sorted(fields))


def shard_name(name: str, split: str, shard_index: int) -> str:
    """Returns a shard's base name, unique over the data set.

    >>> shard_name("b1k", "train", 17)
    'b1k-train-000017'
    """
    return f"{name}-{split}-{shard_index:06d}"


def shard_path(name: str, split: str, shard_index: int) -> str:
    """Returns a shard's path relative to the output."""
    return f"data/{split}/{shard_name(name, split, shard_index)}.tar"


def ledger_path(shard: str) -> str:
    """Returns the path of a shard's ledger relative to the output; ``shard`` is its base name."""
    return f".predecode/ledger/{shard}.npy"


def receipt_path(task_name: str) -> str:
    """Returns the path of a task's receipt relative to the output."""
    return f".predecode/receipts/{task_name}.json"


def lowdim_path(name: str, table_index: int) -> str:
    """Returns the path of a low-dimensional table relative to the output."""
    return f"lowdim/{name}-lowdim-{table_index:06d}.arrow"


def index_path(split: str, generation: int, num_dropped: int = 0) -> str:
    """Returns the path of one generation's index of one split relative to the output.

    An index that masks more dropped episodes is another file: one that is read is never replaced.

    >>> index_path("val", 2), index_path("train", 0, 3)
    ('.predecode/index/val-000002.idx', '.predecode/index/train-000000-d3.idx')
    """
    masked = f"-d{num_dropped}" if num_dropped else ""
    return f".predecode/index/{split}-{generation:06d}{masked}.idx"


def plan_path(generation: int) -> str:
    """Returns the path of one generation's plan relative to the output."""
    return f".predecode/plan-{generation:06d}.json"


def check_name(name: str, *, what: str) -> str:
    """Returns ``name`` when it may stand in file and member names.

    Source: webdataset lowercases fields and ends the key at the first dot, so both are excluded.

    Raises:
        DataError: other characters than a-z, 0-9, ``_`` and ``-``, or more than 40 of them.
    """
    if _NAME.fullmatch(name) is None:
        raise DataError(
            f"{what} {name!r}: expected 1 to 40 of a-z, 0-9, '_', '-', the first a letter or digit"
        )
    return name


def check_relative_path(path: str, *, what: str) -> str:
    """Returns ``path`` when it stays inside its root.

    Raises:
        DataError: absolute, empty, with a backslash, a NUL or half a surrogate pair, or with a
            ``..`` part.
    """
    parts = PurePosixPath(path).parts
    has_foreign = any(c in "\\\0" or "\ud800" <= c <= "\udfff" for c in path)
    if not parts or path.startswith("/") or ".." in parts or has_foreign:
        raise DataError(f"{what} {path!r}: expected a relative path without '..'")
    return path


def check_version(major: int, *, where: str) -> None:
    """Passes when this code can read format ``major``.

    Raises:
        DataError: the file was written in a higher major format version.
    """
    if major > RUN_MAJOR:
        raise DataError(
            f"{where}: format version {major}, this reader knows up to {RUN_MAJOR}. "
            "Install a newer release of predecode."
        )
