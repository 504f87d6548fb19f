from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data import tars
from alexnet.data.tars import Window, drop_hidden, open_descriptor, read_small_files, scan_images, scan_tar
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


PART = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/\\:"), min_size=1, max_size=90
)
NAME = st.lists(PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAME, st.integers(0, 1500), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
)
def test_names_offsets_and_sizes_are_those_that_tarfile_reads(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, int], form: int, folders: bool
) -> None:
    path = tmp_path_factory.mktemp("twin") / "x.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, size in files.items():
            header = tarfile.TarInfo(name)
            header.size, header.mtime = size, 1.5  # type: ignore[assignment]  # a fraction takes an attribute
            archive.addfile(header, io.BytesIO(b"\1" * size))
            if folders:
                header = tarfile.TarInfo(f"{name}.folder")
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
    with tarfile.open(path) as archive:
        expected = [(header.name, header.offset_data, header.size) for header in archive if header.isreg()]
    assert [(member.name, member.offset, member.size) for member in scan_tar(path)] == expected


def test_name_with_a_prefix_and_size_in_bytes_are_read(tmp_path: Path) -> None:
    name = "a" * 90 + "/" + "b" * 90 + ".JPEG"
    block = bytearray(_ustar(name, 700))
    block[124:136] = b"\x80" + (700).to_bytes(11, "big")
    path = _write(tmp_path / "x.tar", _checked(block) + bytes(1024 + 1024))
    assert [(member.name, member.size) for member in scan_tar(path)] == [(name, 700)]


def _ustar(name: str, size: int) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = size
    return header.tobuf(tarfile.USTAR_FORMAT)


