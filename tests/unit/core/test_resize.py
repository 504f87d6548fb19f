from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
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
