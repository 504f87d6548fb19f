"""Random draws are functions of seed and place alone."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alexnet.core import draws as draws_module
from alexnet.core.draws import (
    CHUNK_CROP,
    COLOUR,
    CROP,
    DROPOUT,
    chunk_numbers,
    count_offsets,
    draw_augmentation,
    dropout_mask,
    image_order,
    initial_generator,
)
from alexnet.core.philox import philox

WORD = 1 << 32
LARGEST = WORD - 1
seeds = st.integers(0, 2**63 - 1)
indices = st.integers(0, LARGEST)


def looks_uniform(counts):
    return 0.001 < stats.chisquare(counts).pvalue < 0.999


def rows_of(draws):
    """What each image draws, as plain numbers."""
    columns = (draws.rows, draws.columns, draws.mirrored, *draws.alphas.T)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(seed=seeds, epoch=st.integers(0, LARGEST), num_images=st.integers(0, 50))
def test_an_epoch_uses_each_image_once(seed, epoch, num_images):
    order = image_order(seed, epoch, num_images)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(num_images))
    assert np.array_equal(order, image_order(seed, epoch, num_images))


def test_orders_of_epochs_and_seeds_differ():
    """Also of seeds that differ in their upper half alone."""
    orders = [tuple(image_order(seed, epoch, 20)) for seed in (1, 2, 1 + WORD) for epoch in (0, 1)]
    assert len(set(orders)) == 6


def test_each_order_is_as_likely_as_any_other():
    orders = [tuple(image_order(5, epoch, 4).tolist()) for epoch in range(4800)]
    assert looks_uniform([orders.count(order) for order in itertools.permutations(range(4))])


@pytest.mark.parametrize(
    ("crop_offsets", "crop", "count"),
    [("with_last", 224, 33), ("without_last", 224, 32), ("with_last", 256, 1), ("without_last", 256, 1)],
)
def test_offsets_of_a_side_of_256(crop_offsets, crop, count):
    assert count_offsets(256, crop, crop_offsets) == count


@pytest.mark.parametrize(("crop_offsets", "count"), [("with_last", 2178), ("without_last", 2048)])
def test_all_crops_and_reflections_are_drawn_equally_often(crop_offsets, count):
    """33 * 33 * 2 with the offsets of the 2012 code; the paper counts 32 * 32 * 2."""
    num_offsets = count_offsets(256, 224, crop_offsets)
    draws = draw_augmentation(3, 0, np.arange(60_000), num_offsets)
    crops = (draws.rows * num_offsets + draws.columns) * 2 + draws.mirrored
    assert draws.rows.min() == draws.columns.min() == 0
    assert draws.rows.max() == draws.columns.max() == num_offsets - 1
    assert len(np.unique(crops)) == count
    assert looks_uniform(np.bincount(crops))
    for drawn in (draws.rows, draws.columns, draws.mirrored):
        assert looks_uniform(np.bincount(drawn))


def test_alphas_are_independent_and_standard_normal():
    alphas = draw_augmentation(3, 0, np.arange(100_000), 33).alphas
    assert alphas.dtype == np.float32
    for alpha in alphas.T:
        assert stats.kstest(alpha, "norm").pvalue > 0.001
    np.testing.assert_allclose(np.corrcoef(alphas.T), np.eye(3), atol=0.01)
    np.testing.assert_allclose(np.corrcoef(alphas.T**2), np.eye(3), atol=0.01)
    np.testing.assert_allclose(np.corrcoef(alphas[:-1, 0], alphas[1:, 0]), np.eye(2), atol=0.01)


def test_draws_of_an_image_are_what_the_counters_of_the_docstring_say():
    seed, epoch, image = 7 + 9 * WORD, 4, 123_456
    draws = draw_augmentation(seed, epoch, np.array([image]), 33)
    row, column, mirror, _ = philox((image, epoch, 0, CROP), (7, 9))
    drawn = int(draws.rows[0]), int(draws.columns[0]), bool(draws.mirrored[0])
    assert drawn == (row * 33 // WORD, column * 33 // WORD, mirror / WORD >= 0.5)
    parts = [(word + 0.5) / WORD for word in philox((image, epoch, 0, COLOUR), (7, 9))]
    first, second = (math.sqrt(-2 * math.log(parts[i])) for i in (0, 2))
    expected = [first * math.cos(2 * math.pi * parts[1]), first * math.sin(2 * math.pi * parts[1])]
    expected.append(second * math.cos(2 * math.pi * parts[3]))
    np.testing.assert_allclose(draws.alphas[0], expected, rtol=1e-6)


@given(
    seed=seeds,
    epoch=st.integers(0, LARGEST),
    images=st.lists(indices, unique=True, max_size=30),
    share=st.booleans(),
    data=st.data(),
)
def test_no_matter_in_which_minibatch_or_order_images_are_asked_for(seed, epoch, images, share, data):
    def draw(places):
        asked = np.array([images[place] for place in places], np.int64)
        return draw_augmentation(seed, epoch, asked, 33, chunks[places] if share else None)

    chunks = chunk_numbers(slice(0, len(images)), 4)
    whole = rows_of(draw(range(len(images))) if images else draw([]))
    places = data.draw(st.permutations(range(len(images))))
    cut = data.draw(st.integers(0, len(images)))
    parts = rows_of(draw(places[:cut])) + rows_of(draw(places[cut:]))
    assert parts == [whole[place] for place in places]


def test_draws_are_fresh_for_each_epoch_and_seed():
    drawn = [
        draw_augmentation(seed, epoch, np.arange(50), 33) for seed in (1, 2, 1 + WORD) for epoch in (0, 1)
    ]
    assert len({(draws.rows.tobytes(), draws.columns.tobytes()) for draws in drawn}) == 6
    assert len({draws.alphas.tobytes() for draws in drawn}) == 6


def test_chunks_are_of_consecutive_places():
    assert chunk_numbers(slice(0, 7), 3).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert chunk_numbers(slice(0, 7), 1).tolist() == list(range(7))


def test_a_chunk_shares_crop_and_reflection_but_not_colour():
    """The 2012 code draws once for 32 consecutive images: four draws for a minibatch of 128."""
    order = image_order(1, 0, 128)
    shared = draw_augmentation(1, 0, order, 33, chunk_numbers(slice(0, 128), 32))
    crops = list(zip(shared.rows, shared.columns, shared.mirrored, strict=True))
    assert [len(set(crops[start : start + 32])) for start in range(0, 128, 32)] == [1, 1, 1, 1]
    assert len(set(crops)) == 4
    assert np.array_equal(shared.alphas, draw_augmentation(1, 0, order, 33).alphas)
    assert len(np.unique(shared.alphas)) == 3 * 128


def test_crops_of_chunks_are_of_another_stream_than_those_of_images():
    numbers = np.arange(100)
    alone, shared = draw_augmentation(1, 0, numbers, 33), draw_augmentation(1, 0, numbers, 33, numbers)
    assert np.mean(alone.rows == shared.rows) < 0.15  # 1/33 by chance
    row, _, _, _ = philox((4, 0, 0, CHUNK_CROP), (1, 0))
    assert shared.rows[4] == row * 33 // WORD


@pytest.mark.parametrize(
    "refused",
    [
        lambda: draw_augmentation(1, 0, np.array([WORD]), 33),
        lambda: draw_augmentation(1, 0, np.array([-1]), 33),
        lambda: draw_augmentation(1, 0, np.array([0]), 33, np.array([WORD])),
        lambda: draw_augmentation(1, WORD, np.array([0]), 33),
        lambda: draw_augmentation(-1, 0, np.array([0]), 33),
        lambda: image_order(1, WORD, 3),
        lambda: dropout_mask(1, WORD, 0, torch.tensor([0]), 4, 0.5),
        lambda: dropout_mask(1, 0, 1 << 24, torch.tensor([0]), 4, 0.5),
        lambda: dropout_mask(1, 0, 0, torch.tensor([WORD]), 4, 0.5),
        lambda: dropout_mask(1, 0, 0, torch.tensor([0]), 4, 1.5),
        lambda: dropout_mask(1, 0, 0, torch.tensor([0]), 4, 0.5, first_unit=-1),
        lambda: count_offsets(10, 11, "with_last"),
    ],
)
def test_numbers_that_would_not_fit_the_counter_are_refused(refused):
    with pytest.raises(AssertionError):
        refused()


@pytest.mark.parametrize("rate", [0.5, 0.25, 0.9])
def test_masks_drop_at_the_rate(rate):
    mask = dropout_mask(1, 0, 5, torch.arange(500), 400, rate)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    kept = int(mask.sum())
    assert stats.binomtest(kept, mask.numel(), 1 - rate).pvalue > 0.001
    by_image, by_unit = mask.sum(1) / 400, mask.sum(0) / 500
    spread = math.sqrt(rate * (1 - rate))
    assert by_image.std().item() == pytest.approx(spread / math.sqrt(400), rel=0.15)
    assert by_unit.std().item() == pytest.approx(spread / math.sqrt(500), rel=0.15)


def test_no_unit_is_dropped_at_rate_0_and_each_at_rate_1():
    assert dropout_mask(1, 0, 5, torch.arange(50), 40, 0.0).min() == 1
    assert dropout_mask(1, 0, 5, torch.arange(50), 40, 1.0).max() == 0


def test_masks_are_fresh_for_each_update_layer_image_and_seed():
    masks = [
        dropout_mask(seed, update, layer, torch.arange(50), 100, 0.5)
        for seed in (1, 2, 1 + WORD)
        for update in (0, 1)
        for layer in (5, 6)
    ]
    rows = torch.cat(masks)
    assert len({row.numpy().tobytes() for row in rows}) == len(rows) == 600
    assert torch.corrcoef(rows).fill_diagonal_(0).abs().max() < 0.5  # 5 deviations of 1 / sqrt(100)


def test_an_entry_is_what_the_counters_of_the_docstring_say():
    images = torch.tensor([LARGEST, 3])
    mask = dropout_mask(7 + 9 * WORD, 11, 6, images, 10, 0.3, first_unit=5)
    for i, image in enumerate(images.tolist()):
        for unit in range(5, 15):
            word = philox((image, 11, unit // 4, DROPOUT + 256 * 6), (7, 9))[unit % 4]
            assert mask[i, unit - 5].item() == float(word / WORD >= 0.3)


@given(
    seed=seeds,
    update=st.integers(0, LARGEST),
    images=st.lists(indices, min_size=1, max_size=12),
    first_unit=st.integers(0, 21),
    units=st.integers(1, 21),
    data=st.data(),
)
def test_a_part_of_images_and_units_has_that_part_of_the_whole_mask(
    seed, update, images, first_unit, units, data
):
    whole = dropout_mask(seed, update, 6, torch.tensor(images), 42, 0.5)
    places = data.draw(st.lists(st.integers(0, len(images) - 1), max_size=12))
    part = torch.tensor([images[place] for place in places], dtype=torch.int64)
    mask = dropout_mask(seed, update, 6, part, units, 0.5, first_unit)
    assert torch.equal(mask, whole[places, first_unit : first_unit + units])


def test_no_two_uses_share_a_counter(monkeypatch):
    used = []

    def record(counter, key):
        shaped = np.broadcast_arrays(*(np.asarray(word) for word in counter))
        used.extend(zip(*(array.ravel().tolist() for array in shaped), strict=True))
        return philox(counter, key)

    monkeypatch.setattr(draws_module, "philox", record)
    numbers = np.arange(4)
    for place in range(4):
        image_order(1, place, 4)
        draw_augmentation(1, place, numbers, 33)  # draws crop and colour,
        draw_augmentation(1, place, np.arange(4, 8), 33, numbers)  # a chunk's crop and colour
        for layer in range(4):
            dropout_mask(1, place, layer, torch.from_numpy(numbers), 16, 0.5)
            initial_generator(1, place, layer)
    assert len(used) == len(set(used)) == 4 * 4 + 4 * 8 + 4 * 8 + 4 * 4 * 4 * 4 + 4 * 4


def test_initial_weights_of_a_part_depend_on_its_layer_and_column_alone():
    def draw(*place):
        return torch.randn(3, generator=initial_generator(*place)).tolist()

    assert draw(1, 2, 0) == draw(1, 2, 0)
    places = [(seed, layer, column) for seed in (1, 2, 1 + WORD) for layer in range(8) for column in (0, 1)]
    assert len({tuple(draw(*place)) for place in places}) == len(places)
