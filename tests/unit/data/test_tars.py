from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.tars import Window, open_descriptor, scan_images, scan_tar
from alexnet.errors import UserError
from tests.unit.data.made_archives import odd_tar, tar

FILES = {"a.JPEG": b"first", "folder/b.JPEG": b"second" * 200, "c.JPEG": b""}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_offsets_lead_to_the_bytes(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", tar(FILES))
    data = path.read_bytes()
    found = {member.name: data[member.offset : member.offset + member.size] for member in scan_tar(path)}
    assert found == FILES


def test_offsets_within_an_inner_tar_count_from_the_outer_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", tar({"skip": b"." * 700, "inner.tar": tar(FILES)}))
    data = path.read_bytes()
    inner = list(scan_tar(path))[1]
    found = {
        member.name: data[member.offset : member.offset + member.size] for member in scan_tar(path, inner)
    }
    assert found == FILES


def test_very_long_names_are_read(tmp_path: Path) -> None:
    name = "folder/" + "x" * 300 + ".JPEG"
    assert [member.name for member in scan_tar(_write(tmp_path / "x.tar", tar({name: b"1"})))] == [name]


def test_scanning_reads_headers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    plain = Window.read

    def count(self: Window, size: int = -1) -> bytes:
        nonlocal read
        data = plain(self, size)
        read += len(data)
        return data

    monkeypatch.setattr(Window, "read", count)
    path = _write(tmp_path / "x.tar", tar({f"{n}.JPEG": b"\0" * 1_000_000 for n in range(5)}))
    assert len(list(scan_tar(path))) == 5
    assert read < 20_000


@pytest.mark.parametrize(
    "name", ["../evil.JPEG", "a/../../evil.JPEG", "/etc/evil.JPEG", "..\\evil.JPEG", "C:/evil.JPEG"]
)
def test_member_outside_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / "x.tar", odd_tar(name))
    with pytest.raises(UserError, match="lies outside the archive") as caught:
        list(scan_tar(path))
    assert repr(name) in str(caught.value) and "x.tar" in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = _write(tmp_path / "x.tar", odd_tar("a.JPEG", kind, "good.JPEG"))
    with pytest.raises(UserError, match="is a link or a special file"):
        list(scan_tar(path))


@settings(max_examples=60)
@given(st.integers(0, 1 << 14))
def test_tar_cut_anywhere_before_its_end_is_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    content = tar(FILES)
    whole = 512 * 7  # three headers, one block and three blocks of data; then a block of zeros ends it
    path = _write(tmp_path_factory.mktemp("cut") / "x.tar", content[:cut])
    if cut >= whole + 512:
        assert len(list(scan_tar(path))) == 3
    else:
        with pytest.raises(UserError, match=r"cut short|damaged"):
            list(scan_tar(path))


def test_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(tar(FILES))
    content[1024 + 10] ^= 0xFF  # in the second header
    with pytest.raises(UserError, match="damaged header at byte 1,024"):
        list(scan_tar(_write(tmp_path / "x.tar", bytes(content))))


def test_inner_tar_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", tar({"n00000010.tar": tar(FILES)[:1500]}))
    inner = next(iter(scan_tar(path)))
    with pytest.raises(UserError, match=r"x\.tar: n00000010\.tar: .*cut short"):
        list(scan_tar(path, inner))


def test_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="damaged or cut short"):
        list(scan_tar(_write(tmp_path / "x.tar", b"<html>not found</html>" * 100)))


def test_file_not_named_as_an_image_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", tar({"a.JPEG": b"1", "README": b"2"}))
    with pytest.raises(UserError, match="not named as an image, found 'README'"):
        scan_images(path)


def test_window_behaves_as_a_file_of_its_own(tmp_path: Path) -> None:
    path = _write(tmp_path / "x", b"0123456789")
    with open_descriptor(path) as descriptor:
        window = Window(descriptor, 3, 4)
        assert (window.read(2), window.tell(), window.read(), window.read()) == (b"34", 2, b"56", b"")
        assert (window.seek(-1, 2), window.read(9)) == (3, b"6")


def test_member_that_runs_past_the_end_is_named_with_both_sizes(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.tar", tar({"a.JPEG": b"1" * 5000})[:3000])
    with pytest.raises(
        UserError, match=r"cut short in member 'a\.JPEG', found 3,000 bytes, expected at least 5,512"
    ):
        list(scan_tar(path))
