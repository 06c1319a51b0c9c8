"""The manifest: what exists in an output; written last, read first.

``Settings`` is what a reader must know of how the data was made. Unknown fields are ignored within
a major version, wrong types are refused with the path of the field.
"""

import re
from pathlib import Path
from typing import Annotated

import msgspec

from train_shards.b1k_state import LAYOUT_2025
from train_shards.bounds import MAX_EDGE_PX, Count, Hex, Int64, Positive
from train_shards.codec import is_lossless
from train_shards.depth import DepthScale, check_scale
from train_shards.errors import DataError, UserError
from train_shards.format import (
    FORMAT_MAJOR,
    FORMAT_MINOR,
    IMAGE_EXTENSIONS,
    LEROBOT,
    MANIFEST_PATH,
    MODALITIES,
    check_name,
    check_relative_path,
    check_version,
    image_field,
    picture_size,
    sample_fields,
)
from train_shards.remote_storage import open_storage
from train_shards.run_scope import RunScope

__all__ = [
    "DroppedEpisode",
    "FormatVersion",
    "GenerationEntry",
    "IndexEntry",
    "LowdimEntry",
    "Manifest",
    "MissingEpisode",
    "Settings",
    "ShardEntry",
    "Totals",
    "check_settings",
    "decode_manifest",
    "encode_json",
    "load_manifest",
]


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The identity of an output: all generations share it, another value is refused.

    A field with a default came after 1.0 and is left out where it says nothing, so that older plans
    keep their digests.
    """

    source: str
    """Kind of source, such as ``b1k``."""
    name: str
    """First part of every shard's name."""
    cameras: dict[str, str]
    """Stored image (``head``, ``head_depth``, ``head_seg``) -> the source's own key, sorted."""
    size: str
    """``native`` or ``<width>x<height>`` of every stored picture, in pixels."""
    codec: str
    """Of RGB images: one of ``train_shards.codec.CODECS``."""
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] | None
    """1 to 100; None for a lossless codec."""
    subsampling: str
    """JPEG chroma subsampling: ``420``, ``422`` or ``444``."""
    stride: Positive
    """Every frame whose index is a multiple of ``stride`` is stored."""
    layout: str
    """``mixed`` or ``episode``."""
    shard_size: Positive
    """Most samples in a shard."""
    val_episodes: str
    """The held-out episodes as asked for, ``""`` for none."""
    embed_lowdim: bool
    """Whether each sample carries its state and action in the tar as well."""
    task_info: bool
    """Whether ``observation.task_info`` is kept in the low-dimensional tables."""
    seed: int
    state_layout: str = ""
    """Which numbers ``observation.state`` holds: ``b1k-2025-256``, ``b1k-2026-61``, or ``""``."""
    annotated_only: bool = False
    """Whether the frames before an episode's first label and after its last are left out."""

    modalities: dict[str, str] = {}
    """Stored image -> modality, of those that are not RGB: ``depth`` or ``seg_instance_id``."""
    depth: DepthScale | msgspec.UnsetType = msgspec.UNSET
    """What the codes of depth images mean; unset where there are none."""

    @property
    def known_state_layout(self) -> str:
        """``state_layout``; 1.0 did not record it, and knew BEHAVIOR-1K's 2025 edition only."""
        return self.state_layout or (LAYOUT_2025 if self.source == "b1k" else "")

    @property
    def has_row_tasks(self) -> bool:
        """Whether a frame's task is the one that its row names; else it is its episode's."""
        return self.source == LEROBOT

    @property
    def camera_names(self) -> tuple[str, ...]:
        """The stored cameras in their sorted order."""
        return tuple(sorted(self.cameras))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of every sample, in the order of their members."""
        return sample_fields(map(self.field_of, self.cameras), embed_lowdim=self.embed_lowdim)

    def modality_of(self, image: str) -> str:
        """Returns what a stored image shows, a key of ``MODALITIES``."""
        return self.modalities.get(image, "rgb")

    def field_of(self, image: str) -> str:
        """Returns the member of a stored image."""
        return image_field(image, self.codec) if self.is_rgb(image) else f"{image}.npz"

    def is_rgb(self, image: str) -> bool:
        """Whether a stored image is a picture, and not codes or ids."""
        return image not in self.modalities

    def is_lossless(self, image: str) -> bool:
        """Whether reading gives a stored image's values back exactly; codes and ids always."""
        return not self.is_rgb(image) or is_lossless(self.codec, self.quality)

    def item_key(self, image: str) -> str:
        """Returns the key of a stored image in an item.

        Source: that of BEHAVIOR-1K's 2025 edition, whose trainers both editions serve; items of
        LeRobot's own data sets have the source's keys.
        """
        if self.source == LEROBOT:
            return self.cameras[image]
        modality = self.modality_of(image)
        return f"observation.images.{modality}.{image.removesuffix(MODALITIES[modality])}"

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """``(h, w)`` of every stored picture in pixels; None for native sizes."""
        return picture_size(self.size)


