"""``predecode.sample``: a small data set to try things on."""

from pathlib import Path

import msgspec

from predecode.api.option import as_call
from predecode.api.sample_options import SampleOptions
from predecode.config import check_folder, one_of
from predecode.display import Display
from predecode.sources.sample import make_sample
from predecode.sources.sample_2026 import make_sample_2026
from predecode.sources.sample_damage import damage_lines
from predecode.sources.sample_damaged import make_damaged_sample
from predecode.sources.sample_rft import make_sample_rft

__all__ = ["SampleResult", "sample", "sample_with"]

_MAKERS = {"2025": make_sample, "2026": make_sample_2026, "rft": make_sample_rft}


class SampleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was made."""

    root: str
    """Where it stands: the ``root`` of a run."""
    num_episodes: int
    num_frames: int
    """Time steps, not pictures."""
    num_bytes: int
    """Of all files."""
    planted: list[str]
    """What is at fault and what must be said of it, a line each."""


def sample_with(options: SampleOptions, display: Display) -> SampleResult:
    """Makes a small data set in the layout of BEHAVIOR-1K to try things on.

    Raises:
        UserError: no such edition, or a folder that is not empty.

    Cost: encodes video, some 30 s on two cores.
    """
    folder = Path(options.out)
    check_folder("--out", folder)
    one_of("--edition", options.edition, _MAKERS)
    planted = list[str]()
    if options.damaged:
        made, cases = make_damaged_sample(
            folder, edition=options.edition, full_size=options.full_size, display=display
        )
        planted = damage_lines(cases)
    else:
        made = _MAKERS[options.edition](folder, full_size=options.full_size, display=display)
    return SampleResult(
        root=str(folder),
        num_episodes=made.num_episodes,
        num_frames=made.num_frames,
        num_bytes=made.num_bytes,
        planted=planted,
    )


sample = as_call(SampleOptions, sample_with)
