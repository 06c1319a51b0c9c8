"""Drop-ins for ``LeRobotDataset`` and ``LeRobotDatasetMetadata``, read from shards.

For trainers that reach LeRobot's classes by name, such as the original openpi. The output's folder
comes from the environment, because the trainer knows only a ``repo_id``.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.manifest import load_manifest
from train_shards.run_scope import RunScope
from train_shards.sampling import Order

__all__ = ["LeRobotDataset", "LeRobotDatasetMetadata"]

_ONLINE_ONLY = {
    "batch_encoding_size", "download_videos", "force_cache_sync", "revision", "tolerance_s",
    "video_backend",
}  # fmt: skip
"""Options of LeRobot that say how to fetch and decode; nothing is left of that here."""


class LeRobotDatasetMetadata:
    """What a trainer asks of a data set before it opens it."""

    def __init__(self, repo_id: str, root: str | Path | None = None, **options: Any) -> None:
        """Reads the manifest of ``PREDECODE_SHARDS``; ``root`` is not looked at.

        Raises:
            UserError: no such output; ``PREDECODE_DATA`` asks for on-line decoding; an option that
                shards cannot follow; videos without a common frame rate.
        """
        _check_options(options)
        out = _out()
        manifest = load_manifest(out)
        if manifest.fps is None:
            raise UserError(f"{out}: no common frame rate, which LeRobot's fps must be.")
        numerator, denominator = manifest.fps
        self.repo_id, self.root = repo_id, Path(root if root is not None else out)
        self.fps: int | float = numerator if denominator == 1 else numerator / denominator
        self.tasks: dict[int, str] = manifest.tasks
        """``task_index`` -> sentence."""
        self.camera_keys = [manifest.settings.cameras[c] for c in manifest.settings.camera_names]
        self.total_frames = manifest.totals.num_samples
        self.total_episodes = manifest.totals.num_episodes


class LeRobotDataset:
    """The ``train`` split of an output, under the source's own names.

    An item is that of ``ShardDataset``, with each picture, ``(h, w, 3)`` uint8 RGB, under the
    camera's key in the source.
    """

    sampling_order: Order | None = None
    """No weights: any order will do."""

    def __init__(
        self,
        repo_id: str,
        root: str | Path | None = None,
        *,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        **options: Any,
    ) -> None:
        """Opens ``PREDECODE_SHARDS``.

        Args:
            repo_id: for the record only.
            root: for the record only.
            delta_timestamps: key of the source -> seconds from the item's frame.
            options: LeRobot's own about fetching and decoding, which have no meaning here.

        Raises:
            UserError: as ``LeRobotDatasetMetadata``, or a window of an unknown key.
        """
        self.meta = LeRobotDatasetMetadata(repo_id, root, **options)
        self.repo_id, self.root, self.fps = repo_id, self.meta.root, self.meta.fps
        out = _out()
        settings = load_manifest(out).settings
        stored = {key: settings.item_key(image) for image, key in settings.cameras.items()}
        self._samples = ShardDataset(
            out,
            delta_timestamps={stored.get(k, k): v for k, v in (delta_timestamps or {}).items()},
        )
        names = {key: source_key for source_key, key in stored.items()}
        self._names = names | {f"{key}_is_pad": f"{name}_is_pad" for key, name in names.items()}

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._samples)

    @property
    def digest(self) -> str:
        """Names the samples and their order."""
        return self._samples.digest

    @property
    def run_scope(self) -> RunScope | None:
        """The training run whose samples alone are stored; None where all are."""
        return self._samples.run_scope

    def __getitem__(self, position: SupportsIndex) -> dict[str, Any]:
        """Returns the item at ``position``, which may tell the rest of its batch."""
        return self._renamed(self._samples[position])

    def __getitems__(self, positions: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns a batch of items."""
        return [self._renamed(item) for item in self._samples.__getitems__(positions)]

    def _renamed(self, item: dict[str, Any]) -> dict[str, Any]:
        return {self._names.get(key, key): value for key, value in item.items()}


def _check_options(options: Mapping[str, Any]) -> None:
    strangers = [key for key, value in options.items() if value is not None]
    strangers = sorted(set(strangers) - _ONLINE_ONLY)
    if strangers:
        raise UserError(
            f"LeRobotDataset({strangers[0]}=…): cannot be followed by shards; expected "
            f"delta_timestamps, root, {', '.join(sorted(_ONLINE_ONLY))}."
        )


def _out() -> str:
    if os.environ.get("PREDECODE_DATA", "shards") != "shards":
        raise UserError(
            f"LeRobotDataset, data={os.environ['PREDECODE_DATA']}: served from shards only. Use "
            "data=shards, or data=upstream for LeRobot itself."
        )
    try:
        return os.environ["PREDECODE_SHARDS"]
    except KeyError:
        raise UserError("environment: no PREDECODE_SHARDS; expected an output's folder.") from None
