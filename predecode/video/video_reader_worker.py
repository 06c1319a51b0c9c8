"""Decodes with torchvision's ``video_reader`` and sends raw pictures through a pipe.

Run by any Python that has torch and a torchvision with that library; imports nothing of this
project. ``video_reader.py`` is the other end: a request is a line of JSON, so is an answer, which
``num_bytes`` of pixels may follow.
"""

import json
import os
import sys
from typing import Any, BinaryIO

_FAILURES = (RuntimeError, ValueError, OSError, KeyError)


class _File:
    """One open video and its picture decoded last."""

    def __init__(self, path: str, stream_index: int) -> None:
        from torchvision.io import VideoReader

        self.reader = VideoReader(path, f"video:{stream_index}", num_threads=1)
        self.picture: Any = None


def _answer(files: dict[int, _File], request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Does what is asked; returns the answer and pixels."""
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
