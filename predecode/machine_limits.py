"""What a process may have here: CPUs and memory by its cgroup, shared memory, open files."""

import os
import resource
from pathlib import Path
from typing import NamedTuple

__all__ = ["Limits", "cgroup_cpus", "cgroup_memory_bytes", "machine_limits"]

_CGROUP = Path("/sys/fs/cgroup")
_SHARED_MEMORY = Path("/dev/shm")
_UNLIMITED_BYTES = 1 << 60
"""The first version of cgroups writes a number near 2**63 where there is no limit."""


class Limits(NamedTuple):
    """What a process may have."""

    num_cpus: int
    """Of the machine."""
    usable_cpus: float
    """By the process's affinity and its cgroup; the latter may be a part of a CPU."""
    memory_bytes: int
    """By the cgroup, else of the machine."""
    shared_memory_bytes: int | None
    """Size of ``/dev/shm``; None where there is none."""
    open_files: int
    """Soft limit of file descriptors."""
    most_open_files: int
    """Hard limit: what ``ulimit -n`` can raise it to."""


def machine_limits() -> Limits:
    """Returns the limits of this process. Cost: reads a few files of the kernel."""
    affinity = len(os.sched_getaffinity(0))
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits(
        num_cpus=os.cpu_count() or 1,
        usable_cpus=min(affinity, cgroup_cpus(_CGROUP) or affinity),
        memory_bytes=min(memory_bytes, cgroup_memory_bytes(_CGROUP) or memory_bytes),
        shared_memory_bytes=_size_of(_SHARED_MEMORY),
        open_files=soft,
        most_open_files=hard,
    )


def cgroup_cpus(root: Path) -> float | None:
    """Returns the CPUs that a cgroup may use at a time; None without a limit.

    Args:
        root: where the cgroup's files are, of either version.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (``cpu.max``), scheduler/sched-bwc.rst.
    """
    if words := _words(root / "cpu.max"):
        return None if words[0] == "max" else int(words[0]) / int(words[1])
    quota, period = (_words(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if not quota or not period or int(quota[0]) < 0:
        return None
    return int(quota[0]) / int(period[0])


def cgroup_memory_bytes(root: Path) -> int | None:
    """Returns the memory that a cgroup may use; None without a limit.

    Source: as of ``cgroup_cpus``; for version 1 Documentation/admin-guide/cgroup-v1/memory.rst.
    """
    words = _words(root / "memory.max") or _words(root / "memory" / "memory.limit_in_bytes")
    if not words or words[0] == "max" or int(words[0]) >= _UNLIMITED_BYTES:
        return None
    return int(words[0])


def _words(path: Path) -> list[str]:
    """A kernel's file; no words where this kernel or container has it not."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def _size_of(mount: Path) -> int | None:
    try:
        stats = os.statvfs(mount)
    except OSError:
        return None
    return stats.f_blocks * stats.f_frsize
