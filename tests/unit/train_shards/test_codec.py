"""Image bytes against Pillow and numpy as foreign readers, and what must be refused."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from train_shards.codec import CODECS, decode_image, encode_image, is_lossless
from train_shards.errors import DataError

LOSSLESS = [("png", None), ("webp", None), ("raw", None)]
ALL = [*LOSSLESS, ("jpeg", 95), ("webp", 80)]


def noise(height: int = 11, width: int = 17) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def smooth() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:48, 0:64]
    picture = np.stack([2 * rows + columns, 255 - rows - columns, 3 * columns], axis=-1)
    return picture.astype(np.uint8)


def pillow(data: bytes) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_codecs_and_which_of_them_lose_nothing() -> None:
    assert CODECS == ("jpeg", "png", "webp", "raw")
    assert [is_lossless(c, None) for c in ("png", "raw", "webp")] == [True, True, True]
    assert [is_lossless(c, 100) for c in ("jpeg", "webp")] == [False, False]


@pytest.mark.parametrize(("codec", "quality"), LOSSLESS)
def test_lossless_codecs_return_every_pixel(codec: str, quality: int | None) -> None:
    picture = noise()
    data = encode_image(picture, codec, quality, "420")
    decoded = decode_image(data, codec, (11, 17))
    assert np.array_equal(decoded, picture)
    assert decoded.dtype == np.uint8
    foreign = np.load(io.BytesIO(data)) if codec == "raw" else pillow(data)
    assert np.array_equal(foreign, picture)


@pytest.mark.parametrize(("codec", "quality"), ALL)
def test_a_decoded_picture_is_fresh_and_writable(codec: str, quality: int | None) -> None:
    data = encode_image(noise(), codec, quality, "420")
    first, second = decode_image(data, codec, None), decode_image(data, codec, None)
    first[:] = 0
    assert first.flags.c_contiguous
    assert second.any()


@pytest.mark.parametrize(("codec", "quality"), ALL)
def test_the_same_picture_gives_the_same_bytes(codec: str, quality: int | None) -> None:
    picture = noise()
    data = encode_image(picture, codec, quality, "420")
    assert encode_image(picture.copy(), codec, quality, "420") == data


def test_jpeg_is_what_pillow_reads_too() -> None:
    data = encode_image(smooth(), "jpeg", 95, "420")
    ours = decode_image(data, "jpeg", (48, 64))
    theirs = pillow(data)
    # Both are libjpeg-turbo; releases may differ by a rounding in the chroma upsampling.
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    assert np.abs(ours.astype(int) - smooth().astype(int)).mean() < 3


@pytest.mark.parametrize(
    ("subsampling", "expected"), [("420", [2, 2]), ("422", [2, 1]), ("444", [1, 1])]
)
def test_chroma_subsampling_stands_in_the_jpeg_header(
    subsampling: str, expected: list[int]
) -> None:
    image = Image.open(io.BytesIO(encode_image(smooth(), "jpeg", 90, subsampling)))
    assert image.format == "JPEG"
    layer = image.layer[0]  # type: ignore[attr-defined]  # of the first component
    assert list(layer[1:3]) == expected


def test_a_higher_quality_is_nearer_to_the_picture() -> None:
    rough, fine = (encode_image(smooth(), "jpeg", quality, "444") for quality in (20, 100))
    rough_error, fine_error = (
        np.abs(decode_image(data, "jpeg", None).astype(int) - smooth()).mean()
        for data in (rough, fine)
    )
    assert len(rough) < len(fine)
    assert fine_error < 1 < rough_error


def test_an_unknown_codec_is_a_bug_and_no_data_error() -> None:
    with pytest.raises(ValueError, match="codec 'avif': expected one of jpeg, png, webp, raw"):
        encode_image(noise(), "avif", None, "420")


@pytest.mark.parametrize(("codec", "quality"), ALL)
def test_another_size_is_refused_with_both_sizes(codec: str, quality: int | None) -> None:
    data = encode_image(noise(), codec, quality, "420")
    with pytest.raises(
        DataError, match=rf"not a readable {codec} picture of .*expected 17x11 pixels, got 11x17"
    ):
        decode_image(data, codec, (17, 11))


@pytest.mark.parametrize(("codec", "quality"), ALL)
@pytest.mark.parametrize("keep", [0, 3, 20, -30])
def test_cut_bytes_are_refused(codec: str, quality: int | None, keep: int) -> None:
    data = encode_image(noise(), codec, quality, "420")[:keep]
    with pytest.raises(DataError, match=f"not a readable {codec} picture of {len(data)} bytes: "):
        decode_image(data, codec, (11, 17))


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_of_another_codec_are_refused(codec: str) -> None:
    other = "png" if codec != "png" else "jpeg"
    data = encode_image(noise(), other, 90 if other == "jpeg" else None, "420")
    with pytest.raises(DataError, match=f"not a readable {codec} picture"):
        decode_image(data, codec, (11, 17))


@pytest.mark.filterwarnings("ignore")  # numpy warns of odd types before it refuses them
@pytest.mark.parametrize(("codec", "quality"), ALL)
def test_a_flipped_bit_gives_a_picture_or_a_data_error(codec: str, quality: int | None) -> None:
    data = encode_image(noise(4, 5), codec, quality, "420")
    tried = 0
    for position in range(min(len(data), 200)):
        for bit in (1, 2, 16, 64, 128):
            damaged = bytearray(data)
            damaged[position] ^= bit
            try:
                assert decode_image(bytes(damaged), codec, (4, 5)).shape == (4, 5, 3)
            except DataError as error:
                assert f"not a readable {codec} picture" in str(error)  # noqa: PT017
            tried += 1
    assert tried >= 300


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3), np.int8),
        np.zeros((4, 5, 3), np.float32),
        np.asfortranarray(np.zeros((4, 5, 3), np.uint8)),
    ],
)
def test_an_npy_of_another_kind_is_refused(array: NDArray[np.generic]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    with pytest.raises(DataError, match=r"expected \(h, w, 3\) uint8 in C order, got \("):
        decode_image(buffer.getvalue(), "raw", None)


def test_an_npy_with_more_or_fewer_pixels_than_its_header_says_is_refused() -> None:
    data = encode_image(noise(4, 5), "raw", None, "420")
    for wrong, got in ((data[:-7], 53), (data + b"\0", 61)):
        with pytest.raises(DataError, match=f"expected 60 bytes of pixels, got {got}"):
            decode_image(wrong, "raw", (4, 5))


def test_a_header_that_promises_a_huge_picture_takes_no_memory() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    with pytest.raises(DataError, match="not a readable png picture"):
        decode_image(png, "png", (4, 5))
