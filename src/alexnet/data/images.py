"""Bytes of single images, read where they lie: in a tar, a zip or a file of their own."""

from __future__ import annotations

import functools
import os
import zipfile
import zlib
from pathlib import Path

from alexnet.data.decode import DecodeError
from alexnet.data.inventory import Place
from alexnet.data.tars import open_descriptor
from alexnet.errors import UserError

SOURCE_AGAIN = "The archives have changed; run source again."


def read_image(place: Place) -> bytes:
    """The bytes of an image file.

    Raises UserError if the archive is not there or shorter than when it was indexed, DecodeError if a zip's own
    checksum says that the image is damaged.
    """
    try:
        if place.member is not None:
            return _open_zip(place.file, _stamp(place.file)).read(place.member)
        with open_descriptor(Path(place.file)) as descriptor:
            data = os.pread(descriptor, place.size, place.offset or 0)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DecodeError(f"damaged in the zip: {error}") from error
    except (OSError, KeyError) as error:
        raise UserError(
            place.file, f"image {place.key} cannot be read ({error})", fix=SOURCE_AGAIN
        ) from error
    if len(data) < place.size:
        raise UserError(
            place.file, f"image {place.key} is cut short", found=f"{len(data):,} bytes", expected=f"{place.size:,}",
            fix=SOURCE_AGAIN,
        )  # fmt: skip
    return data


def _stamp(file: str) -> tuple[int, int]:
    """What changes when a file is replaced."""
    status = os.stat(file)
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4)
def _open_zip(file: str, _stamp: tuple[int, int]) -> zipfile.ZipFile:
    """An open zip; reading its directory takes longer than reading many images."""
    return zipfile.ZipFile(file)
