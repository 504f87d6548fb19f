from __future__ import annotations

import contextlib
import gzip
import io
import re
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data import decode, jpeg
from alexnet.data.decode import DecodeError, decode_image, decode_rgb, decoder_versions, hash_pixels
from tests.unit.data.odd_files import encode, png16, with_segment

COLOUR = (200, 60, 20)
RED = (255, 0, 0)
NOISE = np.random.default_rng(1).integers(0, 256, (40, 52, 3), np.uint8)
WAYS = ({}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": "4:4:4"})


def _plain(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (12, 8), COLOUR).convert(mode)


def _noise_jpeg(**options: object) -> bytes:
    return encode(Image.fromarray(NOISE), "JPEG", **options)


def _by_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def _is_fast(data: bytes) -> bool:
    """Whether libjpeg-turbo itself decodes the file, and not Pillow."""
    room = np.empty(1 << 20, np.uint8)
    return np.shares_memory(decode_rgb(data, room), room)


@pytest.mark.parametrize(
    "data",
    [
        encode(_plain(), "JPEG", quality=95),
        encode(_plain("CMYK"), "JPEG", quality=95),
        encode(_plain(), "PNG"),
        encode(_plain().quantize(4), "PNG"),
        encode(_plain("RGBA"), "PNG"),
        gzip.compress(encode(_plain(), "JPEG", quality=95)),
        encode(_plain(), "JPEG", quality=95) + b"bytes behind the end",
        png16(np.full((8, 12, 3), COLOUR, np.uint16) * 257),
        encode(_plain(), "JPEG", quality=95, progressive=True),
        encode(_plain(), "JPEG", quality=95, keep_rgb=True),
        b"bytes in front" + encode(_plain(), "JPEG", quality=95),
        encode(_plain().quantize(4), "GIF"),
        encode(_plain(), "BMP"),
        encode(_plain(), "WEBP", lossless=True),
        b"P6 12 8 255\n" + bytes(COLOUR) * 96,
    ],
    ids=[
        "jpeg", "cmyk", "png", "palette", "alpha", "gzip", "extra", "png16",
        "progressive", "rgb", "lead", "gif", "bmp", "webp", "ppm",
    ],
)  # fmt: skip
def test_colour_survives_every_kind_of_file(data: bytes) -> None:
    image = decode_rgb(data)
    assert image.shape == (8, 12, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - COLOUR).max() <= 4


def test_grey_jpeg_has_three_equal_channels() -> None:
    image = decode_rgb(encode(Image.new("L", (9, 7), 90), "JPEG"))
    assert image.shape == (7, 9, 3) and (np.abs(image.astype(int) - 90) <= 1).all()


def test_cmyk_inks_are_inverted_as_adobe_writes_them() -> None:
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # full magenta and yellow: red
    assert decode_rgb(encode(inks, "JPEG", quality=95))[4, 4].tolist() == pytest.approx(RED, abs=4)


def test_ycck_is_turned_to_inks_first() -> None:
    inks = np.full((16, 16, 4), (255, 0, 0, 255), np.uint8)  # inverted: no cyan, no black
    data = simplejpeg.encode_jpeg(inks, 95, "CMYK", "444")
    assert b"Adobe\0d\0\0\0\0\x02" in data  # transform 2: YCCK
    assert decode_rgb(data)[4, 4].tolist() == pytest.approx(RED, abs=4)


def test_16_bit_grey_png_keeps_its_high_byte() -> None:
    values = np.array([[0, 255, 256, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    assert decode_rgb(png16(values))[0, :, 0].tolist() == [0, 0, 1, 127, 128, 255]


def test_palette_png_shows_the_colours_of_its_palette() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *COLOUR, 1, 2, 3])
    image.putdata([2, 0, 1])
    assert decode_rgb(encode(image, "PNG"))[0].tolist() == [[1, 2, 3], list(RED), list(COLOUR)]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_thin_image_keeps_its_shape_and_its_values(size: tuple[int, int]) -> None:
    data = encode(Image.new("RGB", size, COLOUR), "JPEG", quality=95)
    image = decode_rgb(data)
    assert image.shape == (size[1], size[0], 3) and np.abs(image.astype(int) - COLOUR).max() <= 4


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned
    data = encode(Image.fromarray(NOISE), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode_rgb(data), _by_pillow(_noise_jpeg()))


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\x00garbage"),
        (0xED, b"Photoshop 3.0\x008BIM\4\4"),  # cut short: Pillow alone takes this for no image
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    ],
    ids=["exif", "photoshop", "mpf"],
)
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_damaged_metadata_neither_warns_nor_fails(mode: str, marker: int, content: bytes) -> None:
    data = encode(Image.fromarray(NOISE).convert(mode), "JPEG")
    np.testing.assert_array_equal(decode_rgb(with_segment(data, marker, content)), _by_pillow(data))


