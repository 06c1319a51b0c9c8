"""Where the drop-in takes its items from, and which of upstream's arguments mean nothing here."""

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, SupportsIndex

from train_shards.b1k_state import LAYOUT_2026
from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.format import MANIFEST_PATH, MODALITIES, image_name
from train_shards.manifest import Settings, load_manifest
from train_shards.prompts import NUM_LEVELS
from train_shards.remote_storage import is_url
from train_shards.run_scope import RunScope
from train_shards.selection import Span

__all__ = [
    "Items",
    "OpenedItems",
    "checked_level",
    "checked_positions",
    "choice",
    "images_of",
    "open_items",
    "report_no_effect",
    "root_of_texts",
]

_LOG = logging.getLogger(__name__)
_ONLINE = "predecode.online.OnlineDataset"
"""Decodes now; a name only, so that a trainer from shards loads no decoder."""

NO_EFFECT: Mapping[str, Any] = {
    "tolerance_s": 1e-4, "revision": None, "force_cache_sync": False, "download_videos": True,
    "video_backend": "pyav", "batch_encoding_size": 1, "local_only": False, "check_files": True,
    "check_timestamp_sync": True, "train_rgb_type": "regular", "shuffle": True, "seed": 42,
    "skill_list": ["all"], "resample_weights": None, "resample_default_weight": 1.0,
}  # fmt: skip
"""Defaults of arguments that may be without effect: they concern decoding, downloading, upstream's
own order, or weights that another argument overrules."""


class Items(Protocol):
    """What the drop-in wants of the data set below it; ``ShardDataset`` has it."""

    @property
    def digest(self) -> str:
        """Names the samples and their order."""

    @property
    def fps(self) -> tuple[int, int] | None:
        """Numerator and denominator of the frames' rate."""

    @property
    def run_scope(self) -> RunScope | None:
        """The training run whose samples alone have items; None where all have."""

    @property
    def state_layout(self) -> str:
        """Of ``observation.state``; see ``b1k_state``."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns an item as ``ShardDataset`` does."""

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Returns those of a batch."""

    def spans(self) -> list[Span]:
        """Returns where each episode's samples stand."""


class OpenedItems(NamedTuple):
    """Items and where their metadata stand."""

    items: Items
    root: str | Path
    """The output, or the data set's root."""
    text_folder: str
    """Below ``root``: where annotations, orchestrators and subtasks stand."""


def open_items(
    shards: str | Path | None,
    root: str | Path | None,
    options: Mapping[str, Any],
    modalities: Sequence[str] | None = None,
) -> OpenedItems:
    """Opens stored items, or with ``PREDECODE_DATA=online`` those that are decoded now.

    The state of the 2026 edition comes in the places of 2025, which is what a trainer takes apart.

    Args:
        shards: the output; None for ``PREDECODE_SHARDS``, else for ``root`` if it is an output.
        root: upstream's argument; the data set to decode where ``PREDECODE_ROOT`` names none.
        options: keyword arguments of ``ShardDataset``, ``cameras`` by their names.
        modalities: of each camera; None for all that the shards hold, on line for RGB.

    Raises:
        UserError: no output or data set is named, a word of the environment is not known, or the
            data set refuses an option.
        DataError: the output is damaged.
    """
    opened = _open(shards, root, options, modalities)
    if opened.items.state_layout == LAYOUT_2026:
        return _open(shards, root, {**options, "state": "as_2025"}, modalities)
    return opened


def _open(
    shards: str | Path | None,
    root: str | Path | None,
    options: Mapping[str, Any],
    modalities: Sequence[str] | None,
) -> OpenedItems:
    if choice(None, "PREDECODE_DATA", ("shards", "online")) == "online":
        return _open_online(os.environ.get("PREDECODE_ROOT") or root, options, modalities)
    out = shards or os.environ.get("PREDECODE_SHARDS") or (root if _is_output(root) else None)
    if out is None:
        raise UserError(
            f"no output of predecode: shards= and PREDECODE_SHARDS are not set, and root {root} "
            f"holds no {MANIFEST_PATH}. Give one of the three; predecode run writes an output."
        )
    out = str(out) if is_url(out) else Path(out).expanduser()
    _LOG.info("items from shards: %s", out)
    images = images_of(load_manifest(out).settings, modalities, options.get("cameras"))
    return OpenedItems(ShardDataset(out, **{**options, "cameras": images}), out, "meta/")


def _open_online(
    root: str | Path | None, options: Mapping[str, Any], modalities: Sequence[str] | None
) -> OpenedItems:
    if root is None:
        raise UserError("PREDECODE_DATA=online: neither PREDECODE_ROOT nor root names a data set.")
    module, _, name = _ONLINE.rpartition(".")
    try:
        dataset = getattr(import_module(module), name)
    except ImportError as error:
        raise UserError(
            f"PREDECODE_DATA=online: {error}. Install predecode[run], which has the decoders."
        ) from error
    backend = os.environ.get("PREDECODE_BACKEND")
    root = Path(root).expanduser()
    _LOG.info("items decoded on line (%s): %s", backend or "default backend", root)
    wanted, cameras = list(modalities or ["rgb"]), options.get("cameras")
    if strangers := sorted(set(wanted) - set(MODALITIES)):
        raise UserError(f"modalities {strangers}: expected some of {', '.join(MODALITIES)}.")
    if cameras is not None:
        cameras = [image_name(camera, modality) for modality in wanted for camera in cameras]
    own = {**options, "cameras": cameras, "modalities": wanted}
    items: Items = dataset(root, **({"backend": backend} if backend else {}), **own)
    return OpenedItems(items, root, "")


