"""The guide's commands run as they stand there, in one folder and one shell."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.guide import GUIDES, blocks_of

pytestmark = pytest.mark.slow

SAMPLE = "predecode sample --out data/b1k\n"
"""The one block that is not run: half a minute of encoding. The fixture's data stand there, made by
the same function; ``make demo`` runs the command itself."""


def line(step: int | str) -> str:
    return rf"^step={step} loss=\d\.\d{{4}} samples_per_s=[\d.]+ data_wait=[\d.]+$"


PROMISES: dict[str, tuple[str, ...]] = {
    "cuda.is_available": (r"^torch \d.* cuda (True|False)$", r"^\[\]$"),
    "predecode run": (
        r"^shards: .*; complete$", r"proven: 1 shard,", r"head: uint8 \(224, 224, 3\)",
    ),
    "train_shards.norm_stats": ("corpus statistics of 1712 frames", "upstream statistics of 1712"),
    "exp_name=rung1 \\\n": tuple(line(step) for step in (10, 20, 30, 40, 50)),
    "exp_name=online ": (line(10),),
    "exp_name=rung2 \\\n": (line(20), r"rank1.jsonl <==\n.*\"sample_index\": \[\d+, "),
    "exp_name=rung4": (line(10),),
    "canary_every=5": (
        "step 20: epoch 0, 160 consumed", line(30), "Run data is saved locally",
        r"canary: step \d+, key ep\d{8}_f\d{6}, camera head: .* PSNR \d\d\.\d\d dB$",
    ),
    "overwrite=true": ("exists already", "^ended with status 2$", line(2)),
    "kill -TERM": (
        "^no decoder in the process$", "^ended with status 0$", "^Current thread",
        r"stopped by SIGTERM after step \d+$",
    ),
    "kill -KILL": ("^ended with status 137$", line(r"\d+")),
    "B1K_VIDEO_BACKEND": (line(2), "'nonsense'.*: not known", "^ended with status 2$"),
    "load_backend": ("^pyav: can be loaded$", "video_reader"),
    "PYTHONFAULTHANDLER": (
        "Fatal Python error: Segmentation fault", "^ended with status 139$",
        r"^C\+\+ CapturedTraceback",
    ),
    "kill -SEGV": (
        "^ended with status 1$", r"exitcode  : -11 .*SIGSEGV",
        r"^checkpoints/crash/train.rank1.log$", "^Current thread", line(r"\d+"),
    ),
}  # fmt: skip
"""A word of each block -> what its output must hold."""


@pytest.fixture(scope="module")
def said(b1k_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each block printed, by its text; every one ended with 0."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "data").mkdir()
    (folder / "data/b1k").symlink_to(b1k_root)
    texts = [block.text for block in blocks_of(GUIDES[0]) if block.info == "bash run"]
    assert texts.count(SAMPLE) == 1
    texts.remove(SAMPLE)
    marked = [f"echo '=== {number}'\n{text}" for number, text in enumerate(texts)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    root = str(GUIDES[0].parents[1])
    with (folder / "said.txt").open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", "set -e -o pipefail\n" + "".join(marked)],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **kept, "PATH": path, "PYTHONPATH": root, "PORT": port, "HOME": str(folder),
                "OMP_NUM_THREADS": "1",
            },
        )  # fmt: skip
        try:
            status = shell.wait(500)
        finally:
            with suppress(ProcessLookupError):  # nothing is left; torchrun ends its ranks itself
                os.killpg(shell.pid, signal.SIGTERM)
    output = (folder / "said.txt").read_text()
    assert status == 0, output
    parts = re.split(r"^=== \d+\n", output, flags=re.MULTILINE)[1:]
    return dict(zip(texts, parts, strict=True))


def block_with(said: dict[str, str], word: str) -> str:
    """The output of the only block that has ``word``."""
    (text,) = [text for text in said if word in text]
    return said[text]


def losses(output: str) -> dict[int, float]:
    return {
        int(step): float(loss)
        for step, loss in re.findall(r"^step=(\d+) loss=(\S+)", output, re.MULTILINE)
    }


@pytest.mark.parametrize("word", PROMISES)
def test_each_block_says_what_the_guide_promises(said: dict[str, str], word: str) -> None:
    output = block_with(said, word)
    for pattern in PROMISES[word]:
        assert re.search(pattern, output, re.MULTILINE), (pattern, output)


def test_every_block_that_runs_promises_something(said: dict[str, str]) -> None:
    assert [sum(word in text for word in PROMISES) for text in said] == [1] * len(PROMISES)


def test_the_losses_of_all_rungs_are_those_of_the_first(said: dict[str, str]) -> None:
    first = losses(block_with(said, "exp_name=rung1 \\\n"))
    for word in ("exp_name=rung2 \\\n", "exp_name=rung4"):
        for step, loss in losses(block_with(said, word)).items():
            assert loss == pytest.approx(first[step], abs=0.002)
    online = losses(block_with(said, "exp_name=online "))
    assert online[10] == pytest.approx(first[10], abs=0.01)
