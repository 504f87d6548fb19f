"""How the 2012 code weighs the nets of an ensemble: a search on validation images, and how much that flatters it.

Everything is counted in whole numbers, coefficients in steps of 0.05 and stored float16 probabilities in their smallest
unit: so sums are exact, ties are ties whatever the order of the members, and a rival's whole range of coefficients
follows from one division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.core.ensemble import IMAGES_AT_ONCE, widen
from alexnet.core.intervals import paired_difference
from alexnet.core.metrics import rank
from alexnet.core.order import seeded_order

STEPS = 20  # a coefficient of 1
PASSES = 5
BEST = 5
UNIT = 2.0**-24  # every float16 from 0 to 1 is a whole number of these

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rivals:
    """Of N labelled images, the K classes that some weights put before the true one and others do not.

    leads: (members, K) int64, a rival's probability less the true class's, in UNITs. wins_ties: (K,) bool, whether its
    label is the lower. images: (K,) int64, rising, the image of each. is_hopeless: (N,) bool, wrong at top-5 whatever
    the weights. An image that is neither hopeless nor has rivals is right whatever they are.
    """

    leads: npt.NDArray[np.int64]
    wins_ties: Bools
    images: npt.NDArray[np.int64]
    is_hopeless: Bools

    def among(self, chosen: Bools) -> Rivals:
        """The same of the chosen images alone; chosen: (N,)."""
        kept, numbers = chosen[self.images], np.cumsum(chosen) - 1
        return Rivals(
            self.leads[:, kept], self.wins_ties[kept], numbers[self.images[kept]], self.is_hopeless[chosen]
        )


@dataclass(frozen=True)
class Optimism:
    """Top-5 errors of weights searched on one half of the images, from 0 to 1, averaged over splits and both ways.

    searched: on the half they were searched on. held_out: on the other half. equal: of equal weights, on both.
    difference: held_out - searched, by which the search flatters itself; gain: held_out - equal, below 0 where
    searching is worth it. Each has its standard error, paired over images.
    """

    splits: int
    searched: float
    held_out: float
    equal: float
    difference: float
    difference_error: float
    gain: float
    gain_error: float


def find_rivals(probs: Sequence[npt.NDArray[Any]], labels: npt.NDArray[np.int64]) -> Rivals:
    """What is left of the members' probabilities once all classes are gone that no weights bring into play.

    probs: a (N, classes) float16 array for each member. labels: (N,), none negative.
    Raises ValueError without members or images, or if shapes differ.
    """
    shapes = {each.shape for each in probs}
    if len(shapes) != 1 or len(labels) == 0 or next(iter(shapes))[0] != len(labels):
        raise ValueError(f"probs have shapes {sorted(shapes)} for {len(labels)} labels, expected one for all")
    parts = [
        _find_some([each[start : start + IMAGES_AT_ONCE] for each in probs], labels[start : start + IMAGES_AT_ONCE])
        for start in range(0, len(labels), IMAGES_AT_ONCE)
    ]  # fmt: skip
    starts = np.cumsum([0] + [len(part.is_hopeless) for part in parts])
    return Rivals(
        np.concatenate([part.leads for part in parts], axis=1),
        np.concatenate([part.wins_ties for part in parts]),
        np.concatenate([part.images + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.is_hopeless for part in parts]),
    )


def _find_some(probs: Sequence[npt.NDArray[Any]], labels: npt.NDArray[np.int64]) -> Rivals:
    """`find_rivals` of a few images."""
    shape = probs[0].shape
    is_lower = np.arange(shape[1]) < labels[:, None]
    may_lead, must_lead = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
    for each in probs:
        true = each[np.arange(shape[0]), labels][:, None]
        leads = (each > true) | ((each == true) & is_lower)
        may_lead |= leads
        must_lead &= leads
    is_hopeless = must_lead.sum(axis=1) >= BEST
    may_lead &= ((may_lead.sum(axis=1) >= BEST) & ~is_hopeless)[:, None]
    images, classes = np.nonzero(may_lead)
    leads_of = [
        _count_units(each[images, classes]) - _count_units(each[images, labels[images]]) for each in probs
    ]
    return Rivals(np.stack(leads_of), is_lower[images, classes], images.astype(np.int64), is_hopeless)


def _count_units(probs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    assert probs.dtype == np.float16, "as they are stored; others are no whole number of units"
    return (probs.astype(np.float64) / UNIT).astype(np.int64)


def is_wrong(rivals: Rivals, coefficients: Sequence[int]) -> Bools:
    """Which images the weighted average gets wrong at top-5: (N,) bool, ranked as by `rank_weighted`.

    Raises ValueError unless there is a coefficient for each member, none negative and one above 0.
    """
    _check(coefficients, len(rivals.leads))
    is_ahead = _sum_leads(rivals, coefficients) + rivals.wins_ties > 0
    ahead = np.bincount(rivals.images[is_ahead], minlength=len(rivals.is_hopeless))
    return np.asarray(rivals.is_hopeless | (ahead >= BEST))


def search_weights(rivals: Rivals) -> tuple[int, ...]:
    """The members' coefficients, 0 to STEPS each, that a search in the manner of 2012 ends with.

    It begins with equal ones, takes one member at a time and gives it the coefficient with the fewest images wrong at
    top-5, the nearest to what it has where several are as good; up to five passes, fewer if one changes nothing.
    Source: the helper of the 2012 code (§5), but for its start and its choice among equals, which are not recorded.
    """
    coefficients = [STEPS] * len(rivals.leads)
    for _ in range(PASSES):
        before = list(coefficients)
        for member, own in enumerate(before):
            wrong = _count_wrong(rivals, coefficients, member)
            tried = range(0 if sum(coefficients) > coefficients[member] else 1, STEPS + 1)
            coefficients[member] = min(tried, key=lambda step: (wrong[step], abs(step - own), -step))
        if coefficients == before:
            break
    return tuple(coefficients)


def measure_optimism(rivals: Rivals, splits: int, seed: int) -> Optimism:
    """How much smaller the error is on images that the weights were searched on than on others.

    Each of `splits` draws halves the images; weights are searched on each half and tried on both. Searching half as
    many images flatters more than searching all of them does. Raises ValueError with fewer than four images.
    """
    num_images = len(rivals.is_hopeless)
    if num_images < 4 or splits < 1:
        raise ValueError(
            f"{num_images} images in {splits} splits, expected four images and one split at least"
        )
    searched, held_out = np.zeros(num_images), np.zeros(num_images)
    for split in range(splits):
        is_first = np.zeros(num_images, np.bool_)
        is_first[seeded_order(num_images, seed, "halves", str(split))[: num_images // 2]] = True
        for half in (is_first, ~is_first):
            wrong = is_wrong(rivals, search_weights(rivals.among(half)))
            searched[half] += wrong[half]
            held_out[~half] += wrong[~half]
    searched, held_out = searched / splits, held_out / splits
    equal = is_wrong(rivals, [STEPS] * len(rivals.leads)).astype(np.float64)
    return Optimism(
        splits, float(searched.mean()), float(held_out.mean()), float(equal.mean()),
        *paired_difference(held_out, searched), *paired_difference(held_out, equal),
    )  # fmt: skip


def rank_weighted(
    probs: Sequence[npt.NDArray[Any]], k: int, coefficients: Sequence[int]
) -> npt.NDArray[np.int32]:
    """The k best labels of each image by the members' weighted sum: (N, min(k, classes)) int32, best first.

    probs: a (N, classes) float16 array for each member. Ranking as that of `metrics.rank`; errors as of `is_wrong`.
    """
    _check(coefficients, len(probs))
    parts = []
    for start in range(0, max(1, len(probs[0])), IMAGES_AT_ONCE):
        total = np.zeros(probs[0][start : start + IMAGES_AT_ONCE].shape, np.float64)
        for coefficient, each in zip(coefficients, probs, strict=True):
            if coefficient:
                total += coefficient * widen(each[start : start + IMAGES_AT_ONCE])
        parts.append(rank(total, k)[0])
    return np.concatenate(parts)


def _sum_leads(rivals: Rivals, coefficients: Sequence[int]) -> npt.NDArray[np.int64]:
    """(K,) the rivals' leads in the weighted sum."""
    total = np.zeros(rivals.leads.shape[1], np.int64)
    for coefficient, leads in zip(coefficients, rivals.leads, strict=True):
        total += coefficient * leads
    return total


