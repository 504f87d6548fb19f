"""Learning curves of the report page: one small chart for each group of nets, as lines on a plain grid.

A chart has the width of a telephone; on wider screens they stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from alexnet.report import wording

WIDTH, HEIGHT = 352, 216  # the chart's own units: pixels of a browser where it is shown at its size
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 10, 34
CHART_SIZE = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "bottom": BOTTOM}
MOST_X_TICKS, Y_STEPS = 7, (5, 10, 20, 25)
Curve = Literal["base", "train", "val"]
COLUMNS: Mapping[Curve, str] = {"train": "train_top1_error", "val": "val_top1_error"}
NAMES: Mapping[Curve, str] = {"val": "validation", "train": "training"}


@dataclass(frozen=True)
class Nets:
    """What a chart shows: nets by name, each with its history, and those they are compared with.

    about: what they are, in a sentence.
    """

    title: str
    about: str
    histories: Mapping[str, pd.DataFrame]
    base: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Tick:
    """A mark of a scale: where it is, in the chart's units, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """lines: kind and points of each, those of the base first, so that they lie below. summary: the chart in words."""

    title: str
    about: str
    summary: str
    lines: list[tuple[Curve, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def draw_chart(nets: Nets) -> Chart:
    """Training and validation error of each net by epoch, in percent."""
    drawn: list[tuple[Curve, list[tuple[float, float]]]] = [
        ("base", _points(history, "val")) for history in nets.base.values()
    ]
    for kind in COLUMNS:
        drawn += [(kind, _points(history, kind)) for history in nets.histories.values()]
    drawn = [(kind, points) for kind, points in drawn if points]
    longest = max((points[-1][0] for _, points in drawn), default=1.0)
    most = max((error for _, points in drawn for _, error in points), default=1.0)
    top, step = _scale(100 * most)

    def place(epoch: float, error: float) -> tuple[float, float]:
        across = (epoch - 1) / max(longest - 1, 1)
        down = 1 - 100 * error / top
        return LEFT + across * (WIDTH - LEFT - RIGHT), TOP + down * (HEIGHT - TOP - BOTTOM)

    lines = [
        (kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points)))
        for kind, points in drawn
    ]
    x_ticks = [Tick(place(epoch, 0)[0], f"{epoch}") for epoch in _epochs_marked(round(longest))]
    y_ticks = [Tick(place(1, percent / 100)[1], f"{percent}") for percent in range(0, top + 1, step)]
    return Chart(nets.title, nets.about, _summarise(nets), lines, x_ticks, y_ticks)


def _points(history: pd.DataFrame, kind: Curve) -> list[tuple[float, float]]:
    """Epochs and errors, without epochs that have none."""
    column = COLUMNS[kind]
    rows = history[["epoch", column]].dropna().sort_values("epoch")
    return list(zip(rows["epoch"].astype(float), rows[column].astype(float), strict=True))


def _scale(most: float) -> tuple[int, int]:
    """The upper end of the scale of percent, and its step: the smallest that gives five steps or fewer."""
    step = next((step for step in Y_STEPS if most <= 5 * step), Y_STEPS[-1])
    return max(step, step * math.ceil(most / step)), step


def _epochs_marked(last: int) -> list[int]:
    """The first epoch, the last, and round ones between that are not too near to either."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if last / step <= MOST_X_TICKS)
    between = [epoch for epoch in range(step, last, step) if epoch - 1 > step / 2 and last - epoch > step / 2]
    return sorted({1, *between, last})


def _summarise(nets: Nets) -> str:
    """What the chart shows, for who does not see it: the last errors of the nets."""
    lengths = _range([f"{int(history['epoch'].max())}" for history in nets.histories.values()])
    parts = [f"{wording.count(len(nets.histories), 'net')}, {lengths} epochs"]
    for kind, name in NAMES.items():
        if last := _last(nets.histories.values(), kind):
            parts.append(f"last {name} error {_range(last)}{wording.NO_BREAK}%")
    if last := _last(nets.base.values(), "val"):
        parts.append(f"that of the base {_range(last)}{wording.NO_BREAK}%")
    return "; ".join(parts) + "."


def _last(histories: Iterable[pd.DataFrame], kind: Curve) -> list[str]:
    ends = [points[-1][1] for points in (_points(history, kind) for history in histories) if points]
    return [f"{100 * error:.1f}" for error in sorted(ends)]


def _range(texts: Sequence[str]) -> str:
    """The first and the last of some texts, or the one that all are."""
    ordered = list(dict.fromkeys(texts))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
