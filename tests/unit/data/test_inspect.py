from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data import jpeg
from alexnet.data.decode import decode_rgb, hash_pixels
from alexnet.data.inspect import COMMON_KINDS, KINDS, find_kinds, inspect_image
from tests.unit.data.odd_files import (
    COLOUR,
    HEIGHT,
    JPEG,
    ODD,
    PROGRESSIVE,
    WIDTH,
    encode,
    exif,
    plain,
    with_segment,
)

GREY = {"grey.JPEG": (90, 90, 90), "grey.png": (97, 97, 97), "grey16.png": (9, 9, 9)}


@pytest.mark.parametrize("name", ODD)
def test_every_odd_file_is_known_for_what_it_is_and_has_its_colours(name: str) -> None:
    data, kinds = ODD[name]
    found = inspect_image(data, name)
    assert found.kinds == kinds
    assert found.means == pytest.approx(GREY.get(name, COLOUR), abs=3)
    assert found.is_grey == (name in GREY)
    assert found.reason is None and (found.warning is not None) == ("decoder_warned" in kinds)
    image = decode_rgb(data)
    assert (found.height, found.width) == image.shape[:2] and found.pixels == hash_pixels(image)
    assert np.abs(image.astype(int) - GREY.get(name, COLOUR)).max() <= 5


def test_all_kinds_are_told_of() -> None:
    told = {kind for _, kinds in ODD.values() for kind in kinds}
    assert told | {"unreadable", "truncated", "arithmetic"} == {*KINDS, *COMMON_KINDS}


@pytest.mark.parametrize(
    ("data", "kinds", "reason"),
    [
        (b"", ["unreadable"], "the file is empty"),
        (b"<html>", ["unreadable"], "no image of a known format"),
        (JPEG[:-30], ["unreadable", "truncated"], "image file is truncated"),
        (ODD["cmyk.JPEG"][0][:-30], ["unreadable", "truncated", "cmyk", "adobe_inverted"], "image file is truncated"),
        (encode(plain(), "PNG")[:-30], ["unreadable", "truncated", "not_jpeg_png"], "truncated"),
        (gzip.compress(JPEG)[:-12], ["unreadable", "gzip"], "damaged gzip"),
    ],
    ids=["empty", "html", "jpeg", "cmyk", "png", "gzip"],
)  # fmt: skip
def test_unreadable_file_has_a_reason_and_nothing_else(data: bytes, kinds: list[str], reason: str) -> None:
    found = inspect_image(data, "x.JPEG")
    assert found.kinds == kinds and reason in str(found.reason)
    assert (found.width, found.height, found.pixels, found.means, found.is_grey) == (None,) * 5


def test_arithmetic_coding_is_seen_in_the_header() -> None:
    assert find_kinds(JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1), "x.JPEG") == {"arithmetic"}


def test_grey_pixels_of_a_colour_file_are_seen_and_a_single_coloured_pixel_too() -> None:
    pixels = np.full((40, 40, 3), 70, np.uint8)
    found = inspect_image(encode(Image.fromarray(pixels), "PNG"), "x.png")
    assert found.is_grey and found.kinds == []
    pixels[1, 1, 2] = 71
    assert inspect_image(encode(Image.fromarray(pixels), "PNG"), "x.png").is_grey is False


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        (exif(), set()),
        (exif((0x0112, 3, 1, 1)), set()),
        (exif((0x0112, 3, 1, 0)), set()),  # cameras write it for "unknown"
        (exif((0x010F, 2, 4, 0x41414141), (0x0112, 3, 1, 8)), {"exif_orientation"}),
        (exif((0x0112, 3, 1, 3), order=">"), {"exif_orientation"}),
        (exif((0x0112, 3, 1, 9)), {"damaged_exif"}),
        (exif((0x0112, 4, 1, 6)), {"damaged_exif"}),
        (exif((0x0132, 2, 20, 24)), {"damaged_exif"}),  # a text that would lie behind the end
        (exif((0x0132, 2, 9, 8)), set()),
        (exif((0x0132, 13, 1, 0)), {"damaged_exif"}),  # there are twelve types
        (exif((0x0132, 0, 1, 0)), {"damaged_exif"}),
        (exif((0x0112, 3, 1, 6), (0x0132, 2, 4, 0), shorten=5), {"exif_orientation", "damaged_exif"}),
        (exif(shorten=5), {"damaged_exif"}),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", {"damaged_exif"}),
        (b"Exif\0\0", {"damaged_exif"}),
        (b"http://ns.adobe.com/xap/1.0/\0II*", set()),
    ],
)
def test_exif_is_read_no_further_than_it_makes_sense(content: bytes, kinds: set[str]) -> None:
    assert find_kinds(with_segment(JPEG, 0xE1, content), "x.JPEG") == kinds


def test_scan_of_one_channel_alone_leaves_others_missing() -> None:
    scan = JPEG.index(b"\xff\xda")
    data = JPEG[:scan] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + JPEG[scan + 14 :]
    assert find_kinds(data, "x.JPEG") == {"missing_scans"}


def test_scans_of_a_progressive_jpeg_are_followed_to_its_end() -> None:
    scans, end = jpeg.list_scans(PROGRESSIVE + b"\xff\xda\0\x08\1\1\0\0\x3f\0")
    assert len(scans) == PROGRESSIVE.count(b"\xff\xda") > 5 and end == len(PROGRESSIVE)
    assert jpeg.list_scans(PROGRESSIVE[:-2]) == (scans, None)
    for start in (0, 2, 30):
        assert jpeg.list_scans(PROGRESSIVE[:start])[1] is None
    for cut in (b"\xff\xe1", b"\xff\xe1\0", b"\xff\xe1\0\0", b"\xff\xda\0\x08\1"):
        assert jpeg.list_scans(JPEG[:-2] + cut)[1] is None


def test_scans_that_are_cut_or_make_no_sense_are_left_to_the_decoder() -> None:
    last = PROGRESSIVE.rindex(b"\xff\xda")
    assert find_kinds(PROGRESSIVE[:last], "x.JPEG") == {"progressive"}
    assert find_kinds(PROGRESSIVE[:last] + b"\xff\xda\0\3\1" + b"\xff\xd9", "x") == {
        "progressive",
        "missing_scans",
    }


def test_header_is_read_behind_filling() -> None:
    data = ODD["cmyk.JPEG"][0]
    assert inspect_image(data[:2] + b"\xff\xff" + data[2:], "x.JPEG").kinds == ["cmyk", "adobe_inverted"]


def test_thin_and_tiny_begin_where_they_are_said_to() -> None:
    sizes = {(160, 32): ["thin"], (159, 32): [], (32, 159): [], (32, 160): ["thin"], (33, 31): ["tiny"]}
    for (width, height), kinds in sizes.items():
        assert inspect_image(encode(plain(size=(width, height)), "PNG"), "x.png").kinds == kinds


@settings(deadline=None)
@given(
    st.sampled_from(sorted(ODD)),
    st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=3), st.integers(0, 3)), max_size=3),
    st.integers(0, 900),
)
def test_damage_of_any_kind_is_a_reason_at_most(
    name: str, changes: list[tuple[int, bytes, int]], cut: int
) -> None:
    damaged = bytearray(ODD[name][0])
    for place, content, width in changes:
        damaged[place : place + width] = content
    del damaged[max(cut, 1) * 3 :]
    found = inspect_image(bytes(damaged), name, np.empty(HEIGHT * WIDTH * 3, np.uint8))
    assert (found.reason is None) == (found.pixels is not None) == ("unreadable" not in found.kinds)
    assert set(found.kinds) <= {*KINDS, *COMMON_KINDS}