def _is_output(root: str | Path | None) -> bool:
    if root is None or is_url(root):
        return root is not None
    return (Path(root).expanduser() / MANIFEST_PATH).is_file()


def choice(value: str | None, variable: str, known: tuple[str, ...]) -> str:
    """Returns an argument, else the environment's variable, else the first of ``known``.

    The unchanged trainer passes no argument of ours, so the environment speaks for it.

    Raises:
        UserError: a value that is not known.
    """
    word = value or os.environ.get(variable) or known[0]
    if word not in known:
        where = f"{variable}=" if value is None else ""
        raise UserError(f"{where}{word}: expected one of {', '.join(known)}.")
    return word


def images_of(
    settings: Settings, modalities: Sequence[str] | None, cameras: Sequence[str] | None
) -> list[str]:
    """Returns the stored images of some cameras and modalities; None for all of either.

    An empty list of modalities, with which upstream reads no video, counts as ``["rgb"]``.

    Raises:
        UserError: one that is not stored, with what to do.
    """
    stored: dict[str, dict[str, str]] = {}
    for image in settings.cameras:
        modality = settings.modality_of(image)
        stored.setdefault(modality, {})[image.removesuffix(MODALITIES[modality])] = image
    wanted = list(stored) if modalities is None else list(modalities) or ["rgb"]
    if strangers := [modality for modality in wanted if modality not in MODALITIES]:
        raise UserError(f"modalities {strangers}: expected some of {', '.join(MODALITIES)}.")
    if missing := [modality for modality in wanted if modality not in stored]:
        raise UserError(
            f"modalities: no {missing[0]} in the shards, which hold {', '.join(sorted(stored))}; "
            f"store it with predecode run --modalities {','.join([*sorted(stored), *missing])}."
        )
    known = sorted({camera for modality in wanted for camera in stored[modality]})
    if unknown := sorted(set(cameras or ()) - set(known)):
        raise UserError(f"cameras {unknown}: expected some of {known}.")
    chosen = known if cameras is None else cameras
    return [
        stored[modality][camera]
        for modality in wanted
        for camera in chosen
        if camera in stored[modality]
    ]


def checked_level(level: int | Sequence[int], *, compat: bool) -> int | None:
    """Returns the orchestrator level.

    The trainer's default is a tuple of one: that one, or None with ``compat``, because upstream
    finds no level then.

    Raises:
        UserError: no level.
    """
    if isinstance(level, Sequence) and len(level) == 1:
        if compat:
            return None
        level = level[0]
    if not isinstance(level, int) or not 0 <= level < NUM_LEVELS:
        raise UserError(f"fine_grained_level {level!r}: expected 0 to {NUM_LEVELS - 1}.")
    return level


def checked_positions(episodes: Sequence[int] | None) -> list[int] | None:
    """Returns the positions of episodes; None for None.

    Raises:
        UserError: a negative position.
    """
    if episodes is not None and any(position < 0 for position in episodes):
        raise UserError(
            f"episodes {list(episodes)[:10]}: expected positions of 0 or more in each task's "
            "episodes, which are not ids."
        )
    return None if episodes is None else list(episodes)


def root_of_texts(root: str | Path | None, opened: OpenedItems) -> Path:
    """Returns the folder that a subclass finds ``subtasks/`` in, as in upstream's root.

    The output's own copy where it has one; else the root that was given, and a line says so.
    """
    texts = Path(opened.root) / opened.text_folder
    is_remote = is_url(opened.root)
    if is_remote and root is None:
        _LOG.warning(
            "%s: no subclass finds subtasks/ behind a URL: give a root that has it", opened.root
        )
    if root is None or (not is_remote and (texts == Path(root) or (texts / "subtasks").is_dir())):
        return texts
    _LOG.info("%s/subtasks: not there; .root, where subclasses look for it, is %s", texts, root)
    return Path(root).expanduser()


def report_no_effect(given: Mapping[str, Any], used: set[str]) -> None:
    """Logs, once in a process, the arguments that were given in vain.

    Args:
        given: values of the arguments of ``NO_EFFECT``; upstream's defaults are passed over.
        used: those that have an effect this time.
    """
    told = [
        f"{name}={value!r}"
        for name, value in given.items()
        if name not in used and value != NO_EFFECT[name]
    ]
    if told:
        _report(", ".join(told))


@functools.cache
def _report(arguments: str) -> None:
    _LOG.info("without effect on items from shards: %s", arguments)
