"""Outputs that hold a part of each episode: rows by frame, selections, spans, ends of windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stored import (
    TASKS,
    StoredEpisode,
    painted,
    settings_of,
    state_of,
    write_generation,
    write_manifest,
)
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError
from train_shards.index import EPISODE_DTYPE, LIVE, stored_range
from train_shards.norm_stats import chunk_counts
from train_shards.selection import Selection, selected_runs, spans_of_runs
from train_shards.storage_order import StorageOrder

HEAD, WRIST = "observation.images.rgb.head", "observation.images.rgb.left_wrist"
STATE = "observation.state"
EPISODES = [
    StoredEpisode(10, 12, frames=(3, 9)),
    StoredEpisode(20, 6, frames=(1, 2), is_live=False),
    StoredEpisode(40, 10),
    StoredEpisode(70010, 11, task_index=7, frames=(7, 11)),
]
SAMPLES = {
    1: [(10, f) for f in range(3, 9)]
    + [(40, f) for f in range(10)]
    + [(70010, f) for f in (7, 8, 9, 10)],
    3: [(10, 3), (10, 6), (40, 0), (40, 3), (40, 6), (40, 9), (70010, 9)],
}
"""Stride -> the live samples in order."""

Output = Callable[[int], Path]


@pytest.fixture(scope="module")
def out_of(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Outputs of both strides, in two shards of shuffled samples; of episode 20 frame 1 is masked.

    With a stride of 3 that episode has no frame.
    """
    outs = {}
    for stride, samples in SAMPLES.items():
        settings = settings_of(stride=stride, annotated_only=True)
        episodes = [e for e in EPISODES if e.stored(stride)]
        every = [*samples, (20, 1)] if stride == 1 else samples
        shuffled = [every[i * 5 % len(every)] for i in range(len(every))]
        assert sorted(shuffled) == sorted(every)
        outs[stride] = tmp_path_factory.mktemp(f"parts-{stride}")
        shards = [shuffled[:4], shuffled[4:]]
        generation = write_generation(outs[stride], settings, episodes, shards)
        write_manifest(outs[stride], settings, [generation], tasks=TASKS)
    return outs.__getitem__


def ids(dataset: ShardDataset) -> list[tuple[int, int]]:
    found = []
    for position in range(len(dataset)):
        item = dataset[position]
        sample = int(item["episode_index"]), int(item["frame_index"])
        assert np.array_equal(item[HEAD], painted(*sample, "head"))
        assert np.array_equal(item[STATE], state_of(*sample))
        found.append(sample)
    return found


