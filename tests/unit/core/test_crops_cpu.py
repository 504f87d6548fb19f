"""Crops out of images in memory: the kernel and its plain twin."""

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexnet.core.augment import cut_crops
from alexnet.core.crops_cpu import cut_at
from alexnet.core.draws import Draws, draw_augmentation

GUARD = 64


def addresses_of(images):
    return np.uintp(images.ctypes.data) + np.arange(len(images), dtype=np.uintp) * np.uintp(images[0].nbytes)


@settings(deadline=None)  # the first call compiles
@example(side=256, less=32, count=2, seed=0)
@example(side=21, less=1, count=3, seed=1)  # two tens
@example(side=10, less=0, count=2, seed=2)
@given(side=st.integers(1, 70), less=st.integers(0, 40), count=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_crops_equal_their_plain_twin_and_nothing_beside_them_is_written(side, less, count, seed):
    crop, rng = max(1, side - less), np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    drawn = draw_augmentation(seed, 0, np.arange(count), side - crop + 1)
    memory = np.full(count * crop * crop * 3 + 2 * GUARD, 77, np.uint8)
    crops = memory[GUARD:-GUARD].reshape(count, crop, crop, 3)
    cut_at(addresses_of(images), drawn.rows, drawn.columns, drawn.mirrored, side, crops)
    assert np.array_equal(crops, cut_crops(torch.from_numpy(images), drawn, crop).numpy())
    assert (memory[:GUARD] == 77).all() and (memory[-GUARD:] == 77).all()


def test_a_mirrored_row_by_hand():
    """Eleven pixels of three bytes: ten at a time, and one of them again."""
    image = np.arange(11 * 11 * 3, dtype=np.uint8).reshape(1, 11, 11, 3)
    crops = np.empty_like(image)
    none = np.zeros(1, np.int64)
    cut_at(addresses_of(image), none, none, np.array([True]), 11, crops)
    assert crops[0, 0, 0].tolist() == [30, 31, 32] and crops[0, 0, 10].tolist() == [0, 1, 2]
    assert np.array_equal(crops[0], image[0, :, ::-1])


def test_images_may_lie_anywhere_in_any_order():
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3)).astype(np.uint8)
    places = np.array([2, 0, 2])
    drawn = Draws(
        np.array([0, 1, 2]), np.array([2, 1, 0]), np.array([False, True, True]), np.zeros((3, 3), np.float32)
    )
    crops = np.empty((3, 10, 10, 3), np.uint8)
    cut_at(addresses_of(images)[places], drawn.rows, drawn.columns, drawn.mirrored, 12, crops)
    assert np.array_equal(crops, cut_crops(torch.from_numpy(images[places]), drawn, 10).numpy())
