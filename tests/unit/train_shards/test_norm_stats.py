"""openpi's norm_stats.json: numpy on the concatenated rows is the oracle, and no tar is opened."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tests.support.stored import (
    StoredEpisode,
    settings_of,
    write_generation,
    write_manifest,
)
from train_shards.b1k_state import policy_state
from train_shards.errors import DataError, UserError
from train_shards.lowdim import write_lowdim
from train_shards.norm_stats import chunk_counts, corpus_stats, main, upstream_stats
from train_shards.norm_stats_file import read_norm_stats, write_norm_stats

EPISODES = [
    StoredEpisode(10, 40),
    StoredEpisode(20, 25, is_live=False),
    StoredEpisode(70010, 7, task_index=7),
]
LIVE = [10, 70010]

Rows = dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]


def rows_of(episodes: Sequence[StoredEpisode]) -> Rows:
    """For each episode its states ``(T, 256)`` and actions ``(T, 23)``."""
    rng = np.random.default_rng(3)
    return {
        e.episode_index: (
            rng.normal(e.episode_index, 2, (e.num_frames, 256)).astype(np.float32),
            rng.normal(0, 1, (e.num_frames, 23)).astype(np.float32),
        )
        for e in episodes
    }


def lists(values: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def write_rows(out: Path, rows: Rows) -> None:
    """Puts these rows into the output's only table."""
    tables = [
        pa.table({"observation.state": lists(states), "action": lists(actions)})
        for states, actions in rows.values()
    ]
    with (out / "lowdim/tiny-lowdim-000000.arrow").open("wb") as file:
        write_lowdim(file, tables)


@pytest.fixture
def rows() -> Rows:
    return rows_of(EPISODES)


@pytest.fixture
def out(tmp_path: Path, rows: Rows) -> Path:
    """An output without its tars: what is not there cannot be read."""
    out = tmp_path / "shards"
    samples = [(e.episode_index, f) for e in EPISODES for f in range(e.num_frames)]
    settings = settings_of()
    generation = write_generation(out, settings, EPISODES, [samples])
    write_manifest(out, settings, [generation])
    write_rows(out, rows)
    shutil.rmtree(out / "data")
    return out


def in_chunks(actions: NDArray[np.float32], horizon: int) -> NDArray[np.float32]:
    """Every row of every action chunk of an episode, one below the other."""
    chunks = [
        actions[min(frame + step, len(actions) - 1)]
        for frame in range(len(actions))
        for step in range(horizon)
    ]
    return np.array(chunks)


