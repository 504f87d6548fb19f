"""Ways to damage bytes, tar headers and JSON, each drawn from one generator."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np

BLOCK = 512
EDGES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    (1 << 63) - 1,
    1 << 63,
)
NUMBERS = (b"00000000000\0", b"77777777777\0", b"-0000001000\0", b"           \0", b"\x80" + b"\xff" * 11,
           b"\xff" * 12, b"\x80" + b"\0" * 9 + b"\x04\0", b"\x80" + b"\0" * 7 + b"\x7f\0\0\0", b"1_000\0\0\0\0\0\0\0",
           b"0o1000\0\0\0\0\0\0")  # fmt: skip
NAMES = (b"../evil.JPEG", b"/etc/evil.JPEG", b"a\nb.JPEG", b"\xff\xfe.JPEG", b"C:\\evil.JPEG", b"", b".", b"a/", b"a//b.JPEG",
         "∀x∈ℝ.JPEG".encode(), b"n00000010.tar", b"n00000010_0.JPEG", b"x" * 100)  # fmt: skip
MORE_NAMES = (b"top/1.jpg", b"top/train/1.jpg", b"top/train/ant/deep/1.jpg", b"top/more/ant/1.jpg", b"top/train/ant/0.jpg",
              b"tiny/1.JPEG", b"tiny/train/n00000099/images/1.JPEG", b"tiny/val/images/._1.JPEG", b"__MACOSX/1.jpg")  # fmt: skip
TYPES = b"0\x001234567LKxgXSVDMN\xff"


def mutate_bytes(data: bytes, rng: np.random.Generator, other: bytes = b"") -> bytes:
    """The bytes with one to four kinds of damage; other: bytes that pieces are taken from."""
    for _ in range(int(rng.integers(1, 5))):
        data = _damage(data, rng, other or data)
    return data


def _damage(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    size = len(data)
    if not size:
        return bytes(rng.integers(0, 256, int(rng.integers(0, 64)), np.uint8))
    at = int(rng.integers(0, size))
    length = int(min(2 ** rng.uniform(0, np.log2(size + 1)), size))
    piece = data[at : at + length]
    match int(rng.integers(0, 10)):
        case 0:  # some bits
            changed = bytearray(data)
            for place in rng.integers(0, size, int(rng.integers(1, 9))):
                changed[place] ^= 1 << int(rng.integers(0, 8))
            return bytes(changed)
        case 1:  # a byte
            return data[:at] + bytes([int(rng.integers(0, 256))]) + data[at + 1 :]
        case 2:  # the end is gone
            return data[:at]
        case 3:  # a piece is gone
            return data[:at] + data[at + length :]
        case 4:  # a piece is there twice
            return data[:at] + piece + data[at:]
        case 5:  # a piece is zeros
            return data[:at] + bytes(len(piece)) + data[at + length :]
        case 6:  # noise
            noise = rng.integers(0, 256, min(length, 4096), np.uint8).tobytes()
            return data[:at] + noise + data[at + len(noise) :]
        case 7:  # a number at the edge of what fits
            value, width = EDGES[int(rng.integers(len(EDGES)))], int(rng.choice([1, 2, 4, 8]))
            number = (value % (1 << 8 * width)).to_bytes(width, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
            return data[:at] + number + data[at + width :]
        case 8:  # two pieces swapped
            middle = int(rng.integers(0, size))
            return data[middle:] + data[:middle] if length > size // 2 else data[:at] + data[at:][::-1]
        case _:  # a piece of something else
            start = int(rng.integers(0, len(other)))
            return data[:at] + other[start : start + length] + data[at + length :]


def mutate_tar(data: bytes, rng: np.random.Generator) -> bytes:
    """A tar with a header changed such that its checksum is right again, or blocks moved about, or any damage."""
    headers = [at for at in range(0, len(data), BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    if not headers or rng.random() < 0.3:
        return mutate_bytes(data, rng)
    at = headers[int(rng.integers(len(headers)))]
    block = bytearray(data[at : at + BLOCK])
    match int(rng.integers(0, 8)):
        case 0 | 1:
            block[124:136] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        case 2:
            block[124:136] = b"%011o\0" % int(rng.integers(0, 4 * BLOCK))
        case 3:
            block[0:100] = NAMES[int(rng.integers(len(NAMES)))].ljust(100, b"\0")
        case 4:
            block[156] = TYPES[int(rng.integers(len(TYPES)))]
        case 5:
            block[int(rng.integers(0, BLOCK))] ^= 1 << int(rng.integers(0, 8))
        case 6:
            first, second = sorted(rng.choice(len(data) // BLOCK + 1, 2) * BLOCK)
            start = int(rng.integers(0, len(data) // BLOCK + 1)) * BLOCK
            return data[:start] + data[first:second] + data[start:]
        case _:
            return data[:at] + bytes(BLOCK) + data[at + BLOCK :]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + BLOCK :]


def mutate_zip(data: bytes, rng: np.random.Generator) -> bytes:
    """A zip whose directory lacks a record, whose records say something else, or that is damaged in any way.

    What is left stays consistent as far as zipfile looks: sizes and offsets of the directory are right again.
    """
    records = [match.start() for match in re.finditer(b"PK\1\2", data)]
    end = data.rfind(b"PK\5\6")
    if len(records) < 2 or end < 0 or rng.random() < 0.5:
        return mutate_bytes(data, rng)
    at = int(rng.integers(len(records)))
    start, stop = records[at], (*records[1:], end)[at]
    record, kept_end = bytearray(data[start:stop]), bytearray(data[end:])
    match int(rng.integers(0, 5)):
        case 0:  # gone, and the end counts one too many
            record = bytearray()
        case 1:  # gone, and nothing tells of it
            record = bytearray()
            for place in (8, 10):
                kept_end[place : place + 2] = (len(records) - 1).to_bytes(2, "little")
        case 2:  # a name
            name = (NAMES + MORE_NAMES)[int(rng.integers(len(NAMES + MORE_NAMES)))]
            record[28:30], record[46:] = len(name).to_bytes(2, "little"), name
        case 3:  # the name, or all, of another
            other = int(rng.integers(len(records)))
            another = data[records[other] : (*records[1:], end)[other]]
            record = (
                bytearray(another)
                if rng.random() < 0.3
                else record[:28] + another[28:30] + record[30:46] + another[46:]
            )
        case _:  # flags, method, checksum, sizes, attributes or offset
            place, width = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (38, 4), (42, 4))[
                int(rng.integers(7))
            ]
            value = (
                EDGES[int(rng.integers(len(EDGES)))]
                if rng.random() < 0.5
                else int(rng.integers(0, len(data)))
            )
            record[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    directory = data[records[0] : start] + bytes(record) + data[stop:end]
    kept_end[12:16] = len(directory).to_bytes(4, "little")
    return data[: records[0]] + directory + bytes(kept_end)


def mutate_json(value: Any, rng: np.random.Generator) -> Any:
    """Plain data with one place changed: a key gone, added or renamed, or a value of any kind in place of another."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = list(value)[int(rng.integers(len(value)))]
        match int(rng.integers(0, 8)):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, _draw_text(rng): _draw_value(rng)}
            case _:
                return {**value, key: mutate_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        match int(rng.integers(0, 6)):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value[:at], value[at], *value[at:]]
            case _:
                return [*value[:at], mutate_json(value[at], rng), *value[at + 1 :]]
    if isinstance(value, int) and rng.random() < 0.5:
        return value + int(rng.integers(-3, 4))
    return _draw_value(rng)


def _draw_text(rng: np.random.Generator) -> str:
    letters = [*string.printable, "\0", "∀", "\u2028", "😀", "/", "..", "\\"]
    return "".join(letters[place] for place in rng.integers(0, len(letters), int(rng.integers(0, 8))))


def _draw_value(rng: np.random.Generator) -> Any:
    values: list[Any] = [
        None, True, False, 0, 1, -1, 1 << 31, -(1 << 63), 1 << 70, 0.5, float("nan"), float("inf"), "", "1", [], {},
        [[]], {"a": 1}, [1, "a"], _draw_text(rng), "../evil", "/etc/passwd", "x" * 5000,
    ]  # fmt: skip
    return values[int(rng.integers(len(values)))]
