"""Mean image and principal components of the RGB values, from exact integer sums (§2, §4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


@dataclass
class RgbSums:
    """Integer sums over images: exact, so in any order and by any number of threads the same. Enough for 10¹⁴ pixels.

    A thread adds to sums of its own, and these are added up in the end.
    """

    image_sum: npt.NDArray[np.uint64]  # (side, side, 3) sum of each pixel and channel
    products: npt.NDArray[np.int64]  # (3, 3) sum of products of channels over all pixels
    num_images: int = 0

    @classmethod
    def empty(cls, side: int) -> RgbSums:
        """Sums over no image of side x side pixels."""
        return cls(np.zeros((side, side, 3), np.uint64), np.zeros((3, 3), np.int64))

    def add(self, images: npt.NDArray[np.uint8]) -> None:
        """Adds images (n, side, side, 3) uint8. Other threads run meanwhile."""
        from alexnet.core.rgb_cpu import PAIRS, add_images  # its compiler takes a third of a second to load

        assert images.shape[1:] == self.image_sum.shape
        values = np.ascontiguousarray(images).reshape(len(images), self.image_sum.size)
        products = np.zeros(len(PAIRS), np.int64)
        add_images(values, self.image_sum.reshape(-1), products)
        for (one, other), total in zip(PAIRS, products, strict=True):
            self.products[one, other] += total
            if one != other:
                self.products[other, one] += total
        self.num_images += len(images)

    def __iadd__(self, other: RgbSums) -> Self:
        self.image_sum += other.image_sum
        self.products += other.products
        self.num_images += other.num_images
        return self


@dataclass(frozen=True)
class RgbPca:
    """Statistics of a set of images. eigenvectors: one a row, of falling eigenvalue, largest component positive."""

    num_images: int
    num_pixels: int
    mean_image: Float  # (side, side, 3), 0-255
    mean: Float  # (3,)
    covariance: Float  # (3, 3), over pixels, divided by their number
    eigenvalues: Float  # (3,)
    stddev: Float  # (3,) their square roots
    eigenvectors: Float  # (3, 3)


def find_rgb_pca(sums: RgbSums) -> RgbPca:
    """Mean image and RGB PCA of what was added. Raises ValueError if nothing was."""
    if sums.num_images == 0:
        raise ValueError("there is no image to take the mean of")
    side = sums.image_sum.shape[0]
    count = sums.num_images * side * side
    totals = [int(total) for total in sums.image_sum.sum(axis=(0, 1), dtype=np.uint64)]
    # In Python's whole numbers the difference of large sums loses nothing; one division rounds once.
    covariance = np.array(
        [
            [(count * int(sums.products[i, j]) - totals[i] * totals[j]) / (count * count) for j in range(3)]
            for i in range(3)
        ]
    )
    eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0), vectors.T[::-1]
    signs = np.sign(vectors[np.arange(3), np.abs(vectors).argmax(axis=1)])
    return RgbPca(
        sums.num_images, count, sums.image_sum / sums.num_images, np.array([total / count for total in totals]),
        covariance, eigenvalues, np.sqrt(eigenvalues), vectors * signs[:, None],
    )  # fmt: skip
