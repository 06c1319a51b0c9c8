"""Valid bytes made invalid, cheaply and many times: the inputs of the fuzz tests."""

import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator

import xxhash

__all__ = ["mutants", "mutated", "mutated_json", "seal_index", "seal_png", "seal_tar"]

_EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_TEXT = re.compile(rb'"[^"\\]*"')
_NUMBERS = [
    b"-1", b"0", b"1e400", b"-0.5", b"NaN", b"9223372036854775808", b"1" + b"0" * 30, b"1" * 5000,
    b"null", b"true", b'"7"', b"[]", b"{}",
]  # fmt: skip
_TEXTS = [
    b'"/etc/passwd"', b'"../../x"', b'"a/../../b"', b'"..\\\\x"', b'"C:\\\\x"', b'"a\\u0000b"',
    b'""',
    b'"\\ud800"', b'"\\u202e"', b'"99999999x9"', b'"\xff"', b'"a\\n"', b"7", b"null",
    b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 3000, b'"' + b"x" * 300 + b'"',
]  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes of bytes: flips, extremes, cuts, repeats, insertions."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed)) if changed else 0
        kind = draw.randrange(7)
        if kind == 0 and changed:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1 and changed:
            changed[place] = draw.randrange(256)
        elif kind == 2:
            number = draw.choice(_EXTREMES)
            width = draw.choice([1, 2, 4, 8])
            packed = (number % 2 ** (8 * width)).to_bytes(width, draw.choice(["little", "big"]))
            changed[place : place + width] = packed
        elif kind == 3:
            del changed[place : place + draw.randint(1, 40)]
        elif kind == 4:
            changed[place:place] = changed[place : place + draw.randint(1, 40)]
        elif kind == 5:
            changed[place:place] = draw.randbytes(draw.randint(1, 8))
        else:
            del changed[place:]
    return bytes(changed)


def mutated_json(data: bytes, draw: random.Random) -> bytes:
    """One to three values of a JSON text made hostile; now and then bytes as well."""
    for _ in range(draw.randint(1, 3)):
        pattern, words = draw.choice([(_NUMBER, _NUMBERS), (_TEXT, _TEXTS)])
        places = list(pattern.finditer(data))
        if places:
            place = draw.choice(places)
            data = data[: place.start()] + draw.choice(words) + data[place.end() :]
    return mutated(data, draw) if draw.random() < 0.2 else data


def mutants(
    seeds: list[bytes],
    mutate: Callable[[bytes, random.Random], bytes],
    seal: Callable[[bytes], bytes],
    start: int,
    number: int,
) -> Iterator[bytes]:
    """Yields ``number`` changed seeds; every second one is sealed, as someone with a will would."""
    draw = random.Random(start)
    for _ in range(number):
        changed = mutate(draw.choice(seeds), draw)
        yield seal(changed) if draw.random() < 0.5 else changed


def seal_index(data: bytes) -> bytes:
    """Makes every digest of an index right. Source: docs/format.md, index."""
    if len(data) < 128:
        return data
    blocks_offset = struct.unpack_from("<Q", data, 64)[0]
    if not 128 <= blocks_offset <= len(data):
        return data
    body = data[:blocks_offset]
    digests = b"".join(
        struct.pack("<Q", xxhash.xxh3_64_intdigest(body[start : start + 65536]))
        for start in range(128, blocks_offset, 65536)
    )
    header = bytearray(body[:128])
    struct.pack_into("<Q", header, 72, blocks_offset + len(digests))
    digest = xxhash.xxh3_64_intdigest(bytes(header[:120]) + digests)
    return bytes(header[:120]) + struct.pack("<Q", digest) + body[128:] + digests


def seal_tar(data: bytes) -> bytes:
    """Makes the checksum of every block that may be a header right. Source: POSIX ustar."""
    changed = bytearray(data)
    for start in range(0, len(changed) - 511, 512):
        if changed[start + 257 : start + 262] == b"ustar":
            changed[start + 148 : start + 156] = b" " * 8
            checksum = sum(changed[start : start + 512])
            changed[start + 148 : start + 156] = b"%06o\0 " % checksum
    return bytes(changed)


def seal_png(data: bytes) -> bytes:
    """Makes the CRC of every chunk right. Source: PNG specification, chunk layout."""
    changed, place = bytearray(data), 8
    while place + 12 <= len(changed):
        (length,) = struct.unpack_from(">I", changed, place)
        if place + 12 + length > len(changed):
            break
        crc = zlib.crc32(bytes(changed[place + 4 : place + 8 + length]))
        struct.pack_into(">I", changed, place + 8 + length, crc)
        place += 12 + length
    return bytes(changed)
