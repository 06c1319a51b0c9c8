"""``python -m predecode.canary``: decodes single frames for a training process that asks for them.

The other end of ``train_shards.canary``: a wish a line on standard input, ``{"episode_index": e,
"frame_index": f}``; on standard output a line ``{"shapes": {camera: [h, w, 3]}}`` and the uint8
pictures in this order, or a line ``{"error": reason}``. Ends with its input.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from predecode.config import make_settings
from predecode.errors import EpisodeError, UserError
from predecode.open_episodes import KnownEpisode, OpenEpisodes
from predecode.source_check import check_episode
from predecode.sources.episode import Source, with_images
from predecode.sources.registry import open_source
from predecode.video.backends import load_backend, parse_backend_python

__all__ = ["Frames", "answer", "main"]


class Frames:
    """Pictures of single frames of a source; checks an episode when it is first asked for."""

    def __init__(self, source: Source, opened: OpenEpisodes) -> None:
        """Takes an open source and what reads its videos."""
        self._source, self._opened = source, opened
        self._episodes = {episode.episode_index: episode for episode in source.episodes}
        self._known: dict[int, KnownEpisode] = {}

    def pictures(self, episode_index: int, frame_index: int) -> dict[str, NDArray[np.uint8]]:
        """Returns every camera's RGB picture ``(h, w, 3)`` of a frame.

        Raises:
            EpisodeError: the episode is not what its metadata say, or cannot be decoded.
            UserError: no such episode or frame.
        """
        known = self._known.get(episode_index)
        if known is None:
            if episode_index not in self._episodes:
                raise UserError(f"{self._source.root}: no episode {episode_index}.")
            cameras = tuple(sorted(self._source.cameras))
            episode = with_images(self._episodes[episode_index], cameras)
            checked = check_episode(self._source.root, episode, cameras)
            digests = {
                camera: given.digest
                for camera, given in zip(cameras, checked.inputs[-len(cameras) :], strict=True)
            }
            known = KnownEpisode(checked.episode, checked.num_frames, digests)
            self._known[episode_index] = known
        if not 0 <= frame_index < known.num_frames:
            raise UserError(
                f"episode {episode_index}: no frame {frame_index} of {known.num_frames}."
            )
        return {
            camera: self._opened.pictures(known, camera, [frame_index])[frame_index]
            for camera in sorted(known.episode.videos)
        }


def answer(frames: Frames, wish: bytes, output: BinaryIO) -> None:
    """Writes what a line of input asks for."""
    try:
        fields = json.loads(wish)
        pictures = frames.pictures(int(fields["episode_index"]), int(fields["frame_index"]))
    except (EpisodeError, UserError, KeyError, ValueError) as error:
        output.write(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
    else:
        shapes = {camera: picture.shape for camera, picture in pictures.items()}
        output.write(json.dumps({"shapes": shapes}).encode() + b"\n")
        for picture in pictures.values():
            output.write(np.ascontiguousarray(picture).data)
    output.flush()


def main(words: Sequence[str] | None = None) -> int:
    """Answers until the input ends; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m predecode.canary", description=__doc__)
    parser.add_argument("--src", default="b1k")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--size", default="224")
    parser.add_argument("--backend", default="pyav")
    parser.add_argument("--backend-python", action="append", default=[])
    given = parser.parse_args(words)
    try:
        source = open_source(given.src, given.root)
        opened = OpenEpisodes(
            source.root,
            load_backend(given.backend, parse_backend_python(given.backend_python)),
            settings=make_settings(source, size=given.size),
            num_cameras=len(source.cameras),
            num_recent=1,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    frames = Frames(source, opened)
    for wish in sys.stdin.buffer:
        answer(frames, wish, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
