"""Bytes of an image file to RGB pixels, with all the oddities that ImageNet's files have (§1.5)."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError, features

MAX_PIXELS = 1 << 27  # 134 million; the largest photograph of ImageNet is far below
MAX_BYTES = 1 << 28  # of an unpacked gzip

# What the decoder may try; Pillow knows many more formats, none of which has a place among the photographs.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")


class DecodeError(Exception):
    """The bytes are not a whole image; `reason` says why, the same on every run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode_rgb(data: bytes) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) uint8 RGB, 0-255, of an image file.

    Reads JPEG (grey, RGB, CMYK and YCCK with Adobe's inverted inks), PNG (also 16 bits and palette) and the same
    inside gzip, whatever the file is called. EXIF orientation is ignored, as in 2012; transparency is dropped.
    Raises DecodeError if the bytes are no image, cut short or too large.
    """
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged EXIF warns but decodes; the pixels are whole
        try:
            return _decode(data)
        except (DecodeError, MemoryError):
            raise
        except UnidentifiedImageError:  # its own text holds an address in memory
            raise DecodeError("no image of a known format") from None
        except Exception as error:  # whatever a format's reader stumbles over, the file is broken
            raise DecodeError(f"{type(error).__name__}: {error}") from error


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Pixels of an image that is not gzipped; raises what Pillow raises."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DecodeError(f"{image.width}x{image.height} is more than {MAX_PIXELS:,} pixels")
        image.load()
        if image.mode.startswith(
            "I"
        ):  # 16-bit grey: Pillow would clip at 255; keep the high byte, as for 16-bit RGB
            high = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(high[:, :, None], 3, axis=2)
        return np.array(image.convert("RGB"))


def _gunzip(data: bytes) -> bytes:
    """What a gzip holds, up to MAX_BYTES."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DecodeError(f"damaged gzip: {error}") from error
    if len(unpacked) > MAX_BYTES:
        raise DecodeError(f"gzip of more than {MAX_BYTES:,} bytes")
    return unpacked


def hash_pixels(image: npt.NDArray[np.uint8]) -> str:
    """Hex BLAKE2b-128 of height and width (little-endian uint32) and the pixels (H, W, 3) in C order."""
    digest = hashlib.blake2b(struct.pack("<II", image.shape[0], image.shape[1]), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that pixels depend on."""
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(features.version("libjpeg_turbo")),
        "zlib": str(features.version("zlib")),
        "opencv": str(cv2.__version__),
    }
