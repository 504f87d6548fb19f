"""Bytes of an image file to RGB pixels, with all the oddities that ImageNet's files have (§1.5)."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import simplejpeg
import xxhash
from PIL import Image, UnidentifiedImageError, features

from alexnet.data import jpeg

MAX_PIXELS = 1 << 27  # 134 million, 0.4 GB; the largest photograph of ImageNet is far below
MAX_BYTES = 1 << 28  # of an unpacked gzip
# A photograph has at most some 50 pixels in a byte of its file. A flat picture may have a thousand, and is refused for
# that only if it is larger than 4,096 x 4,096.
MAX_FLAT_PIXELS = 1 << 24
MAX_PIXELS_PER_BYTE = 256
# Each scan of a JPEG passes over the whole image, however few bytes it takes. Encoders write about ten; 16 of the
# largest image take seconds.
MAX_PIXELS_OF_SCANS = 16 * MAX_PIXELS
# Bytes in front of a JPEG, such as a MacBinary or an HTTP header.
MAX_LEAD = 1024
BAND_PIXELS = 1 << 22  # converted at a time, so that memory holds one copy of a large image and not three

# What the decoder may try; Pillow knows many more formats, none of which has a place among the photographs.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "PPM")

_GZIP = b"\x1f\x8b"
_JPEG_START = jpeg.SOI + b"\xff"
# An image of another kind may hold the bytes of a JPEG by chance, or one that is only its thumbnail or a strip of it.
_OTHER_STARTS = (
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"RIFF",
    b"II*\0",
    b"MM\0*",
    *(f"P{n}".encode() for n in "123456"),
)

Pixels = npt.NDArray[np.uint8]


class DecodeError(Exception):
    """The bytes are not a whole image; `reason` says why, the same on every run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decoded(NamedTuple):
    """pixels: (H, W, 3) uint8. warning: what libjpeg said of damage that it decoded all the same, or None."""

    pixels: Pixels
    warning: str | None


def decode_rgb(data: bytes, room: Pixels | None = None) -> Pixels:
    """Pixels (H, W, 3) uint8 RGB, 0-255, of an image file.

    Reads JPEG (grey, RGB, CMYK and YCCK with Adobe's inverted inks), PNG (also 16 bits and palette), GIF, BMP, WebP and
    PPM, and the same inside gzip, whatever the file is called. EXIF orientation is ignored, as in 2012; transparency is
    dropped. Foreign bytes before and behind a JPEG are passed over. Damage within a scan that the tools of 2012 only
    warned of decodes as it did for them.
    room: a contiguous buffer, in which the pixels lie if they fit, until its next use. It saves the work of being
    handed fresh memory for each image.
    Raises DecodeError if the bytes are no image, too large, or cut short so that a pixel is missing.
    """
    return _decode_file(data, room)[0]


def decode_image(data: bytes, room: Pixels | None = None) -> Decoded:
    """What `decode_rgb` returns, and libjpeg's warning if there was one."""
    pixels, is_sound = _decode_file(data, room)
    return Decoded(pixels, None if is_sound else _find_warning(data))


def unwrap(data: bytes) -> bytes:
    """The image in a file: unpacked if it is a gzip, and without a few foreign bytes in front of a JPEG.

    Raises DecodeError if the gzip is damaged or holds more than MAX_BYTES.
    """
    if data.startswith(_GZIP):
        data = _unpack_gzip(data)
    if data.startswith((jpeg.SOI, *_OTHER_STARTS)):
        return data
    return data[max(0, data.find(_JPEG_START, 0, MAX_LEAD + len(_JPEG_START))) :]


def _decode_file(data: bytes, room: Pixels | None) -> tuple[Pixels, bool]:
    """The pixels, and whether the file is a JPEG that libjpeg is known to find nothing wrong with."""
    num_bytes = len(data)  # a gzip is judged by what it takes, not by what it unpacks to
    data = unwrap(data)
    frame = jpeg.find_plain_frame(data) if data.startswith(jpeg.SOI) else None
    if frame is not None:
        height, width, has_one_scan = frame
        _check_size(height, width, num_bytes)
        if not has_one_scan:
            _check_scans(data, height * width)
        size = height * width * 3
        buffer = room[:size] if room is not None and size <= room.size else None
        try:
            pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=buffer, strict=True)
        except ValueError:
            pass  # Pillow's verdict counts
        else:
            if pixels.shape == (height, width, 3):
                return pixels, True
    return _decode_any(data, num_bytes), False


