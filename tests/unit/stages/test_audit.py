from __future__ import annotations

import errno
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alexnet import cli, params
from alexnet.data import images
from alexnet.data.decode import decode_rgb, hash_pixels
from alexnet.data.inventory import SPLITS
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.errors import UserError
from alexnet.report.sheet import Picture, draw_sheet
from alexnet.stages import audit, source
from tests.unit.data.made_archives import jpeg, write_class_folders
from tests.unit.data.odd_files import JPEG, ODD, encode
from tests.unit.stages.real_contest import write_contest_of

DATA = Path(__file__).parents[3] / "../shared/data"
PHOTOS, TINY = DATA / "imagenet-photos-200.tar", DATA / "tiny-imagenet-40.zip"

WORDS = {"n00000010": "ant, emmet", "n00000020": "bee", "n00000030": "cow"}
ODD_FILES = [data for name, (data, _) in ODD.items() if name.endswith(".JPEG")]


def _as_png(data: bytes) -> bytes:
    """The same pixels in other bytes."""
    return encode(Image.fromarray(decode_rgb(data)), "PNG")


def _write_contest(folder: Path) -> None:
    """A contest whose development kit counts two images of `cow` more than there are, and with copies planted."""
    train = {
        "n00000010": [data for data in ODD_FILES if decode_rgb(data).shape[0] > 1],
        "n00000020": [jpeg(1), jpeg(2), _as_png(jpeg(1)), jpeg(3)],
        "n00000030": [jpeg(4), jpeg(5)],
    }
    val = [("n00000020", jpeg(10)), ("n00000030", jpeg(3)), ("n00000010", jpeg(11)[:-40])]
    test = [jpeg(20), _as_png(jpeg(10)), b""]
    write_contest_of(folder, train, val, test, WORDS)
    more = {**train, "n00000030": [*train["n00000030"], jpeg(6), jpeg(7)]}
    write_contest_of(folder.with_name("more"), more, val, test, WORDS)
    (folder.with_name("more") / "ILSVRC2012_devkit_t12.tar.gz").replace(
        folder / "ILSVRC2012_devkit_t12.tar.gz"
    )


def _source_contest(folder: Path) -> Path:
    about = {"kind": "ilsvrc", "path": str(folder), "year": 2012, "md5": {}}
    output = folder.with_name("source")
    source.run("ilsvrc2012", IlsvrcDataset.model_validate({"source": about}), output)
    return output


def _source_folder(folder: Path) -> Path:
    about = {"kind": "folder", "path": str(folder), "md5": {}}
    dataset = FallDataset.model_validate({"source": about, "split": {"val": 0.0, "test": 0.0, "seed": 1}})
    output = folder.with_name(f"source_{folder.name}")
    source.run("fall2011", dataset, output)
    return output


def _folders(source_folder: Path, tmp_path: Path, audits: str = "audits") -> audit.Folders:
    return audit.Folders(source_folder, tmp_path / audits, tmp_path / f"unfinished_{audits}/x")


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the contest."""
    folder = tmp_path_factory.mktemp("contest") / "in"
    _write_contest(folder)
    return _source_contest(folder)


@pytest.fixture(scope="module")
def audited(contest: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The audits, and the contest's as text."""
    folder = tmp_path_factory.mktemp("audits")
    text = audit.run("ilsvrc2012", _folders(contest, folder), workers=1)
    return folder / "audits", text


def _summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "audit.json").read_text())
    return summary


