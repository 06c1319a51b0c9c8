"""A canary beside training: now and then one sample is decoded again from the source and compared.

The decoder runs in a process of its own, possibly of another environment, so that training touches
none. ``predecode.canary`` is that process; it is named here as words of a command only.
"""

import json
import logging
import math
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train_shards.codec import is_lossless
from train_shards.errors import DataError
from train_shards.format import format_key
from train_shards.manifest import Settings

__all__ = ["Canary", "Comparison", "canary_command"]

_LOG = logging.getLogger(__name__)


class Comparison(NamedTuple):
    """One camera of one sample: what the trainer got against the same frame decoded on line."""

    step: int
    key: str
    camera: str
    max_difference: int
    """Levels of 0 to 255, as ``mean_difference``."""
    mean_difference: float
    psnr_db: float
    """Infinite where both are equal."""

    def values(self) -> dict[str, float]:
        """Returns the figures by the name of a curve; a PSNR that is infinite has none."""
        name = f"canary/{self.camera}"
        found = {f"{name}/max_difference": float(self.max_difference)}
        found[f"{name}/mean_difference"] = self.mean_difference
        if math.isfinite(self.psnr_db):
            found[f"{name}/psnr_db"] = self.psnr_db
        return found


def canary_command(root: str, settings: Settings, python: str | None = None) -> list[str]:
    """Returns the command that decodes the frames of an output from its source.

    Args:
        root: the source's folder.
        settings: of the output.
        python: an interpreter that has ``predecode``; None for this one.
    """
    return [
        python or sys.executable, "-m", "predecode.canary", "--src", settings.source,
        "--root", root, "--size", settings.size,
    ]  # fmt: skip


class Canary:
    """Compares samples in the background, one at a time; a sample that finds it busy is left out.

    What it finds goes to the log and to whoever asks for ``comparisons``. A lossless output must
    show no difference: one is logged as an error, but training goes on.
    """

    def __init__(self, settings: Settings, command: Sequence[str]) -> None:
        """Starts the decoder's process.

        Args:
            settings: of the output that the samples come from.
            command: reads lines ``{"episode_index": e, "frame_index": f}`` and answers each with a
                line ``{"shapes": {camera: [h, w, 3]}}`` followed by the uint8 pictures in this
                order, or with a line ``{"error": reason}``.

        Raises:
            OSError: the command cannot be started.
        """
        self._is_lossless = is_lossless(settings.codec, settings.quality)
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._pool = ThreadPoolExecutor(1, "canary")
        self._running: Future[list[Comparison]] | None = None
        self._is_dead = False
        weakref.finalize(self, _stop, self._process, self._pool)

    def submit(
        self,
        step: int,
        episode_index: int,
        frame_index: int,
        images: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        """Compares a sample unless the last one is still being compared.

        Args:
            step: of training, for the report.
            episode_index: of the sample.
            frame_index: of the sample.
            images: camera -> what the trainer got, ``(3, h, w)`` or ``(h, w, 3)``; kept until it
                is compared.
        """
        if self._running is None and not self._is_dead:
            self._running = self._pool.submit(
                self._compare, step, episode_index, frame_index, dict(images)
            )

    def comparisons(self, *, wait: bool = False) -> list[Comparison]:
        """Returns what was found since the last call; with ``wait`` of the running one, too."""
        if self._running is None or not (wait or self._running.done()):
            return []
        running, self._running = self._running, None
        try:
            found = running.result()
        except DataError as error:
            _LOG.warning("canary: %s", error)
            return []
        except (OSError, EOFError, ValueError) as error:
            self._is_dead = True
            _LOG.error("canary: no more comparisons: %s: %s", type(error).__name__, error)
            return []
        for one in found:
            is_wrong = self._is_lossless and one.max_difference > 0
            _LOG.log(
                logging.ERROR if is_wrong else logging.INFO,
                "canary: step %d, key %s, camera %s: largest difference %d, mean %.4f, "
                "PSNR %.2f dB%s",
                *one,
                ": stored without loss, so they must be equal" if is_wrong else "",
            )
        return found

    def close(self) -> None:
        """Ends the decoder's process."""
        _stop(self._process, self._pool)

    def _compare(
        self,
        step: int,
        episode_index: int,
        frame_index: int,
        images: Mapping[str, NDArray[np.uint8]],
    ) -> list[Comparison]:
        decoded = self._decode(episode_index, frame_index)
        key = format_key(episode_index, frame_index)
        return [
            _compared(step, key, camera, image, decoded[camera])
            for camera, image in sorted(images.items())
        ]

    def _decode(self, episode_index: int, frame_index: int) -> dict[str, NDArray[np.uint8]]:
        """The frame's pictures from the decoder's process, ``(h, w, 3)`` each."""
        wish = {"episode_index": episode_index, "frame_index": frame_index}
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise EOFError("its process has no pipes")
        stdin.write(json.dumps(wish).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise EOFError(f"its process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise DataError(f"{format_key(episode_index, frame_index)}: {answer['error']}")
        return {camera: _picture(stdout, shape) for camera, shape in answer["shapes"].items()}


def _picture(stdout: IO[bytes], shape: Sequence[int]) -> NDArray[np.uint8]:
    num_bytes = math.prod(shape)
    data = stdout.read(num_bytes)
    if len(data) != num_bytes:
        raise EOFError(f"a picture of {num_bytes} bytes ended after {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _compared(
    step: int, key: str, camera: str, image: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> Comparison:
    if image.shape != decoded.shape:  # channels first
        image = image.transpose(1, 2, 0)
    if image.shape != decoded.shape:
        raise DataError(f"{key}, camera {camera}: shape {image.shape}, decoded {decoded.shape}")
    difference = np.abs(image.astype(np.int16) - decoded)
    mean_square = float(np.mean(np.square(difference, dtype=np.float64)))
    psnr_db = math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
    return Comparison(step, key, camera, int(difference.max()), float(difference.mean()), psnr_db)


def _stop(process: "subprocess.Popen[bytes]", pool: ThreadPoolExecutor) -> None:
    """Ends the process first: the thread may be waiting for it."""
    process.kill()
    pool.shutdown(wait=True, cancel_futures=True)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # a wish that a dead process never took
                pipe.close()
    process.wait()
