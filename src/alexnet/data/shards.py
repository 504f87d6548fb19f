"""Prepared images in and out: numbered shards of raw pixels or JPEGs, an index per split and a manifest."""

from __future__ import annotations

import contextlib
import json
import resource
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import xxhash
from pydantic import TypeAdapter

from alexnet.data.inventory import SPLITS, Synset
from alexnet.errors import UserError

Store = Literal["raw", "jpeg"]

PREPARE_AGAIN = "It was cut short; delete it and run prepare again."
SUFFIX = {"raw": "rgb", "jpeg": "jpegs"}
SPARE_FILES = 256  # descriptors left for all but the shards

# pixels: hash of the image as it was decoded, at its own size. size: bytes of the stored image.
INDEX_SCHEMA = pa.schema(
    [("key", pa.string()), ("label", pa.int32()), ("pixels", pa.string()), ("size", pa.int32())]
)


@dataclass(frozen=True)
class Shard:
    """A file of `count` images.

    xxh3_128: of its bytes. pixels: XXH3-128 of the hashes of its images as they were decoded, each at its own size, in
    order: another decoder that gives other pixels shows there, whatever the size and form they are stored in.
    """

    file: str
    count: int
    bytes: int
    xxh3_128: str
    pixels: str


@dataclass(frozen=True)
class PreparedCounts:
    """What became of a split's images.

    broken: {"key", "reason"} of training images that do not decode. held_out: {"key", "of"} of images left out
    because an image of ilsvrc2010/2012 has the same pixels. reason: why the split is empty or unlabelled.
    index_xxh3_128: of the split's index, filled in as the manifest is written.
    """

    count: int
    shards: list[Shard]
    broken: list[dict[str, str]]
    held_out: list[dict[str, str]]
    reason: str | None
    index_xxh3_128: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a prepared data set holds; label n is synsets[n]. quality: of its JPEGs, None where pixels are raw."""

    dataset: str
    resize: int
    interpolation: str
    store: Store
    quality: int | None
    decoder: dict[str, str]
    num_classes: int
    synsets: list[Synset]
    splits: dict[str, PreparedCounts]


class ShardWriter:
    """Writes a shard image by image, so that no more than one is in memory. quality: None for raw pixels."""

    def __init__(self, path: Path, quality: int | None) -> None:
        self._path, self._quality, self._file = path, quality, path.open("wb")
        self._hash, self._pixels = xxhash.xxh3_128(), xxhash.xxh3_128()
        self._count = self._bytes = 0

    def add(self, image: npt.NDArray[np.uint8], pixels: str) -> int:
        """Appends an image (side, side, 3) uint8 RGB; returns its bytes. pixels: hash of it as it was decoded."""
        data = np.ascontiguousarray(image)
        stored = data.data.cast("B") if self._quality is None else encode_jpeg(data, self._quality)
        self._file.write(stored)
        self._hash.update(stored)
        self._pixels.update(pixels.encode())
        self._count, self._bytes = self._count + 1, self._bytes + len(stored)
        return len(stored)

    def close(self) -> Shard | None:
        """The shard written, or None (and no file) if no image was added."""
        self._file.close()
        if self._count == 0:
            self._path.unlink()
            return None
        return Shard(
            self._path.name, self._count, self._bytes, self._hash.hexdigest(), self._pixels.hexdigest()
        )


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG of an image (H, W, 3) uint8 RGB, with colours at half resolution (4:2:0), as most photographs come."""
    encoded: bytes = simplejpeg.encode_jpeg(image, quality, "RGB", "420", fastdct=False)
    return encoded


def shard_name(split: str, number: int, store: Store) -> str:
    """File name of a split's shard."""
    return f"{split}-{number:05}.{SUFFIX[store]}"


