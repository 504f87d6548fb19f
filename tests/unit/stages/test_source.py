from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from alexnet.data import cifar10
from alexnet.data.images import read_image
from alexnet.data.inventory import SPLITS, Place, as_places, load_places
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.errors import UserError
from alexnet.stages import source
from tests.unit.data.made_archives import (
    CIFAR_NAMES,
    LABELS,
    cifar_image,
    cifar_members,
    devkit,
    gzipped_tar,
    jpeg,
    odd_tar,
    tar,
    tiny_members,
    write_class_folders,
    write_contest,
    write_zip,
)

SPLIT = {"val": 0.0, "test": 0.5, "seed": 1}


def _contest(folder: Path, year: int = 2012, md5: dict[str, str] | None = None) -> IlsvrcDataset:
    about = {"kind": "ilsvrc", "path": str(folder), "year": year, "md5": md5 or {}}
    return IlsvrcDataset.model_validate({"source": about})


def _release(
    path: Path, split: Any = SPLIT, kind: str = "fall", md5: dict[str, str] | None = None
) -> FallDataset:
    return FallDataset.model_validate(
        {"source": {"kind": kind, "path": str(path), "md5": md5 or {}}, "split": split}
    )


def _inventory(folder: Path) -> dict[str, Any]:
    inventory: dict[str, Any] = json.loads((folder / "inventory.json").read_text())
    return inventory


def _places(folder: Path, split: str) -> dict[str, Place]:
    return {place.key: place for place in as_places(load_places(folder, split))}


def _synset_tar(wnid: str, num: int = 4) -> bytes:
    return tar({f"{wnid}_{n}.JPEG": jpeg(n) for n in range(num)})


@pytest.mark.parametrize("year", [2010, 2012])
def test_contest_is_indexed_where_it_lies(tmp_path: Path, year: int) -> None:
    output = tmp_path / "out"
    source.run(f"ilsvrc{year}", _contest(write_contest(tmp_path / "in", year), year), output)
    train, val, test = (_places(output, split) for split in SPLITS)
    assert [len(train), len(val), len(test)] == [12, 3, 3]
    assert {place.label for key, place in train.items() if key.startswith("n00000020/")} == {1}
    assert read_image(train["n00000030/n00000030_21.JPEG"]) == jpeg(203)
    assert [place.label for place in val.values()] == [1, 2, 0]  # the tar holds them backwards
    assert read_image(val[f"ILSVRC{year}_val_00000003.JPEG"]) == jpeg(1003)
    assert [place.label for place in test.values()] == ([0, 0, 1] if year == 2010 else [None] * 3)
    reason = _inventory(output)["splits"]["test"]["reason"]
    assert reason is None if year == 2010 else "no labels" in reason
    assert {path.name for path in output.iterdir()} == {"inventory.json", "index.parquet"}


def test_inventory_holds_both_label_orders(tmp_path: Path) -> None:
    source.run("ilsvrc2012", _contest(write_contest(tmp_path / "in")), tmp_path / "out")
    synsets = _inventory(tmp_path / "out")["synsets"]
    assert [(synset["wnid"], synset["label"], synset["devkit_id"]) for synset in synsets] == [
        ("n00000010", 0, 3), ("n00000020", 1, 1), ("n00000030", 2, 2),
    ]  # fmt: skip
    assert [synset["sorted_index"] for synset in synsets] == [0, 1, 2]
    assert (synsets[0]["words"], synsets[0]["train_images"]) == ("words of n00000010", 703)


