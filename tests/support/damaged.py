"""What the damaged sets must lead to, written out by hand: the oracle of their tests."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from predecode.cluster import InProcess
from predecode.sources.registry import open_source
from predecode.verification.levels import verify_source
from tests.support.jobs import Silent, starter
from train_shards.manifest import encode_json

__all__ = [
    "FINDINGS_2025",
    "FINDINGS_2026",
    "QUARANTINED_2025",
    "QUARANTINED_2026",
    "copying",
    "findings",
    "quarantined",
    "survey_here",
]

_COUNT = "pictures disagree with the frames of the episode"
QUARANTINED_2025 = {
    20: ("head", _COUNT, "22 pictures", "23 pictures"),
    30: ("left_wrist", _COUNT, "22 pictures", "21 pictures"),
    40: ("right_wrist", "no such file", "a video", "No such file or directory"),
    50: ("left_wrist", "file cannot be opened", "a video file",
         "Invalid data found when processing input"),
    60: ("head", _COUNT, "24 pictures", "25 pictures"),
    70: (None, "empty file", "a parquet file", "0 bytes"),
    80: (None, "rows disagree with the metadata", "25 rows", "24 rows"),
    90: (None, "timestamp of row 11", "0.366667 s", "0.400000 s"),
    100: (None, "columns of other types than those of its task's other episodes",
          "timestamp double", "timestamp float"),
    120: (None, "no such file", "a parquet file", "No such file or directory"),
    490030: ("head", "file is cut short", "", ""),
}  # fmt: skip
"""Episode -> camera, problem, expected, got; ``""`` where sizes of files stand in them."""

FINDINGS_2025 = {
    20: ["pictures"],
    30: ["pictures"],
    40: ["missing-file"],
    50: ["unreadable-video"],
    60: ["pictures"] * 3,
    70: ["empty-file"],
    80: ["rows"],
    90: ["timestamp"],
    120: ["missing-file"] * 6,
    130: ["annotation-skill"],
    140: ["annotation-empty-range"],
    150: ["annotation-gap"],
    160: ["annotation-overlap"],
    180: ["annotation-duration"] * 2,
    190: ["annotation-start"] * 3,
    210: ["annotation-tail"] * 2,
    220: ["missing-file"],
    490020: ["duplicate-metadata", "episode-metadata"],
    490030: ["unreadable-video"],
    None: ["totals"],
}
"""Episode, or None for the set -> kinds of all findings, sorted."""

_OVERLAP = "overlaps with another episode of the file"
QUARANTINED_2026 = {
    0: ("head", "a time in the metadata is no frame's", "a whole number of 1/30 s", ""),
    1: ("head", _OVERLAP, "frames of its own", "0-100 and 96-139"),
    2: ("head", _OVERLAP, "frames of its own", "96-139 and 0-100"),
    3: (None, "rows of this episode_index stand elsewhere", "77 in [43, 120)", "77 in [0, 77)"),
    5: ("left_wrist", _COUNT, "50 pictures", "25 pictures"),
}
FINDINGS_2026 = {
    0: ["metadata"],
    1: ["metadata", "missing-file"],
    2: ["episode-id", "metadata", "missing-file"],
    3: ["episode-id", "index", "missing-file", "timestamp"],
    4: ["annotation-gap", "annotation-start", "annotation-start", "annotation-tail"],
    5: ["missing-file", "pictures"],
    6: ["annotation-id", "annotation-tail", "annotation-tail", "annotation-task"],
}


def quarantined(out: Path) -> dict[int, tuple[str | None, str, str, str]]:
    """``quarantine.jsonl`` in the form of the tables above, each episode once."""
    lines = (out / ".predecode/quarantine.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({row["episode_index"] for row in rows}) == len(rows)
    found = {}
    for row in rows:
        index, texts = row["episode_index"], [row["expected"], row["got"]]
        known = {**QUARANTINED_2025, **QUARANTINED_2026}.get(index, ("", "", "?", "?"))
        shown = [text if want else "" for text, want in zip(texts, known[2:], strict=True)]
        found[index] = (row["camera"], row["problem"], *shown)
    return found


def copying(sound: Path) -> Callable[..., Any]:
    """What builds a sound set of which there is one already."""

    def build(built: Path, *_: object) -> None:
        shutil.copytree(sound, built, dirs_exist_ok=True)

    return build


def survey_here(root: Path) -> str:
    """The JSON report of ``predecode verify --source``, in this process."""
    report = verify_source(open_source("b1k", root), starter(InProcess()), Silent())
    return encode_json(report).decode()


def findings(report: str) -> dict[int | None, list[str]]:
    """Findings of a report's JSON in the form of the tables above."""
    found: dict[int | None, Counter[str]] = {}
    for finding in json.loads(report)["findings"]:
        key = int(finding["key"].removeprefix("ep")) if finding["key"] else None
        found.setdefault(key, Counter()).update([finding["kind"]])
    return {key: sorted(kinds.elements()) for key, kinds in found.items()}
