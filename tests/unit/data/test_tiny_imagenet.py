from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from alexnet.data.inventory import Listing, join_places
from alexnet.data.tiny_imagenet import choose_classes, find_zip, list_tiny_imagenet
from alexnet.errors import UserError
from tests.unit.data.made_archives import jpeg, tiny_members, write_zip

WNIDS = [f"n{n:08}" for n in range(40)]


def _list(path: Path, fraction: float = 1.0, at_most: int | None = None, seed: int = 1) -> Listing:
    return list_tiny_imagenet(find_zip(path, path), fraction, at_most, seed)


@pytest.mark.parametrize(
    ("fraction", "at_most", "expected"),
    [(0.5, 20, 20), (0.5, None, 20), (1.0, None, 40), (1.0, 20, 20), (0.001, None, 1), (0.3, 99, 12)],
)
def test_number_of_classes_follows_fraction_and_bound(
    fraction: float, at_most: int | None, expected: int
) -> None:
    assert len(set(choose_classes(WNIDS, fraction, at_most, 1))) == expected


def test_fewer_classes_are_the_first_of_more() -> None:
    assert choose_classes(WNIDS, 1.0, None, 7)[:5] == choose_classes(WNIDS[::-1], 1.0, 5, 7)


def test_seed_chooses_the_classes() -> None:
    assert set(choose_classes(WNIDS, 0.5, None, 1)) != set(choose_classes(WNIDS, 0.5, None, 2))


def test_images_of_all_classes_are_listed_with_their_labels(tmp_path: Path) -> None:
    listing = _list(write_zip(tmp_path / "t.zip", tiny_members()))
    train = join_places(listing.places["train"], "train", "").to_pylist()
    val = join_places(listing.places["val"], "val", "").to_pylist()
    assert [row["key"] for row in train][:4] == [f"n00000000/n00000000_{n}.JPEG" for n in range(3)] + [
        "n00000001/n00000001_0.JPEG"
    ]
    assert [(row["key"], row["label"]) for row in val] == [(f"val_{n}.JPEG", n) for n in range(4)]
    assert listing.synsets[0].words == "words of n00000000"
    assert listing.reasons["test"] is not None and not listing.places["test"]


def test_labels_count_the_chosen_classes_only(tmp_path: Path) -> None:
    listing = _list(write_zip(tmp_path / "t.zip", tiny_members()), fraction=0.5)
    wnids = [synset.wnid for synset in listing.synsets]
    assert len(wnids) == 2 and wnids == sorted(wnids)
    val = join_places(listing.places["val"], "val", "").to_pylist()
    assert [wnids[row["label"]] for row in val] == [f"n0000{int(row['key'][4]):04}" for row in val]


def test_zip_in_a_folder_is_found(tmp_path: Path) -> None:
    write_zip(tmp_path / "t.zip", tiny_members())
    assert find_zip(tmp_path, Path("inputs/tiny")).recorded == "inputs/tiny/t.zip"


def test_missing_zip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing archive, found 0 zips"):
        find_zip(tmp_path, tmp_path)


def test_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "t.zip", tiny_members())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged or cut short"):
        _list(path)


def test_member_outside_the_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "t.zip", {**tiny_members(), "tiny/../../evil.JPEG": b""})
    with pytest.raises(UserError, match=r"'tiny/../../evil.JPEG' lies outside the archive"):
        _list(path)


def test_link_in_the_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "t.zip", tiny_members())
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("tiny/link.JPEG")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="is a link or a special file"):
        _list(path)


def test_hidden_files_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {"tiny/train/n00000001/images/._1.JPEG": b"", "tiny/val/images/._1.JPEG": b""}
    path = write_zip(tmp_path / "t.zip", {**tiny_members(), **hidden})
    listing = _list(path)
    assert [sum(map(len, listing.places[split])) for split in ("train", "val")] == [12, 4]
    assert capsys.readouterr().err == f"{path}: 2 hidden files are not read, such as {next(iter(hidden))!r}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiny/wnids.txt": None}, "is not Tiny ImageNet's zip"),
        ({"tiny/words.txt": None}, "holds no tiny/words.txt"),
        ({"tiny/val/images/val_1.JPEG": None}, "line 2: names no image"),
        ({"tiny/val/images/val_9.JPEG": jpeg(1)}, "says nothing of val_9.JPEG"),
        ({"tiny/val/val_annotations.txt": b"val_0.JPEG\tn99999999\n"}, "line 1: names no image"),
        (
            {"tiny/train/n00000009/images/1.JPEG": b""},
            "outside the folders of its classes, found 'tiny/train/n00000009/im",
        ),
        ({"tiny/train/n00000001/1.JPEG": b""}, "outside the folders of its classes"),
        (
            {f"tiny/train/n00000002/images/n00000002_{n}.JPEG": None for n in range(3)},
            "no training image of n00000002",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    members = {name: content for name, content in {**tiny_members(), **change}.items() if content is not None}
    with pytest.raises(UserError, match=message):
        _list(write_zip(tmp_path / "t.zip", members))
