"""Symbolic links in an output that lead out of it: nothing is written through one."""

import os
from pathlib import Path

from predecode.errors import UserError

__all__ = ["refuse_links_outside"]


def refuse_links_outside(out: Path) -> None:
    """Passes when every folder in an output is in it.

    Links to files do no harm: a file is written under another name and takes the link's place.

    Raises:
        UserError: a folder is a link to one elsewhere.

    Cost: lists the output.
    """
    inside = out.resolve()
    for folder, names, _ in os.walk(out):
        for path in (Path(folder, name) for name in names):
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise UserError(
                    f"{path}: a link to {path.resolve()}, outside of the output; files would be "
                    "written there. Move the whole output to that disk, or remove the link."
                )
