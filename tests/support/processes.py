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


def raylet_of(process_id: int) -> int | None:
    """The raylet under which a process runs, as Ray tells its workers; None if it is gone."""
    try:
        words = Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = [word.split(b"=")[1] for word in words if word.startswith(b"RAY_RAYLET_PID=")]
    return int(found[0]) if found else None
