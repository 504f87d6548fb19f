"""Averages worked by hand; what must not change them."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alexnet.core import ensemble
from alexnet.core.ensemble import average, check_same_keys, rank_average, widen
from alexnet.core.metrics import rank

Probs = npt.NDArray[np.float16]
ONE = arrays.arrays(np.float16, (3, 4), elements=st.floats(0, 1, width=16))
MEMBERS = st.lists(ONE, min_size=1, max_size=7)

# One net is sure of class 0; two lean to class 1. Means of logits would follow the sure one: 9.2 - 1.4 - 1.4 > 0.
SURE, LEANING = np.array([[0.9999, 0.0001]]), np.array([[0.2, 0.8]])


def test_probabilities_are_averaged_and_not_logits() -> None:
    members = [SURE, LEANING, LEANING]
    assert average(members) == pytest.approx(np.array([[0.466633, 0.533367]]), abs=1e-6)
    assert rank_average(members, 1).tolist() == [[1]]
    assert np.mean(np.log(members), axis=0).argmax() == 0


def test_every_float16_is_widened_to_its_own_value() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(-1, 2)
    assert np.array_equal(widen(finite), finite.astype(np.float64))
    assert np.array_equal(widen(finite[:, 1:]), finite[:, 1:].astype(np.float64))
    assert np.isnan(widen(halves)[np.isnan(halves)]).all()
    assert widen(np.array([0.1])).tolist() == [0.1]


def test_weights_count() -> None:
    assert average([SURE, LEANING], [0.25, 0.75]) == pytest.approx(np.array([[0.399975, 0.600025]]))


def test_a_tie_in_the_average_goes_to_the_lower_label() -> None:
    members = [np.array([[0.5, 0.25, 0.25]]), np.array([[0.25, 0.25, 0.5]])]
    assert rank_average(members, 3).tolist() == [[0, 2, 1]]


def test_sums_are_kept_in_float64() -> None:
    members = [np.full((1, 1), 0.1, np.float16)] * 1000
    assert average(members)[0, 0] == float(np.float16(0.1))


@given(ONE, st.integers(1, 7))
def test_equal_members_leave_an_ensemble_unchanged(probs: Probs, num_members: int) -> None:
    assert rank_average([probs] * num_members, 4).tolist() == rank(probs, 4)[0].tolist()


@given(MEMBERS, st.randoms())
def test_the_order_of_the_members_changes_no_bit(members: list[Probs], random: Random) -> None:
    expected = average(members).tobytes()
    random.shuffle(members)
    assert average(members).tobytes() == expected


@given(MEMBERS)
def test_equal_weights_given_are_those_by_default(members: list[Probs]) -> None:
    assert average(members, [1 / len(members)] * len(members)) == pytest.approx(average(members))


@given(MEMBERS)
def test_averages_lie_between_the_members(members: list[Probs]) -> None:
    assert (average(members) >= np.min(members, axis=0)).all()
    assert (average(members) <= np.max(members, axis=0)).all()


def test_images_are_ranked_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [np.random.default_rng(seed).random((11, 6)) for seed in range(3)]
    whole = rank_average(members, 5)
    monkeypatch.setattr(ensemble, "IMAGES_AT_ONCE", 4)
    assert whole.shape == (11, 5)
    assert rank_average(members, 5).tolist() == whole.tolist()


def test_no_images_are_averaged_to_none() -> None:
    assert rank_average([np.empty((0, 6), np.float16)] * 2, 5).shape == (0, 5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5], "there are 1 weights, expected 2, one for each member"),
        ([0.5, 0.6], "weights are [0.5, 0.6], expected none negative and a sum of 1"),
        ([-1.0, 2.0], "weights are [-1.0, 2.0], expected none negative and a sum of 1"),
    ],
)
def test_weights_that_are_none_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        average([SURE, LEANING], weights)
    assert str(caught.value) == message


@pytest.mark.parametrize("members", [[], [SURE, np.array([[0.2, 0.3, 0.5]])]])
def test_members_of_other_shapes_are_refused(members: list[npt.NDArray[np.float64]]) -> None:
    with pytest.raises(ValueError, match=r"^members' probs have shapes .*, expected one shape$"):
        average(members)


def test_the_same_keys_pass() -> None:
    check_same_keys({"cnn1": ["a", "b"], "cnn2": ["a", "b"]})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (["a"], "cnn1 and cnn3 predict different images: 2 and 1 of them"),
        (["b", "a"], "cnn1 and cnn3 predict different images: row 0 is a and b"),
        (["a", "c"], "cnn1 and cnn3 predict different images: row 1 is b and c"),
    ],
)
def test_other_keys_are_an_error_naming_both_members(other: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_same_keys({"cnn1": ["a", "b"], "cnn2": ["a", "b"], "cnn3": other})
    assert str(caught.value) == message