def write_index(folder: Path, split: str, rows: pa.Table) -> None:
    """Writes the rows (INDEX_SCHEMA) of a split's images in stored order."""
    pq.write_table(rows, folder / f"{split}.parquet", compression="zstd", row_group_size=1 << 16)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json, once the indexes are written."""
    splits = {
        split: replace(counts, index_xxh3_128=_hash_index(folder / f"{split}.parquet"))
        for split, counts in manifest.splits.items()
    }
    manifest = replace(manifest, splits=splits)
    (folder / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared data set. Raises UserError if it is missing or damaged."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(str(path), "the manifest is missing", fix="Run prepare for this data set first.")
    try:
        manifest = _manifest_type().validate_json(path.read_bytes(), strict=True)
        _check_manifest(manifest)
        return manifest
    except (OSError, ValueError) as error:
        raise UserError(
            str(path), "this is no manifest of prepared images", fix="Delete it and run prepare again."
        ) from error


@cache
def _manifest_type() -> TypeAdapter[Manifest]:
    """Checks the types of all that manifest.json holds."""
    return TypeAdapter(Manifest)


def _check_manifest(manifest: Manifest) -> None:
    """Raises ValueError for numbers that cannot be, and for a shard that lies elsewhere."""
    labels = [synset.label for synset in manifest.synsets]
    if labels != list(range(len(labels))) or not set(manifest.splits) <= set(SPLITS):
        raise ValueError("other labels or splits than there are")
    for counts in manifest.splits.values():
        for shard in counts.shards:
            if Path(shard.file).name != shard.file or not 0 < shard.count <= shard.bytes < 1 << 62:
                raise ValueError(f"no such shard: {shard}")
    if not 0 < manifest.resize < 1 << 16:
        raise ValueError(f"no such size: {manifest.resize}")


def _hash_index(path: Path) -> str:
    """XXH3-128 of an index, or nothing if there is none."""
    return xxhash.xxh3_128_hexdigest(path.read_bytes()) if path.is_file() else ""


@dataclass(frozen=True)
class PreparedSplit:
    """The images of one split, in stored order; nothing is read from the disk before it is asked for.

    shards: a read-only map of each: raw (n, side, side, 3) uint8, or jpeg (bytes,) uint8.
    labels: (N,) int64, -1 where there is none. sizes: (N,) int64 bytes of each stored image.
    """

    folder: Path
    split: str
    side: int
    store: Store
    shards: list[np.memmap[Any, np.dtype[np.uint8]]]
    counts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
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
    def starts(self) -> npt.NDArray[np.int64]:
        """Index of each shard's first image, and N."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(N,) first byte of each stored image in its shard."""
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        offsets: npt.NDArray[np.int64] = ends[:-1] - np.repeat(ends[self.starts[:-1]], self.counts)
        return offsets

    def locate(self, indices: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of images, which count from 0 in stored order, the shard and the place in it.

        Raises IndexError for an index outside the split.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(
                f"{self.split} has images 0 to {len(self) - 1}, asked for {wanted.min()}..{wanted.max()}"
            )
        shards = np.searchsorted(self.starts, wanted, side="right") - 1
        return shards, wanted - self.starts[shards]

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """The images (n, side, side, 3) uint8 RGB at `indices`, which count from 0 in stored order.

        Raises IndexError for an index outside the split, UserError for a damaged JPEG.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        images = np.empty((len(wanted), self.side, self.side, 3), np.uint8)
        for place, (shard, row) in enumerate(zip(*self.locate(wanted), strict=True)):
            if self.store == "raw":
                images[place] = self.shards[shard][row]
            else:
                self.decode(wanted[place], images[place].reshape(-1))
        return images

    def encoded(self, index: int) -> npt.NDArray[np.uint8]:
        """The bytes of an image that is stored as JPEG."""
        ((shard,), _), start = self.locate(index), self.offsets[index]
        encoded: npt.NDArray[np.uint8] = self.shards[shard][start : start + self.sizes[index]]
        return encoded

    def decode(self, index: int, room: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """The pixels (side, side, 3) uint8 of an image that is stored as JPEG, in `room` if there is one.

        room: side * side * 3 bytes. Raises UserError if it is damaged.
        """
        try:
            image: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(self.encoded(index), "RGB", buffer=room)
        except ValueError as error:
            if room is not None:
                self.decode(index)  # which says so if it only does not fit
            raise self._damaged(index, str(error)) from None
        if image.shape != (self.side, self.side, 3):
            raise self._damaged(index, f"has {image.shape[1]}x{image.shape[0]} pixels")
        return image

    def _damaged(self, index: int, what: str) -> UserError:
        shard, row = (int(place[0]) for place in self.locate(index))
        where = f"{self.folder}: image {row} of {self.split} shard {shard}"
        return UserError(where, f"is damaged: {what}", fix="Delete the folder and run prepare again.")


def open_split(folder: Path, split: str) -> PreparedSplit:
    """A split of a prepared data set; its pixels stay on disk until read.

    Raises UserError if the split is unknown or its files are not of the sizes that the manifest says.
    """
    manifest = load_manifest(folder)
    if split not in manifest.splits:
        raise UserError(str(folder), "no such split", found=split, expected=f"one of {', '.join(SPLITS)}")
    counts = manifest.splits[split]
    index = folder / f"{split}.parquet"
    labels, sizes = _read_index(index, counts.index_xxh3_128)
    numbers = np.array([shard.count for shard in counts.shards], np.int64)
    if not len(labels) == numbers.sum() == counts.count:
        raise UserError(
            f"index {index.name}", f"{len(labels):,} images, manifest says {counts.count:,}", fix=PREPARE_AGAIN
        )  # fmt: skip
    _check_sizes(index.name, sizes, counts.shards, manifest)
    _allow_files(len(counts.shards))
    shards = [_open_shard(folder, shard, manifest) for shard in counts.shards]
    return PreparedSplit(
        folder, split, manifest.resize, manifest.store, shards, numbers, labels, sizes, counts.reason
    )


def _check_sizes(name: str, sizes: npt.NDArray[np.int64], shards: list[Shard], manifest: Manifest) -> None:
    """Refuses an index whose images do not fill their shards."""
    ends = np.cumsum([shard.count for shard in shards], dtype=np.int64)
    filled = [int(part.sum()) for part in np.split(sizes, ends[:-1])] if shards else []
    raw = manifest.resize**2 * 3
    if filled != [shard.bytes for shard in shards] or (manifest.store == "raw" and (sizes != raw).any()):
        raise UserError(
            f"index {name}", "the sizes of its images are not those of their shards", fix=PREPARE_AGAIN
        )


def _allow_files(needed: int) -> None:
    """Raises this process's limit of open files, each map being one; a large release has thousands of shards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):
        ceiling = wanted if hard == resource.RLIM_INFINITY else min(hard, max(wanted, soft))
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))


