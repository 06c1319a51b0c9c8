"""Processor time of a frame, from video to shards, stage by stage, beside other ways.

    python -m benchmarks.convert

The full-size sample's episode of 1,003 frames (720 + 480 + 480 pixels, HEVC, GOP 250) to 224-pixel
JPEG, one thread. In each round every way does the same frames, so that noise hits all alike; a
figure is the median of the rounds, in ms a frame, and a ratio that of the ratios within a round.

* ``decode``, ``+ rgb``, ``+ resize``, ``+ encode``: a bare loop over one file after the other, with
  nothing but these steps; the last also hashes what the pipeline does (pixels, members, shard);
* ``pipeline``: the task that ``predecode run`` starts for a shard, from its job to its receipt;
* ``obvious``: the loop that comes to mind: ``to_ndarray``, Pillow's resize, JPEG;
* ``ffmpeg``: its command line to 224-pixel JPEG files, one thread in each stage;
* ``lerobot``: LeRobot's own ``decode_video_frames`` (torchcodec) and ``write_image``, which keeps
  the native size as PNG; where its environment can be made.

The pixels of every image that the pipeline stored are compared with Pillow's. Prints a table on
standard error and one JSON object.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg
import xxhash
from av.video.reformatter import VideoReformatter

from benchmarks.about import about
from predecode.images.resize import resize_with_pad
from predecode.images.resize_native import resize_natively
from predecode.output import jobs_of, load_plans
from predecode.pipeline import ShardJob, run_shard_task
from predecode.sources.sample import make_sample
from tests.support.environments import outside_variables
from tests.support.jobs import run_here
from tests.support.lerobot_environment import IMPORT_LEROBOT, LEROBOT
from train_shards.format import ledger_path
from train_shards.ledger import decode_ledger

__all__ = ["measure"]

_EPISODE = 490020
_SIZE = (224, 224)
_QUALITY = 95
_LEROBOT = """
from lerobot.datasets.image_writer import write_image
from lerobot.datasets.video_utils import decode_video_frames
out = Path(asked["out"])
for path, num_frames in asked["videos"]:
    for start in range(0, num_frames, 50):
        times = [n / 30 for n in range(start, min(start + 50, num_frames))]
        frames = decode_video_frames(path, times, 1e-4, "torchcodec")
        for n, frame in enumerate(frames):
            picture = (frame.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
            write_image(picture, out / f"{start + n:06d}.png")
"""

Way = Callable[[], None]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episode", type=int, default=_EPISODE, help="of the sample")
    parser.add_argument("--no-lerobot", action="store_true", help="make no environment for it")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder), words.episode, words.rounds, with_lerobot=not words.no_lerobot
        )
    result = {
        **about("convert"),
        **found,
    }
    print(json.dumps(result, indent=1))
    for name, figures in found["ways"].items():
        print(
            f"{name:12}" + "".join(f"{k:>14} {v:6.3f}" for k, v in figures.items()), file=sys.stderr
        )
    for name, ratios in found["ratios"].items():
        print(f"{name:22}{statistics.median(ratios):6.3f}", file=sys.stderr)


def measure(work: Path, episode: int, num_rounds: int, *, with_lerobot: bool) -> dict[str, Any]:
    """Returns ms a frame of each way, and the ratios that are aimed at.

    Raises:
        SystemExit: the pipeline stored other pixels than Pillow makes.
    """
    make_sample(work / "b1k", full_size=True, episode_indices=(episode,), modalities=("rgb",))
    videos = sorted((work / "b1k").rglob("*.mp4"))
    out = work / "shards"
    run_here(work / "b1k", out, shard_size=8192)
    (job,) = (
        job for plan in load_plans(out) for job in jobs_of(out, plan) if isinstance(job, ShardJob)
    )
    num_frames = job.task.num_samples
    ways: dict[str, Way] = {
        name: partial(_bare, videos, stage)
        for stage, name in enumerate(("decode", "+ rgb", "+ resize", "+ encode"))
    }
    ways["pipeline"] = lambda: _pipeline(job)
    ways["obvious"] = partial(_obvious, videos)
    ways["ffmpeg"] = partial(_ffmpeg, videos, work / "jpegs")
    not_installed = ""
    if with_lerobot:
        try:
            LEROBOT.make()
            ways["lerobot"] = partial(_lerobot, videos, num_frames, work / "pngs")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            not_installed = str(error)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(num_rounds + 1):
        for name, way in ways.items():
            spent_s = _cpu_s(way)
            if number:  # the first one fills caches
                times[name].append(1000 * spent_s / num_frames)

    def ratio(of: str, to: str) -> list[float]:
        return [round(a / b, 3) for a, b in zip(times[of], times[to], strict=True)]

    return {
        "num_frames": num_frames,
        "num_images_equal": _check_pixels(out, job, videos),
        "ways": {
            name: {
                "ms": round(statistics.median(own), 3),
                "least": round(min(own), 3),
                "most": round(max(own), 3),
            }
            for name, own in times.items()
        },
        "ratios": {
            "pipeline_to_bare": ratio("+ encode", "pipeline"),
            "pipeline_to_ffmpeg": ratio("ffmpeg", "pipeline"),
            "pipeline_to_obvious": ratio("obvious", "pipeline"),
        },
        **({"lerobot_not_installed": not_installed} if not_installed else {}),
    }


def _cpu_s(way: Way) -> float:
    """Processor time of this process and its children."""
    before_s = sum(os.times()[:4])
    way()
    return sum(os.times()[:4]) - before_s


def _bare(videos: list[Path], stage: int) -> None:
    """The steps up to a stage: 0 decode, 1 convert, 2 resize, 3 encode and hash."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    reformatter = VideoReformatter()
    for frame in _frames(videos):
        if stage < 1:
            continue
        plane = reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        if stage < 2:
            continue
        picture = np.ndarray(
            (frame.height, frame.width, 3), np.uint8, memoryview(plane), 0, (plane.line_size, 3, 1)
        )
        image = resize_natively(picture, _SIZE)
        if stage < 3:
            continue
        xxhash.xxh3_64_intdigest(image.data)
        data = _jpeg(image)
        xxhash.xxh3_64_intdigest(data)
        sha256.update(data)
        md5.update(data)


def _obvious(videos: list[Path]) -> None:
    for frame in _frames(videos):
        _jpeg(_by_pillow(frame))


def _by_pillow(frame: av.VideoFrame) -> Any:
    """The trainer's picture, ``(h, w, 3)`` uint8, by the simplest calls."""
    return resize_with_pad(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False), _SIZE)


