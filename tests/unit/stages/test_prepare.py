from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg
import xxhash

from alexnet.core.resize import PrepareParams, centre_square
from alexnet.data.decode import decode_rgb, hash_pixels
from alexnet.data.parts import Parts, open_parts
from alexnet.data.shards import ShardWriter, load_manifest, open_split
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.errors import UserError
from alexnet.stages import prepare, source
from tests.unit.data.made_archives import jpeg, tar, write_contest

PARAMS = PrepareParams(resize=16, interpolation="area_cubic", store="raw", quality=90, shard_images=5, seed=1)
JPEG = PARAMS.model_copy(update={"store": "jpeg"})
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


def _folders(
    found: Path, output: Path, held_out: Path | None = None, excluded: Path | None = None
) -> prepare.Folders:
    return prepare.Folders(found, output, output.with_name(f"unfinished_{output.name}"), held_out, excluded)


def _run(
    dataset: str,
    found: Path,
    output: Path,
    *,
    workers: int = 1,
    held_out: Path | None = None,
    excluded: Path | None = None,
    params: PrepareParams = PARAMS,
) -> dict[str, Any]:
    prepare.run(dataset, params, _folders(found, output, held_out, excluded), workers=workers)
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
    for key, label, image in zip(train.keys, train.labels, train.read(range(12)), strict=True):
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
    _run("ilsvrc2012", contest, tmp_path / "b", params=other)
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
    assert {path.name for path in tmp_path.iterdir()} == {
        "tars", "sources", "data", "unfinished_data", ".unfinished_data.lock",
    }  # fmt: skip


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


def test_jpeg_shards_hold_each_image_at_the_stated_quality(contest: Path, tmp_path: Path) -> None:
    manifest = _run("ilsvrc2012", contest, tmp_path / "data", params=JPEG)
    assert (manifest["store"], manifest["quality"]) == ("jpeg", 90)
    val = open_split(tmp_path / "data", "val")
    for n, image in enumerate(val.read(range(3))):
        encoded = simplejpeg.encode_jpeg(centre_square(decode_rgb(jpeg(1001 + n)), 16), 90, "RGB", "420")
        assert val.encoded(n).tobytes() == encoded
        assert (image == simplejpeg.decode_jpeg(encoded, "RGB")).all()


def test_raw_shards_state_no_quality(contest: Path, tmp_path: Path) -> None:
    manifest = _run("ilsvrc2012", contest, tmp_path / "data")
    assert (manifest["store"], manifest["quality"]) == ("raw", None)


def test_manifest_has_a_hash_of_the_decoded_pixels_of_each_shard(contest: Path, tmp_path: Path) -> None:
    for name, params in (("raw", PARAMS), ("jpeg", JPEG), ("other", PARAMS.model_copy(update={"resize": 9}))):
        manifest = _run("ilsvrc2012", contest, tmp_path / name, params=params)
        hashes = "".join(hash_pixels(decode_rgb(jpeg(n))) for n in (1001, 1002, 1003))
        (shard,) = manifest["splits"]["val"]["shards"]
        assert shard["pixels"] == xxhash.xxh3_128_hexdigest(hashes.encode())


@pytest.mark.parametrize("params", [PARAMS, JPEG])
def test_disk_that_the_shards_take_is_said_before(
    contest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], params: PrepareParams
) -> None:
    _run("ilsvrc2012", contest, tmp_path / "data", params=params.model_copy(update={"resize": 256}))
    line = capsys.readouterr().err.splitlines()[0]
    raw = "prepare ilsvrc2012: 18 images of 256 x 256 take 0.00 GB raw (prepare.store; about 0.00 GB as JPEG of quality 90);"
    packed = "prepare ilsvrc2012: 18 images of 256 x 256 take about 0.00 GB as JPEG of quality 90 (prepare.store; 0.00 GB raw);"
    assert line.startswith(packed if params is JPEG else raw) and line.endswith("GB are free")


def test_disk_without_room_is_refused_before_the_work(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: SimpleNamespace(free=18 * 16 * 16 * 3 - 1))
    with pytest.raises(
        UserError, match="the disk has no room for the shards, found 0.00 GB free, expected 0.00 GB"
    ):
        _run("ilsvrc2012", contest, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: SimpleNamespace(free=18 * 16 * 16 * 3))
    _run("ilsvrc2012", contest, tmp_path / "data")


class _FullDisk:
    """A file of a disk that has room for some images more."""

    left = 7

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        _FullDisk.left -= 1
        if _FullDisk.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(data))

    def close(self) -> None:
        self._file.close()


