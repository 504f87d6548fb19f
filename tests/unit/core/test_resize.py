from __future__ import annotations

import math
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.core.resize import Interpolation, centre_square, resized_shape


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((375, 500), (256, 341)),  # 341.33
        ((200, 100), (512, 256)),
        ((256, 256), (256, 256)),
        ((512, 513), (256, 257)),  # 256.5: halves away from zero
        ((512, 515), (256, 258)),  # 257.5: the even neighbour and the one away from zero agree
        ((2, 1001), (256, 128128)),
    ],
)
def test_longer_side_is_rounded_with_halves_up(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_shape(*shape, 256) == expected


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 300))
def test_shorter_side_is_always_the_one_asked_for(height: int, width: int, side: int) -> None:
    assert min(resized_shape(height, width, side)) == side


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_portrait_is_landscape_turned(height: int, width: int) -> None:
    assert resized_shape(height, width, 256) == resized_shape(width, height, 256)[::-1]


def test_wide_image_is_cut_from_column_42() -> None:
    image = np.zeros((256, 341, 3), np.uint8)
    image[:, 42:298] = 200
    assert (centre_square(image, 256) == 200).all()


def test_tall_image_is_cut_from_row_128() -> None:
    image = np.zeros((512, 256, 3), np.uint8)
    image[128:384] = 200
    assert (centre_square(image, 256) == 200).all()


def test_odd_rest_is_cut_at_the_end() -> None:
    image = np.arange(5, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2)
    assert centre_square(image, 2)[0, :, 0].tolist() == [1, 2]  # (5 - 2) // 2 = 1


def test_shrinking_by_two_averages_areas() -> None:
    image = np.array([[0, 100, 10, 20], [40, 60, 30, 40]] * 2, np.uint8)[:, :, None].repeat(3, 2)
    assert centre_square(image, 2)[:, :, 0].tolist() == [[50, 25], [50, 25]]


def test_enlarging_overshoots_an_edge_as_bicubic_does() -> None:
    image = np.full((4, 4, 3), 60, np.uint8)
    image[:, 2:] = 160
    enlarged = centre_square(image, 16)
    assert enlarged.min() < 60 and enlarged.max() > 160


def test_interpolation_holds_in_both_directions_where_named_alone() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    small: dict[Interpolation, bytes] = {
        name: centre_square(image, 16, name).tobytes() for name in ("area", "cubic", "area_cubic")
    }
    large = {name: centre_square(image, 64, name).tobytes() for name in small}
    assert small["area_cubic"] == small["area"] != small["cubic"]
    assert large["area_cubic"] == large["cubic"] != large["area"]


def test_image_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    assert (centre_square(image, 32) == image).all()


def _shrunk(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float64]:
    """The central square in exact fractions of areas: a line of weights for each target place, in both directions."""
    height, width = resized_shape(*image.shape[:2], side)

    def weights(source: int, target: int) -> npt.NDArray[np.float64]:
        table = np.zeros((target, source))
        for place in range(target):
            low, high = Fraction(place * source, target), Fraction((place + 1) * source, target)
            for tap in range(math.floor(low), math.ceil(high)):
                table[place, tap] = (min(high, tap + 1) - max(low, tap)) / Fraction(source, target)
        return table

    rows, columns = weights(image.shape[0], height), weights(image.shape[1], width)
    top, left = (height - side) // 2, (width - side) // 2
    lines = np.tensordot(rows[top : top + side], image.astype(float), (1, 0))
    square: npt.NDArray[np.float64] = np.tensordot(lines, columns[left : left + side], (1, 1)).transpose(
        0, 2, 1
    )
    return square


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 32), st.integers(0, 1 << 20), st.booleans())
def test_shrinking_is_the_exact_mean_of_areas(
    height: int, width: int, side: int, seed: int, is_strided: bool
) -> None:
    height, width = side + height, side + width
    image = np.random.default_rng(seed).integers(0, 256, (height, 2 * width, 3), np.uint8)
    image = image[::-1, ::2] if is_strided else np.ascontiguousarray(image[:, :width])
    ours, exact = centre_square(image, side), _shrunk(image, side)
    assert ours.shape == (side, side, 3) and ours.flags.c_contiguous
    assert np.abs(ours - exact).max() < 0.5 + 1e-4  # the nearest grey level, but where halves nearly meet


@pytest.mark.parametrize(
    "shape", [(375, 500), (500, 333), (257, 257), (300, 4000), (768, 1024), (2000, 1500), (512, 512)]
)
def test_shrinking_is_as_with_opencv_and_as_exact(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), np.uint8)
    ours, exact = centre_square(image, 256).astype(int), _shrunk(image, 256)
    height, width = resized_shape(*shape, 256)
    theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(int)
    top, left = (height - 256) // 2, (width - 256) // 2
    theirs = theirs[top : top + 256, left : left + 256]
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - np.floor(exact + 0.5)).max() <= 1
    assert (ours == np.floor(exact + 0.5)).mean() > 0.999


def test_image_that_may_not_be_written_is_taken_as_it_is() -> None:
    image = np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8)
    wanted = centre_square(image, 20)
    image.flags.writeable = False
    assert (centre_square(image, 20) == wanted).all()


def test_white_stays_white_and_black_black() -> None:
    for level in (0, 255):
        image = np.full((301, 457, 3), level, np.uint8)
        assert (centre_square(image, 256) == level).all()


@pytest.mark.parametrize(("side", "interpolation"), [(40, "area_cubic"), (40, "cubic"), (16, "cubic")])
def test_cubic_is_within_a_level_of_its_formula(side: int, interpolation: Interpolation) -> None:
    """Keys' kernel with a = -0.75, which is OpenCV's, at pixel centres, the border repeated."""
    image = np.random.default_rng(3).integers(0, 256, (24, 31, 3), np.uint8)
    height, width = resized_shape(24, 31, side)

    def weights(source: int, target: int) -> npt.NDArray[np.float64]:
        table = np.zeros((target, source))
        for place in range(target):
            at = (place + 0.5) * source / target - 0.5
            for tap in range(math.floor(at) - 1, math.floor(at) + 3):
                x = abs(at - tap)
                near, far = (1.25 * x - 2.25) * x * x + 1, -0.75 * (((x - 5) * x + 8) * x - 4)
                table[place, min(max(tap, 0), source - 1)] += near if x <= 1 else far
        return table

    whole = np.einsum("yh,xw,hwc->yxc", weights(24, height), weights(31, width), image).clip(0, 255)  # small
    top, left = (height - side) // 2, (width - side) // 2
    square = centre_square(image, side, interpolation)
    assert np.abs(square - whole[top : top + side, left : left + side]).max() <= 1


def test_thinnest_image_there_is_becomes_a_square() -> None:
    column = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)  # a pixel wide
    square = centre_square(column, 4)
    assert square.shape == (4, 4, 3) and (np.abs(square - np.float64(127.5)) <= 1).all()