def _frames(videos: list[Path]) -> Iterator[av.VideoFrame]:
    for path in videos:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)


def _jpeg(image: Any) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        image, quality=_QUALITY, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    return data


def _pipeline(job: ShardJob) -> None:
    receipt = run_shard_task(job, lambda _: None)
    if receipt.faults:
        raise SystemExit(f"faults: {receipt.faults}")


def _ffmpeg(videos: list[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in videos:
        subprocess.run(
            [
                "ffmpeg", "-v", "error", "-y", "-threads", "1", "-i", str(path),
                "-vf", "scale=224:224:flags=bilinear", "-filter_threads", "1", "-threads", "1",
                "-q:v", "2", str(folder / f"{path.parent.name}.%06d.jpg"),
            ],
            check=True,
        )  # fmt: skip


def _lerobot(videos: list[Path], num_frames: int, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    asked = {"out": str(folder), "videos": [[str(path), num_frames] for path in videos]}
    (folder / "asked.json").write_text(json.dumps(asked))
    subprocess.run(
        [str(LEROBOT.folder / "bin/python"), "-I", "-c", IMPORT_LEROBOT + _LEROBOT, str(folder)],
        check=True,
        env={**outside_variables(), "HOME": str(folder), "HF_HUB_OFFLINE": "1"},
    )


def _check_pixels(out: Path, job: ShardJob, videos: list[Path]) -> int:
    """Compares the hashes of all stored images with Pillow's of a plain decode."""
    settings = job.settings
    ledger = out / ledger_path(job.name)
    rows = decode_ledger(
        ledger.read_bytes(), len(settings.fields), len(settings.cameras), where=str(ledger)
    )
    stored = {int(row["frame_index"]): row["pixel_xxh3"].tolist() for row in rows}
    num_equal = 0
    for place, camera in enumerate(settings.camera_names):
        (path,) = (path for path in videos if path.parent.name.endswith(f".{camera}"))
        for frame_index, frame in enumerate(_frames([path])):
            image = _by_pillow(frame)
            if xxhash.xxh3_64_intdigest(image.data) != stored[frame_index][place]:
                raise SystemExit(f"{path.name}, frame {frame_index}: other pixels than Pillow's")
            num_equal += 1
    return num_equal


if __name__ == "__main__":
    main()
