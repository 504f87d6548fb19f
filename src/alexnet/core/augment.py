"""Crops, reflections and colour noise (§4.1), and the ten views of §4.1's test."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alexnet.core.draws import Draws


def crop_and_mirror(images: Tensor, rows: Tensor, columns: Tensor, mirrored: Tensor, crop: int) -> Tensor:
    """A crop of each image, reflected where asked.

    images: (N, H, W, 3) of any type; rows, columns: (N,) int64, first row and column; mirrored: (N,) bool.
    Returns (N, 3, crop, crop), contiguous, of the same type. Source: §4.1.
    """
    along = torch.arange(crop, device=images.device)
    picked_rows = rows[:, None] + along
    picked_columns = columns[:, None] + torch.where(mirrored[:, None], crop - 1 - along, along)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    crops = images[image, picked_rows[:, :, None], picked_columns[:, None, :]]
    return crops.permute(0, 3, 1, 2).contiguous()


def mean_crops(mean_image: Tensor, rows: Tensor, columns: Tensor, mirrored: Tensor, crop: int) -> Tensor:
    """The part of the mean image (H, W, 3) under each crop, (N, 3, crop, crop), reflected with it.

    The 2012 code subtracts the central part whatever the crop; the paper speaks of each pixel's mean (§2).
    """
    return crop_and_mirror(mean_image.expand(len(rows), *mean_image.shape), rows, columns, mirrored, crop)


def colour_noise(alphas: Tensor, stddev: Tensor, eigenvectors: Tensor, colour_std: float) -> Tensor:
    """What is added to every pixel of an image, (N, 3) grey levels: sum of p_i * sd_i * alpha_i * colour_std.

    alphas: (N, 3) with deviation 1; stddev: (3,) square roots of the eigenvalues of the RGB covariance on the
    0-255 scale; eigenvectors: (3, 3), one a row. Departs from §4.1, which multiplies by the eigenvalue: the
    2012 code multiplies by its square root, and eigenvalues on this scale would give 1,483 grey levels.
    """
    return (alphas * colour_std * stddev) @ eigenvectors


def training_batch(
    images: Tensor, draws: Draws, mean_image: Tensor, noise: Tensor | None, crop: int, *, mirror: bool
) -> Tensor:
    """Network input (N, 3, crop, crop) float32 from images (N, H, W, 3) uint8: crop - its mean + colour noise."""
    rows, columns = torch.from_numpy(draws.rows), torch.from_numpy(draws.columns)
    mirrored = torch.from_numpy(draws.mirrored if mirror else np.zeros_like(draws.mirrored))
    device = images.device
    rows, columns, mirrored = rows.to(device), columns.to(device), mirrored.to(device)
    batch = crop_and_mirror(images, rows, columns, mirrored, crop).float()
    batch -= mean_crops(mean_image, rows, columns, mirrored, crop)
    return batch if noise is None else batch.add_(noise[:, :, None, None])


def view_places(side: int, crop: int) -> list[tuple[int, int, bool]]:
    """Row, column and reflection of the ten views: four corners and the centre, then their reflections (§4.1)."""
    end, middle = side - crop, (side - crop) // 2
    places = [(0, 0), (0, end), (middle, middle), (end, 0), (end, end)]
    return [(row, column, mirrored) for mirrored in (False, True) for row, column in places]


CENTRE_VIEW = 2  # place of the centre view, not reflected, in `view_places`


def view_batch(images: Tensor, mean_image: Tensor, place: tuple[int, int, bool], crop: int) -> Tensor:
    """One view of each image as network input, (N, 3, crop, crop) float32; images (N, H, W, 3) uint8."""
    row, column, mirrored = place
    views = images[:, row : row + crop, column : column + crop].float()
    views -= mean_image[row : row + crop, column : column + crop]
    if mirrored:
        views = views.flip(2)
    return views.permute(0, 3, 1, 2).contiguous()
