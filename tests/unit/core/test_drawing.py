"""Pictures show their class and vary in all else."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core import drawing
from alexnet.core.drawing import COLOURS, HUES, OUTLINES, SHAPES, TEXTURES, Look, draw_image, draw_size


def make_rng(key):
    return np.random.Generator(np.random.Philox(key=key))


looks = st.builds(Look, st.sampled_from(SHAPES), st.sampled_from(TEXTURES), st.sampled_from(COLOURS))


@given(looks, st.integers(8, 90), st.integers(8, 90), st.integers(0, 2**64))
def test_an_image_has_the_asked_size_and_depends_on_its_key_alone(look, height, width, key):
    image = draw_image(look, height, width, make_rng(key))
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, draw_image(look, height, width, make_rng(key)))


def test_images_of_two_keys_differ():
    look = Look("star", "striped", "red")
    assert not np.array_equal(draw_image(look, 40, 50, make_rng(1)), draw_image(look, 40, 50, make_rng(2)))


@given(st.integers(8, 60), st.integers(0, 30), st.integers(0, 2**64))
def test_the_shorter_side_is_within_its_bounds_and_the_longer_within_1_7_of_it(low, spread, key):
    shorter, longer = sorted(draw_size((low, low + spread), make_rng(key)))
    assert low <= shorter <= low + spread
    assert longer <= round(1.7 * shorter)


def test_both_ends_of_the_shorter_side_and_both_orientations_occur():
    rng = make_rng(0)
    sizes = [draw_size((36, 38), rng) for _ in range(200)]
    assert {min(size) for size in sizes} == {36, 37, 38}
    assert {np.sign(height - width) for height, width in sizes} >= {-1, 1}


def draw_mask(shape):
    mask = np.zeros((100, 100), np.uint8)
    cv2.fillPoly(mask, drawing._place(OUTLINES[shape], drawing._turn(40, 40, 0.0), 50, 50), (1,), shift=4)
    return mask


@pytest.mark.parametrize("shape", SHAPES)
def test_a_figure_lies_about_its_centre_and_fills_no_more_than_its_radius(shape):
    rows, columns = np.nonzero(draw_mask(shape))
    assert abs(rows.mean() - 50) < 10
    assert abs(columns.mean() - 50) < 10
    assert np.hypot(rows - 50, columns - 50).max() < 1.35 * 40


@pytest.mark.parametrize(
    ("shape", "area"),  # in squares of the radius, by school geometry
    [
        ("disc", np.pi * 0.95**2),
        ("ring", np.pi * (1.05**2 - 0.5**2)),
        ("square", 2 * 1.2**2),
        ("cross", 2.2044),
    ],
)
def test_the_area_of_a_figure_is_that_of_its_geometry(shape, area):
    assert draw_mask(shape).sum() / 40**2 == pytest.approx(area, rel=0.06)


def test_a_ring_has_a_hole():
    assert draw_mask("ring")[50, 50] == 0


def test_no_two_shapes_are_alike():
    masks = [draw_mask(shape) for shape in SHAPES]
    for place, mask in enumerate(masks):
        assert all((mask != other).sum() > 0.1 * mask.sum() for other in masks[:place])


def test_turning_by_a_quarter_takes_x_to_y():
    np.testing.assert_allclose([2.0, 3.0] @ drawing._turn(1, 1, np.pi / 2), [-3.0, 2.0], atol=1e-12)


@pytest.mark.parametrize("texture", TEXTURES)
@given(key=st.integers(0, 2**64))
def test_a_shade_is_between_0_and_1_and_all_but_plain_has_both_ends(texture, key):
    axis = np.linspace(-1, 1, 60)
    shade = drawing._weave(texture, axis[None, :], axis[:, None], make_rng(key))
    assert shade.shape == (60, 60)
    assert shade.min() == 0
    assert shade.max() == (0 if texture == "plain" else 1)


def test_a_wave_is_1_about_whole_numbers_and_0_between():
    np.testing.assert_array_equal(drawing._wave(np.array([-1.0, -0.5, 0.5, 2.5])), [0, 1, 1, 1])
    np.testing.assert_array_equal(drawing._wave(np.array([0.0, 0.25, 0.75])), [0, 0.5, 0.5])


def test_the_hues_of_two_colours_never_meet():
    hues = sorted(HUES.values())
    gaps = np.diff([*hues, hues[0] + 1])
    assert gaps.min() > 2 * drawing.HUE_JITTER


def test_a_figure_is_painted_only_under_its_mask():
    part = np.full((1, 3, 3), 100, np.uint8)
    tones = np.array([[0.0, 0, 0], [200.0, 200, 200]])
    mask = np.array([[0, 255, 255]], np.uint8)
    drawing._blend(part, mask, np.array([[1.0, 1.0, 0.25]]), tones)
    np.testing.assert_array_equal(part[0, :, 0], [100, 200, 50])


def test_the_mean_colour_does_not_tell_the_class():
    # Two classes by the nearer of two mean colours, where 0.5 is a guess.
    first, second = Look("disc", "striped", "red"), Look("square", "plain", "blue")
    rng = make_rng(3)
    means = np.array(
        [[draw_image(look, 40, 40, rng).mean((0, 1)) for _ in range(150)] for look in (first, second)]
    )
    centres = means[:, :75].mean(1)
    distances = np.linalg.norm(means[:, 75:, None] - centres, axis=-1)
    errors = np.mean(distances.argmin(-1) != [[0], [1]])
    assert 0.15 < errors < 0.5
