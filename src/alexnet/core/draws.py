"""Everything random in training as pure functions of seed and place.

So a resumed run draws the same, and so do runs that cut the work otherwise: it does not matter in which
minibatch, order or process an image, or a part of a layer, is asked for.

All numbers come from one generator, whose key is the seed and whose counter has four words of 32 bits:

    use           word 0          word 1   word 2                word 3
    ORDER         image           epoch    0                     use
    CROP          image           epoch    0                     use
    CHUNK_CROP    chunk           epoch    0                     use
    COLOUR        image           epoch    0                     use
    DROPOUT       image           update   unit // 4             use + 256 * layer
    INITIAL       layer           column   0                     use

The low 8 bits of word 3 tell the uses apart, so no two of them ever share a counter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.core.philox import MASK, philox

CropOffsets = Literal["with_last", "without_last", "centre"]

ORDER, CROP, CHUNK_CROP, COLOUR, DROPOUT, INITIAL = 1, 2, 3, 4, 5, 6

_WORD = 1 << 32


def _key(seed: int) -> tuple[int, int]:
    assert 0 <= seed < 1 << 64
    return seed & MASK, seed >> 32


def image_order(seed: int, epoch: int, num_images: int) -> npt.NDArray[np.int64]:
    """The order in which the images of an epoch are used: a permutation of range(num_images)."""
    assert 0 <= epoch < _WORD
    assert 0 <= num_images <= _WORD
    first, second, _, _ = philox((np.arange(num_images), epoch, 0, ORDER), _key(seed))
    return np.argsort(first << 31 | second >> 1, kind="stable")  # by 63 bits: more would make it negative


def chunk_numbers(places: slice, size: int) -> npt.NDArray[np.int64]:
    """The chunk of each of some places in a row in an epoch's order: `size` places share one."""
    return np.arange(places.start, places.stop) // size


def count_offsets(side: int, crop: int, crop_offsets: CropOffsets) -> int:
    """Places of a crop along a side.

    with_last: 33 for 224 of 256, every place there is, as in the 2012 code. without_last: 32, which gives the
    2048 = 32 · 32 · 2 of §4.1; 1 where the crop is the whole image. centre: with_last's, of which the middle one is
    taken and none is drawn.
    """
    assert 0 < crop <= side
    return max(1, side - crop) if crop_offsets == "without_last" else side - crop + 1


@dataclass(frozen=True)
class Draws:
    """What happens to each of N images, in the order in which they were asked for."""

    rows: npt.NDArray[np.int64]  # (N,) first row of the crop
    columns: npt.NDArray[np.int64]  # (N,) first column of the crop
    mirrored: npt.NDArray[np.bool_]  # (N,)
    alphas: npt.NDArray[np.float32]  # (N, 3) of the colour noise, deviation 1


def draw_augmentation(
    seed: int,
    epoch: int,
    images: npt.NDArray[np.int64],
    num_offsets: int,
    chunks: npt.NDArray[np.int64] | None = None,
) -> Draws:
    """Crop, reflection and colour draws of images in one epoch; each depends on its own image alone.

    images: (N,) image indices. num_offsets: places of the crop along a side, see `count_offsets`.
    chunks: (N,) chunk of each image, see `chunk_numbers`: those of one chunk share crop and reflection, as 32
    consecutive images do in the 2012 code; None draws them for each image. Alphas are drawn for each image.
    """
    assert 0 <= epoch < _WORD
    assert 0 < num_offsets < 1 << 31
    items, use = (images, CROP) if chunks is None else (chunks, CHUNK_CROP)
    assert images.ndim == 1
    assert items.shape == images.shape
    for numbers in (images, items):
        assert not (numbers >> 32).any()  # else it would share its draws with another
    key = _key(seed)
    row, column, mirror, _ = philox((items, epoch, 0, use), key)
    return Draws(
        rows=row * num_offsets >> 32,
        columns=column * num_offsets >> 32,
        mirrored=mirror >= _WORD // 2,
        alphas=_normals(*philox((images, epoch, 0, COLOUR), key)),
    )


def _normals(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    third: npt.NDArray[np.int64],
    fourth: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Three standard normal numbers from each four words, (N, 3), by Box and Muller's transform; below 6.8."""
    radii = [np.sqrt(-2 * np.log((word + 0.5) / _WORD)) for word in (first, third)]
    angles = [word * (2 * np.pi / _WORD) for word in (second, fourth)]
    normals = [radii[0] * np.cos(angles[0]), radii[0] * np.sin(angles[0]), radii[1] * np.cos(angles[1])]
    return np.stack(normals, axis=1).astype(np.float32)


def dropout_mask(
    seed: int, update: int, layer: int, images: Tensor, units: int, rate: float, first_unit: int = 0
) -> Tensor:
    """A fresh mask (N, units) float32: 0 with chance `rate`, to 2⁻³², else 1, with no rescaling (§4.2).

    images: (N,) int64 image indices, on the device of the mask; update: counted from the start of training;
    first_unit: where in the layer the first of the `units` is. Each entry depends on its own image and unit
    alone: the mask of some images, or of a column's half of the layer, is that part of the whole mask.
    """
    assert 0 <= update < _WORD
    assert 0 <= layer < 1 << 24
    assert 0 <= first_unit <= first_unit + units < _WORD
    assert 0 <= rate <= 1
    # Not looked at on a GPU, which would have to finish all other work first.
    assert images.device.type != "cpu" or not (images >> 32).any()
    first_block, end_block = first_unit // 4, -(-(first_unit + units) // 4)
    blocks = torch.arange(first_block, end_block, device=images.device)
    words = philox((images[:, None], update, blocks, DROPOUT + (layer << 8)), _key(seed))
    mask = torch.empty(len(images), len(blocks), 4, device=images.device)
    for place, word in enumerate(words):
        mask[:, :, place] = word >= round(rate * _WORD)
    skipped = first_unit - 4 * first_block
    return mask.flatten(1)[:, skipped : skipped + units]


def initial_generator(seed: int, layer: int, column: int) -> torch.Generator:
    """The generator, on the CPU, of the initial weights of one layer's part in one column.

    A process that holds one column draws its own part and no other. Seeded with 32 bits, which is all that
    PyTorch's generator takes.
    """
    assert 0 <= layer < _WORD
    assert 0 <= column < _WORD
    word, _, _, _ = philox((layer, column, 0, INITIAL), _key(seed))
    return torch.Generator().manual_seed(word)
