"""Prepared images in and out: numbered shards of raw pixels, an index per split and a manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alexnet.data.inventory import SPLITS, Synset
from alexnet.errors import UserError

PREPARE_AGAIN = "It was cut short; delete it and run prepare again."
INDEX_SCHEMA = pa.schema([("key", pa.string()), ("label", pa.int32()), ("pixels", pa.string())])


@dataclass(frozen=True)
class Shard:
    """A file of `count` images, with the hash of its bytes."""

    file: str
    count: int
    sha256: str


@dataclass(frozen=True)
class PreparedCounts:
    """What became of a split's images.

    broken: {"key", "reason"} of training images that do not decode. held_out: {"key", "of"} of images left out
    because an image of ilsvrc2010/2012 has the same pixels. reason: why the split is empty or unlabelled.
    """

    count: int
    shards: list[Shard]
    broken: list[dict[str, str]]
    held_out: list[dict[str, str]]
    reason: str | None


@dataclass(frozen=True)
class Manifest:
    """What a prepared data set holds; label n is synsets[n]."""

    dataset: str
    resize: int
    interpolation: str
    decoder: dict[str, str]
    num_classes: int
    synsets: list[Synset]
    splits: dict[str, PreparedCounts]


class ShardWriter:
    """Writes a shard image by image, so that no more than one is in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")
        self._hash, self._count = hashlib.sha256(), 0

    def add(self, image: npt.NDArray[np.uint8]) -> None:
        """Appends an image (side, side, 3) uint8 RGB."""
        data = np.ascontiguousarray(image).data
        self._file.write(data)
        self._hash.update(data)
        self._count += 1

    def close(self) -> Shard | None:
        """The shard written, or None (and no file) if no image was added."""
        self._file.close()
        if self._count == 0:
            self._path.unlink()
            return None
        return Shard(self._path.name, self._count, self._hash.hexdigest())


def shard_name(split: str, number: int) -> str:
    """File name of a split's shard."""
    return f"{split}-{number:05}.rgb"


def write_index(folder: Path, split: str, rows: pa.Table) -> None:
    """Writes the rows (INDEX_SCHEMA) of a split's images in stored order."""
    pq.write_table(rows, folder / f"{split}.parquet", compression="zstd", row_group_size=1 << 16)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json."""
    (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared data set. Raises UserError if it is missing or damaged."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(str(path), "the manifest is missing", fix="Run prepare for this data set first.")
    try:
        about = json.loads(path.read_text())
        about["synsets"] = [Synset(**synset) for synset in about["synsets"]]
        about["splits"] = {split: _read_counts(counts) for split, counts in about["splits"].items()}
        return Manifest(**about)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            str(path), "this is no manifest of prepared images", fix="Delete it and run prepare again."
        ) from error


def _read_counts(about: dict[str, Any]) -> PreparedCounts:
    return PreparedCounts(**{**about, "shards": [Shard(**shard) for shard in about["shards"]]})


@dataclass(frozen=True)
class PreparedSplit:
    """The images of one split, in stored order.

    images: a read-only (n, side, side, 3) uint8 map per shard. labels: (N,) int64, -1 where there is none.
    """

    folder: Path
    split: str
    side: int
    images: list[np.memmap[Any, np.dtype[np.uint8]]]
    labels: npt.NDArray[np.int64]
    reason: str | None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def keys(self) -> list[str]:
        """The N image keys, read when first asked for: training needs none."""
        keys: list[str] = pq.read_table(self.folder / f"{self.split}.parquet", columns=["key"])[
            "key"
        ].to_pylist()
        return keys

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """Index of each shard's first image, and N."""
        return np.cumsum([0, *(len(images) for images in self.images)], dtype=np.int64)

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """The images (n, side, side, 3) uint8 RGB at `indices`, which count from 0 in stored order.

        Raises IndexError for an index outside the split.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(
                f"{self.split} has images 0 to {len(self) - 1}, asked for {wanted.min()}..{wanted.max()}"
            )
        images = np.empty((len(wanted), self.side, self.side, 3), np.uint8)
        shards = np.searchsorted(self._starts, wanted, side="right") - 1
        for place, (shard, row) in enumerate(zip(shards, wanted - self._starts[shards], strict=True)):
            images[place] = self.images[shard][row]
        return images

    def load(self) -> npt.NDArray[np.uint8]:
        """All images (N, side, side, 3) uint8 in memory, for small sets."""
        empty = np.empty((0, self.side, self.side, 3), np.uint8)
        return np.concatenate([empty, *self.images])


def open_split(folder: Path, split: str) -> PreparedSplit:
    """A split of a prepared data set; its pixels stay on disk until read.

    Raises UserError if the split is unknown or its files are not of the sizes that the manifest says.
    """
    manifest = load_manifest(folder)
    if split not in manifest.splits:
        raise UserError(str(folder), "no such split", found=split, expected=f"one of {', '.join(SPLITS)}")
    counts = manifest.splits[split]
    images = [_open_shard(folder, shard, manifest.resize) for shard in counts.shards]
    labels = _read_labels(folder / f"{split}.parquet")
    if not len(labels) == sum(shard.count for shard in counts.shards) == counts.count:
        raise UserError(
            f"index {split}.parquet",
            f"{len(labels):,} images, manifest says {counts.count:,}",
            fix=PREPARE_AGAIN,
        )
    return PreparedSplit(folder, split, manifest.resize, images, labels, counts.reason)


def _open_shard(folder: Path, shard: Shard, side: int) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A shard's images, read-only, once its size is right."""
    path, image_bytes = folder / shard.file, side * side * 3
    size = path.stat().st_size if path.is_file() else 0
    if size != shard.count * image_bytes:
        found = f"{size // image_bytes:,}" + ("" if size % image_bytes == 0 else " and a part")
        raise UserError(
            f"shard {shard.file}", f"{found} images, manifest says {shard.count:,}", fix=PREPARE_AGAIN
        )
    return np.memmap(path, np.uint8, "r", shape=(shard.count, side, side, 3))


def _read_labels(path: Path) -> npt.NDArray[np.int64]:
    """Labels in stored order, -1 for null."""
    try:
        column = pq.read_table(path, columns=["label"])["label"]
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"index {path.name}", "cannot be read", fix=PREPARE_AGAIN) from error
    labels: npt.NDArray[np.int64] = column.cast(pa.int64()).fill_null(-1).to_numpy()
    return labels
