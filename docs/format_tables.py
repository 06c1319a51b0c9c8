"""The tables of docs/format.md that say what is a constant or a type of the code.

``TABLES`` has one for each marked region of the page; ``docs/check.py`` writes and compares them.
What a column means is said here only where the code has no docstring for it.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable

import numpy as np

from predecode import planning
from predecode.config import DEFAULT_SHARD_SIZE, PIECE_FRAMES
from predecode.lock import LOCK_PATH
from predecode.manifest import QUARANTINE_PATH
from predecode.progress_lines import PROGRESS_PATH
from predecode.receipts import TEMPORARY_FOLDER
from predecode.run_log import LOG_PATH
from train_shards import b1k_state, bounds, codec, format, index, manifest
from train_shards.ledger import ledger_dtype
from train_shards.order import ORDER_VERSION

__all__ = ["TABLES"]

_EDGE_MEMBERS = (5, 3)  # members and images of a sample: any two that differ, to be named m and c

_TREE = (
    ("README.md", "data set card; its `configs:` names the tars of each split"),
    ("<name>.json, <name>-val.json", "wids index of each split"),
    (format.shard_path("<name>", "train", 0) + " …", ""),
    (format.shard_path("<name>", "val", 0) + " …", ""),
    (format.lowdim_path("<name>", 0) + " …", ""),
    ("meta/", "copies of the source's metadata that training needs"),
    (format.MANIFEST_PATH, "what exists; written last"),
    (format.plan_path(0) + " …", "what should exist: one plan a generation"),
    (format.receipt_path("<task>"), "what each task made"),
    (format.ledger_path("<shard>"), "every member: place, length, hashes"),
    (format.index_path("<split>", 0), "sample -> place, one a generation and split;"),
    (format.index_path("<split>", 0, 2), "where it masks 2 dropped episodes"),
    (QUARANTINE_PATH, "episodes that are missing, and why"),
    (format.DROPPED_PATH, "episodes that were taken out (1.2)"),
    (PROGRESS_PATH, "how runs went: figures, a line every 10 s (docs/status.md)"),
    (LOG_PATH, "what calls did, a line each (docs/api.md)"),
    (f"{LOCK_PATH}, {TEMPORARY_FOLDER}/", "only while a run is writing"),
)

_LEDGER = {
    "episode_index": "the sample",
    "frame_index": "the sample",
    "offset_bytes": "of the sample's first tar header",
    "data_offset_bytes": "where each content begins, counted from `offset_bytes`",
    "data_bytes": "length of each content",
    "member_xxh3": "xxh3-64 of each content",
    "pixel_xxh3": "xxh3-64 of each picture's pixels before encoding",
}
_EPISODE = {
    "episode_index": "the source's id",
    "task_index": "its task",
    "row_start": "its first row",
    "num_rows": "how many it has",
    "num_frames": "frames of the whole episode",
    "flags": f"bit {index.LIVE.bit_length() - 1}: live",
    "lowdim_table": "position in the generation's tables",
    "lowdim_batch": "its record batch there",
    "first_frame": "the first selected frame (1.2; 0 before)",
    "num_samples": "2.0 only: selected frames in the universe",
}
_SAMPLE = {
    "offset_bytes": "of the sample's first tar header",
    "shard": f"position in the generation's shards; 0x{index.NOT_STORED:X}: not stored",
    "frame_index": "the frame",
    "episode": "position in the episode records",
    "reserved": "0",
    "members": "for each member its start, counted from `offset_bytes`, and its length",
}
_HEADER = (
    f"magic (`{index._MAGIC.decode()}`)", "major", "minor of the index", "members m", "episodes",
    "block bytes", "samples", "stored samples", "offset of episodes", "of samples",
    "of the storage order", "of block digests", "file bytes",
)  # fmt: skip
_STRUCTS = (
    manifest.Manifest, manifest.Settings, manifest.GenerationEntry, manifest.ShardEntry,
    manifest.LowdimEntry, manifest.IndexEntry, manifest.MissingEpisode, manifest.DroppedEpisode,
    manifest.Totals,
)  # fmt: skip


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    lines = [f"| {' | '.join(map(str, row))} |" for row in [columns, *rows]]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def _tree() -> str:
    width = max(len(path) for path, _ in _TREE)
    lines = [f"  {path:{width}}  {text}".rstrip() for path, text in _TREE]
    return "\n".join(["```", "OUT/", *lines, "```"])


def _versions() -> str:
    major, minor, run = format.FORMAT_MAJOR, format.FORMAT_MINOR, format.RUN_MAJOR
    return _table(
        ("what", "value"),
        [
            ("format of an output that holds every selected frame", f"{major}.{minor}"),
            ("format of an output that holds one run's samples alone", f"{run}.0"),
            ("the highest major version that readers of this release take", run),
            ("version of the order ([order.md](order.md))", ORDER_VERSION),
            ("splits", ", ".join(f"`{split}`" for split in format.SPLITS)),
            ("largest `episode_index`", f"{format.MAX_EPISODE_INDEX:,}"),
            ("most pixels of a picture each way", f"{bounds.MAX_EDGE_PX:,}"),
            ("most bytes of a member", f"{bounds.MAX_MEMBER_BYTES:,}"),
            ("fewest frames of a piece, unless its episode is shorter", PIECE_FRAMES),
            (
                "samples at which a shard is closed, unless `--shard-size`",
                f"{DEFAULT_SHARD_SIZE:,}",
            ),
            ("source frames at which it is closed too", f"{planning.MAX_TASK_FRAMES:,}"),
            ("episodes of a table", planning.LOWDIM_EPISODES),
        ],
    )


def _fields() -> str:
    rows = []
    for name in codec.CODECS:
        quality = None if name in ("png", "raw") else 95
        loss = "lossless" if codec.is_lossless(name, None) else "by its quality, 1 to 100"
        if codec.is_lossless(name, None) and not codec.is_lossless(name, quality):
            loss = "lossless, or by its quality, 1 to 100"
        dtype = "uint8 HWC, `.npy` format 1.0" if name == "raw" else "RGB of 8 bits"
        content = f"the picture, `(h, w, 3)` {dtype}"
        rows.append((f"`{format.image_field('<camera>', name)}`", f"`{name}`", content, loss))
    for modality, array in (("depth", "codes"), ("seg_instance_id", "ids")):
        types = " or ".join(np.dtype(one).name for one in codec._CODES[array])
        field = f"`{format.image_name('<camera>', modality)}.npz`"
        content = f"1.2: one array `{array}`, `(h, w)` {types}, deflated"
        rows.append((field, f"`{modality}`", content, "lossless"))
    return _table(("field", "codec or modality", "content", "loss"), rows)


def _dtype_table(dtype: np.dtype[np.void], meanings: dict[str, str], letters: str) -> str:
    """Rows of name, type and meaning; counts that depend on the sample by their letters."""
    rows = []
    for name in dtype.names or ():
        base, shape = (dtype[name].subdtype or (dtype[name], ()))[:2]
        named = [dict(zip(_EDGE_MEMBERS, letters, strict=False)).get(n, str(n)) for n in shape]
        rows.append((f"`{name}`", " x ".join([base.name, *named]), meanings[name]))
    return _table(("field", "type", "meaning"), rows)


def _ledger() -> str:
    return _dtype_table(ledger_dtype(*_EDGE_MEMBERS), _LEDGER, "mc")


def _index() -> str:
    record = index.sample_dtype(0).itemsize
    a_member = index.sample_dtype(1).itemsize - record
    block = f"{index._BLOCK_BYTES:,}"
    letters = re.findall(r"\d*[a-zA-Z]", index._HEADER.format)
    names = [f"{name} `{letter}`" for letter, name in zip(letters, _HEADER, strict=True)]
    digest_bytes = index._HEADER_BYTES - index._DIGEST_OFFSET
    digest_bytes = index._HEADER_BYTES - index._DIGEST_OFFSET
    header = (
        f"{', '.join(names)}; zeros; in the last {digest_bytes} bytes "
        "xxh3-64 of the header before them and of all block digests"
    )
    parts = _table(
        ("part", "bytes", "content"),
        [
            ("header", index._HEADER_BYTES, f"`{index._HEADER.format}`: {header}"),
            (
                "episodes",
                f"{index.EPISODE_DTYPE.itemsize} each ({index.RUN_EPISODE_DTYPE.itemsize} in 2.0)",
                "see below; `episode_index` ascending",
            ),
            ("samples", f"{record} + {a_member} m each", "see below"),
            (
                "storage order",
                "8 each",
                "row of each stored sample, in the order of shards and of the tar",
            ),
            (
                "block digests",
                "8 each",
                f"xxh3-64 of each {block} bytes between header and digests",
            ),
        ],
    )
    episodes = _dtype_table(index.RUN_EPISODE_DTYPE, _EPISODE, "")
    samples = _dtype_table(index.sample_dtype(_EDGE_MEMBERS[0]), _SAMPLE, "m")
    return f"{parts}\n\nAn episode:\n\n{episodes}\n\nA sample:\n\n{samples}"


def _structs() -> str:
    return "\n\n".join(
        f"`{struct.__name__}`: {_plain(inspect.getdoc(struct) or '')}\n\n"
        + _table(("field", "type", "meaning"), _fields_of(struct))
        for struct in _STRUCTS
    )


def _fields_of(struct: type) -> Iterable[tuple[str, str, str]]:
    """Name, type and docstring of each field, as its class is written."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = str(after.value.value) if is_text else ""  # type: ignore[union-attr]
            kind = ast.unparse(node.annotation)
            kind = re.sub(
                r"Annotated\[int, msgspec.Meta\(ge=(\d+), le=(\d+)\)\]", r"\1 to \2", kind
            )
            kind = kind.replace("msgspec.UnsetType", "absent").replace("None", "null")
            if node.value is not None and "absent" not in kind:
                kind += f", absent for {ast.unparse(node.value)}"
            yield f"`{node.target.id}`", kind.replace(" | ", " or "), _plain(text)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _state() -> str:
    def place(part: slice) -> str:
        return f"{part.start}:{part.stop}"

    rows = [(f"`{name}`", place(a), place(b)) for name, (a, b) in b1k_state._SHARED.items()]
    return _table(("field", f"`{b1k_state.LAYOUT_2025}`", f"`{b1k_state.LAYOUT_2026}`"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "files": _tree,
    "versions": _versions,
    "fields": _fields,
    "ledger": _ledger,
    "index": _index,
    "structures": _structs,
    "state": _state,
}
"""Name of a region -> what stands in it."""
