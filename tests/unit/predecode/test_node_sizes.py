"""How many tasks nodes take, and what is said where they take none."""

import pytest

from predecode.node_sizes import NodeSize, TaskSize, narrow_note, num_slots, sizes_of, too_small

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("nodes", "task_gb", "expected"),
    [
        ([], 4, 0),
        ([(8, 32)], 4, 8),  # CPUs bound it
        ([(8, 9)], 4, 2),  # memory does
        ([(1, 3), (1, 3)], 4, 0),  # memory of two nodes is no memory of one
        ([(0, 64), (2, 8)], 4, 2),  # a head without CPUs
        ([(8, 0)], 0, 8),  # a task that asks for no memory
    ],
)
def test_tasks_at_a_time(nodes: list[tuple[int, int]], task_gb: int, expected: int) -> None:
    sizes = [NodeSize(cpus, memory * GB) for cpus, memory in nodes]
    assert num_slots(sizes, TaskSize(task_gb * GB)) == expected


def test_nodes_that_are_gone_have_no_size() -> None:
    told = [
        {"Alive": True, "NodeManagerAddress": "a", "Resources": {"CPU": 2.0, "memory": 5e9}},
        {"Alive": False, "NodeManagerAddress": "b", "Resources": {"CPU": 8.0, "memory": 5e9}},
        {"Alive": True, "NodeManagerAddress": "c", "Resources": {"node:c": 1.0}},
    ]
    assert sizes_of(told) == [NodeSize(2, 5 * GB, "a"), NodeSize(0, 0, "c")]


def test_the_note_comes_only_where_memory_leaves_cpus_idle() -> None:
    assert narrow_note([NodeSize(2, 8 * GB)], TaskSize(4 * GB)) is None
    assert narrow_note([NodeSize(2, 3 * GB)], TaskSize(4 * GB)) is None  # an error's business
    assert narrow_note([NodeSize(4, 9 * GB, "a")], TaskSize(4 * GB)) == (
        "2 of 4 CPUs used: 4000 MB of memory a task, for which --memory-limit-mb stands; "
        "nodes have 4 CPUs and 9000 MB (a; 1 in all)"
    )


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([], "got: no node is alive. Start nodes"),
        ([NodeSize(0, 64 * GB, "head")], "none of 1 nodes has a CPU for tasks. Add nodes"),
        (
            [NodeSize(0, 64 * GB, "head"), NodeSize(4, 2 * GB, "b"), NodeSize(9, GB, "c")],
            "at most 4 CPUs and 2000 MB (b; 3 in all). Set --memory-limit-mb to 2000 or less",
        ),
    ],
)
def test_what_is_needed_and_what_there_is(nodes: list[NodeSize], text: str) -> None:
    said = too_small(nodes, TaskSize(4 * GB), 60.4)
    assert "for 60 s: expected 1 CPU and 4000 MB of memory, got: " in said
    assert text in said
