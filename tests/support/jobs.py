"""Runs of the whole job, in this process or through the command line."""

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from predecode.cli import main
from predecode.cluster import Cluster, InProcess
from predecode.config import make_settings
from predecode.display import Ended
from predecode.dropping import DropOutcome, drop_episodes
from predecode.errors import EpisodeFault
from predecode.for_run import AskedRun
from predecode.job import Outcome, retry_job, run_job
from predecode.manifest import CARD_FIGURES, Finished
from predecode.output import finished_generations, load_plans
from predecode.places import Place
from predecode.progress_lines import PROGRESS_PATH
from predecode.run_log import LOG_PATH
from predecode.selection import select_episodes
from predecode.sources.registry import open_source
from predecode.tasks import Work, run_task
from predecode.verification.jobs import Asked, make_jobs
from predecode.verification.levels import verify_output, verify_source
from predecode.verification.report import Finding, Report
from predecode.verification.shard import verify_shard
from predecode.verification.structure import check_output
from predecode.verification.tables import verify_table
from train_shards.manifest import load_manifest

DEFAULTS: dict[str, Any] = {
    "cameras": None,
    "modalities": "rgb",
    "size": "224",
    "codec": "jpeg",
    "quality": None,
    "stride": 1,
    "layout": "mixed",
    "shard_size": 512,
    "val_episodes": "",
    "embed_lowdim": False,
    "task_info": False,
    "seed": 0,
    "name": None,
}


class Silent:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.parts = 0
        self.tasks: list[Ended] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def detail(self, text: str) -> None: ...

    def quarantined(self, fault: EpisodeFault) -> None:
        self.notes.append(f"quarantined: {fault}")

    def phase(self, what: str, unit: str, total: int, *, parts_per_step: int = 1) -> None:
        self.notes.append(f"{what}: {total} {unit} of {parts_per_step}")

    def advance(self, parts: int, num_bytes: int) -> None:  # noqa: ARG002
        self.parts += parts

    def ended(self, task: Ended) -> None:
        self.tasks.append(task)


class Reversed(InProcess):
    """Runs the last task first."""

    def run(self, task: Any, payloads: Sequence[Any], report: Any) -> Iterator[tuple[Any, Any]]:
        yield from super().run(task, payloads[::-1], report)


def starter(cluster: Cluster) -> Callable[[], Any]:
    @contextmanager
    def start() -> Iterator[Cluster]:
        yield cluster

    return start


def run_here(
    root: Path,
    out: Path | Place,
    *,
    src: str = "b1k",
    tasks: str | None = None,
    episodes: str | None = None,
    overwrite: bool = False,
    cluster: Cluster | None = None,
    work: Work = run_task,
    for_run: AskedRun | None = None,
    **options: Any,
) -> Outcome:
    """Runs the job in this process with the defaults of the command line but small shards."""
    source = open_source(src, root)
    settings = make_settings(source, **{**DEFAULTS, **options})
    selected = select_episodes(source.episodes, tasks, episodes, source.task_names)
    start = starter(cluster or InProcess())
    return run_job(
        out, source, settings, selected, start, Silent(), overwrite=overwrite, work=work,
        for_run=for_run,
    )  # fmt: skip


def retry_here(
    root: Path, out: Path | Place, wanted: set[int] | None = None, **options: Any
) -> Outcome:
    source = open_source("b1k", root)
    return retry_job(out, source, wanted, starter(InProcess()), Silent(), **options)


def drop_here(out: Path, *episodes: int, rewrite: bool = False) -> DropOutcome:
    return drop_episodes(out, episodes, Silent(), rewrite=rewrite)


def verify_here(root: Path, out: Path | Place, **asked: Any) -> Report:
    """The report of ``predecode verify``, in this process; looks at everything unless asked not."""
    wanted = Asked(**{"is_all": not asked, **asked})
    return verify_output(out, root, wanted, starter(InProcess()), Silent()).report


def survey_here(root: Path, src: str) -> Report:
    """The report of ``predecode verify --source``, in this process."""
    return verify_source(open_source(src, root), starter(InProcess()), Silent())


def finished_at(out: Path, root: Path) -> list[Finished]:
    """The generations of an output whose source lies at ``root``."""
    plans = [msgspec.structs.replace(plan, root=str(root)) for plan in load_plans(out)]
    return finished_generations(out, plans, check_files=False)


def structure_here(root: Path, out: Path) -> list[Finding]:
    """What ``predecode verify`` finds without decoding a picture or comparing an item."""
    manifest = load_manifest(out)
    finished = finished_at(out, root)
    findings = list(check_output(out, manifest, finished))
    jobs = make_jobs(out, root, manifest, finished, Asked(num_random=0), lambda *_: None)
    for shard in jobs.shards:
        findings += verify_shard(
            msgspec.structs.replace(shard, samples={}), lambda _: None
        ).findings
    for table in jobs.tables:
        findings += verify_table(table, lambda _: None).findings
    return findings


def command(
    *words: str | Path, cwd: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Runs ``predecode`` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "predecode", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
        timeout=300,
    )


class Here(InProcess):
    """In the place of ``RayCluster``: a command's tasks run one after the other, without Ray."""

    def __init__(self, *_: object, **__: object) -> None:
        """Takes what ``RayCluster`` takes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def command_here(
    *words: str | Path, cwd: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """What ``command`` does, in this process and without Ray, which takes ten seconds of two cores.

    For tests of what a command says, makes and ends with; how it starts, runs its tasks and is
    stopped is for ``command``, and so is ``$PREDECODE_FAULT``, which a process reads once.
    """
    said, told = io.StringIO(), io.StringIO()
    given, before = [*map(str, words)], signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(told):
        patch.setattr("predecode.cluster.RayCluster", Here)
        for name, value in variables.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            with pytest.raises(SystemExit) as ended:
                main(given)
        finally:
            signal.signal(signal.SIGTERM, before)
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(given, ended.value.code, said.getvalue(), told.getvalue())


def fingerprint(out: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file of an output, as ``digests`` takes them."""
    files = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*"))}
    return digests({name: path.read_bytes() for name, path in files.items() if path.is_file()})


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of files, without what they tell of how they were made: how fast, in which calls."""
    made = dict(files)
    for path in (PROGRESS_PATH, LOG_PATH):
        made.pop(path, None)
    if "README.md" in made:
        made["README.md"] = made["README.md"].partition(CARD_FIGURES.encode())[0]
    return {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
