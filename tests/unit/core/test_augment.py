"""Crops, reflections and colour noise (§4.1), and the ten views."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.augment import (
    CENTRE_VIEW,
    _all_at_once,
    _one_by_one,
    check_spread,
    colour_noise,
    cut_crops,
    network_input,
    view_batch,
    view_places,
)
from alexnet.core.draws import Draws, draw_augmentation

IMAGES = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
NO_MEAN = torch.zeros(4, 5, 3)
PAPER = {"mean_align": "under_crop", "rescale": False}
# ImageNet's, as published: deviations in grey levels, and one vector a row.
STDDEV = torch.tensor([121.780, 37.094, 19.721])
VECTORS = torch.tensor([[0.5635, 0.5762, 0.5920], [0.7126, 0.0235, -0.7012], [0.4180, -0.8170, 0.3973]])


def draws(rows, columns, mirrored, alphas=None):
    count = len(rows)
    alphas = np.zeros((count, 3), np.float32) if alphas is None else np.array(alphas, np.float32)
    return Draws(np.array(rows), np.array(columns), np.array(mirrored), alphas)


def batch_of(images, drawn, mean_image, noise, crop, **switches):
    return network_input(cut_crops(images, drawn, crop), drawn, mean_image, noise, **{**PAPER, **switches})


def plain_batch(images, drawn, mean_image, noise, crop, *, mean_align, rescale):
    """Pixel by pixel what `cut_crops` and `network_input` say."""
    num, height, width, _ = images.shape
    batch = np.empty((num, 3, crop, crop), np.float32)
    for n, channel, y, x in np.ndindex(batch.shape):
        row = int(drawn.rows[n]) + y
        column = int(drawn.columns[n]) + (crop - 1 - x if drawn.mirrored[n] else x)
        value = np.float32(images[n, row, column, channel])
        if mean_align == "centre":
            row, column = (height - crop) // 2 + y, (width - crop) // 2 + x
        value -= np.float32(mean_image[row, column, channel])
        if noise is not None:
            value += np.float32(noise[n, channel])
            value = value / np.float32(1.1) if rescale else value
        batch[n, channel, y, x] = value
    return torch.from_numpy(batch)


@given(
    sides=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    count=st.integers(0, 3),
    seed=st.integers(0, 2**63 - 1),
    noisy=st.booleans(),
    mean_align=st.sampled_from(["under_crop", "centre"]),
    rescale=st.booleans(),
)
@pytest.mark.parametrize("compute", [_one_by_one, _all_at_once])
def test_batch_equals_its_plain_twin(compute, sides, count, seed, noisy, mean_align, rescale):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (count, *sides, 3)).astype(np.uint8))
    mean_image = torch.from_numpy(rng.uniform(0, 255, (*sides, 3)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 12, (count, 3)).astype(np.float32)) if noisy else None
    drawn = draw_augmentation(seed, 0, np.arange(count), min(sides) - 2)
    crops = cut_crops(images, drawn, 3)
    assert crops.is_contiguous() and crops.dtype == torch.uint8
    batch = compute(crops, drawn, mean_image, noise, mean_align, rescale=rescale)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    switches = {"mean_align": mean_align, "rescale": rescale}
    assert torch.equal(batch, plain_batch(images, drawn, mean_image, noise, 3, **switches))


@pytest.mark.parametrize("mean_align", ["under_crop", "centre"])
def test_a_gpu_gives_the_bits_of_the_cpu(mean_align):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: there is none here")
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (5, 40, 40, 3)).astype(np.uint8))
    mean_image = torch.from_numpy(rng.uniform(0, 255, (40, 40, 3)).astype(np.float32))
    drawn = draw_augmentation(3, 0, np.arange(5), 9)
    noise = colour_noise(torch.from_numpy(drawn.alphas), STDDEV, VECTORS, 0.1, "stddev")
    crops, switches = cut_crops(images, drawn, 32), {"mean_align": mean_align, "rescale": True}
    on_gpu = network_input(crops.cuda(), drawn, mean_image.cuda(), noise.cuda(), **switches)
    assert torch.equal(on_gpu.cpu(), network_input(crops, drawn, mean_image, noise, **switches))


def test_crop_is_the_plain_slice_and_its_reflection():
    got = batch_of(IMAGES, draws([1, 0], [2, 1], [False, True]), NO_MEAN, None, 3)
    assert torch.equal(got[0], IMAGES[0, 1:4, 2:5].permute(2, 0, 1).float())
    assert torch.equal(got[1], IMAGES[1, 0:3, 1:4].flip(1).permute(2, 0, 1).float())


@pytest.mark.parametrize("mirrored", [False, True])
def test_mean_is_taken_under_the_crop_and_reflected_with_it(mirrored):
    mean = IMAGES[0].float()
    batch = batch_of(IMAGES[:1], draws([1], [2], [mirrored]), mean, None, 2)
    assert torch.equal(batch, torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("mirrored", [False, True])
def test_central_mean_is_taken_wherever_the_crop_is_and_not_reflected(mirrored):
    """By hand: one row of 4 pixels, of which the central 2 have means 20 and 30; the crop sees 5 and 6."""
    image = torch.tensor([4, 5, 6, 7], dtype=torch.uint8).view(1, 1, 4, 1).expand(1, 2, 4, 3)
    mean = torch.tensor([10.0, 20.0, 30.0, 40.0]).view(1, 4, 1).expand(2, 4, 3)
    crop = draws([0], [2], [mirrored])
    batch = batch_of(image, crop, mean, None, 2, mean_align="centre")
    expected = [7 - 20, 6 - 30] if mirrored else [6 - 20, 7 - 30]
    assert batch[0, 0].tolist() == [expected, expected]
    under = batch_of(image, crop, mean, None, 2)[0, 0, 0].tolist()
    assert under == ([7 - 40, 6 - 30] if mirrored else [6 - 30, 7 - 40])


def test_both_alignments_agree_on_the_centre():
    mean = torch.rand(4, 5, 3)
    centre = draws([0, 0], [1, 1], [False, False])
    under, central = (
        batch_of(IMAGES, centre, mean, None, 3, mean_align=align) for align in ("under_crop", "centre")
    )
    assert torch.equal(under, central)


def test_noise_adds_one_value_per_image_and_channel():
    noise = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, -5.0]])
    plain, noisy = (
        batch_of(IMAGES, draws([0, 0], [0, 0], [False, False]), NO_MEAN, value, 3) for value in (None, noise)
    )
    assert torch.equal(noisy - plain, noise[:, :, None, None].expand(2, 3, 3, 3))


def test_rescaling_divides_the_whole_image_while_there_is_noise():
    """By hand: (255 - 100 + 10) / 1.1 = 150, and 155 without noise."""
    white, mean = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8), torch.full((4, 4, 3), 100.0)
    noise, crop = torch.full((1, 3), 10.0), draws([0], [0], [False])
    rescaled = batch_of(white, crop, mean, noise, 3, rescale=True)
    torch.testing.assert_close(rescaled, torch.full((1, 3, 3, 3), 150.0))
    assert batch_of(white, crop, mean, noise, 3).unique().tolist() == [165.0]
    assert batch_of(white, crop, mean, None, 3, rescale=True).unique().tolist() == [155.0]


def test_images_are_left_as_they_were():
    before, mean, noise = IMAGES.clone(), torch.ones(4, 5, 3), torch.ones(2, 3)
    batch_of(IMAGES, draws([0, 0], [0, 0], [False, True]), mean, noise, 3, rescale=True)
    view_batch(IMAGES, mean, (0, 0, True), 3)
    assert torch.equal(IMAGES, before)
    assert torch.equal(mean, torch.ones(4, 5, 3))
    assert torch.equal(noise, torch.ones(2, 3))


def drawn_alphas(count, epoch=0):
    return torch.from_numpy(draw_augmentation(0, epoch, np.arange(count), 33).alphas)


def test_noise_has_the_covariance_of_the_pca_in_standard_deviations():
    """Spread along p1 of the published PCA: 0.1 * 121.78, about 12 grey levels; eigenvalues would give 1,483."""
    vectors = torch.linalg.qr(VECTORS.T)[0].T
    noise = colour_noise(drawn_alphas(200_000), STDDEV, vectors, 0.1, "stddev")
    expected = 0.01 * vectors.T @ torch.diag(STDDEV**2) @ vectors
    torch.testing.assert_close(torch.cov(noise.T), expected, rtol=0.02, atol=0.5)
    assert (noise @ vectors[0]).std().item() == pytest.approx(12.18, abs=0.1)
    assert torch.equal(colour_noise(noise, STDDEV, vectors, 0.0, "stddev"), torch.zeros_like(noise))


@pytest.mark.parametrize(("basis", "size"), [("stddev", 12.178), ("eigenvalue01", 5.8159)])
def test_size_of_the_noise_in_either_basis(basis, size):
    """By hand: 0.1 * 121.78, and 0.1 * 121.78² / 255; alpha 1 along p1 alone gives p1 times that."""
    noise = colour_noise(torch.tensor([[1.0, 0.0, 0.0]]), STDDEV, VECTORS, 0.1, basis)
    torch.testing.assert_close(noise, size * VECTORS[:1], rtol=1e-4, atol=0)


def test_the_widely_copied_eigenvalues_are_those_of_eigenvalue01():
    """Eigenvalues 0.2175, 0.0188, 0.0045 on the 0-1 scale; their roots times 255 are deviations in grey levels."""
    eigenvalues, alphas = torch.tensor([0.2175, 0.0188, 0.0045]), drawn_alphas(5)
    copied = (alphas * 0.1 * eigenvalues) @ VECTORS * 255
    noise = colour_noise(alphas, eigenvalues.sqrt() * 255, VECTORS, 0.1, "eigenvalue01")
    torch.testing.assert_close(noise, copied)


def test_noise_of_an_image_does_not_depend_on_its_minibatch():
    alphas = drawn_alphas(301)
    whole = colour_noise(alphas, STDDEV, VECTORS, 0.1, "stddev")
    for start, stop in ((0, 1), (17, 18), (3, 50), (100, 301)):
        part = colour_noise(alphas[start:stop], STDDEV, VECTORS, 0.1, "stddev")
        assert torch.equal(part, whole[start:stop])


def test_noise_is_new_for_each_image_and_epoch():
    noise = torch.cat(
        [colour_noise(drawn_alphas(100, epoch), STDDEV, VECTORS, 0.1, "stddev") for epoch in range(3)]
    )
    assert len(noise[:, 0].unique()) == 300


@pytest.mark.parametrize(
    "stddev",
    [
        STDDEV,
        torch.tensor([5.0, 0.0, 0.0]),  # dull and grey
        torch.tensor([255 * 3**0.5 / 2, 0.0, 0.0]),  # black and white in equal parts
        torch.zeros(3),  # all of one colour
    ],
)
def test_deviations_in_grey_levels_pass(stddev):
    check_spread(stddev)


@pytest.mark.parametrize(
    "stddev",
    [
        STDDEV**2,
        STDDEV / 255,
        (STDDEV / 255) ** 2,
        torch.tensor([15.0, 1.0, 1.0]) ** 2,
        torch.tensor([float("nan"), 1.0, 1.0]),
    ],
)
def test_other_units_are_refused(stddev):
    with pytest.raises(ValueError, match="give square roots of the eigenvalues, on the 0-255 scale"):
        check_spread(stddev)


def test_refusal_gives_what_was_found_and_what_is_expected():
    with pytest.raises(ValueError) as error:
        check_spread(torch.tensor([14830.0, 1376.0, 389.0]))
    assert str(error.value) == (
        "the colours' largest standard deviation is 1.483e+04, so that noise of 0.1 would spread by 1,483 grey "
        "levels, expected a deviation from 0.87 to 221: give square roots of the eigenvalues, on the 0-255 scale"
    )


def test_views_are_corners_and_centre_and_their_reflections():
    places = view_places(256, 224)
    assert places[:5] == [(0, 0, False), (0, 32, False), (16, 16, False), (32, 0, False), (32, 32, False)]
    assert places[5:] == [(0, 32, True), (0, 0, True), (16, 16, True), (32, 32, True), (32, 0, True)]
    assert places[CENTRE_VIEW] == (16, 16, False)


@pytest.mark.parametrize("mean_align", ["under_crop", "centre"])
def test_views_are_crops_without_noise(mean_align):
    mean = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (4, 5, 3)).astype(np.float32))
    for row, column, mirrored in ((0, 0, False), (1, 2, True), (1, 1, False)):
        view = view_batch(IMAGES, mean, (row, column, mirrored), 3, mean_align=mean_align)
        drawn = draws([row] * 2, [column] * 2, [mirrored] * 2)
        switches = {"mean_align": mean_align, "rescale": True}
        assert torch.equal(view, plain_batch(IMAGES, drawn, mean, None, 3, **switches))
        assert view.is_contiguous()


@pytest.mark.parametrize("side", [8, 9])
def test_views_of_an_image_and_of_its_mirror_are_the_same_set(side):
    """Also where as many pixels are left over that no crop is quite in the middle, as 227 of 256."""
    images = torch.randint(
        0, 256, (2, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean = torch.zeros(side, side, 3)

    def views(of):
        return sorted(view_batch(of, mean, place, 6)[0].numpy().tobytes() for place in view_places(side, 6))

    assert views(images) == views(images.flip(2))
