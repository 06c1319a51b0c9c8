"""Commands: sample, run, retry, drop, verify. Thin: words in, calls, exit status out."""

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from predecode.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    DataError,
    InfraError,
    UserError,
)
from train_shards.errors import StorageError

if TYPE_CHECKING:
    from predecode.cluster import Cluster
    from predecode.dropping import DropOutcome
    from predecode.job import Outcome
    from predecode.places import Place
    from predecode.sources.episode import Source
    from predecode.tasks import Work

__all__ = ["app", "main"]

app = typer.Typer(
    help="Decode robot-learning video once, offline, into WebDataset shards.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_MOST_LINES = 10
_MB = 1_000_000
# Typer carries click under another name from one release to the next.
_USAGE_ERROR: type[typer.BadParameter] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

SrcOption = Annotated[str, typer.Option(help="Kind of source: b1k, lerobot, videos.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards.")]
OutputOption = Annotated[
    str, typer.Option("--out", "-o", help="Folder for the shards, or a URL: s3://bucket/prefix.")
]
StagingOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder on each node for what is not uploaded yet, where the output is a URL. "
        "Default: staging in the node's cache."
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the source's data. Default: $B1K_ROOT, else data/b1k."),
]
AddressOption = Annotated[
    str | None, typer.Option(help="An existing Ray cluster. Default: an embedded local Ray.")
]
NumCpusOption = Annotated[
    int | None, typer.Option(min=1, help="Tasks at a time. Default: one a CPU.")
]
HangLimitOption = Annotated[
    float, typer.Option(min=1, help="Seconds without progress after which a task counts as dead.")
]
MemoryLimitOption = Annotated[
    int,
    typer.Option(
        min=256,
        help="MB of memory that a task asks a node for, and beyond which its process is ended.",
    ),
]
NodeWaitOption = Annotated[
    float,
    typer.Option(
        "--node-wait-s", min=0, help="Seconds to wait where no node of the cluster can take a task."
    ),
]
MaxFailuresOption = Annotated[
    int, typer.Option(min=0, help="Exit with 0 while at most this many episodes are missing.")
]


@app.command()
def sample(
    out: OutOption = Path("data/b1k"),
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Pictures of 720 and 480 pixels (default: small).")
    ] = False,
    edition: Annotated[
        str,
        typer.Option(
            help="2025: a file an episode. 2026: files of several episodes. "
            "rft: rollouts in the layout of 2025, RGB."
        ),
    ] = "2025",
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Short RGB episodes of 2025 or 2026, nearly all at fault."),
    ] = False,
) -> None:
    """Make a small data set in the layout of BEHAVIOR-1K to try things on."""
    from predecode.config import check_folder
    from predecode.sources.sample import make_sample
    from predecode.sources.sample_2026 import make_sample_2026
    from predecode.sources.sample_damage import damage_lines
    from predecode.sources.sample_damaged import make_damaged_sample
    from predecode.sources.sample_rft import make_sample_rft

    check_folder("--out", out)
    makers = {"2025": make_sample, "2026": make_sample_2026, "rft": make_sample_rft}
    if edition not in makers:
        raise UserError(f"--edition {edition}: expected one of {', '.join(makers)}.")
    if damaged:
        made, cases = make_damaged_sample(out, edition=edition, full_size=full_size)
        for line in damage_lines(cases):
            print(line)
    else:
        made = makers[edition](out, full_size=full_size)
    print(
        f"{made.root}: {made.num_episodes} episodes, {made.num_frames:,} frames, "
        f"{made.num_bytes / 1e6:.1f} MB. Next: predecode run --src b1k --root {out} --out shards/"
    )


