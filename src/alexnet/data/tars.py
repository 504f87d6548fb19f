"""Tar archives read where they lie: members found by their headers alone, nothing unpacked, nothing trusted.

The headers are read here and not by `tarfile`, which takes a damaged header for the end of the archive, follows sizes
below zero in circles and keeps every header it has met.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from alexnet.data.access import explain
from alexnet.errors import UserError

BLOCK = 512
CHUNK = 1 << 20
MAX_EXTENDED = 1 << 20  # bytes of a header that holds a long name or attributes
MAX_UNPACKED = 1 << 30  # bytes that a gzipped tar may hold in all
GET_AGAIN = "Get the archive again."
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".gif", ".bmp", ".webp")

FILES, FOLDERS = (b"0", b"\0", b"7"), (b"5",)
LONG_NAME, LONG_LINK, ATTRIBUTES, ATTRIBUTES_OF_ALL = (b"L",), (b"K",), (b"x", b"X"), (b"g",)
UNPRINTED = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)  # control characters, halves of pairs (bytes that are no UTF-8), line separators


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


class Stream(Protocol):
    """What a tar is read from. seek: moves forward, to the end at most, and says where to."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none behind the end."""
        ...

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves, to the end at most, and says where to."""
        ...

    def tell(self) -> int:
        """Place within the stream."""
        ...


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
        """Moves within the window, to its end at most, and says where to."""
        self._at = min(offset + (0, self._at, self._size)[whence], self._size)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, none behind the end."""
        left = self._size - self._at
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._at)
        self._at += len(data)
        return data


class Unpacked(gzip.GzipFile):
    """What a gzip holds, up to MAX_UNPACKED bytes, so that a bomb ends."""

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, none behind the end. Raises OSError if they are damaged or too many."""
        data = super().read(size)
        self._check_total(self.tell())
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves forward, to the end at most, and says where to. Raises OSError as read does."""
        self._check_total(offset)
        return super().seek(offset, whence)

    def _check_total(self, at: int) -> None:
        if at > MAX_UNPACKED:
            raise gzip.BadGzipFile(f"more than {MAX_UNPACKED:,} bytes come out of it")


def scan_tar(path: Path, inside: Member | None = None) -> Iterator[Member]:
    """The files in a tar, in its order, found by seeking from header to header.

    inside: the member of `path` that is itself the tar to scan. Offsets count from the start of `path`.
    Raises UserError if the tar is damaged, cut short or cannot be read, or a member is a link or lies outside the
    archive, and if anything but zeros follows the archive's end.
    """
    where = f"{path}: {inside.name}" if inside else str(path)
    with explain_damage(where), open_descriptor(path) as descriptor:
        start, size = (inside.offset, inside.size) if inside else (0, os.fstat(descriptor).st_size)
        for member in _walk(Window(descriptor, start, size), where):
            yield Member(member.name, start + member.offset, member.size)


def read_members(path: Path) -> Iterator[tuple[Member, Callable[[int], bytes]]]:
    """The files in a tar, gzipped or not, in its order, each with a function that reads its next so many bytes.

    Offsets count within what is unpacked. Raises UserError as scan_tar does.
    """
    with explain_damage(str(path)), path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        stream: Stream = Unpacked(fileobj=file) if zipped else Window(file.fileno(), 0, size)
        for member in _walk(stream, str(path)):
            yield member, _reader(stream, member, str(path))


def _reader(stream: Stream, member: Member, where: str) -> Callable[[int], bytes]:
    """Reads on within a member. Raises UserError if the archive ends before it."""

    def read(size: int) -> bytes:
        wanted = min(size, member.offset + member.size - stream.tell())
        with explain_damage(where):
            data = stream.read(wanted)
            if len(data) < wanted:
                raise EOFError(f"it ends in member {member.name!r}")
        return data

    return read


