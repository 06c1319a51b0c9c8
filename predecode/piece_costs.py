"""What is to be measured of pieces, and what was; plain data that travels to tasks and back.

Seconds are of the processor.
"""

import msgspec

from predecode.errors import EpisodeFault
from predecode.planning import Piece, PlannedEpisode
from predecode.sizing import EpisodeSize, SampleSize
from predecode.video.backends import STORING_BACKEND
from train_shards.manifest import Settings

__all__ = [
    "CameraCost",
    "ChoiceCost",
    "MeasureJob",
    "MeasureReceipt",
    "PieceCost",
    "PieceLook",
    "TableCost",
]


class PieceLook(msgspec.Struct, frozen=True, array_like=True):
    """A piece that is decoded whole."""

    piece: Piece
    num_draws: int
    """How many times the draw fell on it."""
    frames: list[int]
    """Those that are encoded, ascending; as many for each draw."""


class MeasureJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pieces to look at, and the table of the first one's episode."""

    root: str
    settings: Settings
    looks: list[PieceLook]
    episodes: list[PlannedEpisode]
    """Those of the pieces."""
    choices: list[Settings]
    """Other ways to encode; tried on one frame for each draw."""
    backend: str = STORING_BACKEND

    @property
    def name(self) -> str:
        """For messages."""
        return f"costs from episode {self.looks[0].piece.episode_index:08d}"


class CameraCost(msgspec.Struct, frozen=True, kw_only=True):
    """One camera's images of a piece."""

    open_s: float
    """Of the file and its frame table."""
    gop: float
    """Mean distance between keyframes, of the file."""
    sparse: tuple[int, int, float]
    """Pictures decoded, those of them converted, and the seconds of both."""
    spared: tuple[int, int, float]
    """The same where pictures that nothing needs are left out; they count as decoded."""
    dense: tuple[int, int, float]
    """The same where nearly each is converted."""
    resize_s: float
    """Of all frames that are encoded."""
    encode_s: float
    read_s: float
    """To decode what was encoded, as a training does."""


class ChoiceCost(msgspec.Struct, frozen=True, kw_only=True):
    """One way to encode, of some frames with all their images."""

    images_bytes: int
    """In a tar, with headers and padding."""
    resize_s: float
    encode_s: float


class PieceCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found."""

    num_draws: int
    num_frames: int
    """That were encoded."""
    open_rows_s: float
    """To read the episode's rows, whatever number of frames is stored."""
    rows_s: float
    """To make the members of the frames that are no images."""
    write_s: float
    """To keep, order and hash the frames' members, and to write them to memory."""
    tar_bytes: int
    """Of those members."""
    cameras: dict[str, CameraCost]
    draws: list[SampleSize]
    """Of each draw, the mean of its frames."""
    image_bytes: dict[str, list[float]]
    """Camera -> of each draw, the mean of its images."""
    choices: list[ChoiceCost]
    """The job's own settings, then each of its choices; of one frame for each draw."""


class TableCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one episode takes outside the tars."""

    size: EpisodeSize
    table_s: float
    check_s: float
    """Of the source check."""


class MeasureReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    start_s: float = 0.0
    """What the process took until it had done a little of everything."""
    pieces: list[PieceCost] = []
    tables: list[TableCost] = []
    faults: list[EpisodeFault] = []
    """Of episodes that could not be looked at; their own tasks will say so again."""
