"""``predecode.verify``: the proof of an output, or a look at a source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predecode.api.option import AnyPath, as_call
from predecode.api.verify_options import VerifyOptions
from predecode.api.work import optional_path, starter
from predecode.config import check_asked, check_folder
from predecode.display import Display
from predecode.errors import UserError
from predecode.places import Place
from predecode.remote_place import readable
from predecode.sources.registry import open_source
from predecode.verification.jobs import Asked
from predecode.verification.levels import Verified, verify_bytes, verify_output, verify_source
from predecode.verification.page import write_report
from predecode.verification.report import Report
from predecode.video.backends import choose_backends, parse_backend_python
from train_shards.remote_storage import is_url

__all__ = ["verify", "verify_with"]


def verify_with(options: VerifyOptions, display: Display) -> Report:
    """Proves an output: its files, its pictures and its items against the source decoded anew.

    Raises:
        UserError: no output, or options that leave each other without effect.
        InfraError: a disk, a node or the cluster failed.
    """
    if (options.out is None) != options.source:
        raise UserError("verify: expected an output of 'predecode run', or --source and no output.")
    given = [
        name
        for name, value in (
            ("--all", options.all), ("--sample", options.sample is not None),
            ("--min-psnr", options.min_psnr is not None),
            ("--backends", options.backends is not None),
            ("--backend-python", bool(options.backend_python)),
        )
        if value
    ]  # fmt: skip
    check_asked(given, options.min_psnr, fast=options.fast, source_only=options.source)
    report_folder, root = optional_path(options.report), optional_path(options.root)
    if report_folder is not None:
        check_folder("--report", report_folder)
    with _standing(options.out) as standing:
        start = starter(options.address, options.num_cpus, options.node_wait_s, display.note)
        if standing is None:
            found = Verified(verify_source(open_source(options.src, root), start, display), [])
        elif options.fast:
            found = Verified(verify_bytes(standing, display), [])
        else:
            found = verify_output(standing, root, _asked(options), start, display)
    if report_folder is not None:
        write_report(report_folder, found.report, found.worst)
    return found.report


def _asked(options: VerifyOptions) -> Asked:
    default = Asked()
    return Asked(
        is_all=options.all,
        num_random=default.num_random if options.sample is None else options.sample,
        seed=options.seed,
        backends=choose_backends(options.backends),
        pythons=parse_backend_python(options.backend_python or []),
        min_psnr_db=default.min_psnr_db if options.min_psnr is None else options.min_psnr,
    )


@contextmanager
def _standing(out: AnyPath | None) -> Iterator[Path | Place | None]:
    """What ``verify`` looks at: the output's folder or place; None for a source."""
    if out is None or not is_url(str(out)):
        yield optional_path(out)
        return
    with readable(str(out)) as place:
        yield place


verify = as_call(VerifyOptions, verify_with)
