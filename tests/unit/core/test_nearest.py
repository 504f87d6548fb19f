"""Nearest images, block by block, against a plain twin over all at once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.nearest import Nearest, centre_features, draw_images, feature_distances, pixel_distances
from alexnet.core.training import view_probs
from tests.unit.core.made_networks import SIDE, build, colours


@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 7), st.integers(1, 9), st.integers(0, 999))
def test_blocks_find_what_sorting_everything_finds(num_searched, num, wanted, block, seed):
    squares = np.random.default_rng(seed).integers(0, 5, (num_searched, num)).astype(float)  # many ties
    nearest = Nearest(num_searched, wanted)
    for start in range(0, num, block):
        part = np.arange(start, min(start + block, num))
        nearest.add(squares[:, part], part)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :wanted]
    assert nearest.indices.tolist() == expected.tolist()
    assert nearest.distances.tolist() == np.sqrt(np.take_along_axis(squares, expected, 1)).tolist()


def test_distances_of_pixels_are_exact():
    rng = np.random.default_rng(0)
    searched, images = (rng.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8) for n in (2, 5))
    found = pixel_distances(torch.from_numpy(searched), torch.from_numpy(images))
    apart = searched[:, None].astype(int) - images[None].astype(int)
    assert found.tolist() == np.square(apart).sum((2, 3, 4)).tolist()


def test_distances_of_pixels_do_not_overflow():
    black, white = (
        torch.zeros(1, 300, 300, 3, dtype=torch.uint8),
        torch.full((1, 300, 300, 3), 255, dtype=torch.uint8),
    )
    assert pixel_distances(black, white).tolist() == [[270_000 * 255**2]]


def test_distances_of_features_are_squared_and_summed_in_double_precision():
    features = torch.tensor([[4096.0, 1.0], [4096.0, 0.5]])
    assert feature_distances(torch.zeros(1, 2), features).tolist() == [[4096.0**2 + 1, 4096.0**2 + 0.25]]


def test_features_are_those_of_the_prediction_without_its_ten_views():
    net, mean = build().eval(), colours().mean_image
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8))
    found = centre_features(net, images, mean)
    torch.testing.assert_close(found, view_probs(net, images, mean).features)
    assert found.dtype == torch.float32 and (found >= 0).all() and found.any()


def test_shown_images_are_drawn_by_the_seed_and_all_different():
    shown, searched = draw_images(50, 7, 8, 5)
    assert (len(shown), len(searched), len({*shown, *searched})) == (8, 5, 13)
    assert draw_images(50, 7, 8, 5) == [shown, searched] != draw_images(50, 8, 8, 5)


@pytest.mark.parametrize(("num", "counts"), [(13, (8, 5)), (10, (8, 2)), (3, (3, 0))])
def test_fewer_are_shown_where_there_are_not_so_many(num, counts):
    shown, searched = draw_images(num, 1, 8, 5)
    assert (len(shown), len(searched)) == counts
    assert sorted(shown + searched) == list(range(num))
