"""How sure a method is of its effect: over seeds and over images at once, and what would make it surer.

A net's mistakes depend on its seed, on the image and on both together. An effect is a mean over a few seeds and over
many images that all seeds share, so its variance has two parts that do not shrink together:

    var(effect) = (own + residual / images) / seeds  +  image / images

own: variance between seeds, were there images without end. image: variance between images, were there seeds without
end. residual: of one image under one seed, beyond both. The first part is the spread of the seeds' own means, which can
be seen; the second is the spread of the images' means less the residual that is in it (a two-way layout without
repetition, whose expected mean squares are in any book on variance components).

With 2 to 5 seeds the first part is known with 1 to 4 degrees of freedom, the second with thousands. Welch-Satterthwaite
adds degrees of freedom as if each part were known: at two seeds its 95 % intervals hold 87 % (a test shows it). Cochran
and Cox (1950) weigh the quantiles of both parts by their variances instead; that holds 94 to 98 % whatever the parts,
which is why it is used here. The price is wide intervals of few seeds, as is honest.

Two or three seeds may also agree by luck, to the very image, and would then seem sure beyond reason. But a residual
there is, and many images tell it well: an interval is never narrower than it would be if seeds had no variance of their
own. Where they have none, it then holds up to 99.5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NOTHING = 1e-24  # a variance below it is rounding
LEAST_P = 1e-12
MOST_SEEDS = 10_000
MOST_IMAGES = 1_000_000_000

# SciPy is imported where it is used: the front door imports the modules of the core for their parameters.


@dataclass(frozen=True)
class Seeds:
    """The spread over nets of one kind. own, residual: variances, see above; own is an estimate and may be negative."""

    num: int
    own: float
    residual: float

    def variance(self, num_images: int | None) -> float:
        """Of the mean over the seeds: what the seeds add to it, and the residual."""
        return (self.own + (self.residual / num_images if num_images else 0.0)) / self.num


@dataclass(frozen=True)
class Effect:
    """An estimate with its variance in parts.

    seeds: one entry for nets paired by seed, two for nets that are not, none where the nets are given. image: variance
    between images; num_images: None where no images are in it, as for a number of epochs.
    """

    value: float
    seeds: tuple[Seeds, ...]
    image: float = 0.0
    num_images: int | None = None

    def parts(self) -> list[tuple[float, int]]:
        """Variance and degrees of freedom of each part."""
        parts = [(seeds.variance(self.num_images), seeds.num - 1) for seeds in self.seeds]
        if self.num_images:
            parts.append((max(self.image, 0.0) / self.num_images, self.num_images - 1))
        return parts

    def least_variance(self) -> float:
        """What is left of the variance if seeds have none of their own."""
        if not self.num_images:
            return 0.0
        residual = sum(seeds.residual / seeds.num for seeds in self.seeds)
        return (residual + max(self.image, 0.0)) / self.num_images

    def resized(self, num_seeds: int | None = None, num_images: int | None = None) -> Effect:
        """The same with other numbers of seeds (of each kind) or images; what is negative by chance counts as none."""
        seeds = tuple(replace(kind, num=num_seeds or kind.num, own=max(kind.own, 0.0)) for kind in self.seeds)
        return replace(self, seeds=seeds, num_images=num_images or self.num_images)


def paired_effect(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Effect:
    """The mean of first - second, nets paired by seed.

    first, second: (seeds, images) mistakes, row by row of the same seed, column by column of the same image.
    Raises ValueError if the shapes differ.
    """
    _check_matrices(first, second)
    if first.shape != second.shape:
        raise ValueError(f"paired values have shapes {first.shape} and {second.shape}, expected one shape")
    return mean_effect(first.astype(np.float64) - second)


def unpaired_effect(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Effect:
    """The mean of `first` less that of `second`, whose seeds have nothing to do with each other; images are shared.

    first, second: (seeds, images) mistakes, not necessarily as many seeds. Raises ValueError if the images differ.
    """
    _check_matrices(first, second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"there are {first.shape[1]} and {second.shape[1]} images, expected as many of both")
    return _crossed([first.astype(np.float64), -second.astype(np.float64)])


def mean_effect(values: npt.NDArray[Any]) -> Effect:
    """The mean over seeds and images of (seeds, images) values."""
    _check_matrices(values)
    return _crossed([values.astype(np.float64)])


def image_effect(values: npt.NDArray[Any]) -> Effect:
    """The mean over images of (images,) values of given nets, such as an ensemble's mistakes less its members' mean."""
    return Effect(
        float(values.mean()), (), float(values.var(ddof=1)) if len(values) > 1 else 0.0, len(values)
    )


def seed_effect(values: Sequence[float]) -> Effect:
    """The mean over seeds of one number each, such as the logarithm of a ratio of epochs."""
    own = float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
    return Effect(float(np.mean(values)), (Seeds(len(values), own, 0.0),))


def interval(effect: Effect, confidence: float) -> tuple[float, float] | None:
    """The interval about an effect; None if it has no spread: with one seed, or where nothing differs."""
    if not has_spread(effect):
        return None
    half = _half_width(effect, 1 - confidence)
    return effect.value - half, effect.value + half


def p_value(effect: Effect, null: float = 0.0) -> float | None:
    """The chance of so large a departure from `null`: 1 less the confidence at which the interval ends there.

    At least LEAST_P, at most 1; None where there is no interval.
    """
    if not has_spread(effect):
        return None
    from scipy.optimize import brentq

    distance = abs(effect.value - null)
    if distance == 0:
        return 1.0
    if _half_width(effect, LEAST_P) <= distance:
        return LEAST_P
    return float(10 ** brentq(lambda log: _half_width(effect, 10**log) - distance, math.log10(LEAST_P), 0.0))


def has_spread(effect: Effect) -> bool:
    """Whether an interval can be given: two seeds of each kind, and some difference between seeds or images."""
    known = all(seeds.num > 1 for seeds in effect.seeds)
    return known and max(_total(effect), effect.least_variance()) > NOTHING


def exact_mcnemar(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """McNemar's exact p-value that two given nets err equally often; it says nothing of other seeds.

    first, second: (images,) mistakes of the two, 0 or 1. Only images on which one alone errs count. At least LEAST_P.
    """
    from scipy.stats import binomtest

    only_first, only_second = int(np.sum(first > second)), int(np.sum(second > first))
    if only_first + only_second == 0:
        return 1.0
    return max(LEAST_P, float(binomtest(only_first, only_first + only_second, 0.5).pvalue))


def adjust(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number by Benjamini and Hochberg (1995); None stays None and does not count.

    Calling what is below 0.05 found, at most 5 % of the finds are expected to be none. Comparisons that share their
    base nets, as ours do, depend on each other positively, for which it holds too (Benjamini and Yekutieli, 2001).
    """
    from scipy.stats import false_discovery_control

    known = [value for value in p_values if value is not None]
    adjusted = iter(false_discovery_control(known).tolist() if known else [])
    return [None if value is None else next(adjusted) for value in p_values]


