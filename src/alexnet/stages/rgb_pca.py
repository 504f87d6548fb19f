"""Mean image and RGB PCA of a data set's training images, in one pass over its shards (§2, §4.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from alexnet.core.rgb_pca import RgbSums, find_rgb_pca
from alexnet.data.progress import Advance, progress
from alexnet.data.shards import PreparedSplit, open_split
from alexnet.data.whole import whole_folder
from alexnet.errors import UserError

PIECE_BYTES = 256 * 256**2 * 3  # of pixels that a thread takes at a time: 256 images of the usual size


def run(data: Path, output: Path, *, threads: int = 1) -> None:
    """Writes mean_image.npy (side, side, 3) float64 and rgb_pca.json into the folder `output`, whole.

    Their bytes do not depend on the number of threads. Raises UserError if there are no training images, or one is
    damaged.
    """
    train = open_split(data, "train")
    if not len(train):
        raise UserError(
            str(data), "has no training images", fix="Look at its manifest, and prepare it again."
        )
    with progress(len(train), f"rgb-pca {data.name}", "image") as advance:
        sums = sum_images(train, threads, advance)
    pca = find_rgb_pca(sums)
    numbers = {
        name: getattr(pca, name).tolist()
        for name in ("mean", "covariance", "eigenvalues", "stddev", "eigenvectors")
    }
    numbers |= {"num_images": pca.num_images, "num_pixels": pca.num_pixels}
    with whole_folder(output) as folder:
        np.save(folder / "mean_image.npy", pca.mean_image)
        (folder / "rgb_pca.json").write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")


def sum_images(split: PreparedSplit, threads: int, advance: Advance) -> RgbSums:
    """The sums over all images of a split. Raises UserError if one is damaged."""
    each: SimpleQueue[RgbSums] = SimpleQueue()  # a thread's sums, while it has no piece
    for _ in range(threads):
        each.put(RgbSums.empty(split.side))

    def add(piece: tuple[int, int]) -> int:
        images = _read(split, *piece)  # may raise, and the sums would be missed
        sums = each.get()
        sums.add(images)
        each.put(sums)
        return piece[1] - piece[0]

    with ThreadPoolExecutor(threads) as pool:
        for count in pool.map(add, _list_pieces(split)):
            advance(count)
    total = each.get()
    for _ in range(threads - 1):
        total += each.get()
    return total


def _list_pieces(split: PreparedSplit) -> Iterator[tuple[int, int]]:
    """First image of each piece, and the one behind its last; no piece goes over the end of a shard."""
    most = max(1, PIECE_BYTES // (split.side**2 * 3))
    for start, count in zip(split.starts.tolist(), split.counts.tolist(), strict=False):
        for first in range(start, start + count, most):
            yield first, min(first + most, start + count)


def _read(split: PreparedSplit, first: int, end: int) -> npt.NDArray[np.uint8]:
    """Images (n, side, side, 3) uint8 from `first` on: a view of the shard's map, where it holds pixels."""
    if split.store == "jpeg":
        return split.read(np.arange(first, end))
    (shard,), (row,) = split.locate(first)
    images: npt.NDArray[np.uint8] = split.shards[shard][row : row + end - first]
    return images