def test_index_is_sorted_by_split_and_key(tmp_path: Path) -> None:
    source.run("ilsvrc2012", _contest(write_contest(tmp_path / "in")), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/index.parquet").to_pylist()
    order = [(SPLITS.index(row["split"]), row["key"]) for row in rows]
    assert order == sorted(order) and len(order) == 18


def test_equal_archives_give_equal_bytes(tmp_path: Path) -> None:
    params = _contest(write_contest(tmp_path / "in"))
    for name in ("a", "b"):
        source.run("ilsvrc2012", params, tmp_path / name)
    for name in ("inventory.json", "index.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_missing_test_tar_gives_an_empty_split_even_if_its_md5_is_known(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in", with_test=False)
    source.run("ilsvrc2012", _contest(folder, md5={"ILSVRC2012_img_test.tar": "0" * 32}), tmp_path / "out")
    expected = {"count": 0, "reason": "ILSVRC2012_img_test.tar is not there"}
    assert _inventory(tmp_path / "out")["splits"]["test"] == expected


def test_patches_take_the_place_of_blank_images(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in", 2010)
    patches = {
        "patch_images/val/ILSVRC2010_val_00000002.JPEG": jpeg(7),
        "patch_images/train/n00000010_0.JPEG": jpeg(8),
    }
    (folder / "patch_images.tar").write_bytes(tar(patches))
    source.run("ilsvrc2010", _contest(folder, 2010), tmp_path / "out")
    val, train = _places(tmp_path / "out", "val"), _places(tmp_path / "out", "train")
    assert read_image(val["ILSVRC2010_val_00000002.JPEG"]) == jpeg(7)
    assert read_image(train["n00000010/n00000010_0.JPEG"]) == jpeg(8)
    assert read_image(train["n00000010/n00000010_7.JPEG"]) == jpeg(1)
    assert [place.label for place in val.values()] == [1, 2, 0]


def test_patch_that_repairs_nothing_is_refused(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in", 2010)
    (folder / "patch_images.tar").write_bytes(tar({"patch_images/val/ILSVRC2010_val_00000009.JPEG": jpeg(7)}))
    with pytest.raises(UserError, match=r"val/ILSVRC2010_val_00000009.JPEG repairs no image"):
        source.run("ilsvrc2010", _contest(folder, 2010), tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("patch_images/n00000010_0.JPEG", "lies in no folder train, val or test"),
        ("other/train/n00000010_0.JPEG", "'other/train/n00000010_0.JPEG' is there twice"),
        ("patch_images/train/n00000010_5.JPEG", "train/n00000010_5.JPEG repairs no image"),
    ],
)
def test_patch_that_cannot_be_used_exactly_once_is_refused(tmp_path: Path, name: str, message: str) -> None:
    folder = write_contest(tmp_path / "in", 2010)
    patches = {"patch_images/train/n00000010_0.JPEG": jpeg(8), name: jpeg(9)}
    (folder / "patch_images.tar").write_bytes(tar(patches))
    with pytest.raises(UserError, match=message):
        source.run("ilsvrc2010", _contest(folder, 2010), tmp_path / "out")


def test_patches_that_have_no_use_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_contest(tmp_path / "in", 2010, with_test=False)
    patches = {"patch_images/test/ILSVRC2010_test_00000001.JPEG": jpeg(7), "patch_images/README": b""}
    (folder / "patch_images.tar").write_bytes(tar(patches))
    source.run("ilsvrc2010", _contest(folder, 2010), tmp_path / "out")
    told = capsys.readouterr().err
    assert "'patch_images/README' is not named as an image and is not read" in told
    assert "1 patches of test images not used, as there are none" in told


def test_image_of_no_bytes_is_indexed(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in")
    val = {f"ILSVRC2012_val_{n:08}.JPEG": b"" for n in (1, 2, 3)}
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar(val))
    source.run("ilsvrc2012", _contest(folder), tmp_path / "out")
    assert [read_image(place) for place in _places(tmp_path / "out", "val").values()] == [b"", b"", b""]


def test_md5_and_size_are_recorded_and_missing_sums_warned_of_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_contest(tmp_path / "in", with_test=False)
    val = (folder / "ILSVRC2012_img_val.tar").read_bytes()
    md5 = {"ILSVRC2012_img_val.tar": hashlib.md5(val).hexdigest().upper()}  # noqa: S324
    source.run("ilsvrc2012", _contest(folder, md5=md5), tmp_path / "out")
    (file,) = [file for file in _inventory(tmp_path / "out")["files"] if file["name"] in md5]
    assert file["md5"] == file["expected_md5"].lower() and file["bytes"] == len(val)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "warning: ilsvrc2012: no md5 to check 2 of its files by "
        "(ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar)"
    )


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12_000])


