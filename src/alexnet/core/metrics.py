"""Errors of a classifier under strict ranking (paper §5), and which images it gets right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[Any]


def rank(probs: npt.NDArray[Any], k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k best labels of each image and their probabilities, best first.

    probs: (N, classes) floating, no NaN. Returns labels (N, min(k, classes)) int32 and top_probs float32 of the
    same shape. Ranking is strict: of equal probabilities the lower label comes first. (The 2012 code shared the
    credit among tied labels; paper §5 is silent.) Raises ValueError on a NaN or if there is no class.
    """
    if probs.ndim != 2 or probs.shape[1] == 0:
        raise ValueError(f"probs have shape {probs.shape}, expected (images, classes)")
    left = probs.astype(np.result_type(probs.dtype, np.float32))
    if np.isnan(left).any():
        raise ValueError("probs hold NaN, expected numbers from 0 to 1")
    rows = np.arange(len(left))
    labels = np.empty((len(left), min(k, left.shape[1])), np.int32)
    for place in range(labels.shape[1]):
        labels[:, place] = left.argmax(axis=1)  # the first of equals, so the lowest label
        left[rows, labels[:, place]] = -np.inf
    return labels, np.take_along_axis(probs, labels.astype(np.intp), axis=1).astype(np.float32)


def is_top1_correct(labels: Integers, best: Integers) -> Bools:
    """Which images' best label is the true one: (N,) bool.

    labels: (N,) true labels. best: (N, k) labels, best first.
    """
    return np.asarray(best[:, 0] == labels)


def is_top5_correct(labels: Integers, best: Integers) -> Bools:
    """Which images' true label is among the five best: (N,) bool; with fewer classes, among those there are.

    labels: (N,) true labels. best: (N, k) labels, best first.
    """
    return np.asarray((best[:, :5] == labels[:, None]).any(axis=1))


def top1_error(labels: Integers, best: Integers) -> float:
    """The fraction of images whose best label is wrong, from 0 to 1. Raises ValueError without images."""
    return _error(is_top1_correct(labels, best))


def top5_error(labels: Integers, best: Integers) -> float:
    """The fraction of images whose label is not among the five best, from 0 to 1. Raises ValueError without images."""
    return _error(is_top5_correct(labels, best))


def _error(is_correct: Bools) -> float:
    """The fraction of images that are wrong, from their exact count."""
    if len(is_correct) == 0:
        raise ValueError("there are no images, so there is no error")
    return (len(is_correct) - int(is_correct.sum())) / len(is_correct)