def _open_shard(folder: Path, shard: Shard, manifest: Manifest) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A shard's images, read-only, once its size is right."""
    path, side = folder / shard.file, manifest.resize
    size = path.stat().st_size if path.is_file() else 0
    if size != shard.bytes:
        raise UserError(
            f"shard {shard.file}", f"{size:,} bytes, manifest says {shard.bytes:,}", fix=PREPARE_AGAIN
        )
    try:
        return np.memmap(
            path, np.uint8, "r", shape=(shard.count, side, side, 3) if manifest.store == "raw" else (size,)
        )
    except OSError as error:
        raise UserError(
            f"shard {shard.file}", f"cannot be opened ({error.strerror})",
            fix="If too many files are open, raise the limit (ulimit -n), or prepare.shard_images.",
        ) from None  # fmt: skip


def _read_index(path: Path, expected: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels in stored order, -1 for null, and sizes."""
    try:  # the hash first: a single wrong bit can send the reader of such files in circles
        if _hash_index(path) != expected:
            raise ValueError("its bytes are not those that were written")
        table = pq.read_table(path, columns=["label", "size"])
        labels: npt.NDArray[np.int64] = table["label"].cast(pa.int64()).fill_null(-1).to_numpy()
        sizes: npt.NDArray[np.int64] = table["size"].cast(pa.int64()).to_numpy()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"index {path.name}", "cannot be read", fix=PREPARE_AGAIN) from error
    return labels, sizes