def _count_wrong(rivals: Rivals, coefficients: Sequence[int], member: int) -> npt.NDArray[np.int64]:
    """How many images are wrong for each coefficient, 0 to STEPS, of one member: (STEPS + 1,).

    A rival is ahead for all coefficients c with rest + c * lead > 0, or >= 0 if it wins ties: one end of the range.
    """
    lead = rivals.leads[member]
    rest = _sum_leads(rivals, coefficients) - coefficients[member] * lead + rivals.wins_ties
    rising, falling = lead > 0, lead < 0
    first, stop = np.zeros(len(lead), np.int64), np.full(len(lead), STEPS + 1)
    first[rising] = np.clip(-(-(1 - rest[rising]) // lead[rising]), 0, STEPS + 1)
    stop[falling] = np.clip((rest[falling] - 1) // -lead[falling] + 1, 0, STEPS + 1)
    stop[~rising & ~falling & (rest < 1)] = 0
    place = np.cumsum(np.diff(rivals.images, prepend=-1) > 0) - 1  # among the images that have rivals
    width, is_ahead = STEPS + 2, stop > first
    size = (int(place[-1]) + 1 if len(place) else 0) * width
    ahead = np.bincount(place[is_ahead] * width + first[is_ahead], minlength=size)
    ahead -= np.bincount(place[is_ahead] * width + stop[is_ahead], minlength=size)
    wrong = (ahead.reshape(-1, width).cumsum(axis=1)[:, :-1] >= BEST).sum(axis=0)
    return np.asarray(wrong + rivals.is_hopeless.sum())


def _check(coefficients: Sequence[int], num_members: int) -> None:
    if len(coefficients) != num_members or min(coefficients) < 0 or not any(coefficients):
        raise ValueError(
            f"coefficients are {list(coefficients)}, expected {num_members}, none negative and one above 0"
        )
