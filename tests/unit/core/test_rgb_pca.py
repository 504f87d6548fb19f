from __future__ import annotations

import numpy as np
import pytest

from alexnet.core.rgb_pca import RgbPca, RgbSums, find_rgb_pca


def _pca_of(*batches: np.ndarray) -> RgbPca:
    sums = RgbSums.empty(batches[0].shape[1])
    for images in batches:
        sums.add(images)
    return find_rgb_pca(sums)


def _noise(num: int, side: int = 8, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, side, side, 3), np.uint8)


def test_mean_and_covariance_are_those_worked_by_hand() -> None:
    pixels = np.array([[[[10, 0, 5], [20, 0, 5]], [[30, 4, 5], [40, 4, 5]]]], np.uint8)
    pca = _pca_of(pixels)
    assert pca.mean.tolist() == [25, 2, 5]
    assert pca.covariance.tolist() == [[125, 20, 0], [20, 4, 0], [0, 0, 0]]
    assert (pca.num_images, pca.num_pixels) == (1, 4)


def test_sums_agree_with_numpy_over_all_pixels_at_once() -> None:
    images = _noise(30)
    pca = _pca_of(images[:11], images[11:])
    pixels = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(pca.covariance, np.cov(pixels.T, bias=True), rtol=1e-12)
    np.testing.assert_allclose(pca.mean_image, images.mean(axis=0), rtol=1e-15)


def test_order_and_grouping_of_images_change_no_bit() -> None:
    images = _noise(20)
    one, other = _pca_of(images), _pca_of(images[::-1][:7], images[::-1][7:])
    assert one.covariance.tobytes() == other.covariance.tobytes()
    assert one.mean_image.tobytes() == other.mean_image.tobytes()


def test_known_axes_and_deviations_come_back() -> None:
    axes = np.array([[2, 1, 2], [-2, 2, 1], [1, 2, -2]]) / 3
    draws = np.random.default_rng(2).standard_normal((400_000, 3)) * [30, 12, 4]
    pixels = np.clip(np.rint(draws @ axes + 128), 0, 255).astype(np.uint8)
    pca = _pca_of(pixels.reshape(-1, 100, 100, 3))
    np.testing.assert_allclose(pca.stddev, [30, 12, 4], rtol=0.01)
    np.testing.assert_allclose(np.abs((pca.eigenvectors * axes).sum(axis=1)), 1, atol=1e-3)


def test_eigenvectors_are_rows_of_falling_value_with_positive_largest_component() -> None:
    pca = _pca_of(_noise(5))
    assert (np.diff(pca.eigenvalues) <= 0).all()
    for value, vector in zip(pca.eigenvalues, pca.eigenvectors, strict=True):
        np.testing.assert_allclose(pca.covariance @ vector, value * vector, atol=1e-8)
        assert vector[np.abs(vector).argmax()] > 0


def test_grey_images_have_no_negative_eigenvalue() -> None:
    grey = _noise(3)[..., :1].repeat(3, axis=3)
    pca = _pca_of(grey)
    assert (pca.eigenvalues >= 0).all() and np.isfinite(pca.stddev).all()


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        find_rgb_pca(RgbSums.empty(4))
