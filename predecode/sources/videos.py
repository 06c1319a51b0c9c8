"""A plain folder of videos: one episode a file, one camera, the best video stream."""

from collections.abc import Iterable
from pathlib import Path

from predecode.sources.episode import Episode, VideoSpan
from train_shards.depth import DepthScale
from train_shards.errors import UserError

__all__ = ["CAMERA", "VideosSource"]

CAMERA = "video"
_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"}


class VideosSource:
    """Every video below a folder, numbered in the order of their paths; see ``Source``."""

    kind = "videos"
    state_layout = ""

    def __init__(self, root: Path) -> None:
        """Lists the files; opens none.

        Raises:
            UserError: no folder, or no video in it.
        """
        self.root = root
        self.cameras = {CAMERA: CAMERA}
        self.modalities: dict[str, dict[str, str]] = {}
        self.depth: DepthScale | None = None
        self.task_names: dict[str, int] = {}
        self.left_out: dict[str, str] = {}
        paths = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.suffix.lower() in _SUFFIXES and path.is_file()
        )
        if not paths:
            raise UserError(
                f"{root}: no video found; expected files ending in {' '.join(sorted(_SUFFIXES))}."
            )
        self.episodes = [
            Episode(
                episode_index=number,
                task_index=0,
                task="",
                num_frames=None,
                fps=None,
                videos={CAMERA: VideoSpan(key=CAMERA, path=path)},
                table=None,
            )
            for number, path in enumerate(paths)
        ]

    def metadata_files(self, episodes: Iterable[Episode]) -> list[str]:  # noqa: ARG002
        """Returns nothing: a folder of videos has no metadata."""
        return []
