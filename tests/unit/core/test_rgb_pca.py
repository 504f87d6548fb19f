from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 50),  # of 46 on an image is more than one piece
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
    st.integers(0, 1 << 20),
    st.booleans(),
)
def test_sums_are_those_of_whole_numbers(side: int, counts: list[int], seed: int, is_strided: bool) -> None:
    images = _noise(sum(counts), 2 * side, seed)
    images = images[:, ::2, 1::2] if is_strided else np.ascontiguousarray(images[:, :side, :side])
    images.flags.writeable = False
    sums = RgbSums.empty(side)
    for part in np.split(images, np.cumsum(counts)[:-1]):
        sums.add(part)
    pixels = images.reshape(-1, 3).tolist()
    assert sums.products.tolist() == [
        [sum(pixel[one] * pixel[other] for pixel in pixels) for other in range(3)] for one in range(3)
    ]
    values = images.reshape(len(images), side**2 * 3).T.tolist()
    assert sums.image_sum.reshape(-1).tolist() == [sum(column) for column in values]
    assert sums.num_images == len(images)


@pytest.mark.parametrize("count", [256, 257, 258, 261, 521])
def test_white_images_overflow_nothing(count: int) -> None:
    """255 * 257 is the most that 16 bits hold; 3 MB of white the most for the sums of products in 32."""
    sums = RgbSums.empty(90)
    sums.add(np.full((count, 90, 90, 3), 255, np.uint8))
    assert (sums.image_sum == count * 255).all()
    assert (sums.products == count * 90**2 * 255**2).all()


def test_order_grouping_and_threads_change_no_bit() -> None:
    images = _noise(40, 47)
    wanted = _pca_of(images)
    parts = [images[order] for order in np.split(np.random.default_rng(3).permutation(40), [1, 6, 13, 29])]
    sums = [RgbSums.empty(47) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda place: [sums[place].add(part) for part in parts[place::3]], range(3)))
    for other in sums[1:]:
        sums[0] += other
    got = find_rgb_pca(sums[0])
    assert got.num_images == 40
    assert got.covariance.tobytes() == wanted.covariance.tobytes()
    assert got.mean_image.tobytes() == wanted.mean_image.tobytes()


def test_nothing_is_read_behind_the_last_image_and_any_processor_will_do(tmp_path: Path) -> None:
    """The page behind it is of a file that was cut: who reads there is killed, unless by newer vector instructions."""
    program = f"""
import mmap, numpy as np
from alexnet.core.rgb_pca import RgbSums
with open({str(tmp_path / "cut")!r}, "wb+") as file:
    side = 2 * int(mmap.PAGESIZE**0.5)
    size = 3 * side**2
    assert size % mmap.PAGESIZE == 0
    file.truncate(size + mmap.PAGESIZE)
    pages = mmap.mmap(file.fileno(), 0)
    pages[:size] = b"\\x02\\x03\\x05" * side**2
    file.truncate(size)
    sums = RgbSums.empty(side)
    sums.add(np.frombuffer(pages, np.uint8, size).reshape(1, side, side, 3))
    print((sums.products // side**2).tolist())
"""
    oldest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | oldest, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[[4, 6, 10], [6, 9, 15], [10, 15, 25]]\n"


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
