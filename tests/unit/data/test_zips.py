from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.data import zips
from alexnet.data.decode import DecodeError
from alexnet.data.images import read_image
from alexnet.data.inventory import Place
from alexnet.data.zips import Span, list_members, open_zip, read_text
from alexnet.errors import UserError
from tests.unit.data.made_archives import write_zip

FILES = {"a/1.jpg": b"first" * 100, "a/2.jpg": b"", "b/3.jpg": b"third"}


def _sizes(path: Path) -> dict[str, int]:
    with open_zip(path) as file:
        return {name: span.size for name, span in list_members(file).items()}


def _add(path: Path, change: Callable[[zipfile.ZipInfo], object], content: bytes = b"") -> Path:
    write_zip(path, FILES)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("odd.jpg")
        change(info)
        archive.writestr(info, content)
    return path


def _patch(path: Path, signature: bytes, offset: int, value: bytes) -> Path:
    """Overwrites bytes of the last record that begins so."""
    content = bytearray(path.read_bytes())
    at = content.rindex(signature) + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


def test_files_of_no_bytes_are_listed(tmp_path: Path) -> None:
    assert _sizes(write_zip(tmp_path / "x.zip", FILES)) == {"a/1.jpg": 500, "a/2.jpg": 0, "b/3.jpg": 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: setattr(info, "external_attr", (stat.S_IFLNK | 0o777) << 16), "is a link or a special file"),
        (lambda info: setattr(info, "external_attr", (stat.S_IFCHR | 0o777) << 16), "is a link or a special file"),
        (lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA), "is compressed in a way that is not read"),
        (lambda info: setattr(info, "filename", "/etc/1.jpg"), "lies outside the archive"),
        (lambda info: setattr(info, "filename", "a/../../1.jpg"), "lies outside the archive"),
        (lambda info: setattr(info, "filename", "a\n1.jpg"), "control characters"),
        (lambda info: setattr(info, "filename", "a/"), "is a folder with bytes of its own"),
    ],
)  # fmt: skip
def test_member_that_no_archive_of_photographs_has_is_refused(
    tmp_path: Path, change: Callable[[zipfile.ZipInfo], object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _sizes(_add(tmp_path / "x.zip", change, b"1234"))


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'b/3.jpg' is encrypted"):
        _sizes(_patch(write_zip(tmp_path / "x.zip", FILES), b"PK\1\2", 8, b"\1"))


def test_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = _add(tmp_path / "x.zip", lambda info: setattr(info, "filename", "a/1.jpg"))
    with pytest.raises(UserError, match="'a/1.jpg' is there twice"):
        _sizes(path)


def test_name_cut_by_a_zero_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="control characters"):
        _sizes(_patch(write_zip(tmp_path / "x.zip", FILES), b"PK\1\2", 46, b"b\0\0"))


def test_directory_that_lacks_members_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FILES)
    content = path.read_bytes()
    end, last = content.rindex(b"PK\5\6"), content.rindex(b"PK\1\2")
    size = last - content.index(b"PK\1\2")
    path.write_bytes(content[:last] + content[end:])
    _patch(path, b"PK\5\6", 12, struct.pack("<I", size))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 2  # zipfile sees nothing of it
    with pytest.raises(UserError, match="members are missing in its directory, found 2 members, expected 3"):
        _sizes(path)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (42, struct.pack("<I", 0), "'b/3.jpg' is not where its directory says, found byte 0"),
        (42, struct.pack("<I", 50), "'b/3.jpg' is not where its directory says, found byte 50"),
        (20, struct.pack("<II", 1000, 1000), "a member runs into its directory"),
    ],
)
def test_directory_that_leads_astray_is_refused(
    tmp_path: Path, offset: int, value: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _sizes(_patch(write_zip(tmp_path / "x.zip", FILES), b"PK\1\2", offset, value))


@pytest.mark.parametrize(
    ("signature", "offset", "value"),
    [(b"PK\3\4", 0, b"PK\3\5"), (b"PK\3\4", 30, b"c"), (b"PK\1\2", 10, b"\x08")],
)
def test_member_of_other_kind_or_name_than_its_directory_says_is_refused(
    tmp_path: Path, signature: bytes, offset: int, value: bytes
) -> None:
    with pytest.raises(UserError, match="'b/3.jpg' is not where its directory says"):
        _sizes(_patch(write_zip(tmp_path / "x.zip", FILES), signature, offset, value))


def test_member_within_another_is_refused(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"b/3.jpg": b"third"}).read_bytes()
    path = write_zip(tmp_path / "x.zip", {"a.jpg": inner, "b/3.jpg": b"third"})
    assert len(_sizes(path)) == 2
    with pytest.raises(UserError, match="'b/3.jpg' is not where its directory says, found byte 35"):
        _sizes(_patch(path, b"PK\1\2", 42, struct.pack("<I", 35)))


