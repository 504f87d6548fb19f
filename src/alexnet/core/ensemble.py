"""The average of several members' predictions (paper §6): of their probabilities, never of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.core.metrics import rank

IMAGES_AT_ONCE = 4096  # a full-size average in float64 would need gigabytes

# Every float16 as float64, by its bits. Most probabilities of 1,000 classes are so small that NumPy takes four times as
# long to convert them as to look them up.
with np.errstate(invalid="ignore"):
    _HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)


def check_same_keys(keys: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError, naming both members, unless all members' images are the same in the same order.

    keys: member -> its image keys, in stored order.
    """
    names = list(keys)
    for other in names[1:]:
        first, second = keys[names[0]], keys[other]
        if len(first) != len(second):
            raise ValueError(
                f"{names[0]} and {other} predict different images: {len(first)} and {len(second)} of them"
            )
        for place, (one, two) in enumerate(zip(first, second, strict=True)):
            if one != two:
                raise ValueError(
                    f"{names[0]} and {other} predict different images: row {place} is {one} and {two}"
                )


def average(
    probs: Sequence[npt.NDArray[Any]], weights: Sequence[float] | None = None
) -> npt.NDArray[np.float64]:
    """The weighted mean of the members' probabilities: (N, classes) float64.

    probs: one (N, classes) array for each member, all of one shape. weights: one for each member, not negative,
    summing to 1; equal by default (the paper says only "averaging", §5). Sums are kept in float64, in which those of
    float16 values are exact, so with equal weights the order of the members changes no bit.
    Raises ValueError on no members, shapes that differ or weights that are none.
    """
    if not probs or any(each.shape != probs[0].shape for each in probs):
        raise ValueError(f"members' probs have shapes {[each.shape for each in probs]}, expected one shape")
    total = np.zeros(probs[0].shape, np.float64)
    if weights is None:
        for each in probs:
            total += widen(each)
        return total / len(probs)
    _check_weights(weights, len(probs))
    for weight, each in zip(weights, probs, strict=True):
        total += weight * widen(each)
    return total


def widen(probs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The same values in float64, quickly where they are stored as float16."""
    if probs.dtype != np.float16:
        return probs.astype(np.float64)
    return _HALVES.take(np.ascontiguousarray(probs).view(np.uint16))


def rank_average(
    probs: Sequence[npt.NDArray[Any]], k: int, weights: Sequence[float] | None = None
) -> npt.NDArray[np.int32]:
    """The k best labels of each image by the members' average: (N, min(k, classes)) int32, best first.

    Arguments and errors as those of `average`; ranking as that of `metrics.rank`.
    """
    starts = range(0, max(1, len(probs[0])) if probs else 1, IMAGES_AT_ONCE)
    parts = [[each[start : start + IMAGES_AT_ONCE] for each in probs] for start in starts]
    return np.concatenate([rank(average(part, weights), k)[0] for part in parts])


def _check_weights(weights: Sequence[float], num_members: int) -> None:
    if len(weights) != num_members:
        raise ValueError(f"there are {len(weights)} weights, expected {num_members}, one for each member")
    if min(weights) < 0 or abs(sum(weights) - 1) > 1e-9:
        raise ValueError(f"weights are {list(weights)}, expected none negative and a sum of 1")
