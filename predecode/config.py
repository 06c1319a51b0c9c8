"""Settings of a run from the words on the command line."""

import re
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import msgspec

from predecode.selection import held_out, nearest
from predecode.sources.episode import Source, annotated_source
from train_shards.bounds import MAX_EDGE_PX
from train_shards.codec import CODECS
from train_shards.errors import DataError, UserError
from train_shards.format import MODALITIES, check_name
from train_shards.manifest import Settings

__all__ = [
    "DEFAULT_JPEG_QUALITY",
    "DEFAULT_SHARD_SIZE",
    "PIECE_FRAMES",
    "check_asked",
    "check_folder",
    "make_settings",
    "one_of",
    "parse_bytes",
    "parse_size",
    "settings_difference",
]

PIECE_FRAMES = 256
"""Fewest source frames of a piece, unless its episode is shorter."""
DEFAULT_SHARD_SIZE = 8192
DEFAULT_JPEG_QUALITY = 95
_OPTIONS = {"source": "src", "state_layout": "src, layout of the state"}


def make_settings(
    source: Source,
    *,
    cameras: str | None = None,
    modalities: str = "rgb",
    size: str = "224",
    codec: str = "jpeg",
    quality: int | None = None,
    stride: int = 1,
    layout: str = "mixed",
    shard_size: int = DEFAULT_SHARD_SIZE,
    val_episodes: str = "",
    embed_lowdim: bool = False,
    task_info: bool = False,
    seed: int = 0,
    name: str | None = None,
    annotated_only: bool = False,
) -> Settings:
    """Returns checked settings; the defaults are those of the command line.

    Raises:
        UserError: a value that is not allowed; the message names the option and what is expected.
    """
    one_of("--codec", codec, CODECS)
    one_of("--layout", layout, ("mixed", "episode"))
    if stride < 1:
        raise UserError(f"--stride {stride}: expected 1 or more.")
    if shard_size < PIECE_FRAMES:
        raise UserError(
            f"--shard-size {shard_size}: fewer samples than one piece ({PIECE_FRAMES}). "
            f"Use {PIECE_FRAMES} or more (default {DEFAULT_SHARD_SIZE})."
        )
    if embed_lowdim and any(episode.table is None for episode in source.episodes):
        raise UserError(
            f"--embed-lowdim: --src {source.kind} has no state and action to embed. Leave it out."
        )
    stored, others = _chosen_images(source, cameras, modalities)
    if annotated_only:
        annotated_source(source)
    try:
        check_name(name or source.kind, what="--name")
        for camera in stored:
            check_name(camera, what=f"--src {source.kind}: camera")
    except DataError as error:
        raise UserError(f"{error}.") from error
    held_out(source.episodes, val_episodes, seed)  # refuses a text that cannot be understood
    return Settings(
        source=source.kind,
        name=name or source.kind,
        cameras=stored,
        size=parse_size(size),
        codec=codec,
        quality=_check_quality(codec, quality),
        subsampling="420",
        stride=stride,
        layout=layout,
        shard_size=shard_size,
        val_episodes=val_episodes,
        embed_lowdim=embed_lowdim,
        task_info=task_info,
        seed=seed,
        state_layout=source.state_layout,
        modalities=others,
        depth=source.depth if "depth" in others.values() and source.depth else msgspec.UNSET,
        annotated_only=annotated_only,
    )


def settings_difference(stored: Settings, asked: Settings) -> list[str]:
    """Returns one line for each setting that differs, with both values."""
    stored, asked = (
        msgspec.structs.replace(settings, state_layout=settings.known_state_layout)
        for settings in (stored, asked)
    )
    return [
        f"--{_OPTIONS.get(field, field.replace('_', '-'))}: "
        f"the output has {getattr(stored, field)!r}, asked for {getattr(asked, field)!r}"
        for field in Settings.__struct_fields__
        if getattr(stored, field) != getattr(asked, field)
    ]


def one_of(option: str, value: str, allowed: Collection[str]) -> None:
    """Passes when a word is one of some.

    Raises:
        UserError: it is none; the message names the nearest.
    """
    if value not in allowed:
        hint = nearest(value, allowed)
        raise UserError(f"{option} {value}: expected one of {', '.join(allowed)}.{hint}")


