"""predecode verify: the proof of an output, or a look at a source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predecode.commands.options import (
    AddressOption,
    BackendPythonOption,
    NodeWaitOption,
    NumCpusOption,
    RootOption,
    SrcOption,
    show,
    starter,
)
from predecode.errors import EXIT_INCOMPLETE, EXIT_REFUSED, UserError

if TYPE_CHECKING:
    from predecode.places import Place

__all__ = ["verify"]


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
    backend_python: BackendPythonOption = None,
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
        start = starter(address, num_cpus, node_wait_s, display.note)
        if standing is None:
            found = Verified(verify_source(open_source(src, root), start, display), [])
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
            found = verify_output(standing, root, asked, start, display)
    if report_dir is not None:
        write_report(report_dir, found.report, found.worst)
    show(found.report, report_lines(found.report), as_json=as_json)
    if found.report.status != "proven":
        raise typer.Exit(EXIT_INCOMPLETE if found.report.status == "different" else EXIT_REFUSED)


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