def test_every_image_has_a_row(audited: tuple[Path, str]) -> None:
    rows = pq.read_table(audited[0] / "ilsvrc2012/images.parquet").to_pylist()
    keys = [(row["split"], row["key"]) for row in rows]
    assert (
        keys == sorted(keys, key=lambda key: (SPLITS.index(key[0]), key[1]))
        and len(keys) == len(ODD_FILES) + 12
    )
    by_key = {row["key"]: row for row in rows}
    row = by_key["n00000020/n00000020_10.JPEG"]  # the second image: 7 + 3
    image = decode_rgb(jpeg(2))
    assert row == {
        "split": "train", "key": "n00000020/n00000020_10.JPEG", "label": 1, "wnid": "n00000020",
        "bytes": len(jpeg(2)), "kinds": [], "pixels": hash_pixels(image), "width": 50, "height": 40,
        "mean_r": pytest.approx(image[..., 0].mean(), abs=1e-4), "mean_g": pytest.approx(image[..., 1].mean(), abs=1e-4),
        "mean_b": pytest.approx(image[..., 2].mean(), abs=1e-4), "is_grey": False, "reason": None, "warning": None,
    }  # fmt: skip
    broken = by_key["ILSVRC2012_val_00000003.JPEG"]
    assert broken["kinds"] == ["unreadable", "truncated"] and "truncated" in broken["reason"]
    assert (broken["label"], broken["width"], broken["pixels"], broken["mean_r"]) == (0, None, None, None)
    test = by_key["ILSVRC2012_test_00000001.JPEG"]
    assert (test["label"], test["wnid"], test["reason"]) == (None, None, None)
    assert by_key["n00000010/n00000010_3.JPEG"]["warning"] is None


def test_odd_kinds_are_counted_by_split(audited: tuple[Path, str]) -> None:
    kinds = _summary(audited[0] / "ilsvrc2012")["kinds"]
    planted = [kind for name, (_, kinds) in ODD.items() if name.endswith(".JPEG") for kind in kinds]
    expected = {kind: planted.count(kind) for kind in planted}
    expected["not_jpeg_png"] += 1  # the copy of a photograph
    assert {kind: found["train"] for kind, found in kinds.items() if found["train"]} == expected
    assert (kinds["unreadable"]["val"], kinds["truncated"]["val"], kinds["unreadable"]["test"]) == (1, 1, 1)
    assert kinds["not_jpeg_png"]["test"] == 1 and kinds["exif_orientation"]["meaning"].endswith("as in 2012")
    unreadable = _summary(audited[0] / "ilsvrc2012")["unreadable"]
    assert [(item["split"], item["key"]) for item in unreadable["first"]] == [
        ("val", "ILSVRC2012_val_00000003.JPEG"),
        ("test", "ILSVRC2012_test_00000003.JPEG"),
    ]
    assert unreadable["by_reason"]["the file is empty"] == 1


def test_classes_are_counted_against_the_development_kit(audited: tuple[Path, str]) -> None:
    frame = pd.read_csv(audited[0] / "ilsvrc2012/classes.csv")
    assert frame["wnid"].tolist() == list(WORDS) and frame["words"].tolist() == list(WORDS.values())
    assert sorted(frame["devkit_id"]) == [1, 2, 3]
    assert frame["train"].tolist() == [len(ODD_FILES), 4, 2] and frame["val"].tolist() == [1, 1, 1]
    assert frame["test"].tolist() == [0, 0, 0]
    assert frame["difference"].tolist() == [0, 0, -2]
    assert _summary(audited[0] / "ilsvrc2012")["classes"]["differing_from_devkit"] == [
        {"wnid": "n00000030", "train": 2, "devkit_train": 4, "difference": -2}
    ]


def test_copies_are_found_by_their_pixels(audited: tuple[Path, str]) -> None:
    same = _summary(audited[0] / "ilsvrc2012")["same_pixels"]
    found = {tuple(row["places"]): row for row in same["found"]}
    assert found["train", "val"] == {
        "places": ["train", "val"],
        "pixels": 1,
        "images": 2,
        "labels_disagree": 1,
    }
    assert found["val", "test"] == {"places": ["val", "test"], "pixels": 1, "images": 2, "labels_disagree": 0}
    assert ("val", "val") not in found and ("train", "test") not in found
    rows = pd.read_csv(audited[0] / "ilsvrc2012/same_pixels.csv")
    pixels = hash_pixels(decode_rgb(jpeg(1)))
    assert rows.loc[rows["pixels"] == pixels, "key"].tolist() == [
        "n00000020/n00000020_3.JPEG",
        "n00000020/n00000020_31.JPEG",
    ]
    # Odd ways to store one picture are copies of it: plain, EXIF, gzip, foreign bytes.
    plain = rows[rows["pixels"] == hash_pixels(decode_rgb(JPEG))]
    assert len(plain) >= 6 and found["train", "train"]["labels_disagree"] == 0


