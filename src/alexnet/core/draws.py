"""Everything random in training as pure functions of seed and place, so that a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# One stream for each use, so that no two uses ever share numbers.
ORDER, AUGMENT, DROPOUT, INITIAL = 1, 2, 3, 4

_MASK_64 = (1 << 64) - 1


def stream(seed: int, use: int, *place: int) -> np.random.Generator:
    """A counter-based generator (Philox) for one use at one place, such as an epoch or an update."""
    counter = [0, *place, *([0] * (3 - len(place)))]
    return np.random.Generator(np.random.Philox(key=[seed & _MASK_64, use], counter=counter))


def image_order(seed: int, epoch: int, num_images: int) -> npt.NDArray[np.int64]:
    """The order in which the images of an epoch are used: a permutation of range(num_images)."""
    return stream(seed, ORDER, epoch).permutation(num_images)


@dataclass(frozen=True)
class Draws:
    """What happens to each image of an epoch, by image index."""

    rows: npt.NDArray[np.int64]  # (N,) first row of the crop
    columns: npt.NDArray[np.int64]  # (N,) first column of the crop
    mirrored: npt.NDArray[np.bool_]  # (N,)
    alphas: npt.NDArray[np.float32]  # (N, 3) of the colour noise, deviation 1

    def take(self, indices: npt.NDArray[np.int64]) -> Draws:
        """The draws of some images."""
        return Draws(self.rows[indices], self.columns[indices], self.mirrored[indices], self.alphas[indices])


def draw_augmentation(seed: int, epoch: int, num_images: int, num_offsets: int) -> Draws:
    """Crop, reflection and colour draws of every image in one epoch.

    num_offsets: places of the crop along a side, 33 for 224 of 256 (§4.1 counts 32; the 2012 code has 33).
    """
    rng = stream(seed, AUGMENT, epoch)
    return Draws(
        rows=rng.integers(0, num_offsets, num_images),
        columns=rng.integers(0, num_offsets, num_images),
        mirrored=rng.integers(0, 2, num_images).astype(bool),
        alphas=rng.standard_normal((num_images, 3), dtype=np.float32),
    )


def dropout_mask(seed: int, update: int, layer: int, shape: tuple[int, int], rate: float) -> Tensor:
    """A fresh mask (images, units) float32: 0 with chance `rate`, else 1, with no rescaling (§4.2)."""
    drawn = stream(seed, DROPOUT, update, layer).random(shape, dtype=np.float32)
    return torch.from_numpy((drawn >= rate).astype(np.float32))


def initial_seed(seed: int) -> int:
    """Seed of a member's initial weights."""
    return int(stream(seed, INITIAL).integers(0, 1 << 63))
