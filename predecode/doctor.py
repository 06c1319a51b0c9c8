"""What this machine can do, and the one command that mends each thing that it cannot."""

import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from PIL import features

from predecode.config import DEFAULT_JPEG_QUALITY
from predecode.display import format_bytes
from predecode.errors import UserError
from predecode.images.resize_native import native_state
from predecode.machine_limits import Limits
from predecode.probe import picture_probe
from predecode.video.backends import BACKENDS, STORING_BACKEND, backend_versions
from train_shards.node_cache import Cache

__all__ = ["Fact", "examine", "fact_lines"]

_PACKAGES = {
    "": ("numpy", "pillow", "simplejpeg", "pyarrow", "fsspec", "xxhash", "tenacity", "msgspec"),
    "run": ("av", "ray", "typer", "rich", "jinja2"),
    "train": ("torch", "hydra-core"),
    "torchcodec": ("torchcodec",),
    "wandb": ("wandb",),
    "s3": ("s3fs",),
}
"""Extra -> its packages, as pyproject.toml has them."""
_NEEDED = ("", "run")
"""Extras without which nothing is decoded."""
_LEAST_SHARED_BYTES = 1 << 30
"""Ray's object store takes 256 MB of it, and a loader's workers hand over whole batches in it:
29 MB each at 64 samples of three pictures of 224 pixels. A container has 64 MB unless told more."""
_LEAST_OPEN_FILES = 4096
"""A node of many tasks holds some hundreds; distributions give 1,024 and allow more."""
_LEAST_DISK_BYTES = 20_000_000_000
"""About 500,000 frames of three cameras, or Ray's logs and the cache of a long run."""
_TASK_BYTES = 4_096_000_000
"""What ``predecode run`` asks for a task unless told otherwise (``--memory-limit-mb``)."""
_PROBE_SIZE = (224, 224)
_PATIENCE_S = 20


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at."""

    topic: str
    name: str
    value: str
    """What was found, for people."""
    is_fine: bool
    is_needed: bool = False
    """Whether ``predecode run`` cannot do without."""
    fix: str = ""
    """One command, or what to ask for, where it is not fine."""


def examine(limits: Limits, out: Path, pythons: Mapping[str, str]) -> list[Fact]:
    """Returns everything that was looked at, in the order of topics.

    Args:
        limits: of this process.
        out: where shards are to be written; it need not exist.
        pythons: ``video_reader`` -> the interpreter that has it, as for ``load_backend``.

    Cost: imports every decoder that is installed, some seconds.
    """
    return [
        *_versions(),
        *(_decoder(name, pythons) for name in BACKENDS),
        *_libraries(),
        *_limits(limits),
        *_disks(out),
    ]


def fact_lines(facts: list[Fact]) -> Iterator[str]:
    """Yields a line for each fact below its topic, and the fixes where they belong."""
    width = max(len(fact.name) for fact in facts)
    topic = ""
    for fact in facts:
        if fact.topic != topic:
            topic = fact.topic
            yield topic
        mark = "ok" if fact.is_fine else "MISSING" if fact.is_needed else "-"
        yield f"  {mark:8}{fact.name:{width}}  {fact.value}"
        if fact.fix:
            yield f"  {'':8}{'':{width}}  {fact.fix}"


def _versions() -> Iterator[Fact]:
    topic = "versions"
    yield Fact(topic=topic, name="predecode", value=version("predecode"), is_fine=True)
    python = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Fact(topic=topic, name="python", value=python, is_fine=True)
    for extra, packages in _PACKAGES.items():
        wanted = f"'predecode[{extra}]'" if extra else "predecode"
        for package in packages:
            try:
                value, is_fine = version(package), True
            except PackageNotFoundError:
                value, is_fine = "not installed", False
            yield Fact(
                topic=topic,
                name=package,
                value=value,
                is_fine=is_fine,
                is_needed=extra in _NEEDED,
                fix="" if is_fine else f"pip install {wanted}",
            )


def _decoder(name: str, pythons: Mapping[str, str]) -> Fact:
    is_needed = name == STORING_BACKEND
    own = {key: python for key, python in pythons.items() if key == name}
    try:
        versions, conversion = backend_versions(name, own)
    except UserError as error:
        reason, _, fix = str(error).partition(". ")
        return Fact(
            topic="decoders",
            name=name,
            value=f"{reason}.",
            is_fine=False,
            is_needed=is_needed,
            fix=fix,
        )
    numbers = ", ".join(f"{library} {number}" for library, number in versions.items())
    value = f"{numbers}; to RGB: {conversion}"
    return Fact(topic="decoders", name=name, value=value, is_fine=True, is_needed=is_needed)


def _libraries() -> Iterator[Fact]:
    topic = "libraries"
    path = shutil.which("ffmpeg")
    yield Fact(
        topic=topic,
        name="FFmpeg",
        value="not found" if path is None else f"{_ffmpeg_version(path)} ({path})",
        is_fine=path is not None,
        fix="" if path else "apt install ffmpeg  # its shared libraries are torchcodec's",
    )
    jpeg = features.version_feature("libjpeg_turbo")
    yield Fact(
        topic=topic,
        name="JPEG",
        value=f"simplejpeg {version('simplejpeg')} (libjpeg-turbo of its own); "
        f"Pillow's libjpeg-turbo {jpeg or 'is missing'}",
        is_fine=True,
    )
    has_webp = bool(features.check("webp"))
    yield Fact(
        topic=topic,
        name="WebP",
        value=f"libwebp {features.version_module('webp')}" if has_webp else "not in this Pillow",
        is_fine=has_webp,
        fix="" if has_webp else "pip install --force-reinstall pillow",
    )
    state = native_state()
    is_fine = not state.startswith("Pillow")
    yield Fact(
        topic=topic,
        name="resize",
        value=state,
        is_fine=is_fine,
        fix="" if is_fine else "apt install gcc libc6-dev  # Pillow takes four times as long",
    )
    yield Fact(
        topic=topic,
        name="probe",
        value=f"{picture_probe(_PROBE_SIZE, 'jpeg', DEFAULT_JPEG_QUALITY, '420')} "
        "(the default settings; all nodes of a run must show the same)",
        is_fine=True,
    )


def _ffmpeg_version(path: str) -> str:
    """The third word of the first line: ``ffmpeg version 5.1.6 …``."""
    said = subprocess.run(
        [path, "-version"], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
    ).stdout
    return said.split()[2] if said.startswith("ffmpeg version ") else "of unknown version"


def _limits(limits: Limits) -> Iterator[Fact]:
    topic = "limits"
    held = "" if limits.usable_cpus >= limits.num_cpus else f" of {limits.num_cpus}"
    yield Fact(topic=topic, name="CPUs", value=f"{limits.usable_cpus:g}{held} usable", is_fine=True)
    num_tasks = min(max(int(limits.usable_cpus), 1), limits.memory_bytes // _TASK_BYTES)
    yield Fact(
        topic=topic,
        name="memory",
        value=f"{format_bytes(limits.memory_bytes)}, {num_tasks} tasks of "
        f"{format_bytes(_TASK_BYTES)} at a time",
        is_fine=num_tasks > 0,
        fix="" if num_tasks else f"predecode run --memory-limit-mb {limits.memory_bytes // 10**6}",
    )
    shared = limits.shared_memory_bytes
    is_fine = shared is not None and shared >= _LEAST_SHARED_BYTES
    yield Fact(
        topic=topic,
        name="shared memory",
        value="no /dev/shm" if shared is None else f"{format_bytes(shared)} in /dev/shm",
        is_fine=is_fine,
        fix="" if is_fine else "docker run --shm-size=8g, or mount -o remount,size=8G /dev/shm",
    )
    is_fine = limits.open_files >= _LEAST_OPEN_FILES
    yield Fact(
        topic=topic,
        name="open files",
        value=f"{limits.open_files:,}, at most {limits.most_open_files:,}",
        is_fine=is_fine,
        fix="" if is_fine else f"ulimit -n {min(65536, limits.most_open_files)}",
    )


def _disks(out: Path) -> Iterator[Fact]:
    cache = Cache().folder.expanduser()
    for name, folder, fix in (
        ("output", out, "predecode run --out <a folder on a larger disk>"),
        ("Ray's logs", Path("/tmp"), "export RAY_TMPDIR=<a folder on a larger disk>"),
        ("node's cache", cache, "export XDG_CACHE_HOME=<a folder on a larger disk>"),
    ):
        standing = next(
            one for one in (folder.absolute(), *folder.absolute().parents) if one.exists()
        )
        free_bytes = shutil.disk_usage(standing).free
        is_fine = free_bytes >= _LEAST_DISK_BYTES
        yield Fact(
            topic="disks",
            name=name,
            value=f"{format_bytes(free_bytes)} free at {folder}",
            is_fine=is_fine,
            fix="" if is_fine else fix,
        )
