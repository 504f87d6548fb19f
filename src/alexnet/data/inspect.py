"""What is odd about an image file: by its header, and by what comes out of it (§1.5)."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.data import jpeg
from alexnet.data.decode import FORMATS, DecodeError, decode_image, hash_pixels, unwrap

THIN = 5  # longer side by shorter side, from here on
TINY_PX = 32  # shorter side, below this

SUFFIXES = {
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}

# Odd kinds of files and what becomes of them.
KINDS = {
    "unreadable": "does not decode: left out of train, refused in val and test",
    "truncated": "cut short",
    "decoder_warned": "damaged, but decodes as it did in 2012",
    "missing_scans": "a JPEG without some of its scans: decodes, but blurred or without colour",
    "extra_bytes": "foreign bytes in front of a JPEG, behind it or within it: passed over",
    **{f"not_jpeg_{name.lower()}": f"{name} by another name: decoded as what it is" for name in SUFFIXES},
    "gzip": "an image within a gzip: unpacked",
    "cmyk": "printing inks: converted to RGB",
    "ycck": "printing inks in YCCK: converted to RGB",
    "adobe_inverted": "inks inverted, as Adobe writes them: turned back",
    "grey": "one channel: repeated three times",
    "sixteen_bit": "16 bits per channel: the upper 8 are kept",
    "palette": "a palette: its colours are looked up",
    "transparency": "transparency: dropped",
    "arithmetic": "a JPEG with arithmetic coding: decoded",
    "exif_orientation": "to be shown turned, by EXIF: ignored, as in 2012",
    "damaged_exif": "EXIF that makes no sense: ignored",
    "thin": f"a side at least {THIN} times the other: the central square keeps little of it",
    "tiny": f"a side below {TINY_PX} pixels: enlarged",
}
COMMON_KINDS = {"progressive": "a progressive JPEG, or one of several scans"}  # counted, but nothing odd

_ORIENTATION, _SHORT = 0x0112, 3
_TYPE_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # by the number of the type
_INKS = 4  # as many channels
_ADOBE_YCCK = 2

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Inspection:
    """What was found in a file.

    kinds: of KINDS and COMMON_KINDS, in their order. pixels: their hash. means: of red, green and blue, 0-255.
    is_grey: whether the three are equal everywhere. reason: why it does not decode; then all but `kinds` is None.
    warning: the decoder's.
    """

    kinds: list[str]
    width: int | None = None
    height: int | None = None
    pixels: str | None = None
    means: tuple[float, float, float] | None = None
    is_grey: bool | None = None
    reason: str | None = None
    warning: str | None = None


def inspect_image(data: bytes, name: str, room: Pixels | None = None) -> Inspection:
    """What is odd about an image file; it is decoded as everywhere. name: the file's; room: see `decode_rgb`."""
    try:
        pixels, warning = decode_image(data, room)
    except DecodeError as error:
        return refuse(error, find_kinds(data, name))
    kinds = find_kinds(data, name)
    height, width = pixels.shape[:2]
    if warning is not None:
        kinds.add("decoder_warned")
        if "extraneous bytes" in warning:
            kinds.add("extra_bytes")
    if max(height, width) >= THIN * min(height, width):
        kinds.add("thin")
    if min(height, width) < TINY_PX:
        kinds.add("tiny")
    red, green, blue, _ = cv2.mean(pixels)
    return Inspection(
        _sort(kinds), width, height, hash_pixels(pixels), (red, green, blue), _is_grey(pixels), None, warning
    )


def refuse(error: DecodeError, kinds: set[str] | None = None) -> Inspection:
    """What is known of a file that does not decode."""
    found = {"unreadable", *(kinds or ())}
    if "truncated" in error.reason.lower():
        found.add("truncated")
    return Inspection(_sort(found), reason=error.reason)


def find_kinds(data: bytes, name: str) -> set[str]:
    """The odd kinds that can be told without decoding, and the common ones. name: the file's, for its suffix."""
    kinds = set()
    try:
        image = unwrap(data)
    except DecodeError:
        return {"gzip"}
    if data.startswith(b"\x1f\x8b"):
        kinds.add("gzip")
    elif len(image) < len(data):
        kinds.add("extra_bytes")
    return kinds | (_jpeg_kinds(image) if image.startswith(jpeg.SOI) else _other_kinds(image, name))