class FormatVersion(msgspec.Struct, frozen=True):
    """Version of the on-disk format."""

    major: Count = FORMAT_MAJOR
    minor: Count = FORMAT_MINOR


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One published tar; its name and split give its path."""

    path: str
    split: str
    num_samples: Count
    num_bytes: Count
    sha256: Hex
    md5: Hex
    """For wids, which checks by it."""
    ledger: str
    ledger_sha256: Hex

    @property
    def name(self) -> str:
        """The shard's base name without ``.tar``."""
        return self.path.rsplit("/", 1)[-1].removesuffix(".tar")


class LowdimEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One published table file; a record batch an episode."""

    path: str
    num_bytes: Count
    sha256: Hex
    episodes: list[Count]
    """``episode_index`` of each record batch."""


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One generation's index of one split."""

    path: str
    num_bytes: Count
    header_xxh3: Hex
    num_samples: Count
    num_live: Count


class GenerationEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What one plan added to the output; never changed afterwards."""

    generation: Count
    plan: str
    plan_digest: str
    probe: str
    """Hash of the probe picture after colour conversion, resize and encoding."""
    environment: dict[str, str]
    """Versions of the libraries that made the bytes."""
    backend: str | msgspec.UnsetType = msgspec.UNSET
    """The decoder that made the pictures; not in the file where it is PyAV."""
    shards: list[ShardEntry]
    lowdim: list[LowdimEntry]
    indexes: dict[str, IndexEntry]


class MissingEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that was asked for and is not there; the reason stands in ``quarantine.jsonl``."""

    episode_index: Count
    task_index: Int64
    ranges: list[tuple[Count, Count]]
    """Missing frames, ``[start, stop)``; empty where not even the length is known."""


class DroppedEpisode(msgspec.Struct, frozen=True, order=True):
    """An episode that the operator has taken out: never served, never decoded again."""

    episode_index: Count
    task_index: Int64
    """Keeps its place among its task's episodes, so that those of the others stay as they are."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all generations; samples and episodes count live ones only."""

    num_samples: Count
    num_images: Count
    num_episodes: Count
    num_shards: Count
    num_shard_bytes: Count
    num_lowdim_bytes: Count
    num_quarantined: Count


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What exists in an output. A field with a default came after 1.0, as in ``Settings``."""

    format: FormatVersion
    written_by: str
    settings: Settings
    complete: bool
    """False while an episode that was asked for is missing."""
    totals: Totals
    fps: tuple[Positive, Positive] | None
    """Numerator and denominator of the frames' rate; None where every video has its own times."""
    tasks: dict[Int64, str]
    """``task_index`` -> sentence."""
    task_names: dict[str, Int64]
    """Short name -> ``task_index``, where the source has such names."""
    generations: list[GenerationEntry]
    """In the order of positions: one that replaces another stands in its place."""
    missing: list[MissingEpisode]
    dropped: list[DroppedEpisode] = []
    """Sorted; no shard need hold them any more."""
    run_scope: RunScope | msgspec.UnsetType = msgspec.UNSET
    """The training run whose samples are the only ones of ``train`` that are stored; else unset."""


