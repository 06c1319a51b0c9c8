"""What ``predecode plan`` tells against what a run then takes; and its time on a large data set.

    python -m benchmarks.plan --root full                  # accuracy
    python -m benchmarks.plan --num-episodes 10000         # time

With ``--root``: a data set is predicted, then run, with each task in a process of its own, one at a
time. ``bytes_ratio`` and ``core_ratio``: told by taken; core time is that of the tasks' processes.
Without: the metadata of so many episodes in 50 tasks are written, and one episode of 12,000 frames
and three cameras is linked under all of their names, with a file of annotations each. ``plan_s`` is
the whole command. Prints one JSON object.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

from predecode.child import Limits
from predecode.cluster import Cluster, InProcess
from predecode.config import make_settings
from predecode.isolation import run_isolated
from predecode.job import run_job
from predecode.predicting import predict
from predecode.progress import JobProgress
from predecode.sources.registry import open_source
from predecode.sources.sample import EPISODES, make_sample
from predecode.sources.sample_layout import (
    ANNOTATION_PATH,
    DATA_PATH,
    DECLARED_CAMERAS,
    FPS,
    VIDEO_PATH,
    episode_path,
    video_key,
)
from predecode.sources.sample_metadata import write_json, write_jsonl
from predecode.sources.sample_tables import make_rows, write_parquet
from predecode.video.probe import library_versions

_EPISODE = 20
_NUM_LOOPS = 48
"""Of the sample's episode 20, one GOP of 250 frames."""
_NUM_TASKS = 50
_WAYS: tuple[dict[str, Any], ...] = ({}, {"codec": "png", "stride": 3}, {"size": "native"})


def main() -> None:
    """Measures what the words on the command line ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--root", type=Path)
    parser.add_argument("--num-episodes", type=int, default=10_000)
    words = parser.parse_args()
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.plan", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {"python": platform.python_version(), **library_versions()},
    }
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if words.root is not None:
            found = [accuracy(words.root, work / str(n), way) for n, way in enumerate(_WAYS)]
            print(json.dumps(about | {"ways": found}, indent=1))
        else:
            print(json.dumps(about | time_of_plan(work, words.num_episodes), indent=1))


def accuracy(root: Path, out: Path, way: dict[str, Any]) -> dict[str, Any]:
    """What is told of a data set by what a run takes."""
    source = open_source("b1k", root)
    settings = make_settings(source, **way)
    work = partial(run_isolated, limits=Limits())
    with JobProgress() as display:
        found = predict(
            source, settings, source.episodes, _here, work, display,
            num_frames=200, cores=1, budget_bytes=None,
        )  # fmt: skip
        before_s = _children_s()
        run_job(out, source, settings, source.episodes, _here, display, overwrite=False, work=work)
    core_s = _children_s() - before_s
    num_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {
        **way,
        "num_frames": found.num_frames,
        "written_bytes": num_bytes,
        "bytes_ratio": round(found.total_bytes / num_bytes, 4),
        "core_s": round(core_s, 1),
        "core_ratio": round(found.core_hours * 3600 / core_s, 3),
    }


def time_of_plan(folder: Path, num_episodes: int) -> dict[str, Any]:
    """Seconds of the command on a large data set."""
    root = folder / "b1k"
    make_large(root, folder / "one", num_episodes)
    start_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "predecode", "plan", "--src", "b1k", "--root", root, "--json"],
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    plan_s = time.monotonic() - start_s
    told = json.loads(done.stdout)
    names = ("num_episodes", "num_checked", "num_frames", "num_shards", "num_sampled_frames")
    return {"plan_s": round(plan_s, 1), **{name: told[name] for name in names}}


def make_large(root: Path, one: Path, num_episodes: int, *, full_size: bool = False) -> None:
    """Makes a data set of the 2025 layout whose episodes are links to one, made in ``one``."""
    make_sample(one, full_size=full_size, episode_indices=(_EPISODE,), modalities=("rgb",))
    (spec,) = (spec for spec in EPISODES if spec.episode_index == _EPISODE)
    num_frames = spec.length * _NUM_LOOPS
    table = one / "long.parquet"
    write_parquet(make_rows(replace(spec, length=num_frames)), table)
    files = {DATA_PATH: table, ANNOTATION_PATH: one / episode_path(ANNOTATION_PATH, _EPISODE)}
    for camera in DECLARED_CAMERAS:
        path = VIDEO_PATH.replace("{video_key}", video_key("rgb", camera))
        files[path] = one / f"{camera}.mp4"
        _loop(one / episode_path(path, _EPISODE), files[path], spec.length)
    info = json.loads((one / "meta/info.json").read_text())
    write_json(root / "meta/info.json", info)
    write_jsonl(
        root / "meta/tasks.jsonl",
        [{"task_index": n, "task_name": f"t{n}", "task": f"task {n}"} for n in range(_NUM_TASKS)],
    )
    rows = []
    for number in range(num_episodes):
        task = number * _NUM_TASKS // num_episodes
        episode_index = task * 10_000 + 10 * number
        rows.append(
            {"episode_index": episode_index, "tasks": [f"task {task}"], "length": num_frames}
        )
        for path, file in files.items():
            link = root / episode_path(path, episode_index)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(file)
    write_jsonl(root / "meta/episodes.jsonl", rows)


def _loop(path: Path, long: Path, num_frames: int) -> None:
    """Writes the packets of a video of so many frames over and over again, without encoding."""
    with av.open(long, "w") as out:
        stream: Any = None
        for number in range(_NUM_LOOPS):
            with av.open(path) as video:
                given = video.streams.video[0]
                stream = stream or out.add_stream_from_template(given)
                shift = int(Fraction(number * num_frames, FPS) / Fraction(given.time_base or 1))
                for packet in video.demux(given):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = stream
                        out.mux(packet)


@contextmanager
def _here() -> Iterator[Cluster]:
    yield InProcess()


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
