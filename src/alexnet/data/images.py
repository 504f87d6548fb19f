"""Bytes of single images, read where they lie: in a tar, a zip or a file of their own."""

from __future__ import annotations

import functools
import os
import zipfile
from pathlib import Path

from alexnet.data.access import explain
from alexnet.data.decode import DecodeError
from alexnet.data.inventory import Place
from alexnet.data.tars import open_descriptor
from alexnet.data.zips import DAMAGES
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
        if place.member is not None:
            data = _read_member(place, place.member)
        else:
            with open_descriptor(Path(place.file)) as descriptor:
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


def _read_member(place: Place, member: str) -> bytes:
    """The bytes of a zip's member. zipfile gives no more of them than the zip's directory says there are."""
    try:
        archive = _open_zip(place.file, _stamp(place.file))
        info = archive.getinfo(member)
    except (*DAMAGES, KeyError) as error:
        raise UserError(
            place.file, f"image {place.key} cannot be read ({error})", fix=SOURCE_AGAIN
        ) from error
    if info.file_size != place.size:
        raise UserError(
            place.file, f"image {place.key} is another", found=f"{info.file_size:,} bytes",
            expected=f"{place.size:,}", fix=SOURCE_AGAIN,
        )  # fmt: skip
    try:
        data = archive.read(info)
    except DAMAGES as error:
        raise DecodeError(f"damaged in the zip: {error}") from error
    if len(data) < place.size:
        raise DecodeError(f"damaged in the zip: {len(data):,} bytes of {place.size:,}")
    return data


def _stamp(file: str) -> tuple[int, int]:
    """What changes when a file is replaced."""
    status = os.stat(file)
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4)
def _open_zip(file: str, _stamp: tuple[int, int]) -> zipfile.ZipFile:
    """An open zip; reading its directory takes longer than reading many images."""
    return zipfile.ZipFile(file)
