"""Processes of this machine, from /proc."""

from pathlib import Path


def task_processes(out: Path) -> list[int]:
    """Ids of the task processes that work on ``out``, which the file on their input names."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_task = b"predecode.task_process" in (folder / "cmdline").read_bytes()
            if is_task and str(out).encode() in (folder / "fd/0").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # gone meanwhile
    return found


def parent_of(process_id: int) -> int:
    """Source: field 4 of /proc/<pid>/stat."""
    stat = Path(f"/proc/{process_id}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])
