"""Image files of every odd kind (§1.5), all of one colour as far as they have colours."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

COLOUR = (200, 60, 20)
WIDTH, HEIGHT = 60, 40


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def plain(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    return Image.new("RGB", size, COLOUR).convert(mode)


def png16(values: npt.NDArray[np.uint16]) -> bytes:
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


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def exif(*entries: tuple[int, int, int, int], order: str = "<", shorten: int = 0) -> bytes:
    """An EXIF segment's content of entries (tag, type, count, value), without its last bytes."""
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    rows = b""
    for tag, kind, count, value in entries:
        packed = struct.pack(
            f"{order}HH" if kind == 3 else f"{order}I", *([value, 0] if kind == 3 else [value])
        )
        rows += struct.pack(f"{order}HHI", tag, kind, count) + packed
    content = b"Exif\0\0" + start + rows + b"\0" * 4
    return content[: len(content) - shorten]


JPEG = encode(plain(), "JPEG", quality=95)
CMYK = encode(plain("CMYK"), "JPEG", quality=95)
PROGRESSIVE = encode(plain(), "JPEG", quality=95, progressive=True)
TURNED = exif((0x0112, 3, 1, 6))
YCCK = simplejpeg.encode_jpeg(
    np.full((HEIGHT, WIDTH, 4), (*COLOUR, 255), np.uint8), 95, "CMYK", "444"
)  # inverted inks: those of red, green and blue

# What each holds, by its file's name.
ODD: dict[str, tuple[bytes, list[str]]] = {
    "plain.JPEG": (JPEG, []),
    "grey.JPEG": (encode(Image.new("L", (WIDTH, HEIGHT), 90), "JPEG"), ["grey"]),
    "cmyk.JPEG": (CMYK, ["cmyk", "adobe_inverted"]),
    "cmyk_unnamed.JPEG": (CMYK.replace(b"\xff\xee", b"\xff\xef", 1), ["cmyk"]),
    "ycck.JPEG": (YCCK, ["ycck", "adobe_inverted"]),
    "png.JPEG": (encode(plain(), "PNG"), ["not_jpeg_png"]),
    "png.png": (encode(plain(), "PNG"), []),
    "grey.png": (encode(plain("L"), "PNG"), ["grey"]),
    "palette.JPEG": (encode(plain().quantize(4), "PNG"), ["not_jpeg_png", "palette"]),
    "alpha.png": (encode(plain("RGBA"), "PNG"), ["transparency"]),
    "clear_colour.png": (encode(plain(), "PNG", transparency=COLOUR), ["transparency"]),
    "png16.JPEG": (
        png16(np.full((HEIGHT, WIDTH, 3), COLOUR, np.uint16) * 257),
        ["not_jpeg_png", "sixteen_bit"],
    ),
    "grey16.png": (png16(np.full((HEIGHT, WIDTH), 9 << 8, np.uint16)), ["grey", "sixteen_bit"]),
    "gif.JPEG": (encode(plain().quantize(4), "GIF"), ["not_jpeg_gif", "palette"]),
    "bmp.JPEG": (encode(plain(), "BMP"), ["not_jpeg_bmp"]),
    "webp.JPEG": (encode(plain(), "WEBP", lossless=True), ["not_jpeg_webp"]),
    "ppm.JPEG": (b"P6 60 40 255\n" + bytes(COLOUR) * 2400, ["not_jpeg_ppm"]),
    "ppm.ppm": (b"P6 60 40 255\n" + bytes(COLOUR) * 2400, []),
    "gzip.JPEG": (gzip.compress(JPEG, mtime=0), ["gzip"]),
    "gzipped_cmyk.JPEG": (gzip.compress(CMYK, mtime=0), ["gzip", "cmyk", "adobe_inverted"]),
    "lead.JPEG": (b"in front" + JPEG, ["extra_bytes"]),
    "trail.JPEG": (JPEG + b"behind", ["extra_bytes"]),
    "within.JPEG": (JPEG[:-2] + b"\x12" * 20 + JPEG[-2:], ["decoder_warned", "extra_bytes"]),
    "turned.JPEG": (with_segment(JPEG, 0xE1, TURNED), ["exif_orientation"]),
    "damaged_exif.JPEG": (with_segment(JPEG, 0xE1, b"Exif\0\0garbage"), ["damaged_exif"]),
    "progressive.JPEG": (PROGRESSIVE, ["progressive"]),
    "short.JPEG": (
        PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xda")] + b"\xff\xd9",
        ["missing_scans", "progressive"],
    ),
    "thin.JPEG": (encode(plain(size=(200, 40)), "JPEG", quality=95), ["thin"]),
    "tiny.JPEG": (encode(plain(size=(60, 31)), "JPEG", quality=95), ["tiny"]),
    "one_pixel_wide.JPEG": (encode(plain(size=(1, 40)), "JPEG", quality=95), ["thin", "tiny"]),
}  # fmt: skip