@contextlib.contextmanager
def open_descriptor(path: Path) -> Iterator[int]:
    """A file descriptor open for reading."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explain_damage(where: str) -> Iterator[None]:
    """Turns what reading a damaged archive raises into a UserError."""
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not gzip's
            raise explain(error, where) from error
        raise _damaged(where, str(error)) from error


def _damaged(where: str, how: str) -> UserError:
    return UserError(where, f"the archive is damaged or cut short: {how}", fix=GET_AGAIN)


def _walk(stream: Stream, where: str) -> Iterator[Member]:
    """The files in a tar, header by header; the stream stands at a file's first byte when it is given."""
    name, size, extended = None, None, False  # what headers before this one say of it
    while len(block := stream.read(BLOCK)) == BLOCK and (any(block) or extended):
        at = stream.tell() - BLOCK
        header = _read_header(block, at, where)
        if extended := header.kind in LONG_NAME + LONG_LINK + ATTRIBUTES + ATTRIBUTES_OF_ALL:
            content = _read_extended(stream, header, at, where)
            if header.kind in LONG_NAME:
                name = content.partition(b"\0")[0]
            elif header.kind in ATTRIBUTES:
                name, size = _read_attributes(content, at, where, name, size)
            elif header.kind in ATTRIBUTES_OF_ALL and _read_attributes(content, at, where) != (None, None):
                raise _damaged(where, f"the header at byte {at:,} gives all files one name or size")
            continue
        member = Member(
            (header.name if name is None else name).decode("utf-8", "surrogateescape"),
            stream.tell(),
            header.size if size is None else size,
        )
        name = size = None
        check_name(member.name, where)
        if header.kind in FOLDERS or (header.kind == b"\0" and member.name.endswith("/")):
            if member.size:
                raise _damaged(where, f"folder {member.name!r} has {member.size:,} bytes of its own")
            continue
        if header.kind not in FILES:
            raise UserError(
                where, f"member {member.name!r} is a link or a special file", expected="files and folders only",
                fix="Do not use this archive.",
            )  # fmt: skip
        yield member
        _skip(stream, member, where)
    if len(block) < BLOCK:
        raise _damaged(where, "it has no end")
    _check_end(stream, where)


@dataclass(frozen=True)
class _Header:
    """What a block says. kind: the type flag, a byte."""

    name: bytes
    size: int
    kind: bytes


def _read_header(block: bytes, at: int, where: str) -> _Header:
    """Raises UserError if the block is no header: its checksum or its size is wrong."""
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    stated, size = _read_number(block[148:156]), _read_number(block[124:136])
    if stated != total and stated != total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
        raise _damaged(where, f"it has a damaged header at byte {at:,}")  # some old programs sum signed bytes
    if size is None:
        raise _damaged(where, f"the header at byte {at:,} has no size")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return _Header(name, size, block[156:157])


def _read_number(data: bytes) -> int | None:
    """A number written in octal digits or, if large, in bytes; None if it is neither, or below zero."""
    if data[0] == 0x80:
        return int.from_bytes(data[1:], "big")
    digits = data.partition(b"\0")[0].strip(b" ")
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _read_extended(stream: Stream, header: _Header, at: int, where: str) -> bytes:
    """What a header that speaks of the next one holds."""
    if header.size > MAX_EXTENDED:
        raise _damaged(
            where, f"the header at byte {at:,} takes {header.size:,} bytes, more than {MAX_EXTENDED:,}"
        )
    content = stream.read(_round_up(header.size))
    if len(content) < header.size:
        raise _damaged(where, "it has no end")
    return content[: header.size]


