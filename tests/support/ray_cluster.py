"""A Ray cluster of several raylets on this machine, in a process of its own that tests talk to.

As a program it holds a ``ray.cluster_utils.Cluster``, reads a JSON list a line (a name and its
argument) and answers each with one line.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OBJECT_STORE_BYTES = 80_000_000
"""Ray's least is 78,643,200 (75 MiB)."""


class LocalCluster:
    """A cluster whose nodes each have a raylet and a CPU of their own on this machine."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.address = ""
        self.raylets: list[int] = []
        """Their process ids, the head's first, then in the order in which nodes were added."""

    def add(self, **resources: Any) -> int:
        """Adds a node, the head first; returns its raylet's process id once it is known."""
        told = self._ask("add", resources)
        self.address = told["address"]
        self.raylets.append(told["raylet"])
        return self.raylets[-1]

    def kill(self, number: int) -> None:
        """SIGKILL to a node's raylet and what was started with it; of the head also the GCS."""
        self._ask("kill", number)

    def _ask(self, name: str, argument: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([name, argument]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the cluster's process ended at {name}"
        return json.loads(line)


@contextmanager
def local_cluster(*nodes: dict[str, Any]) -> Iterator[LocalCluster]:
    """A cluster for the time of a ``with`` block; each of ``nodes`` is given to ``add``."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.ray_cluster"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"},
        start_new_session=True,
    ) as process:
        cluster = LocalCluster(process)
        try:
            for resources in nodes:
                cluster.add(**resources)
            yield cluster
        finally:
            process.communicate()  # the end of its input ends it


def main() -> None:
    """Serves one cluster until its input ends."""
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray may print
    cluster: Any = Cluster()
    added: list[Any] = []

    def add(resources: dict[str, Any]) -> dict[str, str]:
        node = cluster.add_node(
            **{"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False, **resources}
        )
        added.append(node)
        raylet = node.all_processes["raylet"][0].process.pid
        return {"address": cluster.address, "raylet": raylet}

    def kill(number: int) -> None:
        for infos in added[number].all_processes.values():
            for info in infos:
                info.process.send_signal(signal.SIGKILL)

    commands: dict[str, Callable[[Any], Any]] = {"add": add, "kill": kill}
    for line in sys.stdin:
        name, argument = json.loads(line)
        print(json.dumps(commands[name](argument)), file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
