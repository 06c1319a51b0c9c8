"""What a benchmark's figures depend on."""

import os
import platform
import shlex
import sys
from typing import Any

from predecode.video.probe import library_versions

__all__ = ["about", "as_launched"]


def about(name: str) -> dict[str, Any]:
    """Returns the command as it was typed, the machine and the versions of libraries."""
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **library_versions()},
    }


def as_launched(name: str) -> None:
    """Starts a benchmark once more with threads that sleep where they wait, unless told otherwise.

    As the launcher has it; torch has read the word when it was imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]])
