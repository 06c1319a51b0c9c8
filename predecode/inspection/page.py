"""The page of an output: one HTML file without script that needs no other file."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from predecode.inspection.found import OutputFound
from predecode.inspection.lines import settings_of
from predecode.inspection.shown import PageContent
from predecode.inspection.timeline import timeline
from predecode.page.charts import value_chart
from predecode.page.render import data_uri, rendered
from predecode.video.backends import STORING_BACKEND

__all__ = ["render_page"]

_MOST_ROWS = 50
_LARGE_BYTES = 10_000


def render_page(found: OutputFound, content: PageContent) -> str:
    """Returns the page: pictures, plots, figures, settings, provenance."""
    filters: dict[str, Callable[..., object]] = {
        "byte_units": _byte_units,
        "data_uri": partial(data_uri, kind="jpeg"),
        "short_key": _short_key,
        "timeline": timeline,
        "value_chart": value_chart,
    }
    fps = found.manifest.fps
    return rendered(
        Path(__file__).with_name("page.html.j2"),
        filters,
        found=found,
        content=content,
        settings=settings_of(found.manifest.settings),
        shards=[shard for entry in found.manifest.generations for shard in entry.shards],
        num_tasks=sum(task.num_episodes > 0 for task in found.tasks),
        seconds=fps[1] / fps[0] if fps else None,
        storing_backend=STORING_BACKEND,
        most_rows=_MOST_ROWS,
    )


class _Scaled(NamedTuple):
    """Bytes -> how often, in a unit whose labels stay short."""

    counts: dict[int, int]
    unit: str
    mean: float
    """In bytes."""


def _byte_units(counts: Mapping[int, int]) -> _Scaled:
    size, unit = (1, "bytes") if max(counts) < _LARGE_BYTES else (1000, "kB")
    scaled: dict[int, int] = {}
    for num_bytes, count in counts.items():
        scaled[num_bytes // size] = scaled.get(num_bytes // size, 0) + count
    total = sum(num_bytes * count for num_bytes, count in counts.items())
    return _Scaled(scaled, unit, total / sum(counts.values()))


def _short_key(key: str) -> str:
    """Returns a key without leading zeros, for the words under a small picture.

    >>> _short_key("ep00490010_f000042")
    '490010 f42'
    """
    episode, frame = key.removeprefix("ep").split("_f")
    return f"{int(episode)} f{int(frame)}"
