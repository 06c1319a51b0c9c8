"""How many tasks the nodes of a cluster take at a time, by CPUs and memory. Pure; knows no Ray."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["NodeSize", "TaskSize", "narrow_note", "num_slots", "sizes_of", "too_small"]

_MB = 1_000_000


class NodeSize(NamedTuple):
    """What a node has in all, whoever uses it."""

    num_cpus: int
    memory_bytes: int
    name: str = ""


class TaskSize(NamedTuple):
    """What a task asks for: a CPU, and memory."""

    memory_bytes: int

    def slots_of(self, node: NodeSize) -> int:
        """Returns how many tasks a node takes at a time.

        >>> TaskSize(4_000_000_000).slots_of(NodeSize(8, 9_000_000_000))
        2
        """
        if not self.memory_bytes:
            return node.num_cpus
        return min(node.num_cpus, node.memory_bytes // self.memory_bytes)


def sizes_of(nodes: Iterable[Mapping[str, Any]]) -> list[NodeSize]:
    """Returns the sizes of the nodes that are alive; of entries as ``ray.nodes()`` has them.

    Source: Ray 2.60.
    """
    return [
        NodeSize(
            int(node["Resources"].get("CPU", 0)),
            int(node["Resources"].get("memory", 0)),
            node["NodeManagerAddress"],
        )
        for node in nodes
        if node["Alive"]
    ]


def num_slots(nodes: Iterable[NodeSize], task: TaskSize) -> int:
    """Returns how many tasks all nodes take at a time."""
    return sum(task.slots_of(node) for node in nodes)


def narrow_note(nodes: Sequence[NodeSize], task: TaskSize) -> str | None:
    """Says that memory allows fewer tasks than CPUs; None where it does not."""
    slots, cpus = num_slots(nodes, task), sum(node.num_cpus for node in nodes)
    if not 0 < slots < cpus:
        return None
    return (
        f"{slots} of {cpus} CPUs used: {task.memory_bytes // _MB} MB of memory a task, for which "
        f"--memory-limit-mb stands; nodes have {_listed(nodes)}"
    )


def too_small(nodes: Sequence[NodeSize], task: TaskSize, waited_s: float) -> str:
    """Says that no node will ever take a task: what one needs, and what there is."""
    most_cpus = max((node.num_cpus for node in nodes), default=0)
    most_bytes = max((node.memory_bytes for node in nodes if node.num_cpus), default=0)
    if not nodes:
        have, way = "no node is alive", "Start nodes"
    elif not most_cpus:
        have, way = f"none of {len(nodes)} nodes has a CPU for tasks", "Add nodes with CPUs"
    else:
        have = f"nodes have {_listed(nodes)}"
        way = f"Set --memory-limit-mb to {most_bytes // _MB} or less, or add larger nodes"
    return (
        f"no node of the Ray cluster can take a task, for {waited_s:.0f} s: expected 1 CPU and "
        f"{task.memory_bytes // _MB} MB of memory, got: {have}. {way}; where nodes come later, "
        "wait longer with --node-wait-s."
    )


def _listed(nodes: Sequence[NodeSize]) -> str:
    """The largest node, and how many there are."""
    node = max(nodes, key=lambda n: (n.num_cpus > 0, n.memory_bytes))
    at_most = "at most " if len(nodes) > 1 else ""
    return (
        f"{at_most}{node.num_cpus} CPUs and {node.memory_bytes // _MB} MB ({node.name}; "
        f"{len(nodes)} in all)"
    )
