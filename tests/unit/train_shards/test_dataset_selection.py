"""What a data set serves: tasks, episodes, frames, windows, checked and damaged members."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stored import (
    StoredEpisode,
    painted,
    settings_of,
    state_of,
    write_generation,
    write_manifest,
)
from train_shards.dataset import ShardDataset
from train_shards.errors import DataError, UserError
from train_shards.manifest import MissingEpisode

HEAD = "observation.images.rgb.head"
STATE = "observation.state"

EPISODES = [
    StoredEpisode(10, 4),
    StoredEpisode(20, 3, is_live=False),
    StoredEpisode(40, 6),
    StoredEpisode(70010, 5, task_index=7),
    StoredEpisode(70020, 2, task_index=7),
]
LIVE = [(e.episode_index, f) for e in EPISODES if e.is_live for f in range(e.num_frames)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five episodes of two tasks, in two shards of shuffled samples; 30 was never planned."""
    folder = tmp_path_factory.mktemp("selection")
    samples = [(e.episode_index, f) for e in EPISODES for f in range(e.num_frames)]
    shuffled = [samples[i * 7 % 20] for i in range(20)]
    generation = write_generation(folder, settings_of(), EPISODES, [shuffled[:11], shuffled[11:]])
    write_manifest(
        folder,
        settings_of(),
        [generation],
        tasks={0: "open the drawer", 7: "close the drawer"},
        task_names={"open_drawer": 0, "close_drawer": 7},
        missing=[
            MissingEpisode(episode_index=20, task_index=0, ranges=[(0, 3)]),
            MissingEpisode(episode_index=30, task_index=0, ranges=[]),
        ],
    )
    return folder


