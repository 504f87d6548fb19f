"""Colour selectivity by hand, and what makes two columns differ as in the paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.selectivity import colour_selectivity, compare_columns


def kernel(*pixels):
    """(1, 3, 1, n) from the colours of n pixels."""
    return np.array(pixels, np.float32).T[None, :, None, :]


@pytest.mark.parametrize(
    ("pixels", "selectivity"),
    [
        ([(1, 1, 1), (-2, -2, -2)], 0.0),  # grey everywhere, whatever its sign
        ([(1, -1, 0)], 1.0),  # red against green
        ([(1, 0, 0)], 2 / 3),  # (1,0,0) is 1/3 along (1,1,1)/√3
        ([(1, 0, 0), (1, 1, 1)], 1 / 6),  # of an energy of 1 + 3 there are 1/3 + 3 grey
        ([(1, 1, 0)], 1 / 3),
        ([(0, 0, 0)], 0.0),
    ],
)
def test_by_hand(pixels, selectivity):
    assert colour_selectivity(kernel(*pixels)) == pytest.approx([selectivity], abs=1e-12)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_depends_on_neither_scale_nor_sign_nor_place(seed, scale):
    kernels = np.random.default_rng(seed).normal(size=(4, 3, 5, 5))
    plain = colour_selectivity(kernels)
    assert ((plain >= 0) & (plain <= 1)).all()
    np.testing.assert_allclose(colour_selectivity(-scale * kernels[:, ::-1, :, ::-1]), plain, atol=1e-12)


def test_random_kernels_have_two_thirds():
    kernels = np.random.default_rng(0).normal(size=(500, 3, 11, 11))
    assert colour_selectivity(kernels).mean() == pytest.approx(2 / 3, abs=0.005)


def columns(first, second, each=8):
    """conv1 of two columns, grey plus so much colour."""
    rng = np.random.default_rng(1)
    grey = rng.normal(size=(2 * each, 1, 5, 5)).repeat(3, 1)
    colour = rng.normal(size=(2 * each, 3, 5, 5))
    colour -= colour.mean(1, keepdims=True)
    return grey + np.repeat([first, second], each)[:, None, None, None] * colour


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        (0.1, 3.0, True),
        (3.0, 0.1, True),  # up to swapping
        (3.0, 3.0, False),
        (0.1, 0.3, False),  # apart, but both colour-agnostic
        (2.0, 6.0, False),  # apart, but neither is
    ],
)
def test_columns_differ_as_in_the_paper_only_if_one_is_colour_agnostic(first, second, differs):
    found = compare_columns(columns(first, second), 2)
    assert found.differs is differs
    assert (found.p_value < 0.05) is (first != second)
    assert [len(column) for column in found.columns] == [8, 8]


def test_few_kernels_prove_nothing():
    found = compare_columns(columns(0.1, 3.0, each=2), 2)
    assert found.differs is False and found.p_value > 0.05


def test_mean_and_spread_are_of_a_columns_own_kernels():
    kernels = np.concatenate([kernel((1, 1, 1)), kernel((1, -1, 0)), kernel((1, 0, 0)), kernel((1, 0, 0))])
    found = compare_columns(kernels, 2)
    assert found.means == pytest.approx([0.5, 2 / 3])
    assert found.spreads == pytest.approx([0.5**0.5, 0])


def test_one_column_has_nothing_to_compare():
    found = compare_columns(columns(0.1, 3.0), 1)
    assert (found.p_value, found.differs, len(found.columns)) == (None, None, 1)
