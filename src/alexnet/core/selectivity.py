"""How much the kernels of conv1 are after colour, and whether the columns differ in it (Figure 3, §6.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# A kernel drawn at random has two of its three directions in colour space off the grey axis.
OF_RANDOM = 2 / 3
AGNOSTIC = OF_RANDOM / 2  # a column below it on average is largely colour-agnostic
SIGNIFICANT = 0.05


def colour_selectivity(kernels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Of each kernel (n, 3, k, k) the part of its energy off the grey axis (1, 1, 1): (n,), from 0 to 1.

    The energy is the sum of squared weights. 0: it sees brightness alone; 1: a grey image leaves it at 0; a random one
    has 2/3 on average. A kernel of zeros has none to speak of: 0.
    """
    weights = kernels.astype(np.float64).reshape(len(kernels), 3, -1)
    grey = np.square(weights.sum(1)).sum(1) / 3
    total = np.square(weights).sum((1, 2))
    return np.where(total > 0, 1 - grey / np.where(total > 0, total, 1), 0).clip(0, 1)


@dataclass(frozen=True)
class ColumnColours:
    """Selectivities of one net: of each column's kernels, and whether two columns differ as in the paper.

    p_value: of Mann and Whitney's test, that kernels of both columns come from one distribution; None for one column.
    differs: the less selective column is below half of random kernels on average, the other is not, and p < 0.05.
    """

    columns: tuple[npt.NDArray[np.float64], ...]
    p_value: float | None
    differs: bool | None

    @property
    def means(self) -> list[float]:
        """Of each column."""
        return [float(column.mean()) for column in self.columns]

    @property
    def spreads(self) -> list[float]:
        """Of each column the standard deviation (n - 1) over its kernels; 0 for one kernel."""
        return [float(column.std(ddof=1)) if len(column) > 1 else 0.0 for column in self.columns]


def compare_columns(kernels: npt.NDArray[Any], columns: int) -> ColumnColours:
    """The selectivities of conv1's kernels (n, 3, k, k), which columns hold in equal shares in order."""
    parts = tuple(np.split(colour_selectivity(kernels), columns))
    if columns != 2:
        return ColumnColours(parts, None, None)
    from scipy.stats import mannwhitneyu

    first, second = parts
    p_value = float(mannwhitneyu(first.tolist(), second.tolist()).pvalue)
    low, high = sorted((float(first.mean()), float(second.mean())))
    return ColumnColours(parts, p_value, bool(low < AGNOSTIC <= high and p_value < SIGNIFICANT))
