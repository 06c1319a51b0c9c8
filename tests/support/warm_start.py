"""Runs of the reference trainer forked from a process that has imported torch and run nothing.

Importing torch, and what its optimizers import, takes five seconds of a core; a fork takes none. As
a program it reads a JSON list a line (words, variables, file for the output, file for the errors)
and answers each with the exit status of ``python -m train_shards.train`` with these words.
"""

import functools
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["train_warm"]

LIMIT_S = 300
"""A trainer that hangs ends."""


def train_warm(
    words: list[str], variables: dict[str, str], folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Trains to the end; ``folder`` is for what is said meanwhile."""
    files = [folder / "stdout.txt", folder / "stderr.txt"]
    server = _server(variables["OMP_NUM_THREADS"])
    assert server.stdin is not None
    assert server.stdout is not None
    print(json.dumps([words, variables, *map(str, files)]), file=server.stdin, flush=True)
    status = int(server.stdout.readline())
    return subprocess.CompletedProcess(words, status, *(file.read_text() for file in files))


@functools.cache
def _server(num_threads: str) -> "subprocess.Popen[str]":
    """The process that forks, which ends with its input: when this process ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_start"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": num_threads},
    )  # fmt: skip


def main() -> None:
    """Serves until its input ends; a child goes on as the trainer, to the interpreter's own end."""
    import hydra  # noqa: F401
    import torch._dynamo  # noqa: F401

    for line in sys.stdin:
        words, variables, *files = json.loads(line)
        child = os.fork()
        if child:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        for descriptor, path in enumerate(["/dev/null", *files]):
            mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if descriptor else os.O_RDONLY
            os.dup2(os.open(path, mode), descriptor)
        os.environ.clear()
        os.environ.update(variables)
        sys.argv[1:] = words
        signal.alarm(LIMIT_S)
        break
    else:
        return
    runpy.run_module("train_shards.train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