def test_text_tells_the_same(audited: tuple[Path, str]) -> None:
    lines = audited[1].splitlines()
    assert lines[0].startswith(f"{audited[0] / 'ilsvrc2012'} has a row per image")
    count = len(ODD_FILES) + 6
    assert any(line.split()[:4] == ["train", str(count), str(count), "0"] for line in lines)
    for expected in (
        "- 1 val image cannot be decoded: refused by prepare, with the data set",
        "- 1 class with another count of training images than the development kit: n00000030 -2",
        "- 1 picture in both train and val, with other labels",
        "- 1 picture in both val and test",
    ):
        assert expected in lines
    assert lines[-1].startswith("ilsvrc2012: ") and lines[-1].endswith("findings need attention")


def test_sizes_are_distributed(audited: tuple[Path, str]) -> None:
    quantiles = _summary(audited[0] / "ilsvrc2012")["quantiles"]
    ends = {name: (values[0], values[-1]) for name, values in quantiles.items()}
    assert (ends["width"], ends["height"], ends["shorter_side"]) == ((1, 200), (31, 40), (1, 40))
    assert ends["bytes"][0] == 0


def test_sheet_shows_the_oddest(audited: tuple[Path, str]) -> None:
    with Image.open(audited[0] / "ilsvrc2012/oddest.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 1000 and sheet.height > 1000


def test_other_data_sets_are_compared_with(audited: tuple[Path, str], contest: Path, tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "fall", 2)  # ant: jpeg(0), jpeg(1); bee: jpeg(50), jpeg(51)
    (folder / "bee/copy.png").write_bytes(_as_png(jpeg(10)))
    folders = _folders(_source_folder(folder), tmp_path)
    (folders.audits).mkdir()
    (folders.audits / "ilsvrc2012").symlink_to(audited[0] / "ilsvrc2012")
    text = audit.run("fall2011", folders, workers=1)
    same = _summary(folders.audits / "fall2011")["same_pixels"]
    assert same["compared_with"] == ["ilsvrc2012"]
    assert same["found"] == [
        {"places": ["train", "ilsvrc2012/train"], "pixels": 1, "images": 3, "labels_disagree": 0},
        {"places": ["train", "ilsvrc2012/val"], "pixels": 1, "images": 2, "labels_disagree": 0},
        {"places": ["train", "ilsvrc2012/test"], "pixels": 1, "images": 2, "labels_disagree": 0},
    ]
    assert "- 1 picture in both train and ilsvrc2012/val\n" in text
    assert "no development kit to hold the counts against" in text
    (folders.audits / "fall2011/images.parquet").write_text("damaged")
    with pytest.raises(UserError, match="fall2011/images.parquet: cannot be read"):
        audit.run("ilsvrc2012", audit.Folders(contest, folders.audits, tmp_path / "more"), workers=1)


def test_sets_audited_together_are_compared_whichever_comes_first(contest: Path, tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "fall", 2)
    (folder / "bee/copy.png").write_bytes(_as_png(jpeg(10)))
    sources = {"ilsvrc2012": contest, "fall2011": _source_folder(folder)}
    made = []
    for number, names in enumerate((list(sources), list(reversed(sources)))):
        room = tmp_path / str(number)
        datasets = {name: audit.Folders(sources[name], room / "audits", room / name) for name in names}
        text = audit.run_all(datasets, workers=1)
        assert "- 1 picture in both train and ilsvrc2012/val\n" in text
        made.append({name: _bytes_of(room / "audits" / name) for name in sources})
        assert sorted(path.name for path in room.iterdir() if path.is_dir()) == ["audits"]
    assert made[0] == made[1]
    same = _summary(tmp_path / "0/audits/ilsvrc2012")["same_pixels"]
    assert same["compared_with"] == ["fall2011"]
    assert {"places": ["val", "fall2011/train"], "pixels": 1, "images": 2, "labels_disagree": 0} in same[
        "found"
    ]


def test_damaged_audit_of_the_set_itself_does_not_hinder_a_new_one(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = _folders(contest, tmp_path)
    (folders.audits / "ilsvrc2012").mkdir(parents=True)
    (folders.audits / "ilsvrc2012/images.parquet").write_text("damaged")
    shown: list[Picture] = []
    monkeypatch.setattr(
        audit, "draw_sheet", lambda title, pictures: shown.extend(pictures) or draw_sheet(title, [])
    )
    audit.run("ilsvrc2012", folders, workers=1)
    assert _summary(folders.audits / "ilsvrc2012")["same_pixels"]["compared_with"] == []
    captions = {picture.title: list(picture.caption) for picture in shown}
    assert captions["unreadable"] == ["test: ILSVRC2012_test_00000003.JPEG", "no label", "the file is empty"]
    assert captions["unreadable, truncated"][:2] == ["val: ILSVRC2012_val_00000003.JPEG", "ant"]
    number = [name for name in ODD if name.endswith(".JPEG")].index("damaged_exif.JPEG")
    key = f"n00000010/n00000010_{7 * number**2 + 3}.JPEG"
    size = len(ODD["damaged_exif.JPEG"][0])
    assert captions["damaged_exif"] == [f"train: {key}", "ant", f"60 x 40, {size} bytes"]


def test_file_too_large_to_be_an_image_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_class_folders(tmp_path / "in")
    (folder / "bee/large.JPEG").write_bytes(bytes(9000))
    folders = _folders(_source_folder(folder), tmp_path)
    monkeypatch.setattr(images, "MAX_BYTES", 8999)
    text = audit.run("fall2011", folders, workers=1)
    assert "  1 x a file of 9,000 bytes, more than 8,999\n" in text
    assert "fall2011: 1 finding needs attention\n" in text


def test_result_depends_neither_on_workers_nor_on_interruptions(
    audited: tuple[Path, str],
    contest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = _bytes_of(audited[0] / "ilsvrc2012")
    monkeypatch.setattr(audit, "PART_IMAGES", 5)
    two = _folders(contest, tmp_path, "two")
    audit.run("ilsvrc2012", two, workers=2)
    assert _bytes_of(two.audits / "ilsvrc2012") == expected
    inspected: list[int] = []
    inspect = audit.inspect_part

    def inspect_or_die(task: audit.Task) -> audit.Done:
        if len(inspected) in (3, 12):
            inspected.append(0)
            raise KeyboardInterrupt
        inspected.append(len(task.places))
        return inspect(task)

    monkeypatch.setattr(audit, "inspect_part", inspect_or_die)
    killed = _folders(contest, tmp_path, "killed")
    with pytest.raises(KeyboardInterrupt):
        audit.run("ilsvrc2012", killed, workers=1)
    assert not (killed.audits / "ilsvrc2012").exists()
    capsys.readouterr()
    audit.run("ilsvrc2012", killed, workers=1)
    assert "audit ilsvrc2012: going on after 15 images" in capsys.readouterr().err
    assert sum(inspected) == len(ODD_FILES) + 12 and _bytes_of(killed.audits / "ilsvrc2012") == expected
    assert not killed.unfinished.exists()
    while len(inspected) < 11:
        inspected.append(0)
    with pytest.raises(KeyboardInterrupt):
        audit.run("ilsvrc2012", killed, workers=1)
    other = _folders(_source_folder(write_class_folders(tmp_path / "in")), tmp_path, "killed")
    audit.run(
        "ilsvrc2012", other, workers=1
    )  # the same name, but other images: nothing of them is taken over
    rows = pq.read_table(other.audits / "ilsvrc2012/images.parquet")
    assert sorted(rows["key"].to_pylist()) == [
        f"{name}/{n}.JPEG" for name in ("ant", "bee") for n in range(3)
    ]


def test_earlier_audit_stays_when_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_class_folders(tmp_path / "in")
    folders = _folders(_source_folder(folder), tmp_path)
    audit.run("fall2011", folders, workers=1)
    before = _bytes_of(folders.audits / "fall2011")
    (folder / "bee/2.JPEG").rename(tmp_path / "away")
    with pytest.raises(UserError, match="bee/2.JPEG.*run source again"):
        audit.run("fall2011", folders, workers=1)
    (tmp_path / "away").rename(folder / "bee/2.JPEG")

    def fill_disk(title: str, pictures: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    (folder / "ant/more.JPEG").write_bytes(jpeg(99))
    _source_folder(folder)
    monkeypatch.setattr(audit, "draw_sheet", fill_disk)
    with pytest.raises(UserError, match="audits/fall2011: no space is left"):
        audit.run("fall2011", folders, workers=1)
    assert _bytes_of(folders.audits / "fall2011") == before
    assert [path.name for path in folders.audits.iterdir()] == ["fall2011"]


def test_source_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="inventory.json: is missing. Run source for this data set first."):
        audit.run("x", _folders(tmp_path / "none", tmp_path), workers=1)


def test_command_reads_with_the_machines_workers_and_prints_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "load", dict)
    monkeypatch.setattr(params, "dataset_of", lambda loaded, name: loaded[name] if name == "none" else None)
    Path("machine.yaml").write_text("workers: 3\n")
    calls = []
    monkeypatch.setattr(
        audit, "run_all", lambda *args, **options: calls.append((args, options)) or "odd things\n"
    )
    assert cli.main(["audit", "ilsvrc2012"]) == 0
    folders = audit.Folders(
        Path("work/sources/ilsvrc2012"), Path("work/audits"), Path("work/unfinished_audits/ilsvrc2012")
    )
    assert calls == [(({"ilsvrc2012": folders},), {"workers": 3})]
    assert capsys.readouterr().out.endswith("odd things\n")
    with pytest.raises(KeyError):  # that is where an unknown data set is refused
        cli.main(["audit", "none"])


@pytest.mark.real
def test_200_photographs_are_sound(tmp_path: Path) -> None:
    if not PHOTOS.is_file():
        pytest.skip(f"{PHOTOS.name} is not in {DATA}")
    with tarfile.open(PHOTOS) as archive:
        for member in archive:
            if member.isfile():
                wnid = Path(member.name).name.partition("_")[0]
                (tmp_path / "in" / wnid).mkdir(parents=True)
                (tmp_path / "in" / wnid / "a.JPEG").write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    text = audit.run("fall2011", _folders(_source_folder(tmp_path / "in"), tmp_path), workers=1)
    summary = _summary(tmp_path / "audits/fall2011")
    assert {kind: found["train"] for kind, found in summary["kinds"].items()} == {"grey": 3}
    assert summary["splits"]["train"]["images"] == 200 and summary["classes"]["count"] == 200
    np.testing.assert_allclose(summary["colour"]["mean_of_image_means"], [122.0, 115.0, 102.3], atol=0.1)
    assert text.endswith("fall2011: nothing needs attention\n")


@pytest.mark.real
def test_tiny_imagenet_has_one_photograph_in_train_and_val_under_two_names(tmp_path: Path) -> None:
    if not TINY.is_file():
        pytest.skip(f"{TINY.name} is not in {DATA}")
    classes = {"fraction": 1.0, "at_most": None, "seed": 1}
    about = {"kind": "tiny-imagenet", "path": str(TINY), "md5": {}, "classes": classes}
    source.run(
        "fall2011", FallDataset.model_validate({"source": about, "split": "as_archived"}), tmp_path / "source"
    )
    audit.run("fall2011", _folders(tmp_path / "source", tmp_path), workers=2)
    assert _summary(tmp_path / "audits/fall2011")["same_pixels"]["found"] == [
        {"places": ["train", "val"], "pixels": 1, "images": 2, "labels_disagree": 1}
    ]
    rows = pd.read_csv(tmp_path / "audits/fall2011/same_pixels.csv")
    assert rows["key"].tolist() == ["n03770439/n03770439_128.JPEG", "val_5819.JPEG"]