def _checked(block: bytearray) -> bytes:
    """A header whose checksum is right again."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _attributes(records: bytes, kind: bytes = b"x") -> bytes:
    header = tarfile.TarInfo("attributes")
    header.type, header.size = kind, len(records)
    return header.tobuf() + records.ljust(-(-len(records) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (lambda block: block.__setitem__(slice(124, 136), b"-0000000512\0"), "has no size"),
        (lambda block: block.__setitem__(slice(124, 136), b"\xff" * 12), "has no size"),
        (lambda block: block.__setitem__(slice(124, 136), b"\x80" + b"\x7f" * 11), "cut short in member"),
        (lambda block: block.__setitem__(156, ord("5")), "folder 'a.JPEG' has 512 bytes of its own"),
    ],
)  # fmt: skip
def test_size_that_cannot_be_is_refused(tmp_path: Path, odd: object, message: str) -> None:
    block = bytearray(_ustar("a.JPEG", 512))
    odd(block)  # type: ignore[operator]
    path = _write(tmp_path / "x.tar", tar(FILES)[:1024] + _checked(block) + b"\1" * 512 + bytes(1024))
    with pytest.raises(UserError, match=message):
        list(scan_tar(path))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (_attributes(b"9999999 path=a.JPEG\n"), "holds a damaged attribute"),
        (_attributes(b"12 size=-10\n"), "gives no number for the size"),
        (_attributes(b"16 path=../evil\n"), "lies outside the archive"),
        (_attributes(b"11 path=x.y\n"), "holds a damaged attribute"),
        (_attributes(b"22 GNU.sparse.major=1\n"), "a file with holes"),
        (_attributes(b"15 path=a.JPEG\n", b"g"), "gives all files one name or size"),
        (_attributes(b"15 path=a.JPEG\n") + bytes(512), "has a damaged header at byte 1,536"),
        (_attributes(b"15 path=a.JPEG\n")[:512] + b"15", "holds a damaged attribute"),
    ],
)
def test_odd_attributes_are_refused(tmp_path: Path, header: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(
            scan_tar(
                _write(tmp_path / "x.tar", tar({"a": b""})[:512] + header + _ustar("b.JPEG", 0) + bytes(1024))
            )
        )


def test_long_chain_of_headers_and_a_long_header_end(tmp_path: Path) -> None:
    chain = _attributes(b"15 path=a.JPEG\n") * 5000
    (member,) = scan_tar(_write(tmp_path / "x.tar", chain + _ustar("b.JPEG", 0) + bytes(1024)))
    assert member.name == "a.JPEG"
    long = bytearray(_ustar("x", 0))
    long[124:136], long[156] = b"\x80" + (1 << 33).to_bytes(11, "big"), ord("L")
    with pytest.raises(UserError, match="takes 8,589,934,592 bytes"):
        list(scan_tar(_write(tmp_path / "y.tar", _checked(long) + bytes(1024))))


@pytest.mark.parametrize("name", ["a\nb.JPEG", "a\x1b[2J.JPEG", "a\u2028.JPEG", "\udcff.JPEG"])
def test_name_that_cannot_stand_in_a_line_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="control characters or is no UTF-8") as caught:
        list(scan_tar(_write(tmp_path / "x.tar", odd_tar(name))))
    assert len(str(caught.value).splitlines()) == 1


def test_members_behind_a_header_of_zeros_are_not_dropped(tmp_path: Path) -> None:
    content = bytearray(tar(FILES))
    content[1024:1536] = bytes(512)  # the second header
    with pytest.raises(UserError, match="ends at byte 1,536, but goes on at byte 1,536"):
        list(scan_tar(_write(tmp_path / "x.tar", bytes(content))))
    with pytest.raises(UserError, match="but goes on at byte 10,240"):
        list(scan_tar(_write(tmp_path / "y.tar", tar(FILES) + tar(FILES))))


@pytest.mark.parametrize(("content", "message"), [(b"", "has no end"), (b"\0" * 100, "has no end")])
def test_file_of_no_bytes_is_no_archive(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(scan_tar(_write(tmp_path / "x.tar", content)))


def test_file_that_cannot_be_read_is_no_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"x\.tar: cannot be read or written \(No such file"):
        list(scan_tar(tmp_path / "x.tar"))
    with pytest.raises(UserError, match=r"cannot be read or written \(Is a directory\)"):
        list(scan_tar(tmp_path))
    path = _write(tmp_path / "x.tar", tar(FILES))

    def refuse(*args: object) -> int:  # tests may run as root, who may read everything
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(tars.os, "open", refuse)
    with pytest.raises(
        UserError, match=r"x\.tar: cannot be read or written \(Permission denied\)\. Give yourself"
    ):
        list(scan_tar(path))


KIT = {"kit/data/meta.mat": b"1" * 2000, "kit/readme.txt": b"2" * 100_000}


@pytest.mark.parametrize("cut", [1, 8, 9, 400])
def test_gzip_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    path = _write(tmp_path / "kit.tar.gz", gzip.compress(tar(KIT)))
    assert read_small_files(path, ("data/meta.mat",)) == {"data/meta.mat": b"1" * 2000}
    with pytest.raises(UserError, match="damaged or cut short"):  # up to 8 bytes are the gzip's own checksum
        read_small_files(_write(path, path.read_bytes()[:-cut]), ("data/meta.mat",))


def test_gzip_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_UNPACKED", 50_000)
    with pytest.raises(UserError, match="more than 50,000 bytes come out of it"):
        read_small_files(_write(tmp_path / "kit.tar.gz", gzip.compress(tar(KIT))), ("data/meta.mat",))


def test_small_file_that_is_large_or_there_twice_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "kit.tar", tar({**KIT, "other/data/meta.mat": b"3"}))
    with pytest.raises(UserError, match="other/data/meta.mat is there twice"):
        read_small_files(path, ("data/meta.mat",))
    with pytest.raises(
        UserError, match="kit/readme.txt is too large, found 100,000 bytes, expected one of at most 99"
    ):
        read_small_files(path, ("readme.txt",), limit=99)


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


def test_hidden_files_are_told_of_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"./n1/a.JPEG": b"1", "./n1/.a.JPEG.PwzGOM": b"2", "__MACOSX/a.JPEG": b"3"}
    path = _write(tmp_path / "x.tar", tar(files))
    assert [member.base for member in scan_images(path)] == ["a.JPEG"]
    assert capsys.readouterr().err == (
        f"{path}: 2 hidden files are not read, such as './n1/.a.JPEG.PwzGOM'\n"
    )


def test_hidden_members_beside_synsets_tars_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path / "x.tar", tar({"n00000010.tar": tar(FILES), ".n00000010.tar.Xy12": b"2"}))
    assert [inner.name for inner in drop_hidden("x", scan_tar(path))] == ["n00000010.tar"]
    assert "x: 1 hidden file is not read" in capsys.readouterr().err


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
