"""Pictures and ledgers that are small and promise much: refused before memory is taken."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable

import pytest

from tests.support.hostile import picture
from train_shards.codec import decode_codes, decode_image, encode_image
from train_shards.errors import DataError
from train_shards.ledger import decode_ledger

pytestmark = pytest.mark.faults


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes((3 * width + 1) * min(height, 100)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", rows) + IEND


IEND = chunk(b"IEND", b"")
ZEROS = zlib.compress(bytes(160_000_000), 1)
TEXT = chunk(b"zTXt", b"a\0\0" + ZEROS)
PROFILE = chunk(b"iCCP", b"a\0\0" + ZEROS)


def webp(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content + bytes(20)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_extended(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", bytes(4) + sizes)


def webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", bits))


def jpeg(width: int, height: int) -> bytes:
    """A small picture whose frame header tells of a large one. Source: ITU T.81, B.2.2."""
    data = bytearray(encode_image(picture(), "jpeg", 90, "420"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def npy(shape: tuple[int, ...], descr: object) -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(method: int, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("codes.npy", content)
    return buffer.getvalue()


LEDGER_ROW = [
    ("episode_index", "<i8"), ("frame_index", "<u4"), ("offset_bytes", "<u8"),
    ("data_offset_bytes", "<u4", (3,)), ("data_bytes", "<u4", (3,)), ("member_xxh3", "<u8", (3,)),
    ("pixel_xxh3", "<u8", (2,)),
]  # fmt: skip


BOMBS: dict[str, tuple[Callable[[], object], str]] = {
    "png, given size": (lambda: decode_image(png(20_000, 4), "png", (4, 5)), "expected 4x5"),
    "png, native": (lambda: decode_image(png(20_000, 4), "png", None), "at most 8192 pixels"),
    "png, text": (lambda: decode_image(png(5, 4, TEXT), "png", (4, 5)), "too large"),
    "png, profile": (lambda: decode_image(png(5, 4, PROFILE), "png", (4, 5)), "too large"),
    "webp, canvas": (
        lambda: decode_image(webp_extended(16_383, 16_383), "webp", None), "at most 8192 pixels",
    ),
    "webp, lossless": (
        lambda: decode_image(webp_lossless(16_383, 16_383), "webp", (4, 5)), "expected 4x5 pixels",
    ),
    "jpeg, given size": (lambda: decode_image(jpeg(65_000, 65_000), "jpeg", (4, 5)), "expected 4"),
    "jpeg, native": (lambda: decode_image(jpeg(65_000, 65_000), "jpeg", None), "at most 8192"),
    "npy": (lambda: decode_image(npy((2**20, 2**20, 3), "|u1"), "raw", None), "at most 8192"),
    "npy, nested": (lambda: decode_image(npy((1,), "-" * 400), "raw", None), "not a"),
    "npz": (
        lambda: decode_codes(npz(zipfile.ZIP_STORED, npy((2**20, 2**20), "<u2")), "codes", None),
        "at most 8192",
    ),
    "npz, lzma": (
        lambda: decode_codes(npz(zipfile.ZIP_LZMA, npy((4, 5), "<u2")), "codes", (4, 5)),
        "expected it stored or deflated",
    ),
    "ledger": (lambda: decode_ledger(npy((10**12,), LEDGER_ROW), 3, 2, where="l"), "0 bytes, exp"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    act, message = BOMBS[name]
    with pytest.raises(DataError, match=message):
        act()


LIMITED = """
import resource, sys
import tests.unit.fuzz.test_bombs as bombs
from train_shards.errors import DataError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20),) * 2)
refused = 0
for name, (act, _) in bombs.BOMBS.items():
    try:
        act()
    except DataError:
        refused += 1
try:
    bytes(150 << 20)
except MemoryError:
    print("refused", refused)
"""


def test_all_bombs_together_fit_in_128_mb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["refused", str(len(BOMBS))], done.stderr[-2000:]
