"""Random draws are functions of seed and place alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.draws import draw_augmentation, dropout_mask, image_order, initial_seed


@given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 100), num_images=st.integers(1, 50))
def test_an_epoch_uses_each_image_once(seed, epoch, num_images):
    order = image_order(seed, epoch, num_images)
    assert sorted(order) == list(range(num_images))
    assert np.array_equal(order, image_order(seed, epoch, num_images))


def test_epochs_seeds_and_uses_differ():
    orders = [tuple(image_order(seed, epoch, 20)) for seed in (1, 2) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert len({initial_seed(seed) for seed in range(100)}) == 100


def test_all_2178_crops_and_reflections_are_drawn():
    """33 * 33 * 2 with the offsets of the 2012 code; the paper counts 32 * 32 * 2."""
    draws = draw_augmentation(3, 0, 60_000, 33)
    assert len(set(zip(draws.rows, draws.columns, draws.mirrored, strict=True))) == 2178
    assert draws.alphas.mean() == pytest.approx(0, abs=0.01)
    assert draws.alphas.std() == pytest.approx(1, abs=0.01)


def test_taking_images_takes_their_draws():
    draws = draw_augmentation(3, 1, 10, 5)
    taken = draws.take(np.array([7, 2]))
    assert taken.rows.tolist() == [draws.rows[7], draws.rows[2]]
    assert np.array_equal(taken.alphas, draws.alphas[[7, 2]])


def test_masks_drop_at_the_rate_and_are_fresh_for_each_update_and_layer():
    masks = [dropout_mask(1, update, layer, (50, 100), 0.5) for update in (0, 1) for layer in (5, 6)]
    assert len({mask.numpy().tobytes() for mask in masks}) == 4
    assert set(masks[0].unique().tolist()) == {0.0, 1.0}
    assert masks[0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert dropout_mask(1, 0, 5, (50, 100), 0.25).mean().item() == pytest.approx(0.75, abs=0.03)