@pytest.mark.parametrize("stride", SAMPLES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tasks": [7]},
        {"frames": (0, 8)},
        {"frames": (3, 4)},
        {"frames": (6, 99)},
        {"frames": (9, 10)},
        {"frames": (-5, 7)},
        {"tasks": [0], "frames": (4, 9)},
    ],
    ids=str,
)
def test_a_selection_counts_the_episodes_own_frames(
    out_of: Output, stride: int, options: dict[str, Any]
) -> None:
    first, stop = options.get("frames", (0, 99))
    expected = [
        (episode, frame)
        for episode, frame in SAMPLES[stride]
        if first <= frame < stop
        and ("tasks" not in options or options["tasks"] == [episode // 10**4])
    ]
    dataset = ShardDataset(out_of(stride), **options)
    assert ids(dataset) == expected
    said = [
        (span.episode_index, span.first_frame + row * span.stride)
        for span in dataset.spans()
        for row in range(span.num_samples)
    ]
    assert said == expected
    order = StorageOrder(dataset, block_size=3, lanes=2)
    positions = order.samples(np.arange(len(dataset)))
    assert sorted(positions.tolist()) == list(range(len(dataset)))
    dataset.close()


def test_image_windows_end_with_the_stored_frames_and_others_go_on(out_of: Output) -> None:
    steps = range(-4, 5)
    deltas_s = {key: [k / 30 for k in steps] for key in (HEAD, STATE)}
    dataset = ShardDataset(out_of(1), delta_timestamps=deltas_s)
    lengths = {10: 12, 40: 10, 70010: 11}
    stored = {10: (3, 8), 40: (0, 9), 70010: (7, 10)}
    assert len(dataset) == len(SAMPLES[1]) == 20
    for position, (episode, frame) in enumerate(SAMPLES[1]):
        item = dataset[position]
        first, last = stored[episode]
        shown = [min(max(frame + k, first), last) for k in steps]
        assert np.array_equal(item[HEAD], [painted(episode, f, "head") for f in shown])
        assert item[f"{HEAD}_is_pad"].tolist() == [not first <= frame + k <= last for k in steps]
        real = [min(max(frame + k, 0), lengths[episode] - 1) for k in steps]
        assert np.array_equal(item[STATE], [state_of(episode, f) for f in real])
        outside = [not 0 <= frame + k < lengths[episode] for k in steps]
        assert item[f"{STATE}_is_pad"].tolist() == outside
        assert item[WRIST].shape == (16, 24, 3)
    dataset.close()


def test_image_windows_on_a_stride_begin_with_the_first_stored_frame(out_of: Output) -> None:
    dataset = ShardDataset(out_of(3), delta_timestamps={HEAD: [-6 / 30, -3 / 30, 0.0]})
    for position, (episode, frame) in enumerate(SAMPLES[3]):
        item = dataset[position]
        first = {10: 3, 40: 0, 70010: 9}[episode]
        shown = [max(frame + k, first) for k in (-6, -3, 0)]
        assert np.array_equal(item[HEAD], [painted(episode, f, "head") for f in shown])
        assert item[f"{HEAD}_is_pad"].tolist() == [frame - 6 < first, frame - 3 < first, False]
    dataset.close()


def test_a_frame_that_is_not_stored_has_no_neighbour(out_of: Output) -> None:
    dataset = ShardDataset(out_of(1))
    reader = dataset.open_reader()
    place = reader.locate(0)  # frame 3 of episode 10, whose last stored frame is 8
    assert reader.neighbour(place, 8).frame_index == 8
    assert place.stored == (3, 9)
    with pytest.raises(DataError, match="frame 9 of it is not stored"):
        reader.neighbour(place, 9)
    dataset.close()


def test_a_record_tells_its_frames() -> None:
    record = np.zeros(1, EPISODE_DTYPE)[0]
    record["num_rows"] = 4
    assert stored_range(record, 3) == (0, 10)  # frames 0, 3, 6, 9
    record["first_frame"] = 6
    assert stored_range(record, 3) == (6, 16)
    assert stored_range(record, 1) == (6, 10)
    assert EPISODE_DTYPE.itemsize == 56
    assert EPISODE_DTYPE.fields is not None
    assert EPISODE_DTYPE.fields["first_frame"][1] == 52  # where 1.0 wrote a reserved 0


PARTS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 30), st.booleans()), min_size=1, max_size=6
)


@given(PARTS, st.integers(1, 7), st.integers(-5, 60), st.integers(-5, 60))
def test_runs_and_spans_are_those_of_the_frames(
    parts: list[tuple[int, int, bool]], stride: int, first: int, stop: int
) -> None:
    records = np.zeros(len(parts), EPISODE_DTYPE)
    listed: list[tuple[int, int]] = []  # row -> sample
    live = []
    for number, (record, (start, length, is_live)) in enumerate(zip(records, parts, strict=True)):
        frames = [f for f in range(start, start + length) if f % stride == 0]
        record["episode_index"] = number
        record["row_start"], record["num_rows"] = len(listed), len(frames)
        record["first_frame"] = frames[0] if frames else 0
        record["flags"] = LIVE if is_live else 0
        live += [(number, f) for f in frames if is_live and first <= f < stop]
        listed += [(number, f) for f in frames]
    runs = selected_runs(records, Selection(frames=(first, stop)), {}, stride)
    rows = [
        start + k
        for start, before, after in zip(runs.starts, runs.before, runs.before[1:], strict=False)
        for k in range(after - before)
    ]
    assert [listed[row] for row in rows] == live
    spans = spans_of_runs(records, runs, stride, 100)
    said = [
        (span.start + k, span.episode_index, span.first_frame + k * stride)
        for span in spans
        for k in range(span.num_samples)
    ]
    assert said == [(100 + n, *sample) for n, sample in enumerate(live)]


def test_statistics_of_actions_count_the_chunks_of_stored_frames() -> None:
    """Two samples, frames 4 and 5 of 8, chunks of 3: rows 4, 5, 6 and 5, 6, 7."""
    counts = chunk_counts(np.array([4, 5]), 8, 3)
    assert counts.tolist() == [0, 0, 0, 0, 1, 2, 2, 1]
