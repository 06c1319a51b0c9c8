"""The matrix of agreement between decoders as text."""

from collections.abc import Iterator

from predecode.page.wording import percent
from predecode.verification.report import BackendPair, Backends

__all__ = ["matrix_lines"]


def matrix_lines(backends: Backends) -> list[str]:
    """Returns a matrix for each camera, why decoders differ, what they are, and what they read."""
    lines = []
    for camera in sorted({pair.camera for pair in backends.pairs}):
        pairs = [pair for pair in backends.pairs if pair.camera == camera]
        lines += [f"camera {camera}", *_matrix(backends.names, pairs)]
        lines += [f"  {p.left}, {p.right}: {p.why}" for p in pairs if p.why]
    lines.append("decoders")
    for one in backends.fingerprints:
        versions = ", ".join(f"{library} {number}" for library, number in one.versions.items())
        lines += [f"  {one.backend}: {versions}", f"    to RGB: {one.conversion}"]
    lines.append("videos")
    lines += [
        f"  {f.camera}: {f.num_videos:,} {f.codec_name} {f.pix_fmt}, range {f.color_range}, "
        f"matrix {f.color_matrix}"
        for f in backends.formats
    ]
    return lines


def _matrix(names: list[str], pairs: list[BackendPair]) -> Iterator[str]:
    """A row for each decoder but the last, a column for each but the first."""
    cells = {(pair.left, pair.right): _cell(pair) for pair in pairs}
    rows = [["", *names[1:]]]
    rows += [[left, *(cells.get((left, right), "") for right in names[1:])] for left in names[:-1]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()


def _cell(pair: BackendPair) -> str:
    if not pair.num_images:
        return "no image"
    if pair.num_equal_images == pair.num_images:
        return f"all {pair.num_images:,} equal"
    return f"{percent(pair.equal_values)} equal, at most {pair.largest}"