class _Versioned(msgspec.Struct):
    format: FormatVersion


def encode_json(value: object) -> bytes:
    """Returns the one JSON text of a structure: sorted, indented, with a final newline."""
    plain = msgspec.to_builtins(value, str_keys=True)  # sorting wants text keys
    return msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=1) + b"\n"


def decode_manifest(data: bytes, *, where: str) -> Manifest:
    """Returns the manifest in ``data``.

    Raises:
        DataError: not JSON, a field missing or of the wrong type, a number that nothing has, a
            higher major version, a name that is not allowed, a path that leaves the output, or a
            file without digest.
    """
    try:
        # The version first: a later major may have changed every other field.
        check_version(msgspec.json.decode(data, type=_Versioned).format.major, where=where)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not a manifest of predecode: {error}") from error
    check_settings(manifest.settings, where=where)
    for generation in manifest.generations:
        if "" in _digests(generation):
            raise DataError(
                f"{where}: generation {generation.generation} has a file without digest"
            )
        paths = [generation.plan]
        paths += [path for shard in generation.shards for path in (shard.path, shard.ledger)]
        paths += [table.path for table in generation.lowdim]
        paths += [index.path for index in generation.indexes.values()]
        for path in paths:
            check_relative_path(path, what=f"{where}: path")
    return manifest


def _digests(generation: GenerationEntry) -> list[str]:
    """What names the content of each file."""
    return [
        *(shard.sha256 for shard in generation.shards),
        *(table.sha256 for table in generation.lowdim),
        *(index.header_xxh3 for index in generation.indexes.values()),
    ]


def check_settings(settings: Settings, *, where: str) -> None:
    """Passes when settings that were read from a file can be those of an output.

    Raises:
        DataError: an unknown codec, a size that is none or beyond ``MAX_EDGE_PX``, a name that is
            no file name, or an image that cannot be understood.
    """
    if settings.codec not in IMAGE_EXTENSIONS:
        raise DataError(
            f"{where}: codec {settings.codec!r}: expected one of {list(IMAGE_EXTENSIONS)}"
        )
    if settings.size != "native" and not _is_size(settings.size):
        raise DataError(
            f"{where}: size {settings.size!r}: expected 'native' or <width>x<height>, each 1 to "
            f"{MAX_EDGE_PX}"
        )
    check_name(settings.name, what=f"{where}: name")
    for camera in settings.cameras:
        check_name(camera, what=f"{where}: camera")
    _check_modalities(settings, where)


def _is_size(size: str) -> bool:
    if re.fullmatch("[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", size) is None:
        return False
    return all(int(edge) <= MAX_EDGE_PX for edge in size.split("x"))


def _check_modalities(settings: Settings, where: str) -> None:
    """Passes when every image that is not RGB is stored, and can be understood."""
    for image, modality in settings.modalities.items():
        suffix = MODALITIES.get(modality)
        if image not in settings.cameras or not suffix or not image.endswith(suffix):
            raise DataError(
                f"{where}: image {image!r} of modality {modality!r}: expected one of "
                f"{list(settings.cameras)}, ending as one of {list(MODALITIES.values())[1:]}"
            )
    if ("depth" in settings.modalities.values()) != (settings.depth is not msgspec.UNSET):
        raise DataError(f"{where}: depth images and what their codes mean: expected both or none")
    if settings.depth is not msgspec.UNSET:
        check_scale(settings.depth, where=where)


def load_manifest(out: str | Path) -> Manifest:
    """Returns the manifest of the output ``out``, a folder or a URL.

    Raises:
        UserError: there is no manifest: not an output, or a run that has not finished.
        DataError: as ``decode_manifest``.
        StorageError: a remote storage does not answer as it should.
    """
    try:
        data = open_storage(out).read_file(MANIFEST_PATH)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{out}: no {MANIFEST_PATH}: not an output of predecode, or its run has not finished. "
            "The same 'predecode run' command again finishes an interrupted run."
        ) from None
    return decode_manifest(data, where=f"{out}/{MANIFEST_PATH}")
