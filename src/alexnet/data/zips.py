"""Zip archives read where they lie: every member checked before any is read."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.access import explain
from alexnet.data.tars import GET_AGAIN, check_name, open_descriptor
from alexnet.errors import UserError

MAX_TEXT = 1 << 26  # bytes of a text file in a zip
# What only a bomb unpacks to: photographs hardly shrink in a zip, and texts ten times.
BOMB_BYTES, BOMB_RATIO = 1 << 24, 100

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MEMBER, MEMBER_BYTES, BEHIND = b"PK\3\4", 30, b"PK\7\10"
CRC_BEHIND, UTF_8 = 1 << 3, 1 << 11  # flags of a member
END, END_64, END_BYTES, MAX_COMMENT = b"PK\5\6", b"PK\6\6", 22, 0xFFFF
DAMAGES = (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Span:
    """Where a file lies. offset: in a zip, of the header before it. size: of what it unpacks to."""

    offset: int
    size: int


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip whose every member is a plain file or folder inside it, there once.

    Raises UserError if it is not, damaged or cannot be read, or if a member is a decompression bomb.
    """
    try:
        with zipfile.ZipFile(path) as file:
            _check_infos(file, path)
            _check_places(file, path)
            yield file
    except (*DAMAGES, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise explain(error, str(path)) from error
        raise UserError(str(path), f"the archive is damaged or cut short ({error})", fix=GET_AGAIN) from error


def list_members(file: zipfile.ZipFile) -> dict[str, Span]:
    """The files in a zip, by name, in its order."""
    return {
        info.orig_filename: Span(info.header_offset, info.file_size)
        for info in file.infolist()
        if not info.is_dir()
    }


def read_member(descriptor: int, name: str, member: Span) -> bytes:
    """The bytes of a member of an open zip, without a look at its directory, which can be larger than memory allows.

    Raises LookupError if it is not there, zipfile.BadZipFile if it is damaged or does not unpack to its size.
    """
    header = _read_header(descriptor, name, member.offset)
    if header is None:
        raise LookupError(f"no {name} at byte {member.offset:,}")
    if header.method == zipfile.ZIP_STORED:
        data = os.pread(descriptor, member.size, header.start)
        end = header.start + len(data)
    else:
        data, end = _inflate(descriptor, header.start, member.size)
    if len(data) != member.size:
        raise zipfile.BadZipFile(f"{len(data):,} bytes and not {member.size:,}")
    crc = header.crc if header.crc is not None else _read_crc_behind(descriptor, end)
    if zlib.crc32(data) != crc:
        raise zipfile.BadZipFile("wrong CRC-32")
    return data


@dataclass(frozen=True)
class _Header:
    """What stands before a member. crc: None if it stands behind it. start: of its data."""

    method: int
    crc: int | None
    start: int


def _read_header(descriptor: int, name: str, offset: int) -> _Header | None:
    """The header of the member of this name, None if there is none at `offset`."""
    length = len(name.encode("utf-8"))  # at least as many bytes as in any other coding
    block = os.pread(descriptor, MEMBER_BYTES + length, offset)
    if len(block) < MEMBER_BYTES or block[:4] != MEMBER:
        return None
    flags, method, crc, length, more = (
        int.from_bytes(block[at : at + width], "little")
        for at, width in ((6, 2), (8, 2), (14, 4), (26, 2), (28, 2))
    )
    stored = block[MEMBER_BYTES : MEMBER_BYTES + length]
    try:
        is_here = len(stored) == length and stored.decode("utf-8" if flags & UTF_8 else "cp437") == name
    except UnicodeDecodeError:
        is_here = False
    start = offset + MEMBER_BYTES + length + more
    return _Header(method, None if flags & CRC_BEHIND else crc, start) if is_here else None


def _inflate(descriptor: int, start: int, size: int) -> tuple[bytes, int]:
    """What is deflated at `start`, one byte more than `size` at most, and where it ends."""
    packed = os.pread(
        descriptor, size + size // 8 + 1024, start
    )  # what hardly shrinks grows by less than that
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise zipfile.BadZipFile(str(error)) from None
    return data, start + len(packed) - len(inflater.unused_data)


def _read_crc_behind(descriptor: int, at: int) -> int:
    """The checksum behind a member, with or without a mark before it."""
    block = os.pread(descriptor, 8, at)
    return int.from_bytes(block[4:8] if block[:4] == BEHIND else block[:4], "little")


def list_folders_in(file: zipfile.ZipFile) -> list[str]:
    """The folders that a zip names by themselves, without their slash."""
    return [info.filename.rstrip("/") for info in file.infolist() if info.is_dir()]


def read_text(file: zipfile.ZipFile, name: str, where: str) -> str:
    """The text of a member. Raises UserError if it is missing or too large."""
    if name not in file.namelist():
        raise UserError(where, f"holds no {name}", fix=GET_AGAIN)
    size = file.getinfo(name).file_size
    if size > MAX_TEXT:
        raise UserError(
            where, f"{name} is too large", found=f"{size:,} bytes", expected=f"at most {MAX_TEXT:,}", fix=GET_AGAIN
        )  # fmt: skip
    return file.read(name).decode("utf-8", "replace")


def _check_infos(file: zipfile.ZipFile, path: Path) -> None:
    """Refuses what no archive of photographs has, and a directory that is not the one its end speaks of."""
    infos, seen = file.infolist(), set()
    for info in infos:
        _check_info(info, str(path))
        if info.filename in seen:
            raise UserError(str(path), f"member {info.filename!r} is there twice", fix=GET_AGAIN)
        seen.add(info.filename)
    stated, modulus = _count_stated(path)
    if len(infos) % modulus != stated:
        raise UserError(
            str(path), "the archive is damaged: members are missing in its directory", found=f"{len(infos):,} members",
            expected=f"{stated:,}", fix=GET_AGAIN,
        )  # fmt: skip


def _check_info(info: zipfile.ZipInfo, where: str) -> None:
    check_name(info.orig_filename, where)  # the other one ends at a zero byte
    kind = stat.S_IFMT(info.external_attr >> 16)
    odd = {
        "is a link or a special file": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is encrypted": info.flag_bits & 1,
        "is compressed in a way that is not read here": info.compress_type not in METHODS,
        "is a folder with bytes of its own": info.is_dir() and info.file_size,
    }
    for what in filter(odd.__getitem__, odd):
        raise UserError(
            where, f"member {info.filename!r} {what}", expected="files and folders only, plain or deflated",
            fix="Do not use this archive.",
        )  # fmt: skip
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        raise UserError(
            where, f"member {info.filename!r} is a decompression bomb",
            found=f"{info.file_size:,} bytes out of {info.compress_size:,}",
            expected=f"at most {BOMB_RATIO} times as many", fix="Do not use this archive.",
        )  # fmt: skip


def _check_places(file: zipfile.ZipFile, path: Path) -> None:
    """Refuses a directory that leads to another member or none, or into one as in the denser kind of bomb."""
    with open_descriptor(path) as descriptor:
        end = 0
        for info in sorted(file.infolist(), key=lambda info: info.header_offset):
            start = info.header_offset
            header = _read_header(descriptor, info.orig_filename, start) if start >= end else None
            if header is None or header.method != info.compress_type:
                raise UserError(
                    str(path), f"the archive is damaged: member {info.filename!r} is not where its directory says",
                    found=f"byte {start:,}", fix=GET_AGAIN,
                )  # fmt: skip
            end = header.start + info.compress_size
        if end > file.start_dir:
            raise UserError(
                str(path), "the archive is damaged: a member runs into its directory", fix=GET_AGAIN
            )


def _count_stated(path: Path) -> tuple[int, int]:
    """How many members the zip's end says there are, and the number it counts up to before it starts again."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - END_BYTES - MAX_COMMENT - 76))  # 76: of the two records of a large zip
        tail = file.read()
    at = tail.rfind(END)
    large = tail.rfind(END_64, 0, at)
    stated = int.from_bytes(tail[at + 10 : at + 12], "little")
    if stated == 0xFFFF and large >= 0:
        return int.from_bytes(tail[large + 32 : large + 40], "little"), 1 << 64
    return stated, 1 << 16
