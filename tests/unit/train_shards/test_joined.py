"""Several outputs read as one: positions, batches, spans, resume, and what does not fit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch.utils.data

from tests.support.stored import (
    StoredEpisode,
    painted,
    settings_of,
    state_of,
    tiny_output,
    write_generation,
    write_manifest,
)
from train_shards.__main__ import main
from train_shards.dataset import ShardDataset
from train_shards.errors import UserError
from train_shards.items import IMAGE_KEY
from train_shards.joined import JoinedDataset
from train_shards.sampling import ResumableSampler

# ``tiny_output`` serves these; its episode 20 is masked.
FIRST = [(10, 0), (10, 1), (10, 2), (70010, 0), (70010, 1), (70010, 2), (70010, 3)]
SECOND = [(10, 0), (10, 1), (30, 0), (30, 1), (30, 2)]


def second_output(out: Path, **changes: Any) -> Path:
    """Two episodes, one of which has the id of another output's."""
    settings = settings_of(**{"name": "second", **changes})
    episodes = [StoredEpisode(10, 2), StoredEpisode(30, 3)]
    write_manifest(out, settings, [write_generation(out, settings, episodes, [SECOND[::-1]])])
    return out


@pytest.fixture
def outputs(tmp_path: Path) -> tuple[Path, Path]:
    tiny_output(tmp_path / "first")
    return tmp_path / "first", second_output(tmp_path / "second")


def joined(*outs: Path, **options: Any) -> JoinedDataset:
    return JoinedDataset([ShardDataset(out, **options) for out in outs])


def names(items: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(int(item["episode_index"]), int(item["frame_index"])) for item in items]


def test_positions_go_through_one_member_after_the_other(outputs: tuple[Path, Path]) -> None:
    dataset = joined(*outputs)
    assert len(dataset) == 12
    assert names([dataset[position] for position in range(12)]) == FIRST + SECOND
    assert names([dataset[-1]]) == SECOND[-1:]
    assert [dataset.place(position) for position in (0, 6, 7, 11)] == [
        (0, 0), (0, 6), (1, 0), (1, 4),
    ]  # fmt: skip
    with pytest.raises(IndexError, match="sample 12: expected 0 to 11"):
        dataset[12]


def test_a_batch_keeps_its_order_and_holds_each_frames_own_values(
    outputs: tuple[Path, Path],
) -> None:
    positions = [11, 0, 7, 6, 0]
    items = joined(*outputs).__getitems__(positions)
    expected = [(FIRST + SECOND)[position] for position in positions]
    assert names(items) == expected
    assert [int(item["sample_index"]) for item in items] == positions
    for item, (episode, frame) in zip(items, expected, strict=True):
        assert np.array_equal(item["observation.state"], state_of(episode, frame))
        for camera in ("head", "left_wrist"):
            assert np.array_equal(item[IMAGE_KEY + camera], painted(episode, frame, camera))


def test_the_sample_index_counts_what_is_not_selected_too(outputs: tuple[Path, Path]) -> None:
    first, second = outputs
    dataset = JoinedDataset([ShardDataset(first, tasks=[7]), ShardDataset(second, frames=(1, 9))])
    indices = [int(dataset[position]["sample_index"]) for position in range(len(dataset))]
    assert indices == [3, 4, 5, 6, 7 + 1, 7 + 3, 7 + 4]


def test_spans_tell_episodes_of_the_same_id_apart(outputs: tuple[Path, Path]) -> None:
    spans = joined(*outputs).spans()
    assert [(s.member, s.episode_index, s.start, s.num_samples) for s in spans] == [
        (0, 10, 0, 3), (0, 70010, 3, 4), (1, 10, 7, 2), (1, 30, 9, 3),
    ]  # fmt: skip


def test_the_digest_names_members_and_their_order(outputs: tuple[Path, Path]) -> None:
    first, second = outputs
    digests = {
        joined(first, second).digest,
        joined(second, first).digest,
        joined(first).digest,
        joined(first, first).digest,
        ShardDataset(first).digest,
        joined(first, second, tasks=[0]).digest,
    }
    assert len(digests) == 6
    assert joined(first, second).digest == joined(first, second, cameras=["head"]).digest


def test_it_pickles_small_and_reads_on(outputs: tuple[Path, Path]) -> None:
    dataset = joined(*outputs)
    dataset[0]
    data = torch.multiprocessing.reducer.ForkingPickler.dumps(dataset)
    assert len(data) < 5000
    again = torch.multiprocessing.reducer.ForkingPickler.loads(data)
    assert names(again.__getitems__([0, 11])) == [FIRST[0], SECOND[-1]]


