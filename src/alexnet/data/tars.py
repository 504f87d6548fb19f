"""Tar archives read where they lie: members found by their headers alone, nothing unpacked, nothing trusted."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from alexnet.errors import UserError

BLOCK = tarfile.BLOCKSIZE
GET_AGAIN = "Get the archive again."
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".gif", ".bmp", ".webp")


@dataclass(frozen=True)
class Member:
    """A file in a tar. offset: of its first byte in the outermost file."""

    name: str
    offset: int
    size: int

    @property
    def base(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.name).name


class Window(io.RawIOBase):
    """Bytes start..start+size of an open file, as a file of its own."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size, self._at = descriptor, start, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Place within the window."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves within the window, or behind it, and says where to."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, none behind the end."""
        left = max(self._size - self._at, 0)
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._at)
        self._at += len(data)
        return data


def scan_tar(path: Path, inside: Member | None = None) -> Iterator[Member]:
    """The files in a tar, in its order, found by seeking from header to header.

    inside: the member of `path` that is itself the tar to scan. Offsets count from the start of `path`.
    Raises UserError if the tar is damaged or cut short, or a member is a link or lies outside the archive.
    """
    where = f"{path}: {inside.name}" if inside else str(path)
    start, size = (inside.offset, inside.size) if inside else (0, path.stat().st_size)
    with open_descriptor(path) as descriptor:
        window = Window(descriptor, start, size)
        with _explain_damage(where), tarfile.open(fileobj=window, mode="r:") as archive:
            while (header := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header otherwise; there are millions
                check_member(header, where)
                _check_whole(header, size, where)
                if header.isreg():
                    yield Member(header.name, start + header.offset_data, header.size)
            _check_end(window, archive.offset, where)


@contextlib.contextmanager
def open_descriptor(path: Path) -> Iterator[int]:
    """A file descriptor open for reading."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explain_damage(where: str) -> Iterator[None]:
    """Turns what tarfile and gzip raise into a UserError."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(where, f"the archive is damaged or cut short ({error})", fix=GET_AGAIN) from error


def check_member(header: tarfile.TarInfo, where: str) -> None:
    """Raises UserError unless the member is a plain file or folder under a relative name without `..`."""
    check_name(header.name, where)
    if not (header.isreg() or header.isdir()) or header.issparse():
        raise UserError(
            where, f"member {header.name!r} is a link or a special file", expected="files and folders only",
            fix="Do not use this archive.",
        )  # fmt: skip


def check_name(name: str, where: str) -> None:
    """Raises UserError if a member's name leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":") or "\0" in name:
        raise UserError(
            where, f"member {name!r} lies outside the archive", expected="names inside it, without `..`",
            fix="Do not use this archive.",
        )  # fmt: skip


def _check_whole(header: tarfile.TarInfo, size: int, where: str) -> None:
    end = header.offset_data + header.size
    if header.isreg() and end > size:
        raise UserError(
            where, f"the archive is cut short in member {header.name!r}", found=f"{size:,} bytes",
            expected=f"at least {end:,}", fix=GET_AGAIN,
        )  # fmt: skip


def _check_end(window: Window, offset: int, where: str) -> None:
    """tarfile takes a missing or unreadable header for the end; only a block of zeros is one."""
    window.seek(offset)
    block = window.read(BLOCK)
    if len(block) < BLOCK or any(block):
        what = "has no end" if len(block) < BLOCK else f"has a damaged header at byte {offset:,}"
        raise UserError(where, f"the archive is damaged or cut short: it {what}", fix=GET_AGAIN)


def scan_images(path: Path, inside: Member | None = None) -> list[Member]:
    """The image files in a tar. Raises UserError as scan_tar does, and for a file not named as an image."""
    where = f"{path}: {inside.name}" if inside else str(path)
    members = list(scan_tar(path, inside))
    for member in members:
        if not member.name.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                where, "holds a file that is not named as an image", found=repr(member.name),
                expected="names such as n01440764_10026.JPEG", fix="Check that this is the right archive.",
            )  # fmt: skip
    return members


def read_small_files(path: Path, endings: tuple[str, ...], limit: int = 1 << 26) -> dict[str, bytes]:
    """Contents of the files in a (gzipped) tar whose names end so, by ending.

    Raises UserError if the archive is damaged, one of them is missing or larger than `limit` bytes.
    """
    found: dict[str, bytes] = {}
    with _explain_damage(str(path)), tarfile.open(path, mode="r:*") as archive:
        for header in archive:
            check_member(header, str(path))
            ending = next((ending for ending in endings if f"/{header.name}".endswith(f"/{ending}")), None)
            if ending is None or not header.isreg():
                continue
            if header.size > limit:
                raise UserError(
                    str(path), f"{header.name} is too large", found=f"{header.size:,} bytes",
                    expected=f"at most {limit:,}", fix="Check that this is the right archive.",
                )  # fmt: skip
            found[ending] = cast(io.BufferedReader, archive.extractfile(header)).read()
    for ending in endings:
        if ending not in found:
            raise UserError(str(path), f"holds no {ending}", fix=GET_AGAIN)
    return found
