from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.inventory import number_synsets
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    ShardWriter,
    Store,
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


def _write(folder: Path, quality: int | None = None) -> Path:
    """Eleven val images in shards of 4, 4 and 3; train and test are empty."""
    folder.mkdir(exist_ok=True)
    store: Store = "jpeg" if quality else "raw"
    shards, sizes = [], []
    for number in range(3):
        writer = ShardWriter(folder / shard_name("val", number, store), quality)
        sizes += [
            writer.add(image, f"pixels {n}") for n, image in enumerate(IMAGES[number * 4 : number * 4 + 4])
        ]
        shard = writer.close()
        assert shard is not None
        shards.append(shard)
    rows = {"key": [f"k{n}" for n in range(11)], "label": LABELS, "pixels": ["0"] * 11, "size": sizes}
    write_index(folder, "val", pa.table(rows, schema=INDEX_SCHEMA))
    empty = PreparedCounts(0, [], [], [], "none asked for")
    for split in ("train", "test"):
        write_index(folder, split, INDEX_SCHEMA.empty_table())
    splits = {"train": empty, "val": PreparedCounts(11, shards, [], [], None), "test": empty}
    synsets = number_synsets({"n00000010": "a", "n00000020": "b"})
    write_manifest(folder, Manifest("made", SIDE, "area", store, quality, {}, 2, synsets, splits))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("compressed"), 90)


def test_images_keys_and_labels_come_back(prepared: Path) -> None:
    split = open_split(prepared, "val")
    assert (split.read(range(11)) == IMAGES).all() and len(split) == 11
    assert split.keys == [f"k{n}" for n in range(11)]
    assert split.labels.dtype == np.int64 and split.labels.tolist() == [
        -1 if n is None else n for n in LABELS
    ]


def _through_jpeg(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, 90, "RGB", "420"), "RGB")


@given(st.lists(st.integers(0, 10)))
def test_jpeg_shards_give_each_image_as_its_jpeg_does(compressed: Path, indices: list[int]) -> None:
    split = open_split(compressed, "val")
    expected = [_through_jpeg(IMAGES[n]) for n in indices]
    assert split.read(indices).tolist() == np.array(expected, np.uint8).reshape(-1, SIDE, SIDE, 3).tolist()
    assert {len(split.encoded(n)) - split.sizes[n] for n in indices} <= {0}


def test_damaged_jpeg_is_named(tmp_path: Path) -> None:
    shard = _write(tmp_path, 90) / "val-00001.jpegs"
    content = bytearray(shard.read_bytes())
    first = open_split(tmp_path, "val").sizes[4]
    content[first : first + 20] = b"\0" * 20
    shard.write_bytes(content)
    with pytest.raises(UserError, match="image 1 of val shard 1: is damaged"):
        open_split(tmp_path, "val").read([4, 5])


def test_jpeg_of_another_size_is_refused(tmp_path: Path) -> None:
    other = simplejpeg.encode_jpeg(np.zeros((SIDE, SIDE + 1, 3), np.uint8), 90, "RGB", "420")
    _write(tmp_path, 90)
    shard, split = tmp_path / "val-00000.jpegs", open_split(tmp_path, "val")
    assert len(other) <= split.sizes[0]
    shard.write_bytes(other.ljust(split.sizes[0], b"\0") + shard.read_bytes()[split.sizes[0] :])
    with pytest.raises(UserError, match="image 0 of val shard 0: is damaged: has 5x4 pixels"):
        open_split(tmp_path, "val").read([0])


def test_more_shards_than_files_may_be_open(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        open_split(prepared, "val")
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 3 + 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
        open_split(prepared, "val").shards[0][0] = 0


def test_empty_split_opens_with_its_reason(prepared: Path) -> None:
    split = open_split(prepared, "test")
    assert len(split) == 0 and split.keys == [] and split.reason == "none asked for"
    assert split.read([]).shape == (0, SIDE, SIDE, 3)


def test_manifest_has_the_hashes_of_each_shard(prepared: Path) -> None:
    shards = load_manifest(prepared).splits["val"].shards
    for shard in shards:
        content = (prepared / shard.file).read_bytes()
        assert (shard.bytes, shard.xxh3_128) == (len(content), xxhash.xxh3_128_hexdigest(content))
    assert shards[2].pixels == xxhash.xxh3_128_hexdigest(b"pixels 0pixels 1pixels 2")


def test_manifest_comes_back_as_written(prepared: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.copy(prepared / f"{split}.parquet", tmp_path)
    write_manifest(tmp_path, load_manifest(prepared))
    assert (tmp_path / "manifest.json").read_bytes() == (prepared / "manifest.json").read_bytes()


@pytest.mark.parametrize("quality", [None, 90])
def test_shard_cut_short_is_refused_with_both_sizes(tmp_path: Path, quality: int | None) -> None:
    shard = _write(tmp_path, quality) / ("val-00001.jpegs" if quality else "val-00001.rgb")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(UserError) as caught:
        open_split(tmp_path, "val")
    assert str(caught.value) == (
        f"shard {shard.name}: {len(content) - 1:,} bytes, manifest says {len(content):,}. "
        "It was cut short; delete it and run prepare again."
    )


def test_missing_shard_is_refused(tmp_path: Path) -> None:
    (_write(tmp_path) / "val-00000.rgb").unlink()
    with pytest.raises(UserError, match="0 bytes, manifest says 192"):
        open_split(tmp_path, "val")


@pytest.mark.parametrize("quality", [None, 90])
def test_index_with_wrong_sizes_is_refused(tmp_path: Path, quality: int | None) -> None:
    table = pq.read_table(_write(tmp_path, quality) / "val.parquet")
    sizes = table["size"].to_pylist()
    sizes[4], sizes[5] = sizes[4] + 1, sizes[5] - 1 + bool(quality)
    write_index(tmp_path, "val", table.set_column(3, INDEX_SCHEMA.field("size"), pa.array(sizes, pa.int32())))
    write_manifest(tmp_path, load_manifest(tmp_path))
    with pytest.raises(UserError, match="sizes of its images are not those of their shards"):
        open_split(tmp_path, "val")


def test_index_of_another_length_is_refused(tmp_path: Path) -> None:
    write_index(_write(tmp_path), "val", INDEX_SCHEMA.empty_table())
    write_manifest(tmp_path, load_manifest(tmp_path))
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


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("splits", "val", "shards", 0, "file"), "../val-00000.rgb"),
        (("splits", "val", "shards", 0, "count"), 0),
        (("splits", "val", "shards", 0, "bytes"), 1 << 62),
        (("splits", "val", "count"), "11"),
        (("splits", "val", "broken"), [{"key": 1}]),
        (("synsets", 1, "label"), 2),
        (("store",), "png"),
        (("resize",), 0),
        (("resize",), True),
    ],
)
def test_manifest_with_a_value_that_cannot_be_is_refused(
    prepared: Path, tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    about = json.loads((prepared / "manifest.json").read_text())
    inner = about
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="no manifest of prepared images"):
        load_manifest(tmp_path)


def test_index_with_one_wrong_bit_is_refused(tmp_path: Path) -> None:
    index = _write(tmp_path) / "val.parquet"
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    with pytest.raises(UserError, match=r"index val\.parquet: cannot be read"):
        open_split(tmp_path, "val")


def test_shard_without_images_leaves_no_file(tmp_path: Path) -> None:
    assert ShardWriter(tmp_path / "val-00000.rgb", None).close() is None
    assert list(tmp_path.iterdir()) == []
