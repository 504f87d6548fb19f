from __future__ import annotations

import numpy as np
import pytest

from alexnet.report.sheet import COLUMNS, SIDE, Picture, draw_sheet, merge_titles, shrink


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((400, 800), (100, 200)), ((64, 64), (200, 200)), ((3000, 1), (200, 1)), ((1, 3), (67, 200))],
)
def test_picture_is_whole_and_fits(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (250, 20, 30), np.uint8)
    small = shrink(image)
    assert small.shape == (*shown, 3) and (small == (250, 20, 30)).all()


def test_small_picture_shows_its_pixels() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 1] = 255
    assert (shrink(image)[:100, 100:] == 255).all() and not shrink(image)[100:].any()


def test_each_picture_has_a_cell_with_words_under_it() -> None:
    red = shrink(np.full((10, 10, 3), (255, 0, 0), np.uint8))
    pictures = [Picture(red, "odd", ["a key"])] * COLUMNS + [
        Picture(None, "unreadable", ["x" * 500, "reason"])
    ]
    sheet = np.asarray(draw_sheet("title", pictures))
    is_red = (sheet == (255, 0, 0)).all(axis=2)
    assert is_red.sum() == COLUMNS * SIDE * SIDE
    rows, columns = np.nonzero(is_red)
    top, left = rows.min(), columns.min()
    assert rows.max() == top + SIDE - 1  # in one row
    caption = sheet[top + SIDE + 2 : top + SIDE + 40, left : left + SIDE]
    assert (caption < 128).any()
    last = sheet[rows.max() + 100 :]  # the second row has the one that does not decode
    assert (last[:, : left + SIDE] < 250).any() and (last[:, left + SIDE + 5 :] == 255).all()


def test_sheet_without_pictures_has_its_title() -> None:
    assert (np.asarray(draw_sheet("nothing", [])) < 128).any()


def test_image_that_is_odd_in_two_ways_is_shown_once() -> None:
    chosen = [("cmyk", "train", "a"), ("tiny", "val", "a"), ("tiny", "train", "a"), ("tiny", "train", "a")]
    assert merge_titles(chosen) == {("train", "a"): "cmyk, tiny", ("val", "a"): "tiny"}