def _read_attributes(
    content: bytes, at: int, where: str, name: bytes | None = None, size: int | None = None
) -> tuple[bytes | None, int | None]:
    """Name and size that the records `LENGTH KEY=VALUE\\n` of a POSIX header give, those given before else."""
    place = 0
    while place < len(content):
        digits, _, _ = content[place : place + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[place + len(digits) + 1 : place + length]
        key, equals, value = record.partition(b"=")
        if not equals or record[-1:] != b"\n" or place + length > len(content):
            raise _damaged(where, f"the header at byte {at:,} holds a damaged attribute")
        value = value[:-1]
        if key == b"path":
            name = value
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise _damaged(where, f"the header at byte {at:,} gives no number for the size")
            size = int(value)
        elif key.startswith(b"GNU.sparse"):
            raise UserError(
                where, f"the header at byte {at:,} is of a file with holes", expected="whole files",
                fix="Do not use this archive.",
            )  # fmt: skip
        place += length
    return name, size


def _skip(stream: Stream, member: Member, where: str) -> None:
    """Moves on to the next header. Raises UserError if the archive ends within the member."""
    end = member.offset + member.size
    reached = stream.seek(end)
    if reached < end:
        raise UserError(
            where, f"the archive is cut short in member {member.name!r}", found=f"{reached:,} bytes",
            expected=f"at least {end:,}", fix=GET_AGAIN,
        )  # fmt: skip
    stream.seek(_round_up(end))


def _round_up(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _check_end(stream: Stream, where: str) -> None:
    """Refuses an archive that goes on behind its end, as one does whose header was overwritten with zeros."""
    at = stream.tell()
    while chunk := stream.read(CHUNK):
        if rest := chunk.lstrip(b"\0"):
            place = at + len(chunk) - len(rest)
            raise _damaged(where, f"it ends at byte {at:,}, but goes on at byte {place:,}")
        at += len(chunk)


def check_name(name: str, where: str) -> None:
    """Raises UserError if a member's name leads out of the archive or cannot stand in a line of text."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        raise UserError(
            where, f"member {name!r} lies outside the archive", expected="names inside it, without `..`",
            fix="Do not use this archive.",
        )  # fmt: skip
    if not name.isascii() or not name.isprintable():
        check_text(name, where)


def check_text(name: str, where: str) -> None:
    """Raises UserError for a name with control characters, or of bytes that are no UTF-8."""
    if any(unicodedata.category(character) in UNPRINTED for character in name):
        raise UserError(
            where, "a name has control characters or is no UTF-8", found=repr(name), expected="plain text",
            fix="Rename the file.",
        )  # fmt: skip


def scan_images(path: Path, inside: Member | None = None) -> list[Member]:
    """The image files in a tar. Raises UserError as scan_tar does, and for a file not named as an image.

    Hidden files, which copying tools leave behind, are told of and left out.
    """
    where = f"{path}: {inside.name}" if inside else str(path)
    members = drop_hidden(where, scan_tar(path, inside))
    for member in members:
        if not member.name.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                where, "holds a file that is not named as an image", found=repr(member.name),
                expected="names such as n01440764_10026.JPEG", fix="Check that this is the right archive.",
            )  # fmt: skip
    return members


def drop_hidden(where: str, members: Iterable[Member]) -> list[Member]:
    """The members that are not hidden; says how many are."""
    found = list(members)
    tell_hidden(where, [member.name for member in found if is_hidden(member.name)])
    return [member for member in found if not is_hidden(member.name)]


def is_hidden(name: str) -> bool:
    """Whether a file's or one of its folders' name begins with a dot, or a Mac has added it."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def tell_hidden(where: str, names: Sequence[str]) -> None:
    """Says that hidden files are not read."""
    if names:
        files = "file is" if len(names) == 1 else "files are"
        print(f"{where}: {len(names):,} hidden {files} not read, such as {names[0]!r}", file=sys.stderr)


def read_small_files(path: Path, endings: tuple[str, ...], limit: int = 1 << 26) -> dict[str, bytes]:
    """Contents of the files in a tar, gzipped or not, whose names end so, by ending.

    Raises UserError if the archive is damaged, one of them is missing, there twice or larger than `limit` bytes.
    """
    found: dict[str, bytes] = {}
    for member, read in read_members(path):
        ending = next((ending for ending in endings if f"/{member.name}".endswith(f"/{ending}")), None)
        if ending is None:
            continue
        if member.size > limit or ending in found:
            what = "is there twice" if ending in found else "is too large"
            raise UserError(
                str(path), f"{member.name} {what}", found=f"{member.size:,} bytes",
                expected=f"one of at most {limit:,}", fix="Check that this is the right archive.",
            )  # fmt: skip
        found[ending] = read(member.size)
    for ending in endings:
        if ending not in found:
            raise UserError(str(path), f"holds no {ending}", fix=GET_AGAIN)
    return found
