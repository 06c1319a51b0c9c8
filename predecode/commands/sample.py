"""predecode sample: a small data set to try things on."""

from pathlib import Path
from typing import Annotated

import typer

from predecode.errors import UserError

__all__ = ["sample"]


def sample(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the data set.")] = Path(
        "data/b1k"
    ),
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Pictures of 720 and 480 pixels (default: small).")
    ] = False,
    edition: Annotated[
        str,
        typer.Option(
            help="2025: a file an episode. 2026: files of several episodes. "
            "rft: rollouts in the layout of 2025, RGB."
        ),
    ] = "2025",
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Short RGB episodes of 2025 or 2026, nearly all at fault."),
    ] = False,
) -> None:
    """Make a small data set in the layout of BEHAVIOR-1K to try things on."""
    from predecode.config import check_folder
    from predecode.sources.sample import make_sample
    from predecode.sources.sample_2026 import make_sample_2026
    from predecode.sources.sample_damage import damage_lines
    from predecode.sources.sample_damaged import make_damaged_sample
    from predecode.sources.sample_rft import make_sample_rft

    check_folder("--out", out)
    makers = {"2025": make_sample, "2026": make_sample_2026, "rft": make_sample_rft}
    if edition not in makers:
        raise UserError(f"--edition {edition}: expected one of {', '.join(makers)}.")
    if damaged:
        made, cases = make_damaged_sample(out, edition=edition, full_size=full_size)
        for line in damage_lines(cases):
            print(line)
    else:
        made = makers[edition](out, full_size=full_size)
    print(
        f"{made.root}: {made.num_episodes} episodes, {made.num_frames:,} frames, "
        f"{made.num_bytes / 1e6:.1f} MB. Next: predecode run --src b1k --root {out} --out shards/"
    )
