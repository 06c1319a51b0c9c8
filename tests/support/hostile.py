"""Sound files of every kind that a reader parses, as seeds of hostile ones."""

import io
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from predecode.dropped import Dropped, Numbers
from predecode.errors import EpisodeFault
from predecode.planning import Plan, make_plan
from predecode.receipts import ShardReceipt
from predecode.shard_writer import ShardWriter
from predecode.source_check import CheckedEpisode, InputFile
from predecode.sources.episode import Episode, IdList, TableSpan, VideoSpan
from tests.support.stored import settings_of, tiny_output
from train_shards.codec import encode_codes, encode_image
from train_shards.manifest import DroppedEpisode, Manifest, encode_json

__all__ = ["SHAPE", "picture", "plan_of", "seeds"]

SHAPE = (4, 5)
"""Of the seeds' pictures, ``(h, w)``."""
_SIZE = f"{SHAPE[1]}x{SHAPE[0]}"


def picture() -> NDArray[np.uint8]:
    """A picture of noise."""
    return np.random.default_rng(3).integers(0, 256, (*SHAPE, 3), np.uint8)


def _episode(number: int) -> Episode:
    path = f"videos/task-0000/episode_{number:08d}.mp4"
    ids = IdList(path=f"meta/episodes/{number}.json", key="ids")
    return Episode(
        episode_index=number, task_index=0, task="open it", num_frames=600, fps=(30, 1),
        videos={"head": VideoSpan(key="h", path=path, ids=ids)},
        table=TableSpan(path=f"data/{number}.parquet"),
    )  # fmt: skip


def plan_of() -> Plan:
    """A plan of two episodes, and one that was refused."""
    checked = []
    for number in (10, 20):
        episode = _episode(number)
        paths = [f"data/{number}.parquet", episode.videos["head"].path]
        inputs = [InputFile(path=path, num_bytes=7, digest="ab") for path in paths]
        checked.append(
            CheckedEpisode(episode=episode, num_frames=600, keyframes=[0, 300], inputs=inputs)
        )
    fault = EpisodeFault(episode_index=30, path="a", problem="b", expected="c", got="d")
    return make_plan(
        generation=0, settings=settings_of(cameras={"head": "h"}), root="/data", probe="ab",
        environment={"av": "1"}, checked=checked, failed=[(_episode(30), fault)], held_out={20},
        first_shards={"train": 0, "val": 0}, first_table=0,
    )  # fmt: skip


def _tar() -> bytes:
    file = io.BytesIO()
    writer = ShardWriter(file)
    for frame in range(2):
        writer.add(f"ep00000010_f{frame:06d}", [("head.png", b"x" * 700), ("json", b"{}")])
    writer.close()
    return file.getvalue()


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Kind of file -> sound ones; makes a small output in ``folder``."""
    manifest: Manifest = tiny_output(folder)
    small = tiny_output(folder.with_name("other"), size=_SIZE)
    (index,) = (folder / ".predecode/index").glob("*.idx")
    ledgers = sorted((folder / ".predecode/ledger").glob("*.npy"))
    receipt = ShardReceipt(
        plan_digest="aa", entry=manifest.generations[0].shards[0],
        faults=[EpisodeFault(episode_index=30, path="a", problem="b", expected="c", got="d")],
    )  # fmt: skip
    dropped = Dropped(
        episodes=[DroppedEpisode(10, 0)], used=Numbers(generation=1, shards={"train": 3}, table=2)
    )
    codes = np.arange(20, dtype=np.uint16).reshape(SHAPE)
    return {
        "manifest": [encode_json(manifest), encode_json(small)],
        "plan": [msgspec.json.encode(plan_of())],
        "receipt": [encode_json(receipt)],
        "dropped": [encode_json(dropped)],
        "key": [b"ep00010041_f000310", b"ep123456789_f1234567"],
        "index": [index.read_bytes()],
        "ledger": [path.read_bytes() for path in ledgers],
        "tar": [_tar()],
        "npz": [encode_codes(codes, "codes")],
        "raw": [encode_image(picture(), "raw", None, "420")],
        "png": [encode_image(picture(), "png", None, "420")],
        "jpeg": [encode_image(picture(), "jpeg", 90, s) for s in ("420", "444")],
        "webp": [encode_image(picture(), "webp", q, "420") for q in (None, 80)],
    }
