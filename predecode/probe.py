"""The fingerprint of what makes bytes: colour conversion, resize and encoder on one picture."""

import functools
import os
import platform
from importlib.metadata import version

import numpy as np
import xxhash

from predecode.errors import InfraError
from predecode.images.resize_native import native_state, resize_natively
from predecode.images.stored import pixel_format, stored_image
from predecode.video.backends import STORING_BACKEND, backend_versions
from predecode.video.probe import probe_picture
from train_shards.codec import encode_image
from train_shards.images import encode_stored
from train_shards.manifest import Settings

__all__ = ["check_probe", "environment", "picture_probe", "probe_hash"]

_PROBE_IDS = 70
"""Not a cube, so that the palette is cut, as most are."""
_PACKAGES = ("numpy", "pillow", "simplejpeg", "pyarrow")


def probe_hash(settings: Settings, backend: str = STORING_BACKEND) -> str:
    """Returns the hash of the probe picture's stored bytes under these settings, as hex.

    A native size is probed without a resize. The picture is converted by PyAV's libraries: for
    another decoder, its versions are hashed along. Cost: about 10 ms, once a process.
    """
    probe = picture_probe(
        settings.picture_size, settings.codec, settings.quality, settings.subsampling
    )
    if settings.modalities:
        codes = [_codes_probe(settings, image) for image in sorted(settings.modalities)]
        probe = xxhash.xxh3_128_hexdigest(" ".join([probe, *codes]).encode())
    if backend == STORING_BACKEND:
        return probe
    versions, _ = backend_versions(backend)
    return xxhash.xxh3_128_hexdigest(f"{probe} {sorted(versions.items())}".encode())


@functools.lru_cache(maxsize=4)
def picture_probe(
    size: tuple[int, int] | None, codec: str, quality: int | None, subsampling: str
) -> str:
    """Returns the hash of the probe picture's stored bytes, as an RGB image of these settings."""
    picture = resize_natively(probe_picture(), size)
    data = encode_image(np.ascontiguousarray(picture), codec, quality, subsampling)
    return xxhash.xxh3_128_hexdigest(data)


def _codes_probe(settings: Settings, image: str) -> str:
    """The probe of a depth or segmentation image: conversion, look-up, resize, encoding."""
    picture = probe_picture(pixel_format(settings, image))
    ids = range(_PROBE_IDS) if settings.modality_of(image) == "seg_instance_id" else None
    data = encode_stored(stored_image(picture, settings, image, ids), settings, image)
    return xxhash.xxh3_128_hexdigest(data)


def check_probe(settings: Settings, planned: str, backend: str = STORING_BACKEND) -> None:
    """Passes on a node that makes the same bytes as the one that made the plan.

    Raises:
        InfraError: its probe differs; the message names the node and its versions.
    """
    got = probe_hash(settings, backend)
    if got != planned:
        raise InfraError(
            f"node {platform.node()}: makes other bytes than the plan: probe expected {planned}, "
            f"got {got}. Here: {environment(backend)}. Install the same package versions on every "
            "node, on machines with the same vector instructions."
        )


def environment(backend: str = STORING_BACKEND) -> dict[str, str]:
    """Returns the versions that may change bytes, for people who look for a difference."""
    versions = {package: version(package) for package in _PACKAGES}
    return {
        **backend_versions(backend)[0],
        **versions,
        "machine": platform.machine(),
        "predecode": version("predecode"),
        "resize": native_state(),
        "python": platform.python_version(),
        "system": os.uname().sysname,
    }