def _chosen_images(
    source: Source, cameras: str | None, modalities: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The images asked for: each one's key, sorted by image; modality of those that are not RGB."""
    has = {"rgb": source.cameras, **source.modalities}
    wanted = list(dict.fromkeys(word.strip() for word in modalities.split(",")))
    for modality in wanted:
        one_of("--modalities", modality, MODALITIES)
        if not has.get(modality):
            raise UserError(
                f"--modalities {modality}: --src {source.kind} at {source.root} has "
                f"{', '.join(name for name, images in has.items() if images)}."
            )
    modality_of = {image_name: m for m in wanted for image_name in has[m]}
    camera_of = {i: i.removesuffix(MODALITIES[m]) for i, m in modality_of.items()}
    known = sorted(set(camera_of.values()))
    asked = known if cameras is None else [word.strip() for word in cameras.split(",")]
    own_name = {key: camera for camera, key in source.cameras.items()}
    asked = [own_name.get(word, word) for word in asked]
    for camera in asked:
        if camera in source.left_out:
            raise UserError(f"--cameras {camera}: {source.left_out[camera]}.")
        one_of("--cameras", camera, known)
    images = sorted(image for image, camera in camera_of.items() if camera in asked)
    return (
        {image: has[modality_of[image]][image] for image in images},
        {image: modality_of[image] for image in images if modality_of[image] != "rgb"},
    )


def parse_size(text: str) -> str:
    """Returns ``native`` or ``<width>x<height>``.

    Raises:
        UserError: not ``native``, a number, or ``WxH``, each 1 to 8192.
    """
    if text == "native":
        return text
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None:
        raise UserError(f"--size {text}: expected 'native', one number (224) or WxH (320x240).")
    width, height = int(match[1]), int(match[2] or match[1])
    if not (1 <= width <= MAX_EDGE_PX and 1 <= height <= MAX_EDGE_PX):
        raise UserError(f"--size {text}: expected 1 to {MAX_EDGE_PX} pixels each way.")
    return f"{width}x{height}"


def parse_bytes(option: str, text: str) -> int:
    """Returns a number of bytes.

    Raises:
        UserError: not a positive number with a unit, of 1000 (``2TB``) or of 1024 (``1.5TiB``).

    >>> parse_bytes("--budget", "1.5 TiB"), parse_bytes("--budget", "2tb")
    (1649267441664, 2000000000000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgtp])(i?))?b", text.strip().lower())
    num_bytes = 0
    if match is not None:
        power = 1 + "kmgtp".index(match[2]) if match[2] else 0
        num_bytes = int(Fraction(match[1]) * (1024 if match[3] else 1000) ** power)
    if num_bytes < 1:
        raise UserError(f"{option} {text}: expected bytes with a unit, such as 2TB or 500GiB.")
    return num_bytes


def _check_quality(codec: str, quality: int | None) -> int | None:
    if codec in {"png", "raw"}:
        if quality is not None:
            raise UserError(
                f"--quality {quality}: --codec {codec} is lossless and takes none. Leave it out."
            )
        return None
    if quality is None:
        return DEFAULT_JPEG_QUALITY if codec == "jpeg" else None
    if not 1 <= quality <= 100:
        raise UserError(f"--quality {quality}: expected 1 to 100.")
    return quality


def check_folder(option: str, path: Path) -> None:
    """Passes when a folder stands at ``path``, or can be made as far as other files let it.

    Raises:
        UserError: it, or a folder above it, is a file.
    """
    file = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
    if file is not None:
        raise UserError(f"{option} {path}: {file} is a file, expected a folder. Name another.")


def check_asked(
    given: Collection[str], min_psnr_db: float | None, *, fast: bool, source_only: bool
) -> None:
    """Passes when what ``verify`` is asked for can all be done.

    Args:
        given: names of the options that only a verification by decoding follows.
        min_psnr_db: where it is given.
        fast: whether bytes alone are looked at.
        source_only: whether the source alone is.

    Raises:
        UserError: an option leaves another without effect, or a PSNR that nothing can be below.
    """
    modes = [name for name, value in (("--fast", fast), ("--source", source_only)) if value]
    if len(modes) == 2:
        raise UserError("verify: --fast and --source exclude each other. Leave one out.")
    if modes and given:
        raise UserError(f"verify {modes[0]}: decodes nothing. Leave {', '.join(given)} out.")
    if {"--all", "--sample"} <= {*given}:
        raise UserError("verify --all: looks at every sample. Leave --sample out.")
    if min_psnr_db is not None and not 0 <= min_psnr_db < float("inf"):
        raise UserError(f"--min-psnr {min_psnr_db}: expected dB from 0 on (default 25).")
