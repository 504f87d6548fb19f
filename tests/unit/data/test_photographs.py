"""A user's image files, brought to the form of a prepared data set."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alexnet.core.resize import centre_square
from alexnet.data.photographs import read_squares
from alexnet.data.shards import Manifest
from alexnet.errors import UserError

MANIFEST = Manifest("made", 32, "area", "raw", None, {}, 4, [], {})


def test_images_are_resized_and_cut_as_the_data_set_was(tmp_path):
    rng = np.random.default_rng(0)
    large, small = (rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((50, 70), (20, 24)))
    for name, pixels in (("large.png", large), ("small.bmp", small)):
        Image.fromarray(pixels).save(tmp_path / name)
    squares = read_squares([tmp_path / "large.png", tmp_path / "small.bmp"], MANIFEST)
    assert squares.shape == (2, 32, 32, 3) and squares.dtype == np.uint8
    for square, pixels in zip(squares, (large, small), strict=True):
        assert np.array_equal(square, centre_square(pixels, 32, "area"))
        assert not np.array_equal(square, centre_square(pixels, 32, "cubic"))


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (60000, 3)).save(tmp_path / "thin.png")
    cases = {
        "nowhere.jpg": "cannot be read: No such file or directory",
        "text.jpg": "is no image that can be decoded: no image of a known format",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=f"{name}: {message}"):
            read_squares([tmp_path / name], MANIFEST)
    wide = Manifest("made", 256, "area", "raw", None, {}, 4, [], {})
    with pytest.raises(UserError, match="is too long and thin: 60000x3 would become 5120000x256"):
        read_squares([tmp_path / "thin.png"], wide)
