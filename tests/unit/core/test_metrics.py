"""Errors counted by hand, and strict ranking on ties made by hand."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alexnet.core.metrics import is_top1_correct, is_top5_correct, rank, top1_error, top5_error

PROBS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 7)),
    elements=st.sampled_from([0.0, 0.125, 0.25, 0.5]),
)


def test_rank_puts_the_best_first() -> None:
    labels, top_probs = rank(np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]], np.float32), 2)
    assert labels.tolist() == [[1, 2], [0, 2]]
    assert top_probs == pytest.approx(np.array([[0.6, 0.3], [0.5, 0.3]], np.float32))
    assert labels.dtype == np.int32
    assert top_probs.dtype == np.float32


def test_of_equal_probabilities_the_lower_label_comes_first() -> None:
    tied = np.array([[0.2, 0.3, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 1.0, 0.0]], np.float32)
    assert rank(tied, 4)[0].tolist() == [[1, 3, 0, 2], [0, 1, 2, 3], [2, 0, 1, 3]]


def test_with_fewer_classes_than_places_all_are_ranked() -> None:
    assert rank(np.array([[0.1, 0.6, 0.3]], np.float32), 5)[0].tolist() == [[1, 2, 0]]


def test_ranking_leaves_its_input_alone() -> None:
    probs = np.array([[0.1, 0.9]], np.float32)
    rank(probs, 2)
    assert probs.tolist() == [[np.float32(0.1), np.float32(0.9)]]


def test_no_images_have_no_labels() -> None:
    labels, top_probs = rank(np.empty((0, 9), np.float32), 5)
    assert labels.shape == top_probs.shape == (0, 5)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^probs hold NaN, expected numbers from 0 to 1$"):
        rank(np.array([[0.5, np.nan]], np.float32), 1)


@given(PROBS, st.integers(1, 7))
def test_rank_equals_a_plain_sort(probs: npt.NDArray[np.float32], k: int) -> None:
    expected = [sorted(range(len(row)), key=lambda label: (-row[label], label))[:k] for row in probs.tolist()]
    assert rank(probs, k)[0].tolist() == expected


def test_errors_count_the_wrong_images() -> None:
    labels = np.array([3, 1, 7, 0])
    best = np.array([[3, 1, 2, 4, 5], [0, 2, 3, 4, 1], [0, 1, 2, 3, 4], [5, 4, 3, 2, 1]])
    assert is_top1_correct(labels, best).tolist() == [True, False, False, False]
    assert is_top5_correct(labels, best).tolist() == [True, True, False, False]
    assert (top1_error(labels, best), top5_error(labels, best)) == (0.75, 0.5)


def test_a_sixth_place_does_not_count() -> None:
    assert top5_error(np.array([9]), np.array([[0, 1, 2, 3, 4, 9]])) == 1.0


def test_without_images_there_is_no_error() -> None:
    with pytest.raises(ValueError, match=r"^there are no images, so there is no error$"):
        top1_error(np.empty(0, np.int64), np.empty((0, 5), np.int32))


@given(st.lists(st.tuples(st.integers(0, 8), st.permutations(range(8))), min_size=1), st.randoms())
def test_errors_are_fractions_and_do_not_depend_on_the_order(
    images: list[tuple[int, list[int]]], random: Random
) -> None:
    def errors() -> tuple[float, float]:
        labels = np.array([label for label, _ in images])
        best = np.array([order[:5] for _, order in images])
        return top1_error(labels, best), top5_error(labels, best)

    top1, top5 = errors()
    assert 0 <= top5 <= top1 <= 1
    random.shuffle(images)
    assert errors() == (top1, top5)
