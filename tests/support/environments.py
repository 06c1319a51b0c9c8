"""Environments of their own for foreign libraries, made once a machine and for each set of pins."""

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[2] / ".venv-foreign"
"""Not tracked; ``rm -rf`` it to begin anew."""

TORCH = (
    "torch==2.13.0", "filelock==4.2.11", "fsspec==2026.9.0", "Jinja2==3.1.6", "MarkupSafe==3.0.4",
    "mpmath==1.3.0", "networkx==3.6.1", "numpy==2.4.6", "setuptools==84.2.1", "sympy==1.14.0",
    "typing_extensions==4.16.0",
)  # fmt: skip
"""torch with all that it depends on; both libraries import it as soon as they are imported."""


@dataclass(frozen=True)
class Environment:
    """A folder under ``HOME`` and everything that is installed in it."""

    name: str
    pins: tuple[str, ...]
    """Complete: nothing is resolved, so that no dependency chooses another torch."""

    @property
    def folder(self) -> Path:
        return HOME / self.name

    def make(self) -> None:
        """Installs the pins unless exactly they are there; the marker is written last."""
        HOME.mkdir(exist_ok=True)
        marker = self.folder / "ready"
        wanted = "\n".join((sys.version, sys.base_prefix, *TORCH, *self.pins))
        with (HOME / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            interpreter = self.folder / "bin/python"
            if interpreter.exists() and marker.exists() and marker.read_text() == wanted:
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            succeed([sys.executable, "-m", "venv", str(self.folder)])
            pins = self.folder / "pins.txt"
            pins.write_text("\n".join((*TORCH, *self.pins)))
            pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            # Few of the modules are ever imported: compiling all would take a minute.
            pip.append("--no-compile")
            # torch first, with its dependencies: which they are differs between its builds.
            succeed([*pip, "-c", str(pins), TORCH[0]])
            succeed([*pip, "--no-deps", "-r", str(pins)])
            marker.write_text(wanted)

    def run(
        self, program: str, *words: str | Path, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a program of the environment, away from this one and from any terminal."""
        return subprocess.run(
            [str(self.folder / "bin" / program), *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
            env={**outside_variables(), **variables},
        )  # fmt: skip


def outside_variables() -> dict[str, str]:
    """The variables of this process without those that lead into its own environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"
    }


def succeed(command: list[str]) -> None:
    """Runs a command, or fails with all that it said."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=900, env=outside_variables(),
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
