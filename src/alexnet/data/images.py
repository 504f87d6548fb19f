"""Bytes of single images, read where they lie: in a tar, a zip or a file of their own."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from alexnet.data.access import explain
from alexnet.data.decode import DecodeError
from alexnet.data.inventory import Place
from alexnet.data.tars import open_descriptor
from alexnet.data.zips import Span, read_member
from alexnet.errors import UserError

MAX_BYTES = 1 << 28  # of an image file; the largest of ImageNet is far below
SOURCE_AGAIN = "The archives have changed; run source again."


def read_image(place: Place) -> bytes:
    """The bytes of an image file.

    Raises UserError if the archive is not there, cannot be read, or is shorter or another than when it was indexed.
    Raises DecodeError if the image is larger than any photograph, or a zip's own checksum says that it is damaged.
    """
    if place.size > MAX_BYTES:
        raise DecodeError(f"a file of {place.size:,} bytes, more than {MAX_BYTES:,}")
    try:
        with open_descriptor(Path(place.file)) as descriptor:
            if place.member is not None:
                return _read_member(descriptor, place, place.member)
            data = os.pread(descriptor, place.size, place.offset or 0)
    except OSError as error:
        refusal = explain(error, place.file)
        raise UserError(refusal.where, f"image {place.key} {refusal.what}", fix=SOURCE_AGAIN) from error
    if len(data) < place.size:
        raise UserError(
            place.file, f"image {place.key} is cut short", found=f"{len(data):,} bytes", expected=f"{place.size:,}",
            fix=SOURCE_AGAIN,
        )  # fmt: skip
    return data


def _read_member(descriptor: int, place: Place, member: str) -> bytes:
    """The bytes of a zip's member."""
    try:
        return read_member(descriptor, member, Span(place.offset or 0, place.size))
    except LookupError as error:
        raise UserError(place.file, f"image {place.key} is not in it ({error})", fix=SOURCE_AGAIN) from error
    except zipfile.BadZipFile as error:
        raise DecodeError(f"damaged in the zip: {error}") from error
