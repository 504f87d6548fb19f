"""How sure an error is: over images, over seeds, and of the difference between two paired ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from alexnet.schema import Params

# SciPy's statistics take most of a second to import, and the front door imports this module for TableParams.


class TableParams(Params):
    """params.yaml: tables."""

    confidence: Annotated[float, Field(gt=0, lt=1)]


def interval_over_images(num_wrong: int, num_images: int, confidence: float) -> tuple[float, float]:
    """The Wilson score interval of an error, from 0 to 1: which errors agree with these many wrong images.

    Raises ValueError unless 0 <= num_wrong <= num_images and 0 < num_images.
    """
    if not 0 <= num_wrong <= num_images or num_images == 0:
        raise ValueError(f"{num_wrong} of {num_images} images are wrong, expected a part of at least one")
    from scipy.stats import binomtest

    interval = binomtest(num_wrong, num_images).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def interval_over_seeds(errors: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Student's t-interval of the mean error over nets that differ in seed; None for one net, which has no spread.

    It is symmetric about the mean, so with few nets it may leave 0 to 1. Raises ValueError without errors.
    """
    if not errors:
        raise ValueError("there are no errors, so there is no interval")
    if len(errors) == 1:
        return None
    from scipy.stats import t

    mean = sum(errors) / len(errors)
    half = float(t.ppf((1 + confidence) / 2, len(errors) - 1)) * _standard_error(np.array(errors, np.float64))
    return mean - half, mean + half


def paired_difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[float, float]:
    """The mean of first - second over images, and its standard error.

    first, second: (N,) a value for each image, the same images in the same order, N at least 2. Pairing removes what
    makes an image hard for both, so it finds smaller differences than two intervals do. Raises ValueError otherwise.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(
            f"paired values have shapes {first.shape} and {second.shape}, expected one (N,), N >= 2"
        )
    differences = first.astype(np.float64) - second.astype(np.float64)
    return float(differences.mean()), _standard_error(differences)


def _standard_error(values: npt.NDArray[np.float64]) -> float:
    """The sample's standard deviation (n - 1) over the square root of n."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))