def check(stats: Any, values: NDArray[Any]) -> None:
    exact = values.astype(np.float64)
    np.testing.assert_allclose(stats.mean, exact.mean(axis=0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stats.std, exact.std(axis=0), rtol=1e-10)
    np.testing.assert_allclose(stats.q01, np.quantile(exact, 0.01, axis=0), rtol=1e-12)
    np.testing.assert_allclose(stats.q99, np.quantile(exact, 0.99, axis=0), rtol=1e-12)


def test_corpus_statistics_are_those_of_the_rows_that_training_reads(out: Path, rows: Rows) -> None:
    stats, num_frames = corpus_stats(out, action_horizon=5)
    assert num_frames == 47
    check(stats["state"], np.concatenate([policy_state(rows[e][0]) for e in LIVE]))
    check(stats["actions"], np.concatenate([in_chunks(rows[e][1], 5) for e in LIVE]))


def test_statistics_of_two_outputs_are_those_of_all_their_rows(out: Path, rows: Rows) -> None:
    more = {e: (states + 1, actions * 2) for e, (states, actions) in rows.items()}
    other = Path(shutil.copytree(out, out.with_name("other")))
    write_rows(other, more)
    stats, num_frames = corpus_stats([out, other], action_horizon=5)
    assert num_frames == 2 * 47
    both = [own[e] for own in (rows, more) for e in LIVE]
    check(stats["state"], np.concatenate([policy_state(states) for states, _ in both]))
    check(stats["actions"], np.concatenate([in_chunks(actions, 5) for _, actions in both]))


def test_only_the_tasks_that_are_asked_for_count(out: Path, rows: Rows) -> None:
    stats, num_frames = corpus_stats(out, action_horizon=9, tasks=[7])
    assert num_frames == 7
    check(stats["state"], policy_state(rows[70010][0]))
    check(stats["actions"], in_chunks(rows[70010][1], 9))


@pytest.mark.parametrize(
    ("frames", "stored", "chunks"),
    [
        (None, [0, 3, 6, 9], [0, 1, 3, 4, 6, 7, 9, 9]),
        ((2, 8), [3, 6], [3, 4, 6, 7]),  # labelled frames: a chunk goes on beyond them
    ],
)
def test_frames_that_are_not_stored_are_no_samples(
    tmp_path: Path, frames: tuple[int, int] | None, stored: list[int], chunks: list[int]
) -> None:
    episodes = [StoredEpisode(10, 10, frames=frames)]
    settings = settings_of(stride=3)
    out = tmp_path / "shards"
    generation = write_generation(out, settings, episodes, [[(10, f) for f in stored]])
    write_manifest(out, settings, [generation])
    rows = rows_of(episodes)
    write_rows(out, rows)
    stats, num_frames = corpus_stats(out, action_horizon=2)
    states, actions = rows[10]
    assert num_frames == len(stored)
    check(stats["state"], policy_state(states[stored]))
    check(stats["actions"], actions[chunks])


@pytest.mark.parametrize(
    ("frames", "num_frames", "horizon", "expected"),
    [
        ([0, 1, 2, 3], 4, 1, [1, 1, 1, 1]),
        ([0, 1, 2, 3], 4, 3, [1, 2, 3, 6]),
        ([0], 1, 32, [32]),
        ([0, 1], 2, 5, [1, 9]),  # a horizon longer than the episode
        ([0, 3], 5, 2, [1, 1, 0, 1, 1]),  # stride 3: row 2 is never read
        ([1, 2], 4, 3, [0, 1, 2, 3]),
    ],
)
def test_a_row_counts_once_for_each_chunk_that_holds_it(
    frames: list[int], num_frames: int, horizon: int, expected: list[int]
) -> None:
    assert chunk_counts(np.array(frames), num_frames, horizon).tolist() == expected


def test_the_state_is_chosen_by_the_published_index_table() -> None:
    state = np.arange(512, dtype=np.float32).reshape(2, 256)
    first = [253, 254, 255, 236, 237, 238, 239, *range(158, 165), *range(197, 204)]
    got = policy_state(state)
    assert got.dtype == np.float32
    assert got[0].tolist() == [*first, 193 + 194, 232 + 233]
    assert got[1].tolist() == [*(256 + i for i in first), 2 * 256 + 387, 2 * 256 + 465]


def test_a_state_of_the_2026_edition_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(61,\), expected 256"):
        policy_state(np.zeros(61))


def test_a_value_that_is_not_finite_names_its_episode(out: Path, rows: Rows) -> None:
    rows[70010][1][3, 5] = np.nan
    write_rows(out, rows)
    with pytest.raises(DataError, match=r"70010, 'action': not finite in 1 rows, the first 3"):
        corpus_stats(out)


def test_a_masked_episode_may_be_broken(out: Path, rows: Rows) -> None:
    rows[20][0][:] = np.inf
    write_rows(out, rows)
    assert corpus_stats(out)[1] == 47


def episode_stats(rows: Rows) -> str:
    """``episodes_stats.jsonl`` as the 2025 edition has it."""
    lines = []
    for episode, (states, actions) in rows.items():
        stats = {
            key: {
                "mean": values.mean(axis=0, dtype=np.float64).tolist(),
                "std": values.std(axis=0, dtype=np.float64).tolist(),
                "q01": np.quantile(values.astype(np.float64), 0.01, axis=0).tolist(),
                "q99": np.quantile(values.astype(np.float64), 0.99, axis=0).tolist(),
                "count": [len(values)],
            }
            for key, values in (("observation.state", states), ("action", actions))
        }
        lines.append(json.dumps({"episode_index": episode, "stats": stats}))
    return "\n".join(lines) + "\n"


def test_upstream_moments_are_the_corpus_and_its_quantiles_are_percentiles_of_percentiles(
    tmp_path: Path, rows: Rows
) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/episodes_stats.jsonl").write_text(episode_stats(rows))
    stats, num_frames = upstream_stats(tmp_path)
    actions = [pair[1].astype(np.float64) for pair in rows.values()]
    states = [pair[0].astype(np.float64) for pair in rows.values()]
    assert num_frames == 72
    together = np.concatenate(actions)
    np.testing.assert_allclose(stats["actions"].mean, together.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stats["actions"].std, together.std(axis=0), rtol=1e-9)
    q01 = np.percentile([np.quantile(a, 0.01, axis=0) for a in actions], 1, axis=0)
    q99 = np.percentile([np.quantile(a, 0.99, axis=0) for a in actions], 99, axis=0)
    np.testing.assert_allclose(stats["actions"].q01, q01, rtol=1e-12)
    np.testing.assert_allclose(stats["actions"].q99, q99, rtol=1e-12)
    std = np.concatenate(states).std(axis=0)
    assert stats["state"].std[21] == pytest.approx(std[193] + std[194])  # added, as upstream does
    assert stats["state"].std[0] == pytest.approx(std[253])


def test_upstream_takes_the_live_episodes_of_an_output(out: Path, rows: Rows) -> None:
    (out / "meta").mkdir()
    (out / "meta/episodes_stats.jsonl").write_text(episode_stats(rows))
    assert main([f"shards={out}", "method=upstream", f"out={out.parent}"]) == 0
    live = np.concatenate([rows[e][1] for e in LIVE]).astype(np.float64)
    stats = read_norm_stats(out.parent / "norm_stats.json")
    np.testing.assert_allclose(stats["actions"].mean, live.mean(axis=0), atol=1e-7)


def test_an_episode_without_statistics_is_an_error(out: Path, rows: Rows) -> None:
    del rows[70010]
    (out / "meta").mkdir()
    (out / "meta/episodes_stats.jsonl").write_text(episode_stats(rows))
    with pytest.raises(DataError, match=r"1 episodes missing, the first \[70010\]"):
        upstream_stats(out, frozenset(LIVE))


def test_the_file_has_openpis_form(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"shards={out}", f"out={tmp_path}", "action_horizon=3"]) == 0
    assert (
        capsys.readouterr().out == f"{tmp_path}/norm_stats.json: corpus statistics of 47 frames\n"
    )
    content = json.loads((tmp_path / "norm_stats.json").read_text())
    assert list(content) == ["norm_stats"]
    assert {key: list(one) for key, one in content["norm_stats"].items()} == {
        "state": ["mean", "std", "q01", "q99"],
        "actions": ["mean", "std", "q01", "q99"],
    }
    for one in content["norm_stats"].values():
        for vector in one.values():
            assert len(vector) == 32
            assert vector[23:] == [0.0] * 9


