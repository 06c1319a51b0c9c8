"""Figures of a run, a JSON line an interval: ``.predecode/progress.jsonl`` of the output.

They tell of how an output was made, not of what it holds: no byte of a shard, receipt or manifest
depends on them, and only the last section of the card repeats them. A line that a killed run has
not written to its end is left out.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from predecode.display import format_bytes

__all__ = [
    "INTERVAL_S",
    "PROGRESS_PATH",
    "ProgressLine",
    "append_line",
    "figures_text",
    "read_lines",
    "total_of",
    "utilisation",
]

PROGRESS_PATH = ".predecode/progress.jsonl"
INTERVAL_S = 10.0
"""At most one line in so long a time, of some 500 bytes: 4 MB a day."""
_ADDED = (
    "done", "total", "elapsed_s", "num_tasks", "num_samples", "num_images", "num_bytes",
    "num_failures", "slot_s", "task_s", "cpu_s",
)  # fmt: skip


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of ``run`` or ``retry`` had done by some moment of one of its phases."""

    run: str
    """Which call: host, process id and start, with a colon between them."""
    time_unix_s: float
    phase: str
    unit: str
    """What ``done`` and ``total`` count."""
    done: int
    """Of this call; also in tasks that have not ended yet."""
    total: int
    elapsed_s: float
    """Since the phase began."""
    is_last: bool = False
    """Whether no task is left."""
    frames_per_s: float = 0.0
    """Decoded since the line before; in the last line, stored since the phase began."""
    images_per_s: float = 0.0
    num_tasks: int = 0
    """That have ended; what follows counts these alone."""
    num_samples: int = 0
    num_images: int = 0
    num_bytes: int = 0
    """Of shards and tables."""
    num_failures: int = 0
    """Episodes at fault, those of the source check among them."""
    num_slots: int = 0
    """Tasks that can work at a time."""
    slot_s: float = 0.0
    """Time that slots have been there for, up to the last task's end."""
    task_s: float = 0.0
    """Sum over tasks, of the wall clock."""
    cpu_s: float = 0.0
    """Sum over tasks, of the processor."""
    utilisation: float = 0.0
    """Share of the slots' time in which tasks computed; the rest: waiting, starting, idle."""
    stages_s: dict[str, float] = {}
    """Sum over tasks of each of ``stages.STAGES``."""

    def numbers(self) -> dict[str, float]:
        """Returns what can be drawn as curves."""
        values = msgspec.to_builtins(self)
        del values["time_unix_s"]
        stages = {f"{name}_s": value for name, value in values.pop("stages_s").items()}
        return {k: float(v) for k, v in values.items() if type(v) in (int, float)} | stages


def append_line(out: Path, line: ProgressLine) -> None:
    """Adds a line, whole or, where the process is killed, in part.

    Raises:
        OSError: the disk refuses.
    """
    path = out / PROGRESS_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(max(0, file.tell() - 1))
        begin = b"" if file.read(1) in (b"", b"\n") else b"\n"  # what a killed run left is no line
        file.write(begin + msgspec.json.encode(line) + b"\n")


def read_lines(out: Path) -> list[ProgressLine]:
    """Returns all lines, oldest first; none where there is no such file."""
    try:
        data = (out / PROGRESS_PATH).read_bytes()
    except FileNotFoundError:
        return []
    lines = []
    for text in data.split(b"\n"):
        try:
            lines.append(msgspec.json.decode(text, type=ProgressLine))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # cut short by a kill; or not ours, and then nothing rests on it
    return lines


def total_of(lines: Iterable[ProgressLine]) -> ProgressLine | None:
    """Returns the sum over all calls that stored something; None where none did.

    A call that was killed counts up to its last line.
    """
    of_call = {line.run: line for line in lines if line.num_bytes}
    if not of_call:
        return None
    calls = list(of_call.values())
    sums = {name: sum(getattr(call, name) for call in calls) for name in _ADDED}
    stages = {name: 0.0 for call in calls for name in call.stages_s}
    for name in stages:
        stages[name] = sum(call.stages_s.get(name, 0.0) for call in calls)
    elapsed_s = max(sums["elapsed_s"], 1e-9)
    return msgspec.structs.replace(
        calls[-1],
        **sums,
        stages_s=stages,
        frames_per_s=sums["num_samples"] / elapsed_s,
        images_per_s=sums["num_images"] / elapsed_s,
        utilisation=utilisation(sums["cpu_s"], sums["slot_s"]),
    )


def utilisation(cpu_s: float, slot_s: float) -> float:
    """Returns the share of the slots' time in which tasks computed; 0 before any task has ended."""
    return cpu_s / slot_s if slot_s else 0.0


def figures_text(line: ProgressLine) -> str:
    """Returns a line's figures for people."""
    per_image = 1000 / max(line.num_images, 1)
    stages = ", ".join(f"{name} {value * per_image:.2f}" for name, value in line.stages_s.items())
    return (
        f"{line.num_samples:,} frames, {line.num_images:,} images, {format_bytes(line.num_bytes)} "
        f"in {line.elapsed_s:,.1f} s: {line.frames_per_s:,.1f} frames/s, "
        f"{line.images_per_s:,.1f} images/s; {line.num_failures:,} episodes at fault; "
        f"utilisation {line.utilisation:.0%}; ms an image: {stages}"
    )
