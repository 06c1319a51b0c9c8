"""Frames a second of one core where few frames are wanted: what is left out, and what that saves.

    python -m benchmarks.sparse

Decodes and converts every N-th frame, and frames at random as one training run sees them, of the
full-size sample's head camera (720 pixels, HEVC, GOP 250, 1,003 frames) in one thread; once as
``predecode run`` does, once decoding every picture up to the last wanted one of each GOP
(``spares = False``). All pictures are compared. Processor time, the median of the rounds; prints a
table on standard error and one JSON object.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from benchmarks.about import about
from predecode.sources.sample import make_sample
from predecode.video.pyav import PyavDecoder

__all__ = ["measure"]

_STRIDES = (1, 2, 3, 6, 12, 30, 125, 500)
_ONE_IN = 37
"""50,000 steps of 64 of 119 million frames."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--episode", type=int, default=490020, help="of the sample")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), words.episode, words.rounds)
    result = {
        **about("sparse"),
        "rows": rows,
    }
    print(json.dumps(result, indent=1))
    heads = f"{'wanted/s':>10}{'passed/s':>10}{'every one decoded':>19}{'gain':>6}"
    print(f"{'wanted':16}{'frames':>7}{heads}", file=sys.stderr)
    for row in rows:
        print(
            f"{row['wanted']:16}{row['num_wanted']:>7}{row['wanted_per_s']:>10.1f}"
            f"{row['passed_per_s']:>10.1f}{row['wanted_per_s_whole']:>19.1f}"
            f"{statistics.median(row['gains']):>6.2f}",
            file=sys.stderr,
        )


def measure(work: Path, episode: int, num_rounds: int) -> list[dict[str, Any]]:
    """Returns a row for each choice of frames.

    Raises:
        SystemExit: leaving out pictures changed a wanted one.
    """
    make_sample(work / "b1k", full_size=True, episode_indices=(episode,), modalities=("rgb",))
    (path,) = (work / "b1k").rglob("*.rgb.head/*.mp4")
    with PyavDecoder(path) as decoder:
        num_frames = len(decoder.table)
        keyframes = decoder.table.keyframe_ranks
    draw = random.Random(0)
    choices = {f"every {n}": list(range(min(n, num_frames) - 1, num_frames, n)) for n in _STRIDES}
    choices[f"random 1 in {_ONE_IN}"] = sorted(
        draw.sample(range(num_frames), num_frames // _ONE_IN)
    )
    rows = []
    for name, wanted in choices.items():
        times: dict[bool, list[float]] = {True: [], False: []}
        for number in range(num_rounds + 1):
            order = (True, False) if number % 2 else (False, True)
            spent = {spares: _decode(path, wanted, spares=spares) for spares in order}
            if spent[True][1] != spent[False][1]:
                raise SystemExit(f"{name}: leaving pictures out changed a wanted one")
            for spares, (cpu_s, _) in spent.items():
                if number:
                    times[spares].append(cpu_s)
        lasts = {int(keyframes.searchsorted(rank, side="right")) - 1: rank for rank in wanted}
        passed = sum(last + 1 - int(keyframes[key]) for key, last in lasts.items())
        spent_s = statistics.median(times[True])
        rows.append(
            {
                "wanted": name,
                "num_wanted": len(wanted),
                "num_passed": passed,
                "wanted_per_s": round(len(wanted) / spent_s, 1),
                "passed_per_s": round(passed / spent_s, 1),
                "wanted_per_s_whole": round(len(wanted) / statistics.median(times[False]), 1),
                "gains": [
                    round(whole / own, 3)
                    for own, whole in zip(times[True], times[False], strict=True)
                ],
            }
        )
    return rows


def _decode(path: Path, wanted: list[int], *, spares: bool) -> tuple[float, int]:
    """Processor time, and a checksum of all pictures; the latter is not timed."""
    spent_s, crc32 = 0.0, 0
    with PyavDecoder(path) as decoder:
        decoder.spares = spares
        start_s = time.process_time()
        for _, picture in decoder.pictures(wanted):
            spent_s += time.process_time() - start_s
            crc32 = zlib.crc32(picture.tobytes(), crc32)
            start_s = time.process_time()
    return spent_s, crc32


if __name__ == "__main__":
    main()
