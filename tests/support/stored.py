"""Tiny outputs written through the format's writing halves, without a video."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from predecode.shard_writer import ShardWriter
from train_shards.codec import encode_image
from train_shards.format import (
    MANIFEST_PATH,
    format_key,
    index_path,
    ledger_path,
    lowdim_path,
    plan_path,
    shard_name,
    shard_path,
)
from train_shards.index import EPISODE_DTYPE, LIVE, write_index
from train_shards.ledger import encode_ledger, ledger_dtype
from train_shards.lowdim import write_lowdim
from train_shards.manifest import (
    FormatVersion,
    GenerationEntry,
    IndexEntry,
    LowdimEntry,
    Manifest,
    Settings,
    ShardEntry,
    Totals,
    encode_json,
)

__all__ = [
    "CAMERAS",
    "HEIGHT_PX",
    "TASKS",
    "WIDTH_PX",
    "Shards",
    "StoredEpisode",
    "painted",
    "settings_of",
    "state_of",
    "tiny_output",
    "write_generation",
    "write_manifest",
    "write_table",
]

CAMERAS = {"head": "rgb.head", "left_wrist": "rgb.left"}
WIDTH_PX, HEIGHT_PX = 24, 16
TASKS = {0: "open the drawer", 7: "close the drawer"}

Shards = Sequence[Sequence[tuple[int, int]]]
"""For each shard its samples ``(episode_index, frame_index)`` in the order in which they lie."""


@dataclass(frozen=True)
class StoredEpisode:
    """One episode of a tiny output; every frame of its ``frames`` is stored, or of all."""

    episode_index: int
    num_frames: int
    task_index: int = 0
    is_live: bool = True
    frames: tuple[int, int] | None = None

    def stored(self, stride: int) -> list[int]:
        start, stop = self.frames or (0, self.num_frames)
        return [frame for frame in range(start, stop) if frame % stride == 0]


def settings_of(**changes: Any) -> Settings:
    """Settings of a tiny output: lossless, two cameras, every frame."""
    settings = Settings(
        source="b1k",
        name="tiny",
        cameras=CAMERAS,
        size=f"{WIDTH_PX}x{HEIGHT_PX}",
        codec="png",
        quality=None,
        subsampling="420",
        stride=1,
        layout="mixed",
        shard_size=8192,
        val_episodes="",
        embed_lowdim=False,
        task_info=False,
        seed=0,
    )
    return msgspec.structs.replace(settings, **changes)


def painted(episode_index: int, frame_index: int, camera: str) -> NDArray[np.uint8]:
    """A picture ``(h, w, 3)`` of one colour that no other frame or camera of the set has."""
    red, green = episode_index % 256, 10 * frame_index % 256
    blue = 100 if camera == "head" else 200
    picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    picture[:] = (red, green, blue)
    return picture


def state_of(episode_index: int, frame_index: int) -> NDArray[np.float32]:
    """A vector ``(3,)`` that names its frame."""
    return np.array([episode_index, frame_index, 0.5], np.float32)


def write_table(path: Path, episodes: Sequence[StoredEpisode]) -> None:
    """Writes a low-dimensional table with a state and a time of each frame."""
    tables = []
    for episode in episodes:
        frames = range(episode.num_frames)
        states = np.array([state_of(episode.episode_index, frame) for frame in frames])
        column = pa.FixedSizeListArray.from_arrays(pa.array(states.reshape(-1)), 3)
        times = pa.array([frame / 30 for frame in frames], pa.float64())
        tables.append(pa.table({"observation.state": column, "timestamp": times}))
    _write_tables(path, tables)


def _write_tables(path: Path, tables: Sequence[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_lowdim(file, tables)


def write_generation(
    out: Path,
    settings: Settings,
    episodes: Sequence[StoredEpisode],
    shards: Shards,
    *,
    generation: int = 0,
    first_shard: int = 0,
    split: str = "train",
    tables: Sequence[pa.Table] | None = None,
) -> GenerationEntry:
    """Writes one generation's shards, ledgers, table and index; returns its manifest entry.

    ``tables`` are the episodes' low-dimensional rows; None for those of ``write_table``.
    """
    entries, ledgers = [], []
    for number, samples in enumerate(shards):
        entry, rows = _write_shard(out, settings, split, first_shard + number, samples)
        entries.append(entry)
        ledgers.append((number, rows))
    table = lowdim_path(settings.name, generation)
    if tables is None:
        write_table(out / table, episodes)
    else:
        _write_tables(out / table, tables)
    table_bytes = (out / table).read_bytes()
    frames_of = {e.episode_index: e.stored(settings.stride) for e in episodes}
    index = out / index_path(split, generation)
    index.parent.mkdir(parents=True, exist_ok=True)
    with index.open("wb") as file:
        header_xxh3 = write_index(
            file,
            _episode_rows(episodes, settings.stride),
            len(settings.fields),
            ledgers,
            lambda number, frames: np.searchsorted(frames_of[number], frames),
        )
    return GenerationEntry(
        generation=generation,
        plan=plan_path(generation),
        plan_digest=f"plan {generation}",
        probe="probe",
        environment={},
        shards=entries,
        lowdim=[
            LowdimEntry(
                path=table,
                num_bytes=len(table_bytes),
                sha256=hashlib.sha256(table_bytes).hexdigest(),
                episodes=[episode.episode_index for episode in episodes],
            )
        ],
        indexes={
            split: IndexEntry(
                path=index_path(split, generation),
                num_bytes=index.stat().st_size,
                header_xxh3=header_xxh3,
                num_samples=sum(len(frames) for frames in frames_of.values()),
                num_live=sum(len(frames_of[e.episode_index]) for e in episodes if e.is_live),
            )
        },
    )


def write_manifest(
    out: Path, settings: Settings, generations: Sequence[GenerationEntry], **changes: Any
) -> Manifest:
    """Writes the manifest of the generations and returns it."""
    shards = [shard for generation in generations for shard in generation.shards]
    num_live = sum(i.num_live for g in generations for i in g.indexes.values())
    manifest = Manifest(
        format=FormatVersion(),
        written_by="tests",
        settings=settings,
        complete=True,
        fps=(30, 1),
        task_names={},
        totals=Totals(
            num_samples=num_live,
            num_images=num_live * len(settings.cameras),
            num_episodes=1,
            num_shards=len(shards),
            num_shard_bytes=sum(shard.num_bytes for shard in shards),
            num_lowdim_bytes=0,
            num_quarantined=0,
        ),
        tasks=TASKS,
        generations=list(generations),
        missing=[],
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    (out / MANIFEST_PATH).parent.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST_PATH).write_bytes(encode_json(manifest))
    return manifest


def tiny_output(out: Path, **changes: Any) -> Manifest:
    """Three episodes of 3, 2 and 4 frames in two shards, the second episode masked: 7 samples."""
    settings = settings_of(**changes)
    episodes = [
        StoredEpisode(10, 3),
        StoredEpisode(20, 2, is_live=False),
        StoredEpisode(70010, 4, task_index=7),
    ]
    shards = [
        [(70010, 2), (10, 0), (20, 1), (10, 2)],
        [(70010, 0), (70010, 3), (20, 0), (10, 1), (70010, 1)],
    ]
    return write_manifest(out, settings, [write_generation(out, settings, episodes, shards)])


def _episode_rows(episodes: Sequence[StoredEpisode], stride: int) -> NDArray[np.void]:
    rows = np.zeros(len(episodes), EPISODE_DTYPE)
    row_start = 0
    for batch, (row, episode) in enumerate(zip(rows, episodes, strict=True)):
        row["episode_index"] = episode.episode_index
        row["task_index"] = episode.task_index
        row["row_start"] = row_start
        frames = episode.stored(stride)
        row["num_frames"], row["num_rows"] = episode.num_frames, len(frames)
        row["first_frame"] = frames[0]
        row["flags"] = LIVE if episode.is_live else 0
        row["lowdim_batch"] = batch
        row_start += len(frames)
    return rows


def _write_shard(
    out: Path,
    settings: Settings,
    split: str,
    shard_index: int,
    samples: Sequence[tuple[int, int]],
) -> tuple[ShardEntry, NDArray[np.void]]:
    path = out / shard_path(settings.name, split, shard_index)
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = ledger_path(shard_name(settings.name, split, shard_index))
    rows = np.zeros(len(samples), ledger_dtype(len(settings.fields), len(settings.cameras)))
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for row, sample in zip(rows, samples, strict=True):
            members = [(field, _content(settings, sample, field)) for field in settings.fields]
            row["episode_index"], row["frame_index"] = sample
            row["offset_bytes"], row["data_offset_bytes"] = writer.add(format_key(*sample), members)
            row["data_bytes"] = [len(data) for _, data in members]
            row["member_xxh3"] = [xxhash.xxh3_64_intdigest(data) for _, data in members]
        num_bytes, sha256, md5 = writer.close()
    ledger_bytes = encode_ledger(rows)
    (out / ledger).parent.mkdir(parents=True, exist_ok=True)
    (out / ledger).write_bytes(ledger_bytes)
    entry = ShardEntry(
        path=path.relative_to(out).as_posix(),
        split=split,
        num_samples=len(samples),
        num_bytes=num_bytes,
        sha256=sha256,
        md5=md5,
        ledger=ledger,
        ledger_sha256=hashlib.sha256(ledger_bytes).hexdigest(),
    )
    return entry, rows


def _content(settings: Settings, sample: tuple[int, int], field: str) -> bytes:
    if field == "json":
        return msgspec.json.encode({"episode_index": sample[0], "frame_index": sample[1]})
    picture = painted(*sample, camera=field.partition(".")[0])
    return encode_image(picture, settings.codec, settings.quality, settings.subsampling)
