"""What members predict: the shape in which predictions are kept, ranked and averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ViewPredictions:
    """What a member says of N images, from the mean of ten views or from the centre view.

    labels: (N, k) int32, k = min(5, classes), best first. top_probs: (N, k) float32, their probabilities.
    probs: (N, classes) float16, or None where only the best are stored.
    """

    labels: npt.NDArray[np.int32]
    top_probs: npt.NDArray[np.float32]
    probs: npt.NDArray[np.float16] | None


@dataclass(frozen=True)
class Predictions:
    """A member's predictions for one split, images in stored order.

    keys: N image keys. labels: (N,) int64, -1 where the image is unlabelled. reason: why there are no rows or no
    labels, else None. synsets_sha256: hash of the class order, so that only members with equal classes are averaged.
    """

    dataset: str
    member: str
    split: str
    num_classes: int
    keys: list[str]
    labels: npt.NDArray[np.int64]
    ten: ViewPredictions
    centre: ViewPredictions
    reason: str | None
    synsets_sha256: str | None = None


def hash_classes(wnids: Iterable[str]) -> str:
    """The `synsets_sha256` of classes with these wnids, in the order of their labels."""
    return hashlib.sha256("\n".join(wnids).encode()).hexdigest()
