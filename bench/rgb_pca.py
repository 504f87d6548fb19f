"""What mean image and RGB covariance cost: ours, reading the same shards and nothing else, and NumPy.

Run it in the project's folder: `python bench/rgb_pca.py [--shards PATH] [--rounds 15] [--threads 2] [--side 256]`.
PATH is a prepared data set, or a folder of raw shards (*.rgb) of images of --side; without it 4096 images are written,
half of them noise and half smooth. In each round every way goes through the shards, which the page cache holds: "read"
reads each file from its start to its end into memory that it uses again, a shard to a thread at a time; "ours" is what
the stage does; both by one thread and by --threads. "numpy" goes image by image: the sum, and the product of the pixels
as float64, exact as ours is; "numpy_cov" takes 64 images at a time for mean() and np.cov(). These two take only the
first 256 images and 64.
Prints progress on standard error, and one JSON object of medians and ratios as its last line.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alexnet.data.inventory import SPLITS
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    PreparedSplit,
    Shard,
    open_split,
    write_index,
    write_manifest,
)
from alexnet.stages.rgb_pca import sum_images
from photographs import describe_machine

SHARDS, SHARD_IMAGES = 4, 1024
BUFFER = 1 << 20  # of reading; half and four times as much are no faster
NUMPY_IMAGES, COV_IMAGES = 256, 64

Images = npt.NDArray[np.uint8]


def write_shards(folder: Path, side: int) -> None:
    """Raw shards of drawn images: 128 of noise and 128 smooth ones, in another order in each."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (128, side, side, 3), np.uint8)
    coarse = rng.integers(0, 256, (128, 8, 8, 3), np.uint8)
    smooth = [cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in coarse]
    images = np.concatenate([noise, smooth])
    for number in range(SHARDS):
        with (folder / f"train-{number:05}.rgb").open("wb") as file:
            for _ in range(SHARD_IMAGES // len(images)):
                file.write(images[rng.permutation(len(images))].data)


def make_prepared(shards: list[Path], side: int, folder: Path) -> None:
    """A prepared data set of raw shards, which it links to."""
    size, listed = side**2 * 3, []
    for number, path in enumerate(sorted(shards)):
        name = f"train-{number:05}.rgb"
        (folder / name).symlink_to(path.resolve())
        listed.append(Shard(name, path.stat().st_size // size, path.stat().st_size, "", ""))
    count = sum(shard.count for shard in listed)
    columns = [[f"{number:08}" for number in range(count)], [0] * count, [""] * count, [size] * count]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, INDEX_SCHEMA, strict=True)]
    splits = {split: PreparedCounts(0, [], [], [], "not made") for split in SPLITS}
    splits["train"] = PreparedCounts(count, listed, [], [], None)
    write_index(folder, "train", pa.table(arrays, schema=INDEX_SCHEMA))
    write_manifest(folder, Manifest("bench", side, "area", "raw", None, {}, 0, [], splits))


def open_shards(path: Path | None, side: int, folder: Path) -> PreparedSplit:
    """The training images of a prepared data set, of a folder of raw shards, or drawn ones."""
    if path is None:
        path = folder / "drawn"
        path.mkdir()
        write_shards(path, side)
    if not (path / "manifest.json").exists():
        prepared = folder / "prepared"
        prepared.mkdir()
        make_prepared(list(path.glob("*.rgb")), side, prepared)
        path = prepared
    train = open_split(path, "train")
    if train.store != "raw":
        raise SystemExit(f"{path}: its shards hold JPEGs; reading is no measure for decoding")
    return train


def read(files: list[Path], threads: int) -> None:
    """Reads each file once."""

    def read_file(path: Path) -> None:
        room = memoryview(bytearray(BUFFER))
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read_file, files))


def say_nothing(*_: object, **__: object) -> None:
    """No progress: it is not what is measured."""


def add_with_numpy(images: Images) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
    """Sum of the images, and of the products of channels, image by image."""
    total, products = np.zeros(images.shape[1:], np.uint64), np.zeros((3, 3))
    for image in images:
        total += image
        pixels = image.reshape(-1, 3).astype(np.float64)
        products += pixels.T @ pixels
    return total, products


def take_covariance(images: Images) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean image and covariance as one would write them down."""
    return images.mean(axis=0), np.cov(images.reshape(-1, 3).T, bias=True)


def main() -> None:
    """Measures all ways in turn."""
    parser = argparse.ArgumentParser(description="Time mean image and RGB covariance.")
    parser.add_argument("--shards", type=Path, help="a prepared data set, or a folder of raw shards")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--side", type=int, default=256, help="of the images of shards without a manifest")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        train = open_shards(arguments.shards, arguments.side, Path(name))
        files = [Path(str(shard.filename)) for shard in train.shards]
        size = train.side**2 * 3
        some = np.array(train.shards[0][:NUMPY_IMAGES])
        counts = sorted({1, arguments.threads})
        ways: dict[str, tuple[int, Callable[[], object]]] = {}  # bytes, and what goes through them
        for threads in counts:
            ways[f"read_{threads}"] = len(train) * size, functools.partial(read, files, threads)
            ways[f"ours_{threads}"] = (
                len(train) * size,
                functools.partial(sum_images, train, threads, say_nothing),
            )
        ways["numpy"] = some.nbytes, functools.partial(add_with_numpy, some)
        ways["numpy_cov"] = some[:COV_IMAGES].nbytes, functools.partial(take_covariance, some[:COV_IMAGES])
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        work: dict[str, list[float]] = {way: [] for way in ways}  # the same by processor time
        for turn in range(arguments.rounds + 1):  # the first warms and does not count
            for way, (count, go) in ways.items():
                begun, begun_work = time.perf_counter(), time.process_time()
                go()
                took, took_work = time.perf_counter() - begun, time.process_time() - begun_work
                print(f"{turn}: {way}: {count / took / 1e9:.2f} GB/s", file=sys.stderr)
                speeds[way] += [count / took / 1e9] * (turn > 0)
                work[way] += [count / took_work / 1e9] * (turn > 0)
    report: dict[str, object] = {
        "shards": arguments.shards.name if arguments.shards else "drawn",
        "images": len(train), "bytes": len(train) * size, "threads": arguments.threads, "rounds": arguments.rounds,
        "gb_per_s": {way: round(statistics.median(speed), 2) for way, speed in speeds.items()},
    }  # fmt: skip

    def compare(values: dict[str, list[float]], threads: int, other: str) -> float:
        # Within each round, so that what slows the machine from one to the next falls out.
        pairs = zip(values[f"ours_{threads}"], values[other], strict=True)
        return round(statistics.median(ours / theirs for ours, theirs in pairs), 2)

    most = arguments.threads
    report["rgb_pca_vs_read"] = compare(speeds, most, f"read_{most}")
    report["rgb_pca_vs_read_1_thread"] = compare(speeds, 1, "read_1")
    # What other programs take of the cores does not count here.
    report["rgb_pca_vs_read_by_processor_time"] = compare(work, most, f"read_{most}")
    for other in ("numpy", "numpy_cov"):
        report[f"rgb_pca_vs_{other}_1_thread"] = compare(speeds, 1, other)
    report |= describe_machine("numpy", "numba")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
