from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.data import zips
from alexnet.data.decode import DecodeError
from alexnet.data.images import read_image
from alexnet.data.inventory import Place
from alexnet.data.zips import list_sizes, open_zip, read_text
from alexnet.errors import UserError
from tests.unit.data.made_archives import write_zip

FILES = {"a/1.jpg": b"first" * 100, "a/2.jpg": b"", "b/3.jpg": b"third"}


def _sizes(path: Path) -> dict[str, int]:
    with open_zip(path) as file:
        return list_sizes(file)


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


def _place(path: Path, member: str | None, size: int, offset: int | None = None) -> Place:
    return Place("a/1", 0, str(path), member, offset, size)


def test_member_that_unpacks_to_more_than_is_stated_gives_no_more_than_that(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(1 << 24))
    _patch(path, b"PK\1\2", 24, struct.pack("<I", 1000))
    assert _sizes(path) == {"1.jpg": 1000}
    with pytest.raises(DecodeError, match="damaged in the zip: Bad CRC-32"):
        read_image(_place(path, "1.jpg", 1000))


def test_member_that_unpacks_to_less_than_is_stated_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", b"123456789")
    _patch(path, b"PK\1\2", 24, struct.pack("<I", 10))
    with pytest.raises(DecodeError, match="damaged in the zip: 9 bytes of 10"):
        read_image(_place(path, "1.jpg", 10))


def test_damaged_member_does_not_decode_and_damaged_zip_is_a_mistake(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FILES)
    content = path.read_bytes()
    assert read_image(_place(path, "b/3.jpg", 5)) == b"third"
    path.write_bytes(content.replace(b"third", b"thirD"))
    with pytest.raises(DecodeError, match="damaged in the zip: Bad CRC-32"):
        read_image(_place(path, "b/3.jpg", 5))
    path.write_bytes(content[:-30])
    with pytest.raises(UserError, match="image a/1 cannot be read .*run source again"):
        read_image(_place(path, "b/3.jpg", 5))


def test_zip_that_is_another_than_was_indexed_is_a_mistake(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FILES)
    with pytest.raises(UserError, match="image a/1 is another, found 5 bytes, expected 6"):
        read_image(_place(path, "b/3.jpg", 6))
    with pytest.raises(UserError, match="image a/1 cannot be read"):
        read_image(_place(path, "b/4.jpg", 6))


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