def test_zip_of_more_members_than_a_short_number_holds_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {f"{n}.jpg": b"" for n in range(65_540)})
    assert len(_sizes(path)) == 65_540


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 100])
def test_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match="damaged or cut short"):
        _sizes(tmp_path / "x.zip")


def test_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.jpg", bytes((1 << 24) + 1))
    with pytest.raises(UserError, match="is a decompression bomb, found 16,777,217 bytes out of 16,3"):
        _sizes(path)


def test_text_that_is_missing_or_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_TEXT", 4)
    with open_zip(write_zip(tmp_path / "x.zip", {"a.txt": b"abcd", "b.txt": b"abcde"})) as file:
        assert read_text(file, "a.txt", "x.zip") == "abcd"
        with pytest.raises(UserError, match="x.zip: holds no c.txt"):
            read_text(file, "c.txt", "x.zip")
        with pytest.raises(UserError, match="b.txt is too large, found 5 bytes, expected at most 4"):
            read_text(file, "b.txt", "x.zip")


def _place(path: Path, member: str | None, size: int, offset: int = 0) -> Place:
    return Place("a/1", 0, str(path), member, offset, size)


def _spans(path: Path) -> dict[str, Span]:
    with open_zip(path) as file:
        return list_members(file)


def _read(path: Path, name: str) -> bytes:
    span = _spans(path)[name]
    return read_image(_place(path, name, span.size, span.offset))


class Pipe(io.BytesIO):
    """What cannot be sought in."""

    def seek(self, *_: object) -> int:
        raise OSError("no place to go to")

    def tell(self) -> int:
        raise OSError("no place to be at")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("streamed", [False, True])
def test_members_are_what_zipfile_wrote_without_a_look_at_the_directory(
    tmp_path: Path, method: int, streamed: bool
) -> None:
    """streamed: so that sizes and checksum stand behind each member."""
    names = {
        "ä∀/1.jpg": bytes(range(256)) * 300,
        "2.jpg": b"",
        "3.jpg": np.random.default_rng(0).bytes(70_000),
    }
    stream = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    path = tmp_path / "x.zip"
    path.write_bytes(stream.getvalue())
    spans = _spans(path)
    end = path.read_bytes().index(b"PK\1\2")
    path.write_bytes(path.read_bytes()[:end])
    found = {name: read_image(_place(path, name, span.size, span.offset)) for name, span in spans.items()}
    assert found == names


def test_mark_before_the_checksum_behind_a_member_may_be_missing(tmp_path: Path) -> None:
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 8, 0, 0, 0, 0, 0, 0, 5, 0) + b"1.jpg"
    path = tmp_path / "x.zip"
    path.write_bytes(header + b"123456" + struct.pack("<I", zlib.crc32(b"123456")))
    assert read_image(_place(path, "1.jpg", 6)) == b"123456"


@pytest.mark.parametrize(
    ("stated", "message"), [(1000, "1,001 bytes and not 1,000"), (1 << 25, "16,777,216 bytes and")]
)
def test_member_that_unpacks_to_another_size_than_is_stated_is_damaged(
    tmp_path: Path, stated: int, message: str
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(1 << 24))
    with pytest.raises(DecodeError, match=f"damaged in the zip: {message}"):
        read_image(_place(path, "1.jpg", stated))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_member_does_not_decode(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("3.jpg", b"third")
    assert _read(path, "3.jpg") == b"third"
    content = bytearray(path.read_bytes())
    content[35 + 2] ^= 0x20
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="damaged in the zip: "):
        _read(path, "3.jpg")


def test_zip_that_is_another_than_was_indexed_is_a_mistake(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FILES)
    offset = _spans(path)["b/3.jpg"].offset
    for name, place in (
        ("b/4.jpg", offset),
        ("b/3.jpg", 0),
        ("b/3.jpg", offset + 1),
        ("b/3.jp", offset),
        ("b", 1 << 40),
    ):
        with pytest.raises(UserError, match="image a/1 is not in it .*run source again"):
            read_image(_place(path, name, 5, place))


def test_image_in_a_file_that_is_gone_short_or_a_folder_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with pytest.raises(UserError, match=r"image a/1 cannot be read or written \(No such file"):
        read_image(_place(path, None, 5, 2))
    with pytest.raises(UserError, match=r"image a/1 cannot be read or written \(No such file"):
        read_image(_place(path, "member", 5))
    path.write_bytes(b"123456")
    with pytest.raises(UserError, match="is cut short, found 4 bytes, expected 5"):
        read_image(_place(path, None, 5, 2))
    assert read_image(_place(path, None, 4, 2)) == b"3456"
    with pytest.raises(UserError, match=r"image a/1 cannot be read or written \(Is a directory"):
        read_image(_place(tmp_path, None, 5, 0))


def test_image_larger_than_any_photograph_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="a file of 1,099,511,627,776 bytes, more than 268,435,456"):
        read_image(_place(tmp_path / "none", None, 1 << 40, 0))
