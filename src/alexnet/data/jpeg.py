"""The segments of a JPEG, walked without decoding: what its decoder is chosen by, and what is odd about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

SOI, SOS_BYTES = b"\xff\xd8", b"\xff\xda"
EOI, SOS, DQT, DHT, DRI, COM = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP1, APP14, APP15 = 0xE0, 0xE1, 0xEE, 0xEF
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}  # start of frame, by the way of coding
ARITHMETIC = frozenset(range(0xC9, 0xD0)) & FRAMES
PROGRESSIVES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Pixels depend on none of these: the metadata of cameras and editors, often damaged, and comments.
NOTES = frozenset(range(APP1, APP15 + 1)) - {APP14} | {COM}

_TABLES = frozenset({DQT, DHT, DRI}) | NOTES
_YCBCR_IDS = b"\x01\x02\x03"
_JFIF_BYTES = 14  # of a whole JFIF segment
_ADOBE_BYTES, _ADOBE_YCBCR = 12, 1

# Within a scan: not the byte 0xFF itself, which has a zero behind it, nor a restart, nor filling.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

Segment = tuple[int, int, int]


def list_segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG up to its first scan's header: marker, first byte of the content and the byte behind it.

    Ends early at whatever is no segment, or is cut short.
    """
    place, last = 2, len(data)
    while place + 4 <= last and data[place] == 0xFF:
        if data[place + 1] == 0xFF:  # filling
            place += 1
            continue
        marker, end = data[place + 1], place + 2 + (data[place + 2] << 8 | data[place + 3])
        if not (0xC0 <= marker <= 0xCF or SOS <= marker <= 0xFE) or end < place + 4 or end > last:
            return
        yield marker, place + 4, end
        if marker == SOS:
            return
        place = end


def find_plain_frame(data: bytes) -> tuple[int, int, bool] | None:
    """Height and width of a JPEG as nearly all are, and whether it has one scan; None if anything is unusual.

    Such a JPEG has 8 bits, Huffman coding, and grey or YCbCr that every decoder takes for that.
    """
    frame = None
    for marker, start, end in list_segments(data):
        if marker == SOS:
            if frame is None:
                return None
            height, width, components, is_progressive = frame
            return height, width, not is_progressive and data[start] == components
        if marker in (BASELINE, EXTENDED, PROGRESSIVE):
            components = data[start + 5] if end - start > 5 else 0
            plain = components == 1 or (components == 3 and data[start + 6 : end : 3] == _YCBCR_IDS)
            if frame is not None or not plain or data[start] != 8 or end - start != 6 + 3 * components:
                return None
            height, width = data[start + 1] << 8 | data[start + 2], data[start + 3] << 8 | data[start + 4]
            frame = height, width, components, marker == PROGRESSIVE
        elif marker == APP0:
            if end - start < _JFIF_BYTES:
                return None
        elif marker == APP14:
            if end - start < _ADOBE_BYTES or data[start + _ADOBE_BYTES - 1] != _ADOBE_YCBCR:
                return None
        elif marker not in _TABLES:
            return None
    return None


def drop_notes(data: bytes) -> bytes:
    """A JPEG without the segments that its pixels do not depend on, so that no damage there can matter."""
    kept, place = [], 0
    for marker, start, end in list_segments(data):
        if (
            marker in NOTES and data[end : end + 1] == b"\xff"
        ):  # with rubbish behind it, it stays: that is passed over
            kept.append(data[place : start - 4])
            place = end
    return b"".join([*kept, data[place:]]) if place else data


def list_scans(data: bytes) -> tuple[list[bytes], int | None]:
    """The headers of a JPEG's scans, and the byte behind its end marker, or None if it has none."""
    scans, place = [], 0
    for marker, start, end in list_segments(data):
        if marker == SOS:
            scans, place = [data[start:end]], end
    while place and (found := _MARKER_IN_SCAN.search(data, place)):
        place = found.end()
        marker = data[place - 1]
        if marker == EOI:
            return scans, place
        if marker >= 0xC0 and place + 2 <= len(data):
            end = place + (data[place] << 8 | data[place + 1])
            if marker == SOS:
                scans.append(data[place + 2 : end])
            place = end
    return scans, None