def _make_folder(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return make


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "ILSVRC2012_img_train.tar").unlink(), "missing archive ILSVRC2012_img_train.tar"),
        (lambda folder: (folder / "ILSVRC2012_devkit_t12.tar.gz").unlink(), "missing archive ILSVRC2012_devkit"),
        (lambda folder: _truncate(folder / "ILSVRC2012_img_train.tar"), "cut short"),
        (lambda folder: _truncate(folder / "ILSVRC2012_img_val.tar"), "cut short"),
        (
            lambda folder: (folder / "ILSVRC2012_img_val.tar").write_bytes(odd_tar("../evil.JPEG")),
            "'../evil.JPEG' lies outside the archive",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_val.tar").write_bytes(tar({"a.JPEG": b""})),
            "found 3 ids, expected 1",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit(2012, (1, 2, 4))),
            "no class's id, found 4",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(tar({"n00000010.tar": _synset_tar("n1")})),
            "no tar for 2 classes .n00000020, n00000030., found 1, expected 3",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(tar({"n00000099.tar": _synset_tar("n9")})),
            "n00000099.tar is no class of the development kit",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(tar({"a.JPEG": b""})),
            "no synset's tar, found 'a.JPEG'",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_val.tar").write_bytes(
                tar({f"ILSVRC2012_val_{n:08}.JPEG": b"" for n in (1, 2, 4)})
            ),
            "an image is missing, .*found ILSVRC2012_val_00000004.JPEG, expected a name that ends in _00000003",
        ),
        (
            lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(
                tar({f"{wnid}.tar": tar({"a.JPEG": b"", "b/a.JPEG": b""}) for wnid in LABELS})
            ),
            "train image n00000010/a.JPEG is there twice",
        ),
        (lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(b""), "img_train.tar: .* it has no end"),
        (
            lambda folder: (folder / "ILSVRC2012_img_train.tar").write_bytes(
                tar({f"{wnid}.tar": _synset_tar(wnid)[:600] for wnid in LABELS})
            ),
            "img_train.tar: n00000010.tar: the archive is cut short in member",
        ),
        (_make_folder("ILSVRC2012_img_train.tar"), "img_train.tar: is no file"),
        (_make_folder("ILSVRC2012_img_test.tar"), "img_test.tar: is no file"),
        (_make_folder("ILSVRC2012_test_ground_truth.txt"), "test_ground_truth.txt: is no file"),
        (
            lambda folder: (folder / "ILSVRC2012_test_ground_truth.txt").write_text("1\n2\n"),
            "test_ground_truth.txt: the number of ids is not that of the images, found 2 ids, expected 3",
        ),
    ],
)  # fmt: skip
def test_damaged_contest_is_refused_and_earlier_results_stay(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder, output = write_contest(tmp_path / "in"), tmp_path / "out"
    source.run("ilsvrc2012", _contest(folder), output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    damage(folder)
    with pytest.raises(UserError, match=message):
        source.run("ilsvrc2012", _contest(folder), output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}  # nothing half written is left


@pytest.mark.parametrize(("owner", "function"), [(Path, "open"), (os, "scandir"), (os, "stat")])
def test_what_may_not_be_read_is_told_of_and_earlier_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, function: str
) -> None:
    """Permissions are refused by the function and not by the disk, since tests may run as root."""
    output, flat = tmp_path / "out", write_class_folders(tmp_path / "in")
    source.run("x", _release(flat, kind="folder"), output)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    plain = getattr(owner, function)

    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        if "bee" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(owner, function, refuse)
    with pytest.raises(UserError, match=r"bee\S*: cannot be read or written \(Permission denied\)"):
        source.run("x", _release(flat, kind="folder"), output)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_wrong_md5_is_refused_with_both_sums(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in")
    found = hashlib.md5((folder / "ILSVRC2012_img_val.tar").read_bytes()).hexdigest()  # noqa: S324
    with pytest.raises(UserError, match=f"ILSVRC2012_img_val.tar: wrong md5, found {found}, expected 0000"):
        source.run("ilsvrc2012", _contest(folder, md5={"ILSVRC2012_img_val.tar": "0" * 32}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_md5_of_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = write_contest(tmp_path / "in")
    with pytest.raises(UserError, match=r"names ILSVRC2012_img_vla.tar, which is not there"):
        source.run("ilsvrc2012", _contest(folder, md5={"ILSVRC2012_img_vla.tar": "0" * 32}), tmp_path / "out")


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing archive .*found no such folder"):
        source.run("ilsvrc2012", _contest(tmp_path / "none"), tmp_path / "out")


def _write_release(folder: Path, layout: str) -> Path:
    """Synsets n00000010 and n00000030 of four images each: loose tars with their words, or one tar of tars."""
    tars = {f"{wnid}.tar": _synset_tar(wnid) for wnid in ("n00000030", "n00000010")}
    folder.mkdir()
    if layout == "loose":
        for name, content in tars.items():
            (folder / name).write_bytes(content)
        (folder / "words.txt").write_text("n00000030\tthirty\nn00000010\tten\n")
        return folder
    (folder / "fall11_whole.tar").write_bytes(tar(tars))
    return folder / "fall11_whole.tar" if layout == "one file" else folder


@pytest.mark.parametrize("layout", ["loose", "one file", "folder of one file"])
def test_release_is_split_the_same_however_it_is_packed(tmp_path: Path, layout: str) -> None:
    source.run("fall2009", _release(_write_release(tmp_path / "in", layout)), tmp_path / "out")
    inventory = _inventory(tmp_path / "out")
    assert [synset["wnid"] for synset in inventory["synsets"]] == ["n00000010", "n00000030"]
    assert [synset["words"] for synset in inventory["synsets"]] == (
        ["ten", "thirty"] if layout == "loose" else ["", ""]
    )
    assert {split: count["count"] for split, count in inventory["splits"].items()} == {
        "train": 4,
        "val": 0,
        "test": 4,
    }
    assert "declared split" in inventory["splits"]["val"]["reason"]
    test = _places(tmp_path / "out", "test")
    assert {place.label for key, place in test.items() if key.startswith("n00000030")} == {1}
    loose = tmp_path / "loose"
    source.run("fall2009", _release(_write_release(tmp_path / "in2", "loose")), loose)
    assert list(test) == list(_places(loose, "test"))
    for key, place in test.items():
        assert read_image(place) == jpeg(int(key.split("_")[1].split(".")[0]))


def test_other_synsets_do_not_change_the_split_of_one(tmp_path: Path) -> None:
    folder = _write_release(tmp_path / "in", "loose")
    source.run("fall2009", _release(folder), tmp_path / "a")
    (folder / "n00000020.tar").write_bytes(_synset_tar("n00000020"))
    source.run("fall2009", _release(folder), tmp_path / "b")
    before = [key for key in _places(tmp_path / "b", "test") if "n00000020" not in key]
    assert before == list(_places(tmp_path / "a", "test"))


def test_synset_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = _write_release(tmp_path / "in", "loose")
    (folder / "more.tar").write_bytes(tar({"n00000010.tar": _synset_tar("n00000010")}))
    with pytest.raises(UserError, match="synset n00000010 is there twice"):
        source.run("fall2009", _release(folder), tmp_path / "out")


def test_release_without_tars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing archive, found no tar in it"):
        source.run("fall2009", _release(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("kind", ["ilsvrc", "fall"])
def test_tiny_imagenet_serves_both_kinds_of_data_set(tmp_path: Path, kind: str) -> None:
    path = write_zip(tmp_path / "t.zip", tiny_members())
    about: dict[str, Any] = {
        "source": {
            "kind": "tiny-imagenet", "path": str(path), "md5": {},
            "classes": {"fraction": 0.5, "at_most": None, "seed": 1},
        }
    }  # fmt: skip
    params = (
        IlsvrcDataset.model_validate(about)
        if kind == "ilsvrc"
        else FallDataset.model_validate({**about, "split": "as_archived"})
    )
    source.run("x", params, tmp_path / "out")
    assert [len(_places(tmp_path / "out", split)) for split in SPLITS] == [6, 2, 0]
    key, place = next(iter(_places(tmp_path / "out", "val").items()))
    assert read_image(place) == jpeg(500 + int(key[4]))


@pytest.mark.parametrize("kind", ["ilsvrc", "fall"])
def test_cifar_serves_both_kinds_of_data_set(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(gzipped_tar(cifar_members()))
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest()}  # noqa: S324
    about: dict[str, Any] = {"source": {"kind": "cifar10", "path": str(path), "md5": md5}}
    params = (
        IlsvrcDataset.model_validate(about)
        if kind == "ilsvrc"
        else FallDataset.model_validate({**about, "split": "as_archived"})
    )
    output = tmp_path / "out"
    source.run("x", params, output)
    assert [len(_places(output, split)) for split in SPLITS] == [15, 0, 3]
    assert _inventory(output)["splits"]["val"]["reason"] == "CIFAR-10 has no val images"
    place = _places(output, "test")["cat/test_00001"]
    assert place.file == str(output / "archives/cifar-10.ppm") and place.label == sorted(CIFAR_NAMES).index(
        "cat"
    )
    assert read_image(place) == b"P6\n32 32\n255\n" + cifar_image(1001).tobytes()


def test_disk_that_is_full_is_told_of_and_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(gzipped_tar(cifar_members()))
    about = {"source": {"kind": "cifar10", "path": str(path), "md5": {}}}

    def fill(planes: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cifar10, "_pack_ppm", fill)
    with pytest.raises(UserError, match="out: no space is left on the disk. Make room"):
        source.run("x", IlsvrcDataset.model_validate(about), tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_zip_of_class_folders_is_read_in_place(tmp_path: Path) -> None:
    members = {f"top/{split}/ant/{n}.jpg": jpeg(n) for split in ("train", "test") for n in range(2)}
    about = {"kind": "folder", "path": str(write_zip(tmp_path / "x.zip", members)), "md5": {}}
    source.run("x", IlsvrcDataset.model_validate({"source": about}), tmp_path / "out")
    place = _places(tmp_path / "out", "test")["ant/1.jpg"]
    assert (place.member, read_image(place)) == ("top/test/ant/1.jpg", jpeg(1))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"inventory.json", "index.parquet"}


def test_link_to_an_archive_is_recorded_by_the_link_and_named_by_the_file(tmp_path: Path) -> None:
    write_zip(tmp_path / "real.zip", tiny_members())
    (tmp_path / "link").symlink_to(tmp_path / "real.zip")
    about = {
        "kind": "tiny-imagenet", "path": str(tmp_path / "link"), "md5": {},
        "classes": {"fraction": 1.0, "at_most": None, "seed": 1},
    }  # fmt: skip
    source.run("x", IlsvrcDataset.model_validate({"source": about}), tmp_path / "out")
    assert _inventory(tmp_path / "out")["files"][0]["name"] == "real.zip"
    assert {place.file for place in _places(tmp_path / "out", "train").values()} == {str(tmp_path / "link")}


def test_folder_per_class_is_split_as_declared(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "in", 4)
    source.run("x", _release(folder, kind="folder"), tmp_path / "out")
    assert [len(_places(tmp_path / "out", split)) for split in SPLITS] == [4, 0, 4]
    assert read_image(_places(tmp_path / "out", "test").popitem()[1])[:2] == b"\xff\xd8"


@pytest.mark.parametrize("kind", ["ilsvrc", "fall"])
def test_folders_train_and_val_bring_their_split(tmp_path: Path, kind: str) -> None:
    for split, num in (("train", 3), ("val", 2)):
        write_class_folders(tmp_path / "in" / split, num)
    about = {"kind": "folder", "path": str(tmp_path / "in"), "md5": {}}
    contest = IlsvrcDataset.model_validate({"source": about})
    params = contest if kind == "ilsvrc" else _release(tmp_path / "in", "as_archived", "folder")
    source.run("x", params, tmp_path / "out")
    assert {key: place.label for key, place in _places(tmp_path / "out", "val").items()} == {
        "ant/0.JPEG": 0, "ant/1.JPEG": 0, "bee/0.JPEG": 1, "bee/1.JPEG": 1,
    }  # fmt: skip
    assert "no folder test" in _inventory(tmp_path / "out")["splits"]["test"]["reason"]


def test_folder_and_split_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    flat = write_class_folders(tmp_path / "flat")
    write_class_folders(tmp_path / "split/train")
    with pytest.raises(UserError, match="brings no split of its own"):
        source.run("x", _release(flat, "as_archived", "folder"), tmp_path / "out")
    with pytest.raises(UserError, match="brings its own split"):
        source.run("x", _release(tmp_path / "split", kind="folder"), tmp_path / "out")


def test_class_that_is_not_trained_on_is_refused(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "in/train")
    (write_class_folders(tmp_path / "in/val") / "ant").rename(tmp_path / "in/val/cow")
    with pytest.raises(UserError, match="val/cow: is no class of the training images"):
        source.run("x", _release(tmp_path / "in", "as_archived", "folder"), tmp_path / "out")


def test_md5_of_a_class_folder_sums_its_files(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "in", 2)
    (folder / "ant/more").mkdir()  # of which a note tells
    lines = "".join(f"{hashlib.md5(jpeg(n)).hexdigest()}  {n}.JPEG\n" for n in range(2))  # noqa: S324
    md5 = {"ant": hashlib.md5(lines.encode()).hexdigest()}  # noqa: S324
    source.run("x", _release(folder, kind="folder", md5=md5), tmp_path / "out")
    (folder / "ant/1.JPEG").write_bytes(jpeg(99))
    with pytest.raises(UserError, match="ant: wrong md5"):
        source.run("x", _release(folder, kind="folder", md5=md5), tmp_path / "out")


def test_files_not_named_as_images_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_class_folders(tmp_path / "in")
    (folder / "ant/notes.txt").write_text("")
    source.run("x", _release(folder, kind="folder"), tmp_path / "out")
    assert "ant: 1 files are not named as images and are not read" in capsys.readouterr().err


def test_generated_archives_are_read_by_the_reader_of_the_official_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    about = {
        "kind": "generated",
        "path": "x",
        "seed": 1,
        "shorter_side": [20, 24],
        "train": 2,
        "val": 1,
        "test": 1,
    }
    source.run("ilsvrc2012", IlsvrcDataset.model_validate({"source": about}), Path("work/x"))
    inventory = _inventory(Path("work/x"))
    num = len(inventory["synsets"])
    assert [inventory["splits"][split]["count"] for split in SPLITS] == [2 * num, num, num]
    place = next(iter(_places(Path("work/x"), "train").values()))
    assert place.file == "work/x/archives/ILSVRC2012_img_train.tar" and len(read_image(place)) == place.size
    assert "md5" not in capsys.readouterr().err
