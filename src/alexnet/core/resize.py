"""Shorter side to a fixed size, then the central square (§2)."""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from alexnet.schema import Params

cv2.setNumThreads(1)  # images are prepared side by side in processes; threads inside them only fight

Interpolation = Literal["area", "cubic", "area_cubic"]


class PrepareParams(Params):
    """How images are brought to one size and stored; the section `prepare` of params.yaml."""

    resize: Annotated[int, Field(ge=1, le=4096)]
    interpolation: Interpolation
    store: Literal["raw", "jpeg"]
    quality: Annotated[int, Field(ge=1, le=100)]  # of JPEGs
    shard_images: Annotated[int, Field(ge=1, le=1 << 20)]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]


def resized_shape(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) after the shorter side became `side`.

    The longer side is side * long / short, rounded with halves up: 375 x 500 gives 256 x 341 (cuda-convnet2's rule).
    """
    if height <= width:
        return side, _rounded_ratio(side * width, height)
    return _rounded_ratio(side * height, width), side


def _rounded_ratio(numerator: int, denominator: int) -> int:
    """numerator / denominator to the nearest integer, halves up, without floating point."""
    return (2 * numerator + denominator) // (2 * denominator)


def centre_square(
    image: npt.NDArray[np.uint8], side: int, interpolation: Interpolation = "area_cubic"
) -> npt.NDArray[np.uint8]:
    """The central (side, side, 3) of `image` once its shorter side is `side`.

    image: (H, W, 3) uint8, 0-255. The cut starts at (size - side) // 2.
    interpolation: `area_cubic` averages areas to shrink and is bicubic to enlarge, as cuda-convnet2 is; the paper
    does not say. `area` and `cubic` do the same in both directions.
    """
    height, width = resized_shape(image.shape[0], image.shape[1], side)
    top, left = (height - side) // 2, (width - side) // 2
    shrinks = min(image.shape[:2]) > side
    if shrinks and interpolation != "cubic":
        from alexnet.core.area_cpu import shrink  # its compiler takes a third of a second to load

        return shrink(image, height, width, top, left, side)
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=_method(interpolation))  # type: ignore[assignment]
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _method(interpolation: Interpolation) -> int:
    """OpenCV's constant for an interpolation, where the image is enlarged or cubic is asked for."""
    return cv2.INTER_AREA if interpolation == "area" else cv2.INTER_CUBIC