def keep(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch


def epoch(dataset: JoinedDataset, consumed: int, rank: int = 0, world_size: int = 1) -> list[Any]:
    sampler = ResumableSampler(
        len(dataset), rank=rank, world_size=world_size, seed=5, batch_size=2, digest=dataset.digest
    )
    sampler.consumed = consumed
    loader: Any = torch.utils.data.DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=2, sampler=sampler, num_workers=2, collate_fn=keep,
    )  # fmt: skip
    return [names(batch) for batch in loader]


def test_an_order_over_members_resumes_exactly_also_with_more_ranks(
    outputs: tuple[Path, Path],
) -> None:
    dataset = joined(*outputs)
    whole = epoch(dataset, 0)
    assert sorted(sample for batch in whole for sample in batch) == sorted(FIRST + SECOND)
    assert epoch(dataset, 4) == whole[2:]
    ranks = [epoch(dataset, 4, rank, 2) for rank in range(2)]
    for number, (left, right) in enumerate(zip(*ranks, strict=True)):
        assert sorted(left + right) == sorted(whole[2 + 2 * number] + whole[3 + 2 * number])


def test_a_state_of_other_members_is_refused(outputs: tuple[Path, Path]) -> None:
    first, second = outputs
    sampler = ResumableSampler(12, digest=joined(first, second).digest)
    other = ResumableSampler(12, digest=joined(second, first).digest)
    with pytest.raises(UserError, match="digest"):
        other.load_state_dict(sampler.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cameras": {"head": "rgb.head"}},
            r"images {'head': 'rgb'}, .*first has {'head': 'rgb', 'left_wrist': 'rgb'}",
        ),
        (
            {"size": "16x24"},
            r"'observation.images.rgb.head' is uint8 \(24, 16, 3\), in .*first it is uint8 \(16, 2",
        ),
        ({"state_layout": "b1k-2026-61"}, "layout of the state 'b1k-2026-61', .*'b1k-2025-256'"),
    ],
)
def test_outputs_of_another_kind_are_refused(
    outputs: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    other = tmp_path / "other"
    if "size" in changes:
        turned_output(other)
    else:
        second_output(other, **changes)
    with pytest.raises(UserError, match=message) as caught:
        joined(outputs[0], other)
    assert str(caught.value).startswith(f"{tmp_path}/other: ")


def turned_output(out: Path) -> None:
    """An output whose pictures are as wide as the others' are high."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.stored.HEIGHT_PX", 24)
        patch.setattr("tests.support.stored.WIDTH_PX", 16)
        second_output(out, size="16x24")


def test_another_frame_rate_is_refused(outputs: tuple[Path, Path]) -> None:
    first, second = outputs
    path = second / ".predecode/manifest.json"
    manifest = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(manifest | {"fps": [15, 1]}))
    with pytest.raises(UserError, match=r"frames a second \(15, 1\), .* has \(30, 1\)"):
        joined(first, second)


def test_other_windows_are_refused(outputs: tuple[Path, Path]) -> None:
    first, second = outputs
    members = [
        ShardDataset(first, delta_timestamps={"observation.state": [0.0, 1 / 30]}),
        ShardDataset(second, delta_timestamps={"observation.state": [0.0, 2 / 30]}),
    ]
    with pytest.raises(UserError, match=r"windows in frames .*\[0, 2\].* has .*\[0, 1\]"):
        JoinedDataset(members)


def test_a_column_of_one_alone_is_refused_unless_columns_are_chosen(
    outputs: tuple[Path, Path], tmp_path: Path
) -> None:
    out, settings = tmp_path / "more", settings_of(name="more")
    state = pa.FixedSizeListArray.from_arrays(pa.array(state_of(50, 0)), 3)
    table = pa.table({"observation.state": state, "timestamp": [0.0], "force": [1.5]})
    episodes = [StoredEpisode(50, 1)]
    entry = write_generation(out, settings, episodes, [[(50, 0)]], tables=[table])
    write_manifest(out, settings, [entry])
    with pytest.raises(UserError, match="first: no 'force' in its items, .*more has it. Name the"):
        joined(outputs[0], out)
    assert len(joined(outputs[0], out, columns=["observation.state"])) == 8


def test_no_member_is_refused() -> None:
    with pytest.raises(UserError, match="no member"):
        JoinedDataset([])


def test_the_command_reads_several_outputs(
    outputs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train_shards", *map(str, outputs)])
    assert main() == 0
    text = capsys.readouterr().out
    assert f"{outputs[0]}: 7 samples" in text
    assert f"{outputs[1]}: 5 samples" in text
    assert "item 11" in text


def test_the_command_ends_quietly_where_nobody_reads_on(outputs: tuple[Path, Path]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "train_shards", *map(str, outputs)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
