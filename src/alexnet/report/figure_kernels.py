"""Figure 3: the kernels of conv1, a block for each column, and how much each column is after colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.core.selectivity import AGNOSTIC, OF_RANDOM, ColumnColours
from alexnet.report.figures import (
    BLUE,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    WIDTHS_PT,
    Draw,
    Width,
    canvas,
    plot_area,
    wrap,
)

COLUMN_LOOKS = ((BLUE, "o"), (ORANGE, "s"))
PIXEL = 6  # of a kernel, in pixels of the picture that is embedded


@dataclass(frozen=True)
class KernelsData:
    """kernels (n, 3, k, k) of one net, in equal shares of columns, in order; nets: the name and colours of each."""

    kernels: npt.NDArray[Any]
    columns: int
    nets: Sequence[tuple[str, ColumnColours]]
    about: str


def draw_kernels(data: KernelsData) -> Draw:
    """Kernels above, each scaled by its largest weight about a mid grey; selectivities of all nets below."""
    share = len(data.kernels) // data.columns
    pictures = [_picture(kernel) for kernel in data.kernels]

    def draw(width: Width) -> Figure:
        across = WIDTHS_PT[width]
        per_row = min(share, 16 if share > 8 and width == "wide" else 8)
        rows = -(-share // per_row)
        tile = min(46.0, (across - 28) / per_row)
        lines = wrap(data.about, 130 if width == "wide" else 46)
        top = 14 + 13 * len(lines)
        beside = max(1, int((across - 8) // (per_row * tile + 20)))  # blocks that fit side by side
        block = 28 + rows * tile
        below = top + -(-data.columns // beside) * block
        plot_height = 26 + (30 if width == "wide" else 34) * len(data.nets)
        figure, axes = canvas(width, below + plot_height + 72)
        for row, line in enumerate(lines):
            axes.text(8, 14 + 13 * row, line, color=GREY)
        for column in range(data.columns):
            x, y = 8 + column % beside * (per_row * tile + 20), top + column // beside * block
            axes.text(x, y + 10, f"column {column + 1}" if data.columns > 1 else "all kernels", fontweight="bold",
                      color=COLUMN_LOOKS[column % 2][0])  # fmt: skip
            for place in range(share):
                down, right = divmod(place, per_row)
                _show(
                    axes, pictures[column * share + place], x + right * tile, y + 16 + down * tile, tile - 3
                )
        _draw_selectivities(figure, data, across, below + 30, plot_height)
        return figure

    return draw


def _picture(kernel: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A kernel (3, k, k) as (k', k', 3): 0 is mid grey, its largest weight the end of the scale."""
    scaled = 0.5 + 0.5 * kernel / max(float(np.abs(kernel).max()), 1e-30)
    return np.rint(255 * scaled).astype(np.uint8).transpose(1, 2, 0).repeat(PIXEL, 0).repeat(PIXEL, 1)


def _show(axes: Axes, picture: npt.NDArray[np.uint8], x: float, y: float, side: float) -> None:
    axes.imshow(
        picture, extent=(x, x + side, y + side, y), interpolation="none", aspect="auto", clip_on=False
    )


def _draw_selectivities(figure: Figure, data: KernelsData, across: float, top: float, height: float) -> None:
    names = max(len(name) for name, _ in data.nets)
    left = 16 + 5.6 * names
    plot = plot_area(figure, left, top, across - left - 14, height)
    for row, (_, colours) in enumerate(data.nets):
        for place, values in enumerate(colours.columns):
            colour, marker = COLUMN_LOOKS[place % 2]
            y = row + (0.2 if place else -0.2) * (len(colours.columns) > 1)
            plot.plot(values, np.full(len(values), y), marker, color=colour, ms=3.5, alpha=0.45, mew=0)
            mean, spread = colours.means[place], colours.spreads[place]
            plot.errorbar([mean], [y], xerr=[spread], fmt=marker, color=colour,
                          mec=INK, mew=0.8, ms=7, capsize=3, lw=1.2)  # fmt: skip
    plot.axvline(OF_RANDOM, color=GREY, lw=0.9, ls=":", zorder=0)
    plot.axvspan(0, AGNOSTIC, color=LIGHT, alpha=0.5, lw=0, zorder=-1)
    plot.set_xlim(0, 1)
    plot.set_ylim(len(data.nets) - 0.4, -0.6)
    plot.set_yticks(range(len(data.nets)), [name for name, _ in data.nets])
    plot.tick_params(axis="y", length=0)
    plot.spines["left"].set_visible(False)
    plot.set_xlabel("colour selectivity")
    plot.text(OF_RANDOM, -0.62, "random kernels", ha="center", va="bottom", fontsize=8, color=GREY)
    plot.text(AGNOSTIC / 2, -0.62, "colour-agnostic", ha="center", va="bottom", fontsize=8, color=GREY)
