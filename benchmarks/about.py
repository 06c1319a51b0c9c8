"""What a benchmark's figures depend on."""

import os
import platform
import shlex
import sys
from typing import Any

from predecode.video.probe import library_versions

__all__ = ["about"]


def about(name: str) -> dict[str, Any]:
    """Returns the command as it was typed, the machine and the versions of libraries."""
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **library_versions()},
    }