@app.command()
def run(
    out: OutputOption,
    src: SrcOption,
    root: RootOption = None,
    tasks: Annotated[
        str | None, typer.Option(help="Task names, indices or ranges: 0,3-7,can_meat.")
    ] = None,
    episodes: Annotated[
        str | None,
        typer.Option(help="Positions in each task's sorted episodes (0,3-7), or 8-digit ids."),
    ] = None,
    cameras: Annotated[
        str | None, typer.Option(help="Cameras, such as head,left_wrist. Default: all.")
    ] = None,
    modalities: Annotated[
        str, typer.Option(help="What to store of each camera: rgb, depth, seg_instance_id.")
    ] = "rgb",
    stride: Annotated[int, typer.Option(help="Store every N-th frame of an episode.")] = 1,
    annotated_only: Annotated[
        bool,
        typer.Option(
            "--annotated-only",
            help="Leave out the frames before an episode's first label and after its last, and "
            "episodes without labels.",
        ),
    ] = False,
    size: Annotated[
        str,
        typer.Option(
            help="224 or WxH by the trainer's own resize and pad (depth and segmentation: the "
            "nearest pixels), or native."
        ),
    ] = "224",
    codec: Annotated[str, typer.Option(help="jpeg, png, webp or raw.")] = "jpeg",
    quality: Annotated[
        int | None,
        typer.Option(help="1 to 100. Default: 95 for jpeg; webp is lossless unless given."),
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Most samples in a shard.")] = 8192,
    layout: Annotated[
        str, typer.Option(help="mixed: episodes shuffled into each shard; episode: in order.")
    ] = "mixed",
    val_episodes: Annotated[
        str,
        typer.Option(help="Held out into data/val: positions or ids as in --episodes, or a share."),
    ] = "",
    embed_lowdim: Annotated[
        bool, typer.Option("--embed-lowdim", help="State and action also in the tars.")
    ] = False,
    task_info: Annotated[
        bool, typer.Option("--task-info", help="Keep the column observation.task_info.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the shuffled layout and a share held out.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="First part of shard names. Default: the source's name.")
    ] = None,
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    max_failures: MaxFailuresOption = 0,
    hang_limit_s: HangLimitOption = 300,
    memory_limit_mb: MemoryLimitOption = 4096,
    node_wait_s: NodeWaitOption = 60,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove what an earlier run left in --out.")
    ] = False,
    staging: StagingOption = None,
) -> None:
    """Decode a data set into shards; the same command again finishes an interrupted run.

    Example: predecode run --src b1k --out shards/
    """
    from predecode.config import make_settings
    from predecode.job import run_job
    from predecode.progress import JobProgress
    from predecode.remote_place import place_of
    from predecode.selection import select_episodes
    from predecode.sources.registry import open_source

    out = _checked_output(out, staging)
    source = open_source(src, root)
    settings = make_settings(
        source,
        cameras=cameras,
        modalities=modalities,
        size=size,
        codec=codec,
        quality=quality,
        stride=stride,
        layout=layout,
        shard_size=shard_size,
        val_episodes=val_episodes,
        embed_lowdim=embed_lowdim,
        task_info=task_info,
        seed=seed,
        name=name,
        annotated_only=annotated_only,
    )
    selected = select_episodes(source.episodes, tasks, episodes, source.task_names)
    with place_of(out, staging) as place:
        with JobProgress() as display:
            for why in dict.fromkeys(source.left_out.values()):
                display.note(f"left out: {why}")
            outcome = run_job(
                place,
                source,
                settings,
                selected,
                _starter(address, num_cpus, node_wait_s, display.note, memory_limit_mb),
                display,
                overwrite=overwrite,
                work=_isolated(hang_limit_s, memory_limit_mb),
            )
        _finish(out, place.folder, source, outcome, max_failures)


@app.command()
def retry(
    out: Annotated[str, typer.Argument(help="An output with quarantined episodes.")],
    episodes: Annotated[
        str | None, typer.Option(help="Ids of quarantined episodes. Default: all.")
    ] = None,
    root: RootOption = None,
    backend: Annotated[
        str, typer.Option(help="Decoder of the new shards, which record it: pyav or torchcodec.")
    ] = "pyav",
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    max_failures: MaxFailuresOption = 0,
    hang_limit_s: HangLimitOption = 300,
    memory_limit_mb: MemoryLimitOption = 4096,
    node_wait_s: NodeWaitOption = 60,
    staging: StagingOption = None,
) -> None:
    """Try quarantined episodes again after a repair; what succeeds is added as new shards."""
    from predecode.job import retry_job
    from predecode.output import load_plans, source_root
    from predecode.progress import JobProgress
    from predecode.remote_place import place_of, readable
    from predecode.sources.registry import open_source
    from train_shards.manifest import load_manifest

    if backend not in ("pyav", "torchcodec"):  # one in this Python, with pixels proven by tests
        raise UserError(f"--backend {backend}: expected pyav or torchcodec.")
    settings = load_manifest(out).settings
    out = _checked_output(out, staging)
    with readable(out) as standing:
        source = open_source(settings.source, source_root(out, load_plans(standing.folder), root))
    wanted = None if episodes is None else _parse_ids(episodes)
    with place_of(out, staging) as place:
        with JobProgress() as display:
            outcome = retry_job(
                place,
                source,
                wanted,
                _starter(address, num_cpus, node_wait_s, display.note, memory_limit_mb),
                display,
                work=_isolated(hang_limit_s, memory_limit_mb),
                backend=backend,
            )
        _finish(out, place.folder, source, outcome, max_failures)


@app.command()
def drop(
    out: Annotated[str, typer.Argument(help="An output of predecode run: a folder.")],
    episodes: Annotated[
        str | None, typer.Option(help="Ids of episodes to take out: 00490010,00490020.")
    ] = None,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="Also remove what dropped episodes have in files: their shards and tables are "
            "made anew without them, by copying.",
        ),
    ] = False,
) -> None:
    """Take episodes out of an output; the source is not needed, and is left alone.

    Without --rewrite they are masked: readers of this package leave them out at once, foreign
    readers of the tars do not.

    Example: predecode drop shards/ --episodes 00490010 --rewrite
    """
    from predecode.dropping import drop_episodes
    from predecode.progress import JobProgress
    from train_shards.remote_storage import is_url

    if episodes is None and not rewrite:
        raise UserError("drop: expected --episodes, or --rewrite for those dropped before.")
    if is_url(out):
        raise UserError(
            f"{out}: a drop works on a folder. Bring the output to one and drop there, then upload "
            "it to a new prefix."
        )
    wanted = set[int]() if episodes is None else _parse_ids(episodes)
    folder = Path(out).resolve()
    with JobProgress() as display:
        outcome = drop_episodes(folder, wanted, display, rewrite=rewrite)
    for line in _drop_lines(Path(out), outcome, is_rewritten=rewrite):
        print(line)


