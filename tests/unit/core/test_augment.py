"""Crops, reflections, colour noise and the ten views (§4.1)."""

import numpy as np
import pytest
import torch

from alexnet.core.augment import (
    CENTRE_VIEW,
    colour_noise,
    crop_and_mirror,
    training_batch,
    view_batch,
    view_places,
)
from alexnet.core.draws import Draws

IMAGES = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)


def draws(rows, columns, mirrored, alphas=None):
    count = len(rows)
    alphas = np.zeros((count, 3), np.float32) if alphas is None else np.array(alphas, np.float32)
    return Draws(np.array(rows), np.array(columns), np.array(mirrored), alphas)


def test_crop_is_the_plain_slice_and_its_reflection():
    got = crop_and_mirror(IMAGES, torch.tensor([1, 0]), torch.tensor([2, 1]), torch.tensor([False, True]), 3)
    assert torch.equal(got[0], IMAGES[0, 1:4, 2:5].permute(2, 0, 1))
    assert torch.equal(got[1], IMAGES[1, 0:3, 1:4].flip(1).permute(2, 0, 1))


def test_mean_is_taken_under_the_crop_and_reflected_with_it():
    mean = IMAGES[0].float()
    one = IMAGES[:1]
    for mirrored in (False, True):
        batch = training_batch(one, draws([1], [2], [mirrored]), mean, None, 2, mirror=True)
        assert torch.equal(batch, torch.zeros(1, 3, 2, 2))


def test_no_mirror_means_no_reflection():
    reflected, plain = (
        training_batch(
            IMAGES, draws([0, 0], [0, 1], [True, True]), torch.zeros(4, 5, 3), None, 3, mirror=mirror
        )
        for mirror in (True, False)
    )
    assert torch.equal(plain, reflected.flip(3))
    assert not torch.equal(plain, reflected)


def test_noise_adds_one_value_per_image_and_channel():
    noise = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -5.0]])
    plain, noisy = (
        training_batch(
            IMAGES, draws([0, 0], [0, 0], [False, False]), torch.zeros(4, 5, 3), value, 3, mirror=True
        )
        for value in (None, noise)
    )
    torch.testing.assert_close(noisy - plain, noise[:, :, None, None].expand(2, 3, 3, 3))


def test_noise_has_the_covariance_of_the_pca_in_standard_deviations():
    """Spread along p1 of the published PCA: 0.1 * 121.78, about 12 grey levels; eigenvalues would give 1,483."""
    stddev = torch.tensor([121.780, 37.094, 19.721])
    vectors = torch.linalg.qr(
        torch.tensor([[0.5635, 0.7126, 0.4180], [0.5762, 0.0235, -0.8170], [0.592, -0.7012, 0.3973]])
    )[0].T
    alphas = torch.from_numpy(np.random.default_rng(0).standard_normal((200_000, 3), dtype=np.float32))
    noise = colour_noise(alphas, stddev, vectors, 0.1)
    expected = 0.01 * vectors.T @ torch.diag(stddev**2) @ vectors
    torch.testing.assert_close(torch.cov(noise.T), expected, rtol=0.02, atol=0.5)
    assert (noise @ vectors[0]).std().item() == pytest.approx(12.18, abs=0.1)
    assert torch.equal(colour_noise(alphas, stddev, vectors, 0.0), torch.zeros_like(noise))


def test_views_are_corners_and_centre_and_their_reflections():
    places = view_places(256, 224)
    assert places[:5] == [(0, 0, False), (0, 32, False), (16, 16, False), (32, 0, False), (32, 32, False)]
    assert places[5:] == [(row, column, True) for row, column, _ in places[:5]]
    assert places[CENTRE_VIEW] == (16, 16, False)


def test_views_of_an_image_and_of_its_mirror_are_the_same_set():
    images = torch.randint(
        0, 256, (2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean = torch.zeros(8, 8, 3)

    def views(of):
        return sorted(view_batch(of, mean, place, 6)[0].numpy().tobytes() for place in view_places(8, 6))

    assert views(images) == views(images.flip(2))
