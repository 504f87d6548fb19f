from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from alexnet.core.resize import PrepareParams, centre_square
from alexnet.data.decode import decode_rgb, hash_pixels
from alexnet.data.shards import load_manifest, open_split
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.errors import UserError
from alexnet.stages import prepare, source
from tests.unit.data.made_archives import jpeg, tar, write_contest

PARAMS = PrepareParams(resize=16, interpolation="area_cubic", shard_images=5, seed=1)
NO_IMAGE = b"<html>this photo is not available</html>"


@pytest.fixture
def contest(tmp_path: Path) -> Path:
    """The source folder of a contest: 12 training, 3 val and 3 test images."""
    about = {"kind": "ilsvrc", "path": str(write_contest(tmp_path / "in")), "year": 2012, "md5": {}}
    source.run("ilsvrc2012", IlsvrcDataset.model_validate({"source": about}), tmp_path / "sources/ilsvrc2012")
    return tmp_path / "sources/ilsvrc2012"


def _release(folder: Path, images: dict[str, bytes], val: float = 0.0) -> Path:
    """The source folder of a release with one synset of these images."""
    (folder / "tars").mkdir()
    (folder / "tars/n00000010.tar").write_bytes(tar(images))
    about = {"kind": "fall", "path": str(folder / "tars"), "md5": {}}
    params = FallDataset.model_validate({"source": about, "split": {"val": val, "test": 0.0, "seed": 1}})
    source.run("fall2011", params, folder / "sources/fall2011")
    return folder / "sources/fall2011"


def _run(
    dataset: str,
    found: Path,
    output: Path,
    *,
    workers: int = 1,
    held_out: Path | None = None,
    excluded: Path | None = None,
) -> dict[str, Any]:
    prepare.run(dataset, PARAMS, found, output, held_out_output=held_out, excluded=excluded, workers=workers)
    manifest: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return manifest


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _images(num: int = 12) -> Iterator[tuple[str, bytes]]:
    for n in range(num):
        yield f"n00000010_{n}.JPEG", jpeg(n)