def _sort(kinds: set[str]) -> list[str]:
    return [kind for kind in (*KINDS, *COMMON_KINDS) if kind in kinds]


def _is_grey(pixels: Pixels) -> bool:
    for part in (pixels[::16, ::16], pixels):  # a few pixels tell of nearly every image
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 1], part[..., 2])):
            return False
    return True


def _other_kinds(data: bytes, name: str) -> set[str]:
    """Kinds of what is no JPEG, as Pillow takes it."""
    kinds = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                kind, mode, info = str(image.format), image.mode, image.info
        except Exception:  # whatever a format's reader stumbles over: decoding gives the reason
            return set()
    if kind in SUFFIXES and not name.lower().endswith(SUFFIXES[kind]):
        kinds.add(f"not_jpeg_{kind.lower()}")
    if mode in ("1", "L", "LA") or mode.startswith("I"):
        kinds.add("grey")
    if mode.startswith("I") or (kind == "PNG" and data[24] == 16):
        kinds.add("sixteen_bit")
    if mode in ("P", "PA"):
        kinds.add("palette")
    if mode in ("LA", "PA", "RGBA") or "transparency" in info:
        kinds.add("transparency")
    return kinds


def _jpeg_kinds(data: bytes) -> set[str]:
    kinds: set[str] = set()
    frame, frame_marker, adobe = b"", 0, b""
    for marker, start, end in jpeg.list_segments(data):
        content = data[start:end]
        if marker in jpeg.FRAMES:
            frame, frame_marker = content, marker
        elif marker == jpeg.APP14 and content.startswith(b"Adobe"):
            adobe = content
        elif marker == jpeg.APP1 and content.startswith(b"Exif\0"):
            kinds |= _exif_kinds(content[6:])
    if not frame:
        return kinds
    components = (len(frame) - 6) // 3
    if components == 1:
        kinds.add("grey")
    if components == _INKS:
        kinds.add("ycck" if adobe[11:12] == bytes([_ADOBE_YCCK]) else "cmyk")
        if adobe:
            kinds.add("adobe_inverted")
    if frame_marker in jpeg.ARITHMETIC:
        kinds.add("arithmetic")
    scans, end_of_image = jpeg.list_scans(data)
    if end_of_image is not None and end_of_image < len(data):
        kinds.add("extra_bytes")
    if len(scans) > 1:
        kinds.add("progressive")
    if end_of_image is not None and not _has_every_scan(
        frame[6::3], scans, frame_marker in jpeg.PROGRESSIVES
    ):
        kinds.add("missing_scans")
    return kinds


def _has_every_scan(components: bytes, scans: list[bytes], is_progressive: bool) -> bool:
    """Whether every coefficient of every component comes, to the last bit."""
    bits = {component: [99] * 64 for component in components}  # that are left to come
    for scan in scans:
        num = scan[0] if scan else 0
        if len(scan) < 4 + 2 * num:
            continue
        first, last, low = (scan[-3], scan[-2], scan[-1] & 15) if is_progressive else (0, 63, 0)
        for component in scan[1 : 1 + 2 * num : 2]:
            if component in bits:
                for place in range(first, min(last, 63) + 1):
                    bits[component][place] = low
    return not any(any(left) for left in bits.values())


def _exif_kinds(tiff: bytes) -> set[str]:
    """Kinds by the content of an EXIF segment: its orientation, and whether its first directory makes sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return {"damaged_exif"}
    kinds = set()
    try:
        (place,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num,) = struct.unpack_from(f"{order}H", tiff, place)
        for entry in range(place + 2, place + 2 + 12 * num, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
            (value,) = struct.unpack_from(f"{order}I", tiff, entry + 8)
            num_bytes = count * _TYPE_BYTES[kind]
            if not num_bytes or (num_bytes > 4 and value + num_bytes > len(tiff)):
                kinds.add("damaged_exif")
            if tag == _ORIENTATION:
                (orientation,) = struct.unpack_from(f"{order}H", tiff, entry + 8)
                if kind != _SHORT or not 0 <= orientation <= 8:
                    kinds.add("damaged_exif")
                elif orientation > 1:
                    kinds.add("exif_orientation")
    except (struct.error, IndexError):
        kinds.add("damaged_exif")
    return kinds