@app.command()
def verify(
    out: Annotated[
        str | None, typer.Argument(help="An output of predecode run; none with --source.")
    ] = None,
    source_only: Annotated[
        bool, typer.Option("--source", help="Look at a data set before anything is decoded.")
    ] = False,
    src: SrcOption = "b1k",
    root: RootOption = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Hash every file again, and no more.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Decode every stored image again, compare every item.")
    ] = False,
    num_random: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=0,
            help="Samples drawn at random, besides ends of episodes and frames around keyframes. "
            "Default: 1000.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    min_psnr: Annotated[
        float | None,
        typer.Option(
            help="Least PSNR in dB of a lossy picture against a fresh decode. Default: 25."
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Decoders, such as pyav,torchcodec,video_reader: the first decodes again, all are "
            "compared with each other. Default: $B1K_VIDEO_BACKEND, else pyav."
        ),
    ] = None,
    backend_python: Annotated[
        list[str] | None,
        typer.Option(help="Where a decoder lives: video_reader=/usr/bin/python3."),
    ] = None,
    report_dir: Annotated[
        Path | None,
        typer.Option("--report", help="Folder for report.json and report.html, with pictures."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON instead of lines.")
    ] = False,
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    node_wait_s: NodeWaitOption = 60,
) -> None:
    """Prove an output: its files, its pictures and its items against the source decoded anew.

    Exit status: 0 proven, 1 something differs or is damaged, 2 could not check.

    Example: predecode verify shards/ --report proof/
    """
    from predecode.config import check_asked, check_folder
    from predecode.progress import JobProgress
    from predecode.sources.registry import open_source
    from predecode.verification.jobs import Asked
    from predecode.verification.levels import (
        Verified,
        verify_bytes,
        verify_output,
        verify_source,
    )
    from predecode.verification.lines import report_lines
    from predecode.verification.page import write_report
    from predecode.video.backends import choose_backends, parse_backend_python
    from train_shards.manifest import encode_json

    if (out is None) != source_only:
        raise UserError("verify: expected an output of 'predecode run', or --source and no output.")
    given = [
        name
        for name, value in (
            ("--all", everything), ("--sample", num_random is not None),
            ("--min-psnr", min_psnr is not None), ("--backends", backends is not None),
            ("--backend-python", bool(backend_python)),
        )
        if value
    ]  # fmt: skip
    check_asked(given, min_psnr, fast=fast, source_only=source_only)
    if report_dir is not None:
        check_folder("--report", report_dir)
    with JobProgress() as display, _standing(out) as standing:
        starter = _starter(address, num_cpus, node_wait_s, display.note)
        if standing is None:
            found = Verified(verify_source(open_source(src, root), starter, display), [])
        elif fast:
            found = Verified(verify_bytes(standing, display), [])
        else:
            default = Asked()
            asked = Asked(
                is_all=everything,
                num_random=default.num_random if num_random is None else num_random,
                seed=seed,
                backends=choose_backends(backends),
                pythons=parse_backend_python(backend_python or []),
                min_psnr_db=default.min_psnr_db if min_psnr is None else min_psnr,
            )
            found = verify_output(standing, root, asked, starter, display)
    if report_dir is not None:
        write_report(report_dir, found.report, found.worst)
    if as_json:
        print(encode_json(found.report).decode(), end="")
    else:
        for line in report_lines(found.report):
            print(line)
    if found.report.status != "proven":
        raise typer.Exit(EXIT_INCOMPLETE if found.report.status == "different" else EXIT_REFUSED)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with the status of the design."""
    # SIGTERM ends a run as Ctrl-C does: tasks are cancelled, nothing half done is published.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    status = EXIT_DONE
    try:
        # Click's own error and interrupt handling would hide which exit status is meant.
        status = app(args=arguments, prog_name="predecode", standalone_mode=False) or EXIT_DONE
    except typer.Exit as request:
        status = request.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = EXIT_INTERRUPTED
    except _USAGE_ERROR as error:
        _say_usage(error, sys.argv[1:] if arguments is None else arguments)
        status = EXIT_REFUSED
    except (UserError, DataError) as error:
        _say(f"error: {error}")
        status = EXIT_REFUSED
    except (InfraError, StorageError) as error:
        _say(f"error: {error}")
        status = EXIT_BUG
    except Exception:  # noqa: BLE001 - the one place where a bug becomes an exit status
        traceback.print_exc()
        _say("error: this is a bug in predecode; please report it with the lines above.")
        status = EXIT_BUG
    if status == EXIT_INTERRUPTED:  # Typer turns an interrupt inside a command into this status
        _say("interrupted. Nothing is lost: the same command goes on from here.")
    sys.exit(status)


def _starter(
    address: str | None,
    num_cpus: int | None,
    node_wait_s: float,
    note: Callable[[str], None],
    task_memory_mb: int = 0,
) -> "Callable[[], AbstractContextManager[Cluster]]":
    """Ray is started only when there is something to do."""

    def start() -> "AbstractContextManager[Cluster]":
        from predecode.cluster import RayCluster

        return RayCluster(
            address,
            num_cpus,
            task_memory_bytes=task_memory_mb * _MB,
            node_wait_s=node_wait_s,
            note=note,
        )

    return start


def _isolated(hang_limit_s: float, memory_limit_mb: int) -> "Work":
    """Each task in a process of its own, under these limits."""
    from predecode.child import Limits
    from predecode.injection import check_variable
    from predecode.isolation import run_isolated

    check_variable()
    return partial(run_isolated, limits=Limits(hang_limit_s, memory_limit_mb * _MB))


def _say_usage(error: typer.BadParameter, words: Sequence[str]) -> None:
    """A word that the command line does not take: which command, option and value, and why."""
    text = error.format_message()
    if "\n" in text:  # the help of a command that was given nothing
        error.show()
        return
    where = "predecode" if error.ctx is None else error.ctx.command_path
    parameter = getattr(error, "param", None)  # some usage errors are about none
    names = set(parameter.opts if parameter is not None else ())
    pairs = [*pairwise(words), *(word.split("=", 1) for word in words if "=" in word)]
    value = next((value for name, value in pairs if name in names), None)
    got = "" if value is None else f", got {value!r}"
    stop = "" if text.endswith("?") else "."
    _say(f"error: {where}: {text.rstrip('.')}{got}{stop} See '{where} --help'.")


def _parse_ids(text: str) -> set[int]:
    try:
        return {int(token) for token in text.split(",")}
    except ValueError:
        raise UserError(f"--episodes {text}: expected ids, such as 00490010,00490020.") from None


@contextmanager
def _standing(out: str | None) -> "Iterator[Path | Place | None]":
    """What ``verify`` looks at: the output's folder or place; None for a source."""
    from predecode.remote_place import readable
    from train_shards.remote_storage import is_url

    if out is None or not is_url(out):
        yield None if out is None else Path(out)
        return
    with readable(out) as place:
        yield place


