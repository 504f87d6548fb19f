"""Figure 1: training error against epoch, with ReLU and with tanh."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.report.figures import BLUE, GREY, ORANGE, WIDTHS_PT, Draw, Width, canvas, plot_area, wrap

LOOKS = {"relu": ("ReLU", BLUE, "-"), "tanh": ("tanh", ORANGE, "--")}


@dataclass(frozen=True)
class EpochsData:
    """Of each activation its rate, and of each of its nets the errors of successive epochs and epochs to the target.

    ratio: how many times as many epochs tanh takes; None, as epochs may be, where a net did not get there.
    """

    rates: Mapping[str, float]
    errors: Mapping[str, Sequence[Sequence[float]]]
    epochs: Mapping[str, Sequence[float | None]]
    target: float
    ratio: float | None
    about: str


def draw_epochs(data: EpochsData) -> Draw:
    """A line for each net, ReLU's solid and tanh's dashed, and the span between where they are down to the target."""

    def draw(width: Width) -> Figure:
        across = WIDTHS_PT[width]
        lines = wrap(data.about, 130 if width == "wide" else 46)
        top, height = 14 + 13 * len(lines), 300 if width == "wide" else 220
        figure, axes = canvas(width, top + height + 44)
        for row, line in enumerate(lines):
            axes.text(8, 14 + 13 * row, line, color=GREY)
        plot = plot_area(figure, 44, top, across - 44 - 14, height)
        for activation, (name, colour, style) in LOOKS.items():
            for errors in data.errors[activation]:
                steps = range(1, len(errors) + 1)
                plot.plot(steps, [100 * error for error in errors], style, color=colour, lw=1.4)
            plot.plot(
                [], [], style, color=colour, lw=1.8, label=f"{name}, learning rate {data.rates[activation]:g}"
            )
        longest = max(len(errors) for nets in data.errors.values() for errors in nets)
        plot.set_xlim(0.5, longest + 0.5)
        plot.set_ylim(
            0, 100 * max(error for nets in data.errors.values() for run in nets for error in run) + 4
        )
        plot.axhline(100 * data.target, color=GREY, lw=0.9, ls=":")
        plot.set_xlabel("epoch")
        plot.set_ylabel("training error, %")
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.legend(loc="upper right", frameon=False, handlelength=3)
        if data.ratio is not None:
            _mark_ratio(plot, data)
        return figure

    return draw


def _mark_ratio(plot: Axes, data: EpochsData) -> None:
    """The epochs to the target, their ratio between them."""
    ends = {
        name: geometric_mean([epoch for epoch in data.epochs[name] if epoch is not None]) for name in LOOKS
    }
    level = 100 * data.target
    for name, epoch in ends.items():
        plot.plot([epoch, epoch], [0, level], color=LOOKS[name][1], lw=1.0)
        plot.plot([epoch], [level], "o", color=LOOKS[name][1], ms=5, zorder=5)
    low, high = sorted(ends.values())
    plot.annotate(
        "",
        (low, 0.45 * level),
        (high, 0.45 * level),
        arrowprops={"arrowstyle": "<->", "color": GREY, "lw": 1.0},
    )
    plot.text(
        (low + high) / 2, 0.5 * level, f"{data.ratio:.2g} times", ha="center", va="bottom", fontweight="bold"
    )


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive values: ratios of these means are means of ratios."""
    return math.exp(sum(map(math.log, values)) / len(values))
