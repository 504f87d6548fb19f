"""Crops, reflections and colour noise (§4.1), and the ten views of §4.1's test."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from alexnet.core.draws import Draws

MeanAlign = Literal["under_crop", "centre"]
ColourBasis = Literal["stddev", "eigenvalue01"]

# What the 2012 code divides an image by while colour noise is on.
RESCALE = 1.1

# Half of the values at each end of the scale, in all three channels at once, spread as far as any set of images.
_LARGEST_STDDEV = 255 * math.sqrt(3) / 2
_LARGEST_STDDEV_01 = _LARGEST_STDDEV / 255


def check_spread(stddev: Tensor) -> None:
    """Raises ValueError where deviations along the principal colours cannot be grey levels of 0-255.

    stddev: (3,). ImageNet's largest is 122, so that noise of 0.1 spreads by 12 grey levels along p1. More than
    221 is out of reach of any images: then it is an eigenvalue. Up to 0.87 is all that the 0-1 scale allows. In
    between no set of images is refused, however dull; nor is one without any spread, which is 0 on every scale.
    """
    largest = float(stddev.max())
    if largest == 0 or _LARGEST_STDDEV_01 < largest <= _LARGEST_STDDEV * (1 + 1e-6):
        return
    raise ValueError(
        f"the colours' largest standard deviation is {largest:,.4g}, so that noise of 0.1 would spread by "
        f"{0.1 * largest:,.4g} grey levels, expected a deviation from {_LARGEST_STDDEV_01:.2f} to "
        f"{_LARGEST_STDDEV:.0f}: give square roots of the eigenvalues, on the 0-255 scale"
    )


def colour_noise(
    alphas: Tensor, stddev: Tensor, eigenvectors: Tensor, colour_std: float, basis: ColourBasis
) -> Tensor:
    """What is added to every pixel of an image, (N, 3) grey levels: sum of p_i * alpha_i * colour_std * size_i.

    alphas: (N, 3) with deviation 1; stddev: (3,) square roots of the eigenvalues of the RGB covariance on the
    0-255 scale; eigenvectors: (3, 3), one a row. §4.1 multiplies by the eigenvalue and does not say its scale.
    basis: stddev is sd_i, as in the 2012 code; eigenvalue01 is the eigenvalue on the 0-1 scale, the result
    back on 0-255, sd_i² / 255, as in many later networks. Eigenvalues on 0-255 would give 1,483 grey levels.
    """
    sizes = stddev if basis == "stddev" else stddev.square() / 255
    scaled = alphas * colour_std * sizes
    # Not a matrix product: how a GPU rounds one depends on its settings and on how many images there are.
    first, second, third = (scaled[:, i, None] * eigenvectors[i] for i in range(3))
    return first + second + third


def cut_crops(images: Tensor, draws: Draws, crop: int) -> Tensor:
    """The crops (N, crop, crop, 3) uint8 of images (N, H, W, 3) uint8, mirrored as drawn: new memory.

    The plain twin of what a loader does ahead of training, see `alexnet.core.crops_cpu`.
    """
    places = zip(draws.rows.tolist(), draws.columns.tolist(), draws.mirrored.tolist(), strict=True)
    cut = [_cut(image, place, crop).permute(1, 2, 0) for image, place in zip(images, places, strict=True)]
    return torch.stack(cut) if cut else images.new_empty(0, crop, crop, 3)


def network_input(
    crops: Tensor,
    draws: Draws,
    mean_image: Tensor,
    noise: Tensor | None,
    *,
    mean_align: MeanAlign,
    rescale: bool,
) -> Tensor:
    """Network input (N, 3, crop, crop) float32: crop - mean + colour noise, on the device of the crops.

    crops: (N, crop, crop, 3) uint8, cut and mirrored as `draws` say; mean_image: (H, W, 3) float32 of the whole
    images; noise: (N, 3) or None for no noise. mean_align: under_crop takes the mean of each pixel, reflected with
    the crop (§2); centre takes the central part of the mean image, not reflected, whatever the crop, as in the 2012
    code. rescale: divides by 1.1 where there is noise, as in the 2012 code. Values are the same on every device.
    """
    compute = _one_by_one if crops.device.type == "cpu" else _all_at_once
    return compute(crops, draws, mean_image, noise, mean_align, rescale=rescale)


def _one_by_one(
    crops: Tensor,
    draws: Draws,
    mean_image: Tensor,
    noise: Tensor | None,
    mean_align: MeanAlign,
    *,
    rescale: bool,
) -> Tensor:
    """`network_input` for CPUs: an image stays in the cache from the first step to the last."""
    count, crop = crops.shape[:2]
    batch = torch.empty(count, 3, crop, crop, device=crops.device)
    planes = _planes(mean_image)
    places = zip(draws.rows.tolist(), draws.columns.tolist(), draws.mirrored.tolist(), strict=True)
    for number, place in enumerate(places):
        view = batch[number]
        view.copy_(crops[number].permute(2, 0, 1))
        view -= _mean_part(planes, place, crop, mean_align)
        if noise is not None:
            view += noise[number, :, None, None]
            if rescale:
                view /= RESCALE
    return batch


def _all_at_once(
    crops: Tensor,
    draws: Draws,
    mean_image: Tensor,
    noise: Tensor | None,
    mean_align: MeanAlign,
    *,
    rescale: bool,
) -> Tensor:
    """`network_input` for GPUs: as few operations as there are steps, however many images."""
    count, crop = crops.shape[:2]
    batch = torch.empty(count, 3, crop, crop, device=crops.device)
    batch.copy_(crops.permute(0, 3, 1, 2))
    if mean_align == "centre":
        batch -= _mean_part(_planes(mean_image), (0, 0, False), crop, mean_align)
    else:
        batch -= _gather_mean(mean_image, draws, crop)
    if noise is not None:
        batch += noise[:, :, None, None]
        if rescale:
            # A tensor of the device: by a plain number a GPU multiplies with the reciprocal, which rounds otherwise.
            batch /= torch.full((), RESCALE, device=crops.device)
    return batch


def _gather_mean(mean_image: Tensor, draws: Draws, crop: int) -> Tensor:
    """The mean under each crop, reflected with it, (N, 3, crop, crop)."""
    drawn = np.stack([draws.rows, draws.columns, draws.mirrored.astype(np.int64)])
    rows, columns, mirrored = torch.from_numpy(drawn).to(mean_image.device)
    along = torch.arange(crop, device=mean_image.device)
    across = torch.where(mirrored[:, None] > 0, crop - 1 - along, along)
    under = mean_image[(rows[:, None] + along)[:, :, None], (columns[:, None] + across)[:, None, :]]
    return under.permute(0, 3, 1, 2)


def _cut(images: Tensor, place: tuple[int, int, bool], crop: int) -> Tensor:
    """The crop at a place of images (..., H, W, 3), as (..., 3, crop, crop) of the same type."""
    row, column, mirrored = place
    views = images[..., row : row + crop, column : column + crop, :]
    return (views.flip(-2) if mirrored else views).movedim(-1, -3)


def _planes(mean_image: Tensor) -> tuple[Tensor, Tensor]:
    """The mean image as (3, H, W), and its reflection."""
    planes = mean_image.permute(2, 0, 1).contiguous()
    return planes, planes.flip(2)


def _mean_part(
    planes: tuple[Tensor, Tensor], place: tuple[int, int, bool], crop: int, mean_align: MeanAlign
) -> Tensor:
    """The part of the mean (3, crop, crop) to subtract from a crop, after its reflection."""
    row, column, mirrored = place
    height, width = planes[0].shape[1:]
    if mean_align == "centre":
        row, column, mirrored = (height - crop) // 2, (width - crop) // 2, False
    if mirrored:
        column = width - crop - column
    return planes[mirrored][:, row : row + crop, column : column + crop]


def view_places(side: int, crop: int) -> list[tuple[int, int, bool]]:
    """Row, column and reflection of the ten views: four corners and the centre, then the same of the reflection (§4.1).

    Row and column are the image's. So an image and its reflection have the same ten views.
    """
    end, middle = side - crop, (side - crop) // 2
    places = [(0, 0), (0, end), (middle, middle), (end, 0), (end, end)]
    plain = [(row, column, False) for row, column in places]
    return plain + [(row, end - column, True) for row, column in places]


CENTRE_VIEW = 2  # place of the centre view, not reflected, in `view_places`


def view_batch(
    images: Tensor,
    mean_image: Tensor,
    place: tuple[int, int, bool],
    crop: int,
    *,
    mean_align: MeanAlign = "under_crop",
) -> Tensor:
    """One view of each image as network input, (N, 3, crop, crop) float32; images (N, H, W, 3) uint8.

    mean_align: as in `network_input`; the 2012 code treats views as it does crops.
    """
    batch = torch.empty(len(images), 3, crop, crop, device=images.device)
    batch.copy_(_cut(images, place, crop))
    batch -= _mean_part(_planes(mean_image), place, crop, mean_align)
    return batch
