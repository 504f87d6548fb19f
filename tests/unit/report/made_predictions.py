"""Predictions made by hand, so that every error in a test can be counted on paper."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.core.metrics import rank
from alexnet.core.predictions import Predictions, ViewPredictions

NUM_CLASSES = 6
BEST_FIRST = (0.5, 0.2, 0.1, 0.08, 0.07, 0.05)

# Members 1 to 5 are wrong on 1 to 5 of 20 images, no two on the same one.
FIVE_WRONG: Mapping[str, Collection[int]] = {
    "cnn1": {0}, "cnn2": {1, 2}, "cnn3": {3, 4, 5}, "cnn4": {6, 7, 8, 9}, "cnn5": {10, 11, 12, 13, 14},
}  # fmt: skip


def view(probs: npt.NDArray[Any], *, keep_probs: bool = True) -> ViewPredictions:
    """The view of a member that has these probabilities."""
    labels, top_probs = rank(probs.astype(np.float32), 5)
    return ViewPredictions(labels, top_probs, probs.astype(np.float16) if keep_probs else None)


def make_predictions(
    member: str,
    split: str = "val",
    *,
    far: Collection[int] = (),
    near: Collection[int] = (),
    centre_far: Collection[int] | None = None,
    num_images: int = 20,
    dataset: str = "ilsvrc2012",
    **changes: Any,
) -> Predictions:
    """A member's predictions of images whose labels go 0, 1, .. 5, 0, ..

    Of images in `far` the label comes last of six, of those in `near` second, of all others first. Where the centre
    view fails is `centre_far`, that of ten views if None.
    """
    labels = np.arange(num_images, dtype=np.int64) % NUM_CLASSES
    keep_probs = changes.pop("keep_probs", True)
    made: dict[str, Any] = {
        "dataset": dataset,
        "member": member,
        "split": split,
        "num_classes": NUM_CLASSES,
        "keys": [f"{split}_{image:08d}.JPEG" for image in range(num_images)],
        "labels": labels,
        "ten": view(_probs(labels, far, near), keep_probs=keep_probs),
        "centre": view(
            _probs(labels, far if centre_far is None else centre_far, near), keep_probs=keep_probs
        ),
        "reason": None,
    }
    return Predictions(**{**made, **changes})


def make_unlabelled(member: str, split: str, reason: str | None) -> Predictions:
    """Predictions of 20 images without labels."""
    return make_predictions(member, split, labels=np.full(20, -1, np.int64), reason=reason)


def _probs(
    labels: npt.NDArray[np.int64], far: Collection[int], near: Collection[int]
) -> npt.NDArray[np.float32]:
    probs = np.empty((len(labels), NUM_CLASSES), np.float32)
    for image, label in enumerate(labels):
        probs[image] = np.roll(BEST_FIRST, label + 1 if image in far else label)
        if image in near:
            following = (label + 1) % NUM_CLASSES
            probs[image, [label, following]] = probs[image, [following, label]]
    return probs
