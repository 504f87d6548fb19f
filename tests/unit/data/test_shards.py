from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.inventory import number_synsets
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    ShardWriter,
    load_manifest,
    open_split,
    shard_name,
    write_index,
    write_manifest,
)
from alexnet.errors import UserError

SIDE = 4
IMAGES = np.random.default_rng(1).integers(0, 256, (11, SIDE, SIDE, 3), np.uint8)
LABELS = [0, 1, None, 1, 0, 1, 0, 1, 0, 1, 0]


def _write(folder: Path) -> Path:
    """Eleven val images in shards of 4, 4 and 3; train and test are empty."""
    folder.mkdir(exist_ok=True)
    shards = []
    for number in range(3):
        writer = ShardWriter(folder / shard_name("val", number))
        for image in IMAGES[number * 4 : number * 4 + 4]:
            writer.add(image)
        shard = writer.close()
        assert shard is not None
        shards.append(shard)
    rows = {"key": [f"k{n}" for n in range(11)], "label": LABELS, "pixels": ["0"] * 11}
    write_index(folder, "val", pa.table(rows, schema=INDEX_SCHEMA))
    empty = PreparedCounts(0, [], [], [], "none asked for")
    for split in ("train", "test"):
        write_index(folder, split, INDEX_SCHEMA.empty_table())
    splits = {"train": empty, "val": PreparedCounts(11, shards, [], [], None), "test": empty}
    synsets = number_synsets({"n00000010": "a", "n00000020": "b"})
    write_manifest(folder, Manifest("made", SIDE, "area", {}, 2, synsets, splits))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("prepared"))


def test_images_keys_and_labels_come_back(prepared: Path) -> None:
    split = open_split(prepared, "val")
    assert (split.load() == IMAGES).all() and len(split) == 11
    assert split.keys == [f"k{n}" for n in range(11)]
    assert split.labels.dtype == np.int64 and split.labels.tolist() == [
        -1 if n is None else n for n in LABELS
    ]


@given(st.lists(st.integers(0, 10)))
def test_any_images_are_read_in_any_order(prepared: Path, indices: list[int]) -> None:
    read: npt.NDArray[np.uint8] = open_split(prepared, "val").read(np.array(indices, np.int64))
    assert read.shape == (len(indices), SIDE, SIDE, 3) and (read == IMAGES[np.array(indices, int)]).all()


@pytest.mark.parametrize("index", [-1, 11])
def test_index_outside_the_split_is_refused(prepared: Path, index: int) -> None:
    with pytest.raises(IndexError, match="0 to 10"):
        open_split(prepared, "val").read([0, index])


def test_maps_are_read_only(prepared: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_split(prepared, "val").images[0][0] = 0


def test_empty_split_opens_with_its_reason(prepared: Path) -> None:
    split = open_split(prepared, "test")
    assert len(split) == 0 and split.keys == [] and split.reason == "none asked for"
    assert split.load().shape == split.read([]).shape == (0, SIDE, SIDE, 3)


def test_manifest_has_the_hash_of_each_shard(prepared: Path) -> None:
    for shard in load_manifest(prepared).splits["val"].shards:
        assert shard.sha256 == hashlib.sha256((prepared / shard.file).read_bytes()).hexdigest()


def test_manifest_comes_back_as_written(prepared: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, load_manifest(prepared))
    assert (tmp_path / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


def test_shard_cut_short_is_refused_with_both_counts(tmp_path: Path) -> None:
    shard = _write(tmp_path) / "val-00001.rgb"
    shard.write_bytes(shard.read_bytes()[: 3 * SIDE * SIDE * 3])
    with pytest.raises(UserError) as caught:
        open_split(tmp_path, "val")
    expected = (
        "shard val-00001.rgb: 3 images, manifest says 4. It was cut short; delete it and run prepare again."
    )
    assert str(caught.value) == expected


def test_shard_cut_within_an_image_is_refused(tmp_path: Path) -> None:
    shard = _write(tmp_path) / "val-00002.rgb"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match="2 and a part images, manifest says 3"):
        open_split(tmp_path, "val")


def test_missing_shard_is_refused(tmp_path: Path) -> None:
    (_write(tmp_path) / "val-00000.rgb").unlink()
    with pytest.raises(UserError, match="0 images, manifest says 4"):
        open_split(tmp_path, "val")


def test_index_of_another_length_is_refused(tmp_path: Path) -> None:
    write_index(_write(tmp_path), "val", INDEX_SCHEMA.empty_table())
    with pytest.raises(UserError, match=r"index val\.parquet: 0 images, manifest says 11"):
        open_split(tmp_path, "val")


def test_damaged_index_and_unknown_split_are_refused(tmp_path: Path) -> None:
    (_write(tmp_path) / "val.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"index val\.parquet: cannot be read"):
        open_split(tmp_path, "val")
    with pytest.raises(UserError, match="no such split, found vla, expected one of train, val, test"):
        open_split(tmp_path, "vla")


def test_missing_and_damaged_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manifest is missing"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"dataset": "made"}')
    with pytest.raises(UserError, match="no manifest of prepared images"):
        load_manifest(tmp_path)


def test_shard_without_images_leaves_no_file(tmp_path: Path) -> None:
    assert ShardWriter(tmp_path / "val-00000.rgb").close() is None
    assert list(tmp_path.iterdir()) == []
