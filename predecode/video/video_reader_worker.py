"""Decodes with torchvision's ``video_reader`` and sends raw pictures through a pipe.

Run by any Python that has torch and a torchvision with that library; imports nothing of this
project. ``video_reader.py`` is the other end: a request is a line of JSON, so is an answer, which
``num_bytes`` of pixels may follow.
"""

import ctypes
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO

_MAPS = Path("/proc/self/maps")
_LIBRARY = re.compile(r"(/\S*/lib(avcodec|avformat|avutil|swscale)\b\S*)")
_FAILURES = (RuntimeError, ValueError, OSError, KeyError)


class _File:
    """One open video and its picture decoded last."""

    def __init__(self, path: str, stream_index: int) -> None:
        from torchvision.io import VideoReader

        self.reader = VideoReader(path, f"video:{stream_index}", num_threads=1)
        self.picture: Any = None


def _answer(files: dict[int, _File], request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Does what is asked; returns the answer and pixels."""
    if request["do"] == "versions":
        return {"versions": _versions()}, b""
    handle: int = request["handle"]
    if request["do"] == "open":
        files[handle] = _File(request["path"], request["stream_index"])
        return {}, b""
    if request["do"] == "close":
        files.pop(handle, None)
        return {}, b""
    file = files[handle]
    if request["do"] == "seek":
        file.reader.seek(request["time_s"], keyframes_only=True)
        return {}, b""
    if request["do"] == "next":
        frame = next(file.reader, None)
        file.picture = None if frame is None else frame["data"]
        return {"time_s": None if frame is None else float(frame["pts"])}, b""
    # ``pixels`` of the picture that ``next`` told of: (3, H, W) uint8, sent as (H, W, 3).
    data = file.picture.permute(1, 2, 0).contiguous().numpy()
    return {"height": data.shape[0], "width": data.shape[1]}, data.tobytes()


def _versions() -> dict[str, str]:
    """Of Python, torch and torchvision, and of FFmpeg's libraries that Linux says are mapped."""
    import torch
    import torchvision

    versions = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    mapped = _LIBRARY.findall(_MAPS.read_text()) if _MAPS.exists() else []
    for path, name in sorted(set(mapped), key=lambda found: found[1]):
        number = getattr(ctypes.CDLL(path), f"{name}_version")()
        versions[f"lib{name}"] = f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return versions


def _send(pipe: BinaryIO, answer: dict[str, Any], pixels: bytes = b"") -> None:
    pipe.write(json.dumps({**answer, "num_bytes": len(pixels)}).encode() + b"\n")
    pipe.write(pixels)
    pipe.flush()


def main() -> None:
    """Answers until the pipe is closed."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        import torch
        import torchvision

        # Refuses a build without the library; later releases have no such function.
        torchvision.set_video_backend("video_reader")
        torch.set_num_threads(1)
    except (ImportError, AttributeError, *_FAILURES) as error:
        _send(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    _send(answers, {"torchvision": torchvision.__version__})
    files: dict[int, _File] = {}
    for line in sys.stdin:
        try:
            answer, pixels = _answer(files, json.loads(line))
        except _FAILURES as error:
            answer, pixels = {"error": f"{type(error).__name__}: {error}"}, b""
        _send(answers, answer, pixels)


if __name__ == "__main__":
    main()