def test_every_image_is_stored_once_with_its_label(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data")
    train = open_split(tmp_path / "data", "train")
    assert len(train) == 12 == len(set(train.keys))
    for key, label, image in zip(train.keys, train.labels, train.load(), strict=True):
        seed = 100 * label + int(key.split("_")[1].split(".")[0]) // 7
        assert (image == centre_square(decode_rgb(jpeg(int(seed))), 16)).all()


def test_val_is_in_order_of_keys_and_train_in_a_drawn_one(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data")
    val, train = open_split(tmp_path / "data", "val"), open_split(tmp_path / "data", "train")
    assert val.keys == [f"ILSVRC2012_val_{n:08}.JPEG" for n in (1, 2, 3)] and val.labels.tolist() == [1, 2, 0]
    assert train.keys != sorted(train.keys)


def test_manifest_counts_and_names_everything(contest: Path, tmp_path: Path) -> None:
    manifest = _run("ilsvrc2012", contest, tmp_path / "data")
    assert (manifest["num_classes"], manifest["resize"], manifest["interpolation"]) == (3, 16, "area_cubic")
    assert [synset["wnid"] for synset in manifest["synsets"]] == ["n00000010", "n00000020", "n00000030"]
    shards = manifest["splits"]["train"]["shards"]
    assert [(shard["file"], shard["count"]) for shard in shards] == [
        ("train-00000.rgb", 5), ("train-00001.rgb", 5), ("train-00002.rgb", 2),
    ]  # fmt: skip
    assert {"pillow", "opencv"} <= set(manifest["decoder"])
    assert "no labels" in manifest["splits"]["test"]["reason"]


def test_unlabelled_test_images_have_null_in_the_file(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data")
    assert pq.read_table(tmp_path / "data/test.parquet")["label"].to_pylist() == [None] * 3
    assert open_split(tmp_path / "data", "test").labels.tolist() == [-1] * 3


def test_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    images = dict(_images(43))  # nine shards: more than the tasks under way, and the last one not full
    images["n00000010_17.JPEG"] = NO_IMAGE
    found = _release(tmp_path, images)
    for workers in (1, 2, 3):
        _run("fall2011", found, tmp_path / f"data{workers}", workers=workers)
    one = _bytes(tmp_path / "data1")
    assert one == _bytes(tmp_path / "data2") == _bytes(tmp_path / "data3")
    assert load_manifest(tmp_path / "data1").splits["train"].count == 42


def test_seed_draws_the_stored_order(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "a")
    other = PARAMS.model_copy(update={"seed": 2})
    prepare.run("ilsvrc2012", other, contest, tmp_path / "b", held_out_output=None, excluded=None, workers=1)
    keys = [open_split(tmp_path / name, "train").keys for name in ("a", "b")]
    assert keys[0] != keys[1] and sorted(keys[0]) == sorted(keys[1])


def test_broken_training_image_is_listed_counted_and_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = dict(_images())
    images["n00000010_3.JPEG"] = NO_IMAGE
    images["n00000010_4.JPEG"] = images["n00000010_4.JPEG"][:300]
    manifest = _run("fall2011", _release(tmp_path, images), tmp_path / "data")
    train = manifest["splits"]["train"]
    broken = {image["key"]: image["reason"] for image in train["broken"]}
    assert set(broken) == {"n00000010/n00000010_3.JPEG", "n00000010/n00000010_4.JPEG"}
    assert broken["n00000010/n00000010_3.JPEG"] == "no image of a known format"
    assert train["count"] == sum(shard["count"] for shard in train["shards"]) == 10
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "decode" in line]
    assert "2 train images do not decode" in line and "n00000010_3.JPEG" in line


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_val_image_stops_the_run_and_earlier_results_stay(tmp_path: Path, workers: int) -> None:
    found = _release(tmp_path, dict(_images(24)), val=0.5)
    _run("fall2011", found, tmp_path / "data")
    before = _bytes(tmp_path / "data")
    archive = tmp_path / "tars/n00000010.tar"
    val = pq.read_table(found / "index.parquet", filters=[("split", "=", "val")]).to_pylist()
    content = bytearray(archive.read_bytes())
    content[val[7]["offset"] : val[7]["offset"] + val[7]["size"]] = b"\0" * val[7]["size"]
    archive.write_bytes(content)
    with pytest.raises(UserError, match="a val image does not decode: no image of a known format") as caught:
        _run("fall2011", found, tmp_path / "data", workers=workers)
    assert val[7]["key"] in str(caught.value)
    assert _bytes(tmp_path / "data") == before
    assert {path.name for path in tmp_path.iterdir()} == {"tars", "sources", "data"}


def test_pixels_of_val_and_test_images_are_listed(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data", held_out=tmp_path / "held_out/ilsvrc2012.parquet")
    rows = pq.read_table(tmp_path / "held_out/ilsvrc2012.parquet").to_pylist()
    assert [row["split"] for row in rows] == ["val"] * 3 + ["test"] * 3
    assert rows[1] == {
        "pixels": hash_pixels(decode_rgb(jpeg(1002))), "split": "val", "key": "ILSVRC2012_val_00000002.JPEG",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_release_holds_no_val_or_test_image_of_a_contest(
    contest: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    _run("ilsvrc2012", contest, tmp_path / "contest", held_out=tmp_path / "held_out/ilsvrc2012.parquet")
    images = {
        **dict(_images()),
        "n00000010_90.JPEG": jpeg(1002),
        "n00000010_91.JPEG": jpeg(2003) + b"other bytes",
    }
    manifest = _run(
        "fall2011",
        _release(tmp_path, images),
        tmp_path / "data",
        excluded=tmp_path / "held_out",
        workers=workers,
    )
    train = manifest["splits"]["train"]
    assert sorted(train["held_out"], key=lambda image: str(image["key"])) == [
        {"key": "n00000010/n00000010_90.JPEG", "of": "ilsvrc2012/val/ILSVRC2012_val_00000002.JPEG"},
        {"key": "n00000010/n00000010_91.JPEG", "of": "ilsvrc2012/test/ILSVRC2012_test_00000003.JPEG"},
    ]
    assert train["count"] == 12 and train["broken"] == []
    stored = set(pq.read_table(tmp_path / "data/train.parquet")["pixels"].to_pylist())
    assert not stored & set(pq.read_table(tmp_path / "held_out/ilsvrc2012.parquet")["pixels"].to_pylist())
    assert "2 train images are val or test images elsewhere" in capsys.readouterr().err


def test_release_is_whole_where_no_contest_was_prepared(tmp_path: Path) -> None:
    (tmp_path / "held_out").mkdir()
    manifest = _run(
        "fall2011", _release(tmp_path, dict(_images())), tmp_path / "data", excluded=tmp_path / "held_out"
    )
    assert manifest["splits"]["train"]["count"] == 12


def test_no_training_image_left_is_refused(tmp_path: Path) -> None:
    found = _release(tmp_path, {"n00000010_1.JPEG": NO_IMAGE})
    with pytest.raises(UserError, match="no training image is left, found 1 broken, 0 held out"):
        _run("fall2011", found, tmp_path / "data")


@pytest.mark.parametrize("workers", [1, 2])
def test_archive_cut_short_since_it_was_indexed_is_refused(tmp_path: Path, workers: int) -> None:
    found = _release(tmp_path, dict(_images()))
    archive = tmp_path / "tars/n00000010.tar"
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"n00000010\.tar: image .* is cut short.* run source again"):
        _run("fall2011", found, tmp_path / "data", workers=workers)


def test_thin_image_that_would_fill_memory_counts_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "MAX_PIXELS", 16 * 1000)
    images = {**dict(_images()), "n00000010_99.JPEG": jpeg(1, 2, 400)}
    manifest = _run("fall2011", _release(tmp_path, images), tmp_path / "data")
    assert manifest["splits"]["train"]["broken"] == [
        {"key": "n00000010/n00000010_99.JPEG", "reason": "400x2 would be resized to 3200x16"}
    ]


def test_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Run source for this data set first"):
        _run("fall2011", tmp_path / "none", tmp_path / "data")


def test_damaged_list_of_held_out_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "held_out").mkdir()
    (tmp_path / "held_out/ilsvrc2012.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"ilsvrc2012\.parquet: cannot be read"):
        _run(
            "fall2011", _release(tmp_path, dict(_images())), tmp_path / "data", excluded=tmp_path / "held_out"
        )


def test_shards_hold_raw_rgb_in_stored_order(contest: Path, tmp_path: Path) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data")
    raw = np.frombuffer((tmp_path / "data/val-00000.rgb").read_bytes(), np.uint8).reshape(3, 16, 16, 3)
    assert (raw[1] == centre_square(decode_rgb(jpeg(1002)), 16)).all()
