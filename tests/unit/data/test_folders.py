from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.data.fall import Fractions
from alexnet.data.folders import find_folders, list_files, list_folders
from alexnet.data.images import read_image
from alexnet.data.inventory import SPLITS, Listing, as_places, join_places
from alexnet.errors import UserError
from tests.unit.data.made_archives import jpeg, write_zip

FLAT = {f"{name}/{n}.jpg": jpeg(n) for name in ("bee", "ant") for n in range(6)}
SPLIT = {f"{split}/{path}": content for split in ("test", "train") for path, content in FLAT.items()}
HALF = Fractions(0.0, 0.5, 1)


def _unpack(folder: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _list(path: Path, fractions: Fractions | None) -> Listing:
    return list_folders(find_folders(path, path), fractions)


def _images(listing: Listing) -> dict[str, list[tuple[str, int | None, bytes]]]:
    tables = {split: join_places(listing.places[split], split, "") for split in SPLITS}
    return {
        split: [(place.key, place.label, read_image(place)) for place in as_places(table)]
        for split, table in tables.items()
    }


@pytest.mark.parametrize("top", ["", "cifar10/"])
@pytest.mark.parametrize(("members", "fractions"), [(FLAT, HALF), (SPLIT, None)])
def test_zip_gives_what_its_folders_give(
    tmp_path: Path, top: str, members: dict[str, bytes], fractions: Fractions | None
) -> None:
    members = {**members, "words.txt": b"ant\twith six legs\n"}
    zipped = write_zip(tmp_path / "x.zip", {f"{top}{name}": content for name, content in members.items()})
    expected = _list(_unpack(tmp_path / "x", members), fractions)
    found = _list(zipped, fractions)
    assert found.synsets == expected.synsets
    assert [(synset.wnid, synset.words) for synset in found.synsets] == [
        ("ant", "with six legs"),
        ("bee", ""),
    ]
    assert _images(found) == _images(expected)
    assert [len(images) for images in _images(found).values()] == [
        6 if fractions else 12, 0, 6 if fractions else 12,
    ]  # fmt: skip


def test_zip_of_one_class_has_no_folder_above_it(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"ant/0.jpg": jpeg(0), "ant/1.jpg": jpeg(1)})
    listing = _list(path, HALF)
    assert [synset.wnid for synset in listing.synsets] == ["ant"]
    assert sorted(key for images in _images(listing).values() for key, _, _ in images) == [
        "ant/0.jpg",
        "ant/1.jpg",
    ]


def test_md5_of_a_zip_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", SPLIT)
    (tmp_path / "link").symlink_to(path)
    folders = find_folders(tmp_path / "link", tmp_path / "link")
    assert [(file.name, file.path) for file in list_files(folders)] == [("x.zip", tmp_path / "link")]


def test_what_is_not_read_is_told_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {
        "__MACOSX/train/ant/._1.jpg": b"", "train/ant/._1.jpg": b"", "readme.txt": b"",
        "train/ant/notes.txt": b"", "extra/ant/1.jpg": b"",
    }  # fmt: skip
    _list(write_zip(tmp_path / "x.zip", {**SPLIT, **others}), None)
    where = tmp_path / "x.zip"
    assert set(capsys.readouterr().err.splitlines()) == {
        f"{where}: 2 hidden files are not read, such as '__MACOSX/train/ant/._1.jpg'",
        f"{where}: 1 files are not read, such as 'readme.txt'",
        f"{where}: 1 folders are not read, such as 'extra'",
        f"{where}/train/ant: 1 files are not named as images and are not read",
    }
    folder = _unpack(tmp_path / "x", {**SPLIT, **others, "train/ant/more/a.txt": b"", ".git/a": b""})
    _list(folder, None)
    assert set(capsys.readouterr().err.splitlines()) == {
        f"{folder}: 3 files are not read, such as '.git'",
        f"{folder}: 1 folders are not read, such as 'extra'",
        f"{folder}/train/ant: 1 folders in it are not read, such as 'more'",
        f"{folder}/train/ant: 2 files are not named as images and are not read",
    }


@pytest.mark.parametrize("stray", ["1.jpg", "train/1.jpg", "train/ant/deep/1.jpg"])
def test_image_outside_the_folders_of_the_classes_is_refused(tmp_path: Path, stray: str) -> None:
    path = write_zip(tmp_path / "x.zip", {**SPLIT, stray: b""})
    with pytest.raises(UserError, match=f"an image outside the folders of the classes, found '{stray}'"):
        _list(path, None)
    if "deep" not in stray:
        with pytest.raises(UserError, match="an image outside the folders of the classes, found '1.jpg'"):
            _list(_unpack(tmp_path / "x", {**SPLIT, stray: b""}), None)


@pytest.mark.parametrize(
    ("members", "fractions", "message"),
    [
        (FLAT, None, "brings no split of its own"),
        (SPLIT, HALF, "brings its own split, found train, test"),
        ({**SPLIT, "test/cow/1.jpg": b""}, None, "x/test/cow: is no class of the training images"),
        ({"test/ant/1.jpg": b""}, None, "has no folder train"),
        ({**SPLIT, "train/cow/": b""}, None, "x/train/cow: holds no image"),
        ({"train/": b""}, None, "brings no split of its own|holds no folder of a class"),
        ({"a.txt": b""}, HALF, "holds no folder of a class"),
        ({"ant/1\n.jpg": b""}, HALF, "control characters"),
    ],
)
def test_folders_that_do_not_fit_are_refused_in_a_zip_as_on_the_disk(
    tmp_path: Path, members: dict[str, bytes], fractions: Fractions | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _list(write_zip(tmp_path / "x", members), fractions)
    (tmp_path / "x").unlink()
    for name in [name for name in members if name.endswith("/")]:
        (tmp_path / "x" / name).mkdir(parents=True)
    _unpack(tmp_path / "x", {name: content for name, content in members.items() if not name.endswith("/")})
    with pytest.raises(UserError, match=message):
        _list(tmp_path / "x", fractions)


def test_links_are_followed_and_one_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    folder = _unpack(tmp_path / "x", FLAT)
    (folder / "ant/0.jpg").rename(tmp_path / "elsewhere.jpg")
    (folder / "ant/0.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    images = _images(_list(folder, HALF))
    assert ("ant/0.jpg", 0, jpeg(0)) in [*images["train"], *images["test"]]
    (tmp_path / "elsewhere.jpg").unlink()
    with pytest.raises(UserError, match=r"ant/0\.jpg: cannot be read or written \(No such file"):
        _list(folder, HALF)


def test_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = _unpack(tmp_path / "x", FLAT)
    (folder / "ant/\udcff.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="is no UTF-8, found"):
        _list(folder, HALF)


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder and no zip"):
        find_folders(tmp_path / "none", tmp_path / "none")
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="damaged or cut short"):
        find_folders(tmp_path / "x.zip", tmp_path / "x.zip")