def _decode_any(data: bytes, num_bytes: int) -> Pixels:
    """Pixels of an image that is not gzipped, by Pillow."""
    if not data:
        raise DecodeError("the file is empty")
    if data.startswith(jpeg.SOI):
        data = jpeg.drop_notes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _decode(data, num_bytes)
        except (DecodeError, MemoryError):
            raise
        except UnidentifiedImageError:  # its own text holds an address in memory
            raise DecodeError("no image of a known format") from None
        except Image.DecompressionBombError:
            raise DecodeError(f"more than {MAX_PIXELS:,} pixels") from None
        except Exception as error:  # whatever a format's reader stumbles over, the file is broken
            raise DecodeError(f"{type(error).__name__}: {error}") from error


def _decode(data: bytes, num_bytes: int) -> Pixels:
    """The same; raises what Pillow raises."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.height, image.width, num_bytes)
        if image.format == "JPEG":
            _check_scans(data, image.height * image.width)
        image.load()
        if image.mode == "F":
            raise DecodeError("pixels are floating-point numbers, of no known range")
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        step = max(1, BAND_PIXELS // image.width)
        for top in range(0, image.height, step):
            band = image.crop((0, top, image.width, min(top + step, image.height)))
            pixels[top : top + step] = _to_rgb(band)
        return pixels


def _to_rgb(image: Image.Image) -> Pixels:
    """Pixels (H, W, 3), or (H, W, 1) for the three of them."""
    if not image.mode.startswith("I"):
        return np.asarray(image.convert("RGB"))
    # 16-bit grey: Pillow would clip at 255; keep the high byte, as for 16-bit RGB.
    high = np.asarray(image) >> 8
    return high.clip(0, 255).astype(np.uint8)[:, :, None]


def _check_size(height: int, width: int, num_bytes: int) -> None:
    """Refuses an image by its header, before any pixel is decoded."""
    num_pixels = height * width
    if num_pixels > MAX_PIXELS:
        raise DecodeError(f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    if num_pixels > MAX_FLAT_PIXELS and num_pixels > MAX_PIXELS_PER_BYTE * num_bytes:
        raise DecodeError(
            f"{width}x{height} in {num_bytes:,} bytes is more than {MAX_PIXELS_PER_BYTE} pixels per byte"
        )


def _check_scans(data: bytes, num_pixels: int) -> None:
    """Refuses a JPEG whose many scans would keep us busy; those of a thumbnail count too."""
    num_scans = data.count(jpeg.SOS_BYTES)
    if num_scans * num_pixels > MAX_PIXELS_OF_SCANS:
        raise DecodeError(f"{num_scans} scans of {num_pixels:,} pixels are too much work")


def _find_warning(data: bytes) -> str | None:
    """What libjpeg says of a damaged JPEG that it decodes all the same, or None."""
    data = unwrap(data)
    if not data.startswith(jpeg.SOI):
        return None
    try:
        simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        with contextlib.suppress(ValueError):  # it is an error and no warning: a kind that only Pillow knows
            simplejpeg.decode_jpeg(data, "RGB", strict=False)
            return str(error)
    return None


def _unpack_gzip(data: bytes) -> bytes:
    """What a gzip holds. Raises DecodeError if it is damaged or holds more than MAX_BYTES."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DecodeError(f"damaged gzip: {error}") from error
    if len(unpacked) > MAX_BYTES:
        raise DecodeError(f"gzip of more than {MAX_BYTES:,} bytes")
    return unpacked


def hash_pixels(image: Pixels) -> str:
    """Hex XXH3-128 of height and width (little-endian uint32) and the pixels (H, W, 3) in C order."""
    digest = xxhash.xxh3_128(struct.pack("<II", image.shape[0], image.shape[1]))
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that pixels depend on."""
    return {
        "simplejpeg": str(simplejpeg.__version__),
        "simplejpeg_libjpeg_turbo": _bundled_version(),
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(features.version("libjpeg_turbo")),
        "zlib": str(features.version("zlib")),
        "opencv": str(cv2.__version__),
    }


@functools.cache
def _bundled_version() -> str:
    """The version of the libjpeg-turbo in simplejpeg, which has no function for it but says it in its text."""
    for library in sorted(Path(str(simplejpeg.__file__)).parent.glob("_jpeg.*")):
        if found := re.search(rb"libjpeg-turbo version (\d[\w.]*)", library.read_bytes()):
            return found[1].decode()
    return "unknown"