def _checked_output(out: str, staging: Path | None) -> str:
    """A path or URL as messages show it, when no file stands in the way of the folders."""
    from predecode.config import check_folder
    from train_shards.remote_storage import is_url

    if staging is not None:
        check_folder("--staging", staging)
    if is_url(out):
        return out.rstrip("/")
    check_folder("--out", Path(out))
    return str(Path(out))


def _finish(
    out: str, folder: Path, source: "Source", outcome: "Outcome", max_failures: int
) -> None:
    """Prints the summary; ends with 1 when more is missing than allowed.

    ``folder`` holds the copies of this call's annotations.
    """
    from predecode.manifest import retry_command
    from predecode.progress import format_bytes
    from predecode.survey.copied import annotations_line

    manifest, totals = outcome.manifest, outcome.manifest.totals
    if not outcome.num_new_images:
        print(f"{out}: nothing to do, already finished")
    print(
        f"{out}: {totals.num_episodes} episodes, {totals.num_samples:,} samples, "
        f"{totals.num_images:,} images in {totals.num_shards} shards, "
        f"{format_bytes(totals.num_shard_bytes)} + {format_bytes(totals.num_lowdim_bytes)} tables; "
        f"{'complete' if manifest.complete else 'INCOMPLETE'}"
    )
    faults = list(outcome.faults.values())
    for fault in faults[:_MOST_LINES]:
        _say(f"quarantined: {fault}. After repair: {retry_command(out, fault)}")
    if len(faults) > _MOST_LINES:
        _say(f"… {len(faults)} in all, see {out}/.predecode/quarantine.jsonl")
    if line := annotations_line(folder, source, outcome.new_episodes):
        _say(line)
    if len(faults) > max_failures:
        raise typer.Exit(EXIT_INCOMPLETE)


def _drop_lines(out: Path, outcome: "DropOutcome", *, is_rewritten: bool) -> Iterator[str]:
    """What a drop did, and what is left."""
    manifest, totals = outcome.manifest, outcome.manifest.totals
    yield (
        f"{out}: {outcome.num_new} episodes dropped now, {len(manifest.dropped)} in all; left are "
        f"{totals.num_episodes} episodes, {totals.num_samples:,} samples in {totals.num_shards} "
        f"shards; {'complete' if manifest.complete else 'INCOMPLETE'}"
    )
    if is_rewritten:
        yield (
            f"{outcome.num_cut} shards and tables made anew, {len(outcome.removed)} files removed; "
            "of dropped episodes nothing is left but their numbers"
        )
    else:
        yield (
            "dropped episodes are masked; their bytes still stand in shards and tables until "
            f"predecode drop {out} --rewrite"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