def seeds_to_decide(effect: Effect, distance: float, confidence: float, power: float) -> int | None:
    """How many seeds, on the same images, let the interval end within `distance` of the value with chance `power`.

    The spread is taken as it is now. None if no number up to MOST_SEEDS would, the images being too few.
    """
    if not effect.seeds:
        return None
    return _least(
        lambda num: _decides(effect.resized(num_seeds=num), distance, confidence, power), 2, MOST_SEEDS
    )


def images_to_decide(effect: Effect, distance: float, confidence: float, power: float) -> int | None:
    """The same for images with the seeds there are. None if no number up to MOST_IMAGES would, or there is one seed."""
    if not effect.num_images or any(seeds.num < 2 for seeds in effect.seeds):
        return None
    return _least(
        lambda num: _decides(effect.resized(num_images=num), distance, confidence, power), 2, MOST_IMAGES
    )


def _check_matrices(*matrices: npt.NDArray[Any]) -> None:
    for matrix in matrices:
        if matrix.ndim != 2 or matrix.shape[0] < 1 or matrix.shape[1] < 1:
            raise ValueError(
                f"values have shape {matrix.shape}, expected (seeds, images), one or more of each"
            )


def _crossed(groups: Sequence[Floats]) -> Effect:
    """The sum of the groups' means, over seeds of their own and images that all share; each (seeds, images)."""
    num_images = groups[0].shape[1]
    seeds, of_images, shared = [], np.zeros(num_images), 0.0
    for values in groups:
        of_seeds, images = values.mean(axis=1), values.mean(axis=0)
        of_images += images
        num, own, residual = len(values), 0.0, 0.0
        if num > 1 and num_images > 1:
            rest = values - of_seeds[:, None] - images + values.mean()
            residual = float((rest**2).sum()) / ((num - 1) * (num_images - 1))
        if num > 1:
            own = float(of_seeds.var(ddof=1)) - residual / num_images
        seeds.append(Seeds(num, own, residual))
        shared += residual / num
    image = float(of_images.var(ddof=1)) - shared if num_images > 1 else 0.0
    value = float(sum(values.mean() for values in groups))
    return Effect(value, tuple(seeds), image, num_images)


def _half_width(effect: Effect, alpha: float) -> float:
    """Cochran and Cox: the quantiles of the parts, weighed by their variances; no less than `least_variance` gives."""
    from scipy.special import stdtrit

    weighed = sum(
        -variance * float(stdtrit(freedom, alpha / 2)) for variance, freedom in effect.parts() if variance > 0
    )
    least = 0.0
    if effect.num_images and effect.num_images > 1:
        least = -float(stdtrit(effect.num_images - 1, alpha / 2)) * math.sqrt(effect.least_variance())
    total = _total(effect)
    return max(weighed / math.sqrt(total) if total > 0 else 0.0, least)


def _total(effect: Effect) -> float:
    return sum(variance for variance, _ in effect.parts())


def _decides(effect: Effect, distance: float, confidence: float, power: float) -> bool:
    from scipy.special import ndtri

    deviation = math.sqrt(max(_total(effect), effect.least_variance()))
    return _half_width(effect, 1 - confidence) + float(ndtri(power)) * deviation <= distance


def _least(decides: Any, low: int, high: int) -> int | None:
    """The least number from `low` to `high` that decides, more deciding ever better; None if none does."""
    if not decides(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low
