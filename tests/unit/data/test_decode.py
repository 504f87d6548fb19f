from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet.data import decode
from alexnet.data.decode import DecodeError, decode_rgb, hash_pixels

COLOUR = (200, 60, 20)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _plain(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (12, 8), COLOUR).convert(mode)


def _png16(values: npt.NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG of (H, W) grey or (H, W, 3) RGB, written without Pillow, which writes no 16-bit RGB."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if values.ndim == 2 else 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        _encode(_plain(), "JPEG", quality=95),
        _encode(_plain("CMYK"), "JPEG", quality=95),
        _encode(_plain(), "PNG"),
        _encode(_plain().quantize(4), "PNG"),
        _encode(_plain("RGBA"), "PNG"),
        gzip.compress(_encode(_plain(), "JPEG", quality=95)),
        _encode(_plain(), "JPEG", quality=95) + b"bytes behind the end",
        _png16(np.full((8, 12, 3), COLOUR, np.uint16) * 257),
    ],
    ids=["jpeg", "cmyk", "png", "palette", "alpha", "gzip", "extra", "png16"],
)
def test_colour_survives_every_kind_of_file(data: bytes) -> None:
    image = decode_rgb(data)
    assert image.shape == (8, 12, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - COLOUR).max() <= 4


def test_grey_jpeg_has_three_equal_channels() -> None:
    image = decode_rgb(_encode(Image.new("L", (9, 7), 90), "JPEG"))
    assert image.shape == (7, 9, 3) and (np.abs(image.astype(int) - 90) <= 1).all()


def test_cmyk_inks_are_inverted_as_adobe_writes_them() -> None:
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # full magenta and yellow: red
    assert decode_rgb(_encode(inks, "JPEG", quality=95))[4, 4].tolist() == pytest.approx([255, 0, 0], abs=4)


def test_16_bit_grey_png_keeps_its_high_byte() -> None:
    values = np.array([[0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    assert decode_rgb(_png16(values))[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255]


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned
    assert decode_rgb(_encode(_plain(), "JPEG", exif=exif)).shape == (8, 12, 3)


def test_damaged_exif_neither_warns_nor_fails() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\x00garbage"
    assert decode_rgb(_encode(_plain(), "JPEG", exif=exif)).shape == (8, 12, 3)


def test_truncated_jpeg_is_refused() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    data = _encode(noise, "JPEG")
    with pytest.raises(DecodeError, match="truncated"):
        decode_rgb(data[: len(data) // 2])


def test_truncated_gzip_is_refused() -> None:
    with pytest.raises(DecodeError, match="damaged gzip"):
        decode_rgb(gzip.compress(_encode(_plain(), "JPEG"))[:-12])


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\xff\xd8\xff", b"\0" * 500])
def test_no_image_is_refused_with_the_same_words_each_time(data: bytes) -> None:
    reasons = set()
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            decode_rgb(data)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1 and "0x" not in reasons.pop()


def test_format_without_a_place_among_photographs_is_refused() -> None:
    with pytest.raises(DecodeError, match="known format"):
        decode_rgb(_encode(_plain(), "TIFF"))


def test_enormous_image_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 95)
    with pytest.raises(DecodeError, match="12x8 is more than 95 pixels"):
        decode_rgb(_encode(_plain(), "PNG"))


def test_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 1000)
    with pytest.raises(DecodeError, match="more than 1,000 bytes"):
        decode_rgb(gzip.compress(b"\0" * 1001))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\x1f\x8b"]),
)
def test_arbitrary_bytes_decode_or_raise_decode_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert decode_rgb(start + data).shape[2] == 3


def test_pixel_hash_is_that_of_size_and_bytes() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    expected = hashlib.blake2b(bytes([2, 0, 0, 0, 3, 0, 0, 0]) + bytes(range(18)), digest_size=16).hexdigest()
    assert hash_pixels(image) == expected != hash_pixels(image.reshape(3, 2, 3))


def test_pixel_hash_does_not_see_memory_layout() -> None:
    image = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    assert hash_pixels(np.asfortranarray(image)) == hash_pixels(image)