@st.composite
def _jpegs(draw: st.DrawFn) -> bytes:
    """Ordinary JPEGs: noise, some of it smooth, of any small size."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    noise = Image.fromarray(rng.integers(0, 256, (draw(st.integers(1, height)), width, 3), np.uint8))
    options = draw(
        st.fixed_dictionaries(
            {
                "quality": st.integers(1, 100),
                "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]),
            },
            optional={
                "progressive": st.just(True),
                "optimize": st.just(True),
                "restart_marker_blocks": st.integers(1, 5),
                "exif": st.just(b"Exif\0\0II*\0\x08" + bytes(9)),
                "comment": st.just(b"taken in 2005"),
            },
        )
    )
    return encode(
        noise.resize((width, height)).convert(draw(st.sampled_from(["RGB", "RGB", "L"]))), "JPEG", **options
    )


@settings(deadline=None)
@given(_jpegs())
def test_pixels_are_pillows_whichever_decoder_makes_them(data: bytes) -> None:
    assert _is_fast(data)
    np.testing.assert_array_equal(decode_rgb(data), _by_pillow(data))


def _short_frame(data: bytes) -> bytes:
    start = data.index(b"\xff\xc0\0\x11")
    return data[: start + 3] + b"\x10" + data[start + 4 : start + 18] + data[start + 19 :]


UNUSUAL = {
    "cmyk": encode(_plain("CMYK"), "JPEG"),
    "rgb": with_segment(_noise_jpeg(), 0xEE, b"Adobe\0d\0\0\0\0\0"),
    "rgb by ids": encode(_plain(), "JPEG", keep_rgb=True).replace(b"\xff\xee", b"\xff\xef", 1),
    "arithmetic": _noise_jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1),
    "12 bits": _noise_jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c", 1),
    "short frame": _short_frame(_noise_jpeg()),
    "two frames": with_segment(_noise_jpeg(), 0xC0, b"\x08\0\x28\0\x34\1\1\x11\0"),
    "short JFIF": with_segment(_noise_jpeg(), 0xE0, b"JFIF\0"),
    "number of lines": with_segment(_noise_jpeg(), 0xDC, b"\0\x28"),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=list(UNUSUAL))
def test_unusual_jpeg_is_left_to_pillow(data: bytes) -> None:
    assert jpeg.find_plain_frame(data) is None


def test_colours_that_no_segment_names_are_those_of_the_ids() -> None:
    image = decode_rgb(UNUSUAL["rgb by ids"])
    assert np.abs(image.astype(int) - COLOUR).max() <= 4


def test_frame_and_number_of_scans_are_read_off_the_header() -> None:
    data = _noise_jpeg()
    assert jpeg.find_plain_frame(data) == (40, 52, True)
    assert jpeg.find_plain_frame(_noise_jpeg(progressive=True)) == (40, 52, False)
    scan = data.index(b"\xff\xda")
    one_channel = data[:scan] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[scan + 14 :]
    assert jpeg.find_plain_frame(one_channel) == (40, 52, False)


def test_rubbish_and_filling_between_segments_is_passed_over() -> None:
    data = _noise_jpeg()
    for odd in (b"\xff\xfe\0\x06note\0\0", b"\xff\xff"):
        np.testing.assert_array_equal(decode_rgb(data[:2] + odd + data[2:]), _by_pillow(data))


def _decode_or_refuse(data: bytes) -> object:
    try:
        image = decode_rgb(data, np.empty(1 << 15, np.uint8))
    except DecodeError as error:
        return error.reason
    return image.shape, image.tobytes()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(WAYS),
    st.lists(
        st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4), st.integers(0, 3)), max_size=3
    ),
)
def test_damaged_jpeg_is_judged_alike_by_both_decoders(
    way: dict[str, object], changes: list[tuple[int, bytes, int]]
) -> None:
    damaged = bytearray(encode(Image.fromarray(NOISE[:16, :16]), "JPEG", **way))
    for place, content, width in changes:
        damaged[place : place + width] = content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "MAX_PIXELS", 1 << 20)  # a damaged size takes time
        judged = _decode_or_refuse(bytes(damaged))
        patch.setattr(jpeg, "find_plain_frame", lambda data: None)
        assert judged == _decode_or_refuse(bytes(damaged))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [1, 4])
def test_jpeg_cut_anywhere_is_refused_unless_every_pixel_is_there(seed: int, way: dict[str, object]) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)
    data = encode(Image.fromarray(noise), "JPEG", **way)
    whole, decoded = decode_rgb(data), []
    for num in range(len(data)):
        try:
            image, warning = decode_image(data[:num])
        except DecodeError:
            continue
        np.testing.assert_array_equal(image, whole)
        assert warning == "Premature end of JPEG file"
        decoded.append(len(data) - num)
    # Only the end marker may be missing, and only where no decoder needs to read ahead.
    assert decoded in ([], [2, 1])
    assert decoded or seed != 4 or way


@pytest.mark.parametrize("way", WAYS)
def test_half_a_scan_with_an_end_is_damage_that_is_told_of(way: dict[str, object]) -> None:
    data = _noise_jpeg(**way)
    image, warning = decode_image(data[: -len(data) // 4] + b"\xff\xd9")
    assert warning == "Corrupt JPEG data: premature end of data segment"
    assert decode_image(data).warning is None
    if "progressive" not in way:  # the beginning is as it was
        np.testing.assert_array_equal(image[:8], decode_rgb(data)[:8])


def test_foreign_bytes_in_front_of_the_end_change_no_pixel_and_are_told_of() -> None:
    data = _noise_jpeg()
    odd = data[:-2] + b"\x12" * 20 + data[-2:]
    for content in (odd, gzip.compress(odd), b"lead" + odd):
        image, warning = decode_image(content)
        assert warning is not None and re.search("extraneous bytes before marker 0xd9", warning)
        np.testing.assert_array_equal(image, _by_pillow(data))


def test_no_warning_is_made_up_for_an_unusual_file() -> None:
    for data in (encode(_plain("CMYK"), "JPEG"), encode(_plain(), "PNG"), gzip.compress(_noise_jpeg())):
        assert decode_image(data).warning is None


def test_pixels_lie_in_the_room_if_they_fit() -> None:
    data, room = _noise_jpeg(), np.empty(40 * 52 * 3, np.uint8)
    first = decode_rgb(data, room)
    np.testing.assert_array_equal(first, room.reshape(40, 52, 3))
    np.testing.assert_array_equal(first, _by_pillow(data))
    decode_rgb(encode(Image.new("RGB", (52, 40)), "JPEG"), room)
    assert not first.any()  # overwritten, as agreed
    small = np.zeros(40 * 52 * 3 - 1, np.uint8)
    np.testing.assert_array_equal(decode_rgb(data, small), _by_pillow(data))
    assert not small.any()


@pytest.mark.parametrize("start", [b"II*\0\x08\0\0\0", b"GIF89a\1\0\1\0"])
def test_image_of_another_kind_is_not_taken_for_the_jpeg_in_it(start: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_rgb(start + _noise_jpeg())


def test_pixels_that_look_like_a_jpeg_are_pixels() -> None:
    data = b"P6 1 100 255\n" + _noise_jpeg()[:300]
    assert decode_rgb(data).tobytes() == _noise_jpeg()[:300]


def test_jpeg_far_behind_the_beginning_is_not_looked_for() -> None:
    assert decode_rgb(b"?" * 1024 + _noise_jpeg()).shape == (40, 52, 3)
    with pytest.raises(DecodeError, match="known format"):
        decode_rgb(b"?" * 1025 + _noise_jpeg())


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(DecodeError, match="no known range"):
        decode_rgb(b"Pf 3 3 -1.0\n" + bytes(36))


def test_truncated_gzip_is_refused() -> None:
    with pytest.raises(DecodeError, match="damaged gzip"):
        decode_rgb(gzip.compress(encode(_plain(), "JPEG"))[:-12])


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\xff\xd8\xff", b"\0" * 500])
def test_no_image_is_refused_with_the_same_words_each_time(data: bytes) -> None:
    reasons = set()
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            decode_rgb(data)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1 and "0x" not in reasons.pop()


def test_format_without_a_place_among_photographs_is_refused() -> None:
    with pytest.raises(DecodeError, match="known format"):
        decode_rgb(encode(_plain(), "TIFF"))


def test_enormous_image_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 95)
    with pytest.raises(DecodeError) as caught:
        decode_rgb(encode(_plain(), "PNG"))
    assert caught.value.reason == "12x8 is more than 95 pixels"


def _flat_png(side: int) -> bytes:
    return encode(Image.new("L", (side, side)), "PNG", optimize=True)


def test_large_flat_image_is_refused_by_its_ratio_and_a_small_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = _flat_png(256), _flat_png(257)  # some 500 pixels per byte
    monkeypatch.setattr(decode, "MAX_FLAT_PIXELS", 256 * 256)
    assert decode_rgb(small).shape == (256, 256, 3)
    with pytest.raises(DecodeError, match="257x257 in .* bytes is more than 256 pixels per byte"):
        decode_rgb(large)
    noise = encode(Image.fromarray(np.resize(NOISE, (257, 257, 3))), "PNG")
    assert decode_rgb(noise).shape == (257, 257, 3)
    with pytest.raises(DecodeError, match="pixels per byte"):
        decode_rgb(gzip.compress(b"P5 257 257 255\n" + bytes(257 * 257)))  # a gzip by its own bytes


def test_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _noise_jpeg()
    frame = data.index(b"\xff\xc0")
    enormous = data[: frame + 5] + struct.pack(">HH", 60_000, 60_000) + data[frame + 9 :]
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    monkeypatch.setattr(Image.Image, "load", None)
    for content in (enormous, b"P6 60000 60000 255\n", b"P6 10000 10000 255\n"):
        with pytest.raises(DecodeError, match="more than (134,217,728 pixels|256 pixels per byte)"):
            decode_rgb(content)


def test_many_scans_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _noise_jpeg(progressive=True)
    num_scans = data.count(b"\xff\xda")
    assert num_scans > 5
    monkeypatch.setattr(decode, "MAX_PIXELS_OF_SCANS", num_scans * 40 * 52)
    assert decode_rgb(data).shape == (40, 52, 3)
    monkeypatch.setattr(decode, "MAX_PIXELS_OF_SCANS", num_scans * 40 * 52 - 1)
    for content in (data, with_segment(data, 0xEE, b"Adobe\0d\0\0\0\0\0")):  # by either decoder
        with pytest.raises(DecodeError, match=f"{num_scans} scans of 2,080 pixels are too much work"):
            decode_rgb(content)


def test_large_image_is_converted_band_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    inks = Image.fromarray(NOISE).convert("CMYK")
    values = np.arange(40 * 52, dtype=np.uint16).reshape(40, 52) * 31
    heights: list[int] = []
    convert = decode._to_rgb
    monkeypatch.setattr(decode, "_to_rgb", lambda band: (heights.append(band.height), convert(band))[1])
    monkeypatch.setattr(decode, "BAND_PIXELS", 52 * 7)
    np.testing.assert_array_equal(decode_rgb(encode(inks, "JPEG")), _by_pillow(encode(inks, "JPEG")))
    np.testing.assert_array_equal(decode_rgb(png16(values))[:, :, 1], values >> 8)
    assert heights == 2 * [7, 7, 7, 7, 7, 5]


def test_text_bomb_in_a_png_is_refused() -> None:
    text = zlib.compress(bytes(1 << 21))
    chunk = b"zTXtkey\0\0" + text
    bomb = struct.pack(">I", len(text) + 5) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = encode(_plain(), "PNG")
    with pytest.raises(DecodeError, match="too large"):
        decode_rgb(data[:33] + bomb + data[33:])


def test_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 1000)
    with pytest.raises(DecodeError, match="more than 1,000 bytes"):
        decode_rgb(gzip.compress(b"\0" * 1001))


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\x1f\x8b", b"P6 1 1 255 "]
    ),
)
def test_arbitrary_bytes_decode_or_raise_decode_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert decode_rgb(start + data).shape[2] == 3


def test_pixel_hash_is_that_of_size_and_bytes() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    expected = xxhash.xxh3_128_hexdigest(bytes([2, 0, 0, 0, 3, 0, 0, 0]) + bytes(range(18)))
    assert hash_pixels(image) == expected != hash_pixels(image.reshape(3, 2, 3))
    assert expected == "857195201d9a19c6eb51d68c797314e3"


def test_pixel_hash_does_not_see_memory_layout() -> None:
    image = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    assert hash_pixels(np.asfortranarray(image)) == hash_pixels(image)


def test_versions_of_both_decoders_are_told() -> None:
    versions = decoder_versions()
    assert versions["simplejpeg"] == simplejpeg.__version__
    for name in ("libjpeg_turbo", "simplejpeg_libjpeg_turbo"):
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", versions[name])