def test_full_disk_stops_the_run_which_then_goes_on(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _run("ilsvrc2012", contest, tmp_path / "whole")
    begin = ShardWriter.__init__

    def begin_on_full_disk(writer: ShardWriter, path: Path, quality: int | None) -> None:
        begin(writer, path, quality)
        writer._file = _FullDisk(writer._file)  # type: ignore[assignment]

    with monkeypatch.context() as full:
        full.setattr(ShardWriter, "__init__", begin_on_full_disk)
        with pytest.raises(UserError, match="no space is left on the disk. Make room and start it again"):
            _run("ilsvrc2012", contest, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    capsys.readouterr()
    _run("ilsvrc2012", contest, tmp_path / "data")
    assert "going on after 6 images" in capsys.readouterr().err
    assert _bytes(tmp_path / "data") == _bytes(tmp_path / "whole")


def _decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files that are decoded from here on."""
    seen: list[int] = []

    def note(data: bytes, room: Any = None) -> Any:
        seen.append(len(data))
        return decode_rgb(data, room)

    monkeypatch.setattr(prepare, "decode_rgb", note)
    return seen


def _break_off(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the run end after so many shards, as if it were killed then."""
    keep = Parts.keep
    kept = 0

    def keep_some(parts: Parts, *arguments: Any) -> None:
        nonlocal kept
        if kept == at:
            raise KeyboardInterrupt
        kept += 1
        keep(parts, *arguments)

    monkeypatch.setattr(Parts, "keep", keep_some)


@pytest.mark.parametrize("at", [0, 1, 4])
def test_broken_off_run_goes_on_where_it_was(
    contest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    _run("ilsvrc2012", contest, tmp_path / "whole")
    with monkeypatch.context() as broken:
        _break_off(at, broken)
        with pytest.raises(KeyboardInterrupt):
            _run("ilsvrc2012", contest, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    decoded, left = _decoded(monkeypatch), {0: 18, 1: 15, 4: 2}[at]  # shards of 3, 3, 5, 5 and 2 images
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: SimpleNamespace(free=left * 16 * 16 * 3))
    _run("ilsvrc2012", contest, tmp_path / "data")
    assert len(decoded) == left
    assert _bytes(tmp_path / "data") == _bytes(tmp_path / "whole")
    assert not (tmp_path / "unfinished_data").exists()


@pytest.mark.parametrize("change", ["params", "held_out", "source"])
def test_shards_that_were_made_otherwise_are_thrown_away(
    contest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as broken:
        _break_off(2, broken)
        with pytest.raises(KeyboardInterrupt):
            _run("ilsvrc2012", contest, tmp_path / "data")
    params, excluded = PARAMS, None
    if change == "params":
        params = JPEG
    if change == "held_out":
        excluded = tmp_path / "held_out"
        _run("ilsvrc2012", contest, tmp_path / "other", held_out=excluded / "other.parquet")
    if change == "source":
        inventory = contest / "inventory.json"
        inventory.write_text(inventory.read_text().replace('"expected_md5": null', '"expected_md5":  null'))
    decoded = _decoded(monkeypatch)
    capsys.readouterr()
    _run("ilsvrc2012", contest, tmp_path / "data", params=params, excluded=excluded)
    assert len(decoded) == 18
    name = {"params": "prepare", "held_out": "held_out", "source": "source"}[change]
    assert (
        f"prepare ilsvrc2012: parts that were made otherwise are thrown away: {name}"
        in capsys.readouterr().err
    )


def test_second_run_beside_the_first_is_refused(contest: Path, tmp_path: Path) -> None:
    folders = _folders(contest, tmp_path / "data")
    with (
        open_parts(folders.unfinished, {}, "prepare ilsvrc2012"),
        pytest.raises(
            UserError, match="prepare ilsvrc2012: is under way already. Wait for the other process"
        ),
    ):
        prepare.run("ilsvrc2012", PARAMS, folders, workers=1)


KILLED_RUN = """
import sys
from pathlib import Path
from alexnet.core.resize import PrepareParams
from alexnet.stages import prepare
source, output, unfinished, workers = sys.argv[1:]
params = PrepareParams(resize=64, interpolation="area_cubic", store="jpeg", quality=90, shard_images=5, seed=1)
folders = prepare.Folders(Path(source), Path(output), Path(unfinished), None, None)
prepare.run("fall2011", params, folders, workers=int(workers))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path, workers: int) -> None:
    found = _release(tmp_path, {f"n00000010_{n}.JPEG": jpeg(n, 300, 400) for n in range(120)}, val=0.2)

    def start(output: str, unfinished: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", KILLED_RUN, str(found), str(tmp_path / output), str(tmp_path / unfinished),
             str(workers)], stderr=subprocess.DEVNULL,
        )  # fmt: skip

    assert start("whole", "a").wait() == 0
    kills = 0
    for shards in (1, 3, 7, 12, 20):
        process = start("data", "b")
        while process.poll() is None and len(list((tmp_path / "b/files").glob("*"))) < shards:
            time.sleep(0.001)
        kills += process.poll() is None
        process.kill()
        process.wait()
        assert not (tmp_path / "data").exists() or process.returncode == 0
    assert kills >= 3
    assert start("data", "b").wait() == 0
    assert _bytes(tmp_path / "data") == _bytes(tmp_path / "whole")
    assert not (tmp_path / "b").exists()
