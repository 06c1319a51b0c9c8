"""predecode inspect: what is in an output, an episode or a sample; a page of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predecode.api.option import AnyPath, Option
from predecode.commands.options import Reported, Standing, say
from predecode.commands.words import with_options
from predecode.errors import EXIT_INCOMPLETE, DataError, UserError

if TYPE_CHECKING:
    from predecode.inspection.found import EpisodeFound, OutputFound, SampleFound

__all__ = ["inspect"]

_SHOWN = "What is shown"
_WRITTEN = "What is written"


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """The options of ``inspect``."""

    key: Annotated[str | None, Option("A sample: ep00000010_f000123.", _SHOWN)] = None
    episode: Annotated[int | None, Option("An episode by its id: 00490010.", _SHOWN, least=0)] = (
        None
    )
    picture: Annotated[
        AnyPath | None,
        Option("With --key: a PNG file for all images of the sample, side by side.", _WRITTEN),
    ] = None
    html: Annotated[
        AnyPath | None, Option("A file for one page of pictures, plots and figures.", _WRITTEN)
    ] = None


@with_options
def inspect(standing: Standing, options: InspectOptions, reported: Reported) -> None:
    """Show what is in an output: all of it, one episode, or one sample.

    Examples:
        predecode inspect shards/ --html shards.html
        predecode inspect shards/ --key ep00000010_f000017 --picture sample.png
    """
    from predecode.errors import disk_errors_of
    from predecode.inspection.episode import inspect_episode
    from predecode.inspection.lines import episode_lines, output_lines, sample_lines
    from predecode.inspection.opened import opened
    from predecode.inspection.page import render_page
    from predecode.inspection.sample import inspect_sample
    from predecode.inspection.sheet import sample_sheet
    from predecode.inspection.shown import page_content
    from predecode.inspection.summary import inspect_output
    from predecode.page.render import encoded
    from predecode.page.wording import printable
    from train_shards.storage import write_atomic

    key, episode = options.key, options.episode
    picture, html = options.picture, options.html
    wanted = {"--key": key, "--episode": episode, "--html": html}
    given = [name for name, value in wanted.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"inspect: {' and '.join(given)} exclude each other. Leave one out.")
    if picture is not None and key is None:
        raise UserError(f"--picture {picture}: of which sample? Name it with --key.")
    target = _file("--picture", picture) or _file("--html", html)
    found: SampleFound | EpisodeFound | OutputFound
    data = b""
    try:
        with opened(str(standing.out), check_members=html is None) as output:
            if key is not None:
                found, images = inspect_sample(output, key)
                lines = sample_lines(found)
                if picture is not None:
                    title = f"{found.key} in {found.shard}"
                    data = encoded(sample_sheet(title, found.images, images), "png")
            elif episode is not None:
                found = inspect_episode(output, episode)
                lines = episode_lines(found)
            else:
                found = inspect_output(output)
                lines = output_lines(found)
                if html is not None:
                    data = render_page(found, page_content(output, found)).encode()
    except DataError as error:
        say(f"error: {error}")
        raise typer.Exit(EXIT_INCOMPLETE) from error
    if target is not None:
        with disk_errors_of(str(target)):
            write_atomic(target, data, target.parent)
    written = [] if target is None else [f"written: {target}"]
    reported.show(found, [*map(printable, lines), *written])


def _file(option: str, named: AnyPath | None) -> Path | None:
    """A file that can be written as far as its name tells."""
    from predecode.config import check_folder

    path = None if named is None else Path(named)
    if path is not None:
        check_folder(option, path.parent)
        if path.is_dir():
            raise UserError(f"{option} {path}: a folder, expected a file. Name one in it.")
    return path
