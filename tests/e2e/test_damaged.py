"""Sets with planted damage: a run quarantines exactly what is at fault and stores all else."""

from pathlib import Path

import pytest

from predecode.sources.registry import open_source
from predecode.survey.copied import annotations_line
from tests.support.damaged import (
    FINDINGS_2025,
    FINDINGS_2026,
    QUARANTINED_2025,
    QUARANTINED_2026,
    findings,
    quarantined,
    survey_here,
)
from tests.support.edition_2026 import is_itself
from tests.support.jobs import command_here, run_here, verify_here
from train_shards.dataset import ShardDataset

pytestmark = [pytest.mark.slow, pytest.mark.faults]

STORED_2025 = [10, 110, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220, 490010, 490020, 490040]
LENGTHS_2025 = [36, 26, 27, 28, 28, 29, 29, 30, 30, 31, 31, 32, 27, 24, 22]


def run_words(root: Path, out: Path, *more: str) -> list[str | Path]:
    words: list[str | Path] = ["run", "--src", "b1k", "--root", root, "--out", out]
    return [*words, "--size", "64", "--num-cpus", "2", *more]


def test_each_fault_costs_its_own_episode(damaged_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command_here(*run_words(damaged_root, out))
    assert done.returncode == 1, done.stderr
    assert quarantined(out) == QUARANTINED_2025
    counts = (
        "annotations: 8 of 17 episodes have faults (1 duration, 1 empty-range, 1 gap, 1 missing, "
        "1 overlap, 1 skill, 1 start, 1 tail); "
        f"details: predecode verify --source --root {damaged_root}"
    )
    assert [line for line in done.stderr.splitlines() if "annotations" in line] == [counts]
    dataset = ShardDataset(out)
    stored = [span.episode_index for span in dataset.spans()]
    assert stored == STORED_2025
    assert [span.num_samples for span in dataset.spans()] == LENGTHS_2025
    assert all(is_itself(dataset[position]) for position in range(0, len(dataset), 5))
    assert dataset[LENGTHS_2025[0]]["observation.state"].dtype == "float32"  # of doubles

    proof = verify_here(damaged_root, out, num_random=20)
    assert (proof.status, len(proof.quarantined)) == ("proven", 11)

    lenient = command_here(*run_words(damaged_root, out, "--max-failures", "11"))
    assert (lenient.returncode, "nothing to do" in lenient.stdout) == (0, True), lenient.stderr
    assert "annotations:" not in lenient.stderr  # counted when they came
    assert command_here(*run_words(damaged_root, out, "--max-failures", "10")).returncode == 1


def test_the_survey_tells_each_fault_and_no_other(damaged_root: Path) -> None:
    done = command_here("verify", "--source", "--root", damaged_root, "--json", "--num-cpus", "2")
    assert done.returncode == 1, done.stderr
    assert findings(done.stdout) == FINDINGS_2025


def test_faults_of_shared_files(damaged_root_2026: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command_here(*run_words(damaged_root_2026, out, "--stride", "8"))
    assert done.returncode == 1, done.stderr
    found = quarantined(out)
    assert found[0][:3] == QUARANTINED_2026[0][:3]
    assert found == QUARANTINED_2026
    counts = "annotations: 2 of 2 episodes have faults (2 tail, 1 gap, 1 id, 1 start, 1 task); "
    assert counts in done.stderr
    dataset = ShardDataset(out)
    assert [(s.episode_index, s.num_samples) for s in dataset.spans()] == [(4, 67), (6, 11)]
    assert all(is_itself(dataset[position]) for position in range(0, len(dataset), 3))
    assert verify_here(damaged_root_2026, out, num_random=20).status == "proven"
    again = command_here(*run_words(damaged_root_2026, out, "--stride", "8", "--max-failures", "5"))
    assert again.returncode == 0, again.stderr


def test_the_survey_of_shared_files(damaged_root_2026: Path) -> None:
    assert findings(survey_here(damaged_root_2026)) == FINDINGS_2026


def test_the_line_counts_what_is_new(damaged_root: Path, tmp_path: Path) -> None:
    """An output that grows tells of the episodes that came, and sound ones need no line."""

    def line_after(episodes: str) -> str | None:
        made = run_here(damaged_root, tmp_path, episodes=episodes, size="64", stride=20)
        return annotations_line(tmp_path, open_source("b1k", damaged_root), made.new_episodes)

    assert line_after("00000010") is None
    counts = line_after("00000010,00000150,00000200") or ""
    assert counts.startswith("annotations: 1 of 2 episodes have faults (1 gap); details: ")
    assert line_after("00000010,00000150,00000200") is None


def test_what_is_copied_is_a_function_of_the_source(damaged_root: Path, tmp_path: Path) -> None:
    """Faults of annotations change no file of the output: it is copied as it stands."""
    run_here(damaged_root, tmp_path, episodes="00000150", size="64")
    path = "annotations/task-0000/episode_00000150.json"
    assert (tmp_path / "meta" / path).read_bytes() == (damaged_root / path).read_bytes()
    assert "annotations" not in (tmp_path / ".predecode/manifest.json").read_text()
    assert "annotations" not in (tmp_path / "README.md").read_text()