def test_what_is_read_back_is_what_was_written(out: Path, tmp_path: Path) -> None:
    stats, _ = corpus_stats(out)
    read = read_norm_stats(write_norm_stats(tmp_path / "new", stats))
    for key, one in stats.items():
        for name, vector in one._asdict().items():
            assert np.array_equal(getattr(read[key], name), vector)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected shards=DIR"),
        (["shards=x", "root=y"], "expected shards=DIR"),
        (["root=y"], "method=corpus reads shards=DIR"),
        (["shards=x", "method=mean"], "method=mean: expected"),
        (["shards=x", "horizon=3"], "horizon: expected"),
        (["shards"], "shards: expected"),
        (["shards=x", "action_horizon=-1"], "expected a number"),
        (["shards=x", "method=upstream", "action_horizon=3"], "has no part"),
        (["root=x", "method=upstream", "tasks=3"], "with root=DIR all episodes count"),
        (["root=/nowhere", "method=upstream"], "episodes_stats.jsonl: not found"),
        (["shards=/nowhere"], "not an output of predecode"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_horizon_of_nothing_is_refused(out: Path) -> None:
    with pytest.raises(UserError, match="action_horizon 0: expected 1 or more"):
        corpus_stats(out, action_horizon=0)


def test_an_output_without_actions_is_refused(out: Path, rows: Rows) -> None:
    tables = [pa.table({"observation.state": lists(states)}) for states, _ in rows.values()]
    with (out / "lowdim/tiny-lowdim-000000.arrow").open("wb") as file:
        write_lowdim(file, tables)
    with pytest.raises(UserError, match=r"episode 10 has no column 'action'"):
        corpus_stats(out)


def test_columns_of_another_width_are_an_error(out: Path, rows: Rows) -> None:
    write_rows(out, {e: (states[:, :61], actions) for e, (states, actions) in rows.items()})
    with pytest.raises(DataError, match=r"shape \(40, 61\), expected \(40, 256\)"):
        corpus_stats(out)


@pytest.mark.parametrize("text", ["{}", "no json", '{"norm_stats": {"state": {"mean": [1]}}}'])
def test_another_file_is_not_read_as_statistics(tmp_path: Path, text: str) -> None:
    path = tmp_path / "norm_stats.json"
    path.write_text(text)
    with pytest.raises(UserError, match="not openpi's norm_stats.json"):
        read_norm_stats(path)