def served(dataset: ShardDataset) -> list[tuple[int, int]]:
    items = [dataset[position] for position in range(len(dataset))]
    for item in items:
        sample = (int(item["episode_index"]), int(item["frame_index"]))
        assert LIVE[item["sample_index"]] == sample  # of the whole split, whatever is selected
        assert np.array_equal(item[HEAD], painted(*sample, "head"))
    return [(int(item["episode_index"]), int(item["frame_index"])) for item in items]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, LIVE),
        ({"tasks": [7]}, [s for s in LIVE if s[0] >= 70000]),
        ({"tasks": ["open_drawer"]}, [s for s in LIVE if s[0] < 70000]),
        ({"tasks": ["open_drawer", 7]}, LIVE),
        # task 0 has the ids 10, 20 (masked), 30 (never planned), 40: positions 0, 1, 2, 3
        ({"episodes": [0]}, [s for s in LIVE if s[0] in {10, 70010}]),
        ({"episodes": [1, 3]}, [s for s in LIVE if s[0] in {40, 70020}]),
        ({"frames": (1, 3)}, [s for s in LIVE if s[1] in {1, 2}]),
        ({"frames": (4, 99)}, [(40, 4), (40, 5), (70010, 4)]),
        ({"tasks": [0], "episodes": [3], "frames": (5, 6)}, [(40, 5)]),
    ],
    ids=str,
)
def test_a_selection_serves_exactly_its_samples(
    out: Path, options: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    assert served(ShardDataset(out, **options)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["shut_drawer"]}, "no task 'shut_drawer' here; expected some of close_drawer"),
        ({"tasks": [3]}, "no task 3 here"),
        ({"episodes": [2]}, "select no sample"),
        ({"image_dtype": "float16"}, "image_dtype 'float16': expected one of 'uint8', 'float32'"),
        ({"on_error": "ignore"}, "on_error 'ignore': expected one of 'raise', 'skip'"),
        ({"delta_timestamps": {"reward": [0.0]}}, "no column 'reward'; known: .*observation.state"),
        ({"delta_timestamps": {STATE: [0.01]}}, "0.300 frames at 30 fps"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused(out: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ShardDataset(out, **options)


def test_the_digest_names_the_samples_and_nothing_else(out: Path) -> None:
    digest = ShardDataset(out).digest
    assert len(digest) == 32
    assert ShardDataset(out, cameras=["head"], image_layout="CHW").digest == digest
    assert ShardDataset(out, tasks=[0, 7]).digest == digest
    others: list[dict[str, Any]] = [
        {"tasks": [7]},
        {"episodes": [0]},
        {"frames": (0, 2)},
        {"frames": (1, 3)},
    ]
    digests = {ShardDataset(out, **options).digest for options in others}
    assert len(digests | {digest}) == 5


def test_windows_of_rows_and_images(out: Path) -> None:
    deltas_s = {STATE: [0.0, 1 / 30, 2 / 30], HEAD: [-1 / 30, 0.0], "timestamp": [-2 / 30]}
    dataset = ShardDataset(out, delta_timestamps=deltas_s)
    for position, (episode_index, frame) in enumerate(LIVE):
        item = dataset[position]
        last = {10: 3, 40: 5, 70010: 4, 70020: 1}[episode_index]
        ahead = [min(frame + k, last) for k in range(3)]
        assert np.array_equal(item[STATE], [state_of(episode_index, f) for f in ahead])
        assert item[f"{STATE}_is_pad"].tolist() == [frame + k > last for k in range(3)]
        before = [max(frame - 1, 0), frame]
        assert np.array_equal(item[HEAD], [painted(episode_index, f, "head") for f in before])
        assert item[f"{HEAD}_is_pad"].tolist() == [frame == 0, False]
        assert item["timestamp"].tolist() == [max(frame - 2, 0) / 30]
        assert item["observation.images.rgb.left_wrist"].shape == (16, 24, 3)


def test_a_window_of_an_id_is_served_like_any_other(tmp_path: Path) -> None:
    rows = pa.table({"frame_index": pa.array(range(4), pa.int64()), "episode_index": [10] * 4})
    samples = [[(10, frame) for frame in range(4)]]
    generation = write_generation(
        tmp_path, settings_of(), [StoredEpisode(10, 4)], samples, tables=[rows]
    )
    write_manifest(tmp_path, settings_of(), [generation])
    item = ShardDataset(tmp_path, delta_timestamps={"frame_index": [-2 / 30, 0, 1 / 30]})[1]
    assert item["frame_index"].tolist() == [0, 1, 2]
    assert item["frame_index_is_pad"].tolist() == [True, False, False]
    assert item["episode_index"] == 10


def test_windows_reach_beyond_the_selected_frames(out: Path) -> None:
    """A selection says which items there are, not what their windows may look at."""
    dataset = ShardDataset(out, episodes=[0], frames=(2, 3), delta_timestamps={HEAD: [-2 / 30]})
    assert len(dataset) == 2
    assert np.array_equal(dataset[0][HEAD], [painted(10, 0, "head")])


def test_image_windows_need_stored_frames(out: Path, tmp_path: Path) -> None:
    settings = settings_of(stride=2)
    generation = write_generation(tmp_path, settings, [StoredEpisode(10, 1)], [[(10, 0)]])
    write_manifest(tmp_path, settings, [generation])
    with pytest.raises(UserError, match="expected multiples of 2 frames, none in the future"):
        ShardDataset(tmp_path, delta_timestamps={HEAD: [-1 / 30]})
    with pytest.raises(UserError, match="none in the future"):
        ShardDataset(tmp_path, delta_timestamps={HEAD: [2 / 30]})
    assert ShardDataset(tmp_path, delta_timestamps={HEAD: [-2 / 30]})[0][HEAD].shape[0] == 1
    assert out.is_dir()


def test_float_images_are_uint8_over_255(out: Path) -> None:
    item = ShardDataset(out, image_dtype="float32", image_layout="CHW")[2]
    assert item[HEAD].dtype == np.float32
    expected = np.array([10, 20, 100], np.float32) / np.float32(255)
    assert np.array_equal(item[HEAD][:, 0, 0], expected)


def test_transforms_see_the_finished_image(out: Path) -> None:
    dataset = ShardDataset(
        out,
        image_layout="CHW",
        image_transforms=lambda image: image.shape,
        delta_timestamps={HEAD: [-1 / 30, 0]},
    )
    assert dataset[3][HEAD] == (2, 3, 16, 24)
    assert dataset[3]["observation.images.rgb.left_wrist"] == (3, 16, 24)


@given(st.lists(st.integers(-17, 16), max_size=40), st.sampled_from([1, 2, 3]))
def test_a_batch_is_its_items(out: Path, positions: list[int], num_threads: int) -> None:
    dataset = ShardDataset(out, num_threads=num_threads)
    batch = dataset.__getitems__(positions)
    assert len(batch) == len(positions)
    for position, item in zip(positions, batch, strict=True):
        sample = LIVE[position]
        assert (item["episode_index"], item["frame_index"]) == sample
        assert np.array_equal(item[HEAD], painted(*sample, "head"))
        assert item[STATE].tolist() == state_of(*sample).tolist()
    dataset.close()


def test_items_of_a_batch_share_no_memory(out: Path) -> None:
    first, second = ShardDataset(out).__getitems__([4, 4])
    first[HEAD][:] = 0
    first[STATE][:] = 0
    assert np.array_equal(second[HEAD], painted(40, 0, "head"))
    assert second[STATE].tolist() == [40, 0, 0.5]


@pytest.fixture
def damaged(out: Path, tmp_path: Path) -> Path:
    """A copy in which the head pictures of (40, 1) and (40, 2) are another, sound picture's."""
    import shutil

    copy = Path(shutil.copytree(out, tmp_path / "damaged"))
    reader = ShardDataset(copy).open_reader()
    sound = reader.read([reader.locate(0)], ["head.png"])[0][0]
    for position in (5, 6):
        place = reader.locate(position)
        start, num_bytes = place.members[reader.fields.index("head.png")]
        assert num_bytes == len(sound)
        path = copy / reader._held[0].shards[place.shard].path
        data = bytearray(path.read_bytes())
        data[place.offset_bytes + start : place.offset_bytes + start + num_bytes] = sound
        path.write_bytes(data)
    return copy


def test_checked_members_are_compared_with_the_ledger(damaged: Path) -> None:
    assert ShardDataset(damaged)[5]["episode_index"] == 40  # unchecked, nothing is noticed
    dataset = ShardDataset(damaged, check_members=True)
    assert dataset[4]["frame_index"] == 0
    with pytest.raises(
        DataError,
        match=r"tiny-train-00000\d.tar, key ep00000040_f000001, member head.png \(\d+ bytes at "
        r"\d+\): xxh3 [0-9a-f]{16}, the ledger says [0-9a-f]{16}",
    ):
        dataset[5]


def test_skipping_serves_the_next_sound_sample_and_logs(
    damaged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = ShardDataset(damaged, check_members=True, on_error="skip")
    with caplog.at_level(logging.WARNING):
        items = dataset.__getitems__([4, 5, 7])
    assert [int(item["sample_index"]) for item in items] == [4, 7, 7]
    assert [record.getMessage()[:27] for record in caplog.records] == [
        "sample 5 skipped (1 so far)", "sample 6 skipped (2 so far)",
    ]  # fmt: skip


def test_skipping_ends_after_a_hundred(damaged: Path) -> None:
    dataset = ShardDataset(damaged, check_members=True, on_error="skip")
    for _ in range(49):
        assert dataset[5]["sample_index"] == 7
    with pytest.raises(DataError, match="the ledger says"):
        dataset[5]


def test_a_task_without_a_sentence_is_told(tmp_path: Path) -> None:
    settings = settings_of()
    generation = write_generation(tmp_path, settings, [StoredEpisode(10, 1, 9)], [[(10, 0)]])
    manifest = write_manifest(tmp_path, settings, [generation])
    assert 9 not in msgspec.structs.asdict(manifest)["tasks"]
    with pytest.raises(DataError, match="key ep00000010_f000000: task 9 is not in the manifest"):
        ShardDataset(tmp_path)[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"tasks": [7]}, {"episodes": [0, 3]}, {"frames": (1, 3)}, {"tasks": ["open_drawer"]}],
)
def test_spans_say_where_each_episodes_samples_stand(out: Path, options: dict[str, Any]) -> None:
    dataset = ShardDataset(out, **options)
    said = [
        (
            span.start + row,
            span.episode_index,
            span.task_index,
            span.first_frame + row * span.stride,
        )
        for span in dataset.spans()
        for row in range(span.num_samples)
    ]
    items = [dataset[position] for position in range(len(dataset))]
    assert said == [
        (position, item["episode_index"], item["task_index"], item["frame_index"])
        for position, item in enumerate(items)
    ]
    assert dataset.fps == (30, 1)
    dataset.close()
