"""Figure 4: test images with their five best labels, and the training images nearest to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from alexnet.report.figures import BLUE, GREY, INK, LIGHT, ORANGE, WIDTHS_PT, Draw, Width, canvas, shorten

Image = npt.NDArray[np.uint8]

LEAST_SIDE, MOST_SIDE = (
    96,
    96,
)  # of an embedded picture: small ones are enlarged in whole steps, large ones reduced


@dataclass(frozen=True)
class Labelled:
    """An image (side, side, 3) uint8 with its true label and the best ones of a net, each with its probability."""

    image: Image
    truth: str
    best: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Searched:
    """An image and the training images nearest to it, nearest first; whether each of them has its label."""

    image: Image
    truth: str
    by_features: Sequence[tuple[Image, bool]]
    by_pixels: Sequence[tuple[Image, bool]]


@dataclass(frozen=True)
class ImagesData:
    """What Figure 4 shows."""

    labelled: Sequence[Labelled]
    searched: Sequence[Searched]


def draw_images(data: ImagesData) -> Draw:
    """Bars of probability above, the true label's orange with a mark; rows of nearest images below."""

    def draw(width: Width) -> Figure:
        across = WIDTHS_PT[width]
        per_row = 4 if width == "wide" else 1
        panel_width, panel_height = (across - 8) / per_row, 92.0
        middle = 22 + -(-len(data.labelled) // per_row) * panel_height
        tile = (across - 44) / 13 if width == "wide" else (across - 22) / 7
        row_height = tile + 16 if width == "wide" else 2 * tile + 46
        figure, axes = canvas(width, middle + 48 + len(data.searched) * row_height)
        axes.text(8, 14, "Five best labels of test images", fontweight="bold")
        for place, shown in enumerate(data.labelled):
            down, right = divmod(place, per_row)
            _draw_labelled(axes, shown, 8 + right * panel_width, 24 + down * panel_height, panel_width)
        axes.text(8, middle + 14, "Nearest training images", fontweight="bold")
        (_draw_rows_wide if width == "wide" else _draw_rows_narrow)(
            axes, data.searched, middle + 22, tile, row_height
        )
        return figure

    return draw


def _draw_labelled(axes: Axes, shown: Labelled, x: float, y: float, width: float) -> None:
    side, left = 66.0, 72.0
    room = width - left - 9
    _show(axes, shown.image, x, y + 14, side)
    axes.text(x, y + 8, shorten(shown.truth, width - 12, 8.5, is_bold=True), fontsize=8.5, fontweight="bold")
    for row, (label, prob) in enumerate(shown.best):
        is_true = label == shown.truth
        top = y + 14 + 13.4 * row
        axes.add_patch(Rectangle((x + left, top), room, 12, facecolor="#F3F4F6", lw=0))
        axes.add_patch(
            Rectangle((x + left, top), room * prob, 12, lw=0, facecolor="#F2B58A" if is_true else "#A9CFE8")
        )
        axes.add_patch(Rectangle((x + left, top), 2, 12, lw=0, facecolor=ORANGE if is_true else BLUE))
        name = shorten(f"✓ {label}" if is_true else label, room - 22, 7.5)
        axes.text(x + left + 4, top + 6.2, name, fontsize=7.5, va="center")
        axes.text(x + left + room - 2, top + 6.2, f"{100 * prob:.0f}", fontsize=7.5, va="center", ha="right")


def _draw_rows_wide(
    axes: Axes, searched: Sequence[Searched], y: float, tile: float, row_height: float
) -> None:
    starts = (8.0, 8 + tile + 14, 8 + 7 * tile + 28)
    for x, title in zip(starts, ("image", "nearest by features of fc7", "nearest by pixels"), strict=True):
        axes.text(x, y + 9, title, color=GREY)
    for row, one in enumerate(searched):
        top = y + 29 + row * row_height
        _show(axes, one.image, starts[0], top, tile - 4)
        axes.text(starts[0], top - 3.5, shorten(one.truth, 4 * tile, 7.5), fontsize=7.5)
        for x, images in zip(starts[1:], (one.by_features, one.by_pixels), strict=True):
            _draw_found(axes, images, x, top, tile)


def _draw_rows_narrow(
    axes: Axes, searched: Sequence[Searched], y: float, tile: float, row_height: float
) -> None:
    for row, one in enumerate(searched):
        top = y + 8 + row * row_height
        axes.text(
            8, top + 8, shorten(one.truth, 7 * tile, 8.5, is_bold=True), fontsize=8.5, fontweight="bold"
        )
        _show(axes, one.image, 8, top + 24, tile - 3)
        for place, (title, images) in enumerate(
            (("by features of fc7", one.by_features), ("by pixels", one.by_pixels))
        ):
            below = top + 24 + place * (tile + 12)
            axes.text(14 + tile, below - 2.5, title, fontsize=7.5, color=GREY)
            _draw_found(axes, images, 14 + tile, below, tile)


def _draw_found(axes: Axes, images: Sequence[tuple[Image, bool]], x: float, y: float, tile: float) -> None:
    """Images side by side, those of the same class underlined."""
    for place, (image, is_same) in enumerate(images):
        left, side = x + place * tile, tile - 4
        _show(axes, image, left, y, side)
        axes.add_patch(
            Rectangle((left, y + side + 0.8), side, 2.2, lw=0, facecolor=ORANGE if is_same else LIGHT)
        )


def _show(axes: Axes, image: Image, x: float, y: float, side: float) -> None:
    axes.imshow(
        _embedded(image),
        extent=(x, x + side, y + side, y),
        interpolation="none",
        aspect="auto",
        clip_on=False,
    )
    axes.add_patch(Rectangle((x, y), side, side, fill=False, lw=0.5, edgecolor=INK))


def _embedded(image: Image) -> npt.NDArray[Any]:
    """The pixels that are put into the file."""
    side = image.shape[0]
    if side > MOST_SIDE:
        return cv2.resize(image, (MOST_SIDE, MOST_SIDE), interpolation=cv2.INTER_AREA)
    times = max(1, LEAST_SIDE // side)
    return image.repeat(times, 0).repeat(times, 1)
