"""Intervals worked by hand from their textbook formulas."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alexnet.core.intervals import TableParams, interval_over_images, interval_over_seeds, paired_difference

Z = 1.959963985  # of a normal distribution, 95 %


def test_wilson_interval_of_3_in_10() -> None:
    # centre (0.3 + z²/20) / (1 + z²/10) = 0.355507; half z / (1 + z²/10) · sqrt(0.021 + z²/400) = 0.247715
    assert interval_over_images(3, 10, 0.95) == pytest.approx((0.107791, 0.603222), abs=2e-6)


def test_wilson_interval_of_no_mistake_has_room_above() -> None:
    assert interval_over_images(0, 20, 0.95) == pytest.approx((0.0, Z**2 / (20 + Z**2)))


@given(st.integers(1, 60_000), st.data())
def test_wilson_interval_holds_the_error(num_images: int, data: st.DataObject) -> None:
    num_wrong = data.draw(st.integers(0, num_images))
    low, high = interval_over_images(num_wrong, num_images, 0.95)
    error = num_wrong / num_images
    assert 0 <= low <= error + 1e-12
    assert error - 1e-12 <= high <= 1
    wider = interval_over_images(num_wrong, num_images, 0.99)
    assert wider[1] - wider[0] > high - low


@pytest.mark.parametrize(("num_wrong", "num_images"), [(0, 0), (5, 4), (-1, 4)])
def test_impossible_counts_are_refused(num_wrong: int, num_images: int) -> None:
    message = f"^{num_wrong} of {num_images} images are wrong, expected a part of at least one$"
    with pytest.raises(ValueError, match=message):
        interval_over_images(num_wrong, num_images, 0.95)


def test_t_interval_of_three_seeds() -> None:
    # mean 0.2, deviation 0.1, t of two degrees of freedom 4.302653: half 4.302653 · 0.1 / sqrt(3) = 0.248414
    assert interval_over_seeds([0.1, 0.2, 0.3], 0.95) == pytest.approx((-0.048414, 0.448414), abs=1e-6)


def test_t_interval_of_equal_seeds_is_a_point() -> None:
    assert interval_over_seeds([0.25, 0.25], 0.95) == (0.25, 0.25)


def test_one_seed_has_no_spread() -> None:
    assert interval_over_seeds([0.25], 0.95) is None


def test_no_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^there are no errors, so there is no interval$"):
        interval_over_seeds([], 0.95)


def test_paired_difference_of_four_images() -> None:
    # differences 1, 0, 0, 0: mean 1/4, deviation 1/2, over sqrt(4)
    assert paired_difference(np.array([1, 1, 0, 0]), np.array([0, 1, 0, 0])) == (0.25, 0.25)


def test_pairing_ignores_what_both_find_hard() -> None:
    first, second = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.0])
    hard = np.array([9.0, 3.0, 0.0, 5.0])
    assert paired_difference(first + hard, second + hard) == paired_difference(first, second)


def test_booleans_are_subtracted_as_numbers() -> None:
    difference, error = paired_difference(np.array([False, False]), np.array([True, False]))
    assert difference == -0.5
    assert error == pytest.approx(math.sqrt(0.5 / 2))


@pytest.mark.parametrize(("first", "second"), [(3, 4), (1, 1), (0, 0)])
def test_unpaired_values_are_refused(first: int, second: int) -> None:
    with pytest.raises(ValueError, match=r"^paired values have shapes .*, expected one \(N,\), N >= 2$"):
        paired_difference(np.zeros(first), np.zeros(second))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValidationError):
        TableParams(confidence=confidence)


def test_parameters_do_not_wait_for_scipy() -> None:
    code = "import sys, alexnet.core.intervals; sys.exit('scipy' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
