"""Rows of a struct array in a MATLAB 5 file: the few kinds of value that the contests' development kits hold.

SciPy's reader takes sizes, dimensions and depth as they are stated: a damaged file can end the process or fill memory.
Here nothing is read that is not asked for, and no more than there is.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Order = Literal["little", "big"]

HEADER = 128
MAX_INFLATED = 1 << 23  # bytes of one variable; the contests' lists of synsets have less than two million
PEEK = 1 << 12  # bytes that hold a variable's name
MAX_DIMS = 32

MATRIX, COMPRESSED = 14, 15
STRUCT, CHAR, NUMBERS = 2, 4, range(6, 16)  # classes of arrays
NUMBER_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT_TYPES = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


class MatError(ValueError):
    """The bytes are no such file, or not of the kind that is read here."""


@dataclass(frozen=True, slots=True)
class _Element:
    """A part of a file. kind: its type. data: its bytes. end: where the next one starts."""

    kind: int
    data: memoryview
    end: int


@dataclass(frozen=True, slots=True)
class _Array:
    """An array. kind: its class. num: of its items. parts: what follows its name."""

    kind: int
    num: int
    name: str
    parts: memoryview


def read_rows(
    content: bytes, variable: str, fields: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, str | float]]:
    """The items of a struct array: of each, the values of these fields, text or single numbers.

    optional: fields that are left out where the array has none of the name. Raises MatError if the file is damaged, or
    has no such array, field or value.
    """
    order: Order | None = {b"IM": "little", b"MI": "big"}.get(content[126:128])  # type: ignore[assignment]
    if order is None:
        raise MatError("it is no MATLAB 5 file")
    array = _find_variable(memoryview(content), variable, order)
    if array.kind != STRUCT:
        raise MatError(f"{variable} is no array of fields")
    length = _read_element(array.parts, 0, order)
    names = _read_element(array.parts, length.end, order)
    width = int.from_bytes(length.data, order)
    if not width or not names.data:
        raise MatError(f"{variable} has no fields")
    found = [
        bytes(names.data[at : at + width]).partition(b"\0")[0].decode("ascii", "replace")
        for at in range(0, len(names.data), width)
    ]
    missing = [field for field in fields if field not in found]
    if missing:
        raise MatError(f"{variable} has no field {missing[0]}")
    if array.num * len(found) * 8 > len(array.parts):  # each value takes as many bytes at least
        raise MatError(f"{variable} states {array.num:,} items and has not as many")
    rows, at = [], names.end
    for _ in range(array.num):
        row: dict[str, str | float] = {}
        for field in found:
            value = _read_element(array.parts, at, order)
            at = value.end
            if field in fields or field in optional:
                row[field] = _read_value(value, field, order)
        rows.append(row)
    return rows


def _find_variable(content: memoryview, name: str, order: Order) -> _Array:
    """The variable of this name, its bytes inflated."""
    at = HEADER
    while at < len(content):
        element = _read_element(content, at, order, padded=False)
        at = element.end
        if element.kind == COMPRESSED:
            if _read_parts(_inflate(element.data, PEEK)[8:], order).name != name:
                continue
            data = _inflate(element.data, MAX_INFLATED)
            if len(data) == MAX_INFLATED:
                raise MatError(f"{name} has {MAX_INFLATED:,} bytes and more")
            element = _read_element(data, 0, order)
        if element.kind != MATRIX:
            raise MatError("a variable is no array")
        array = _read_parts(element.data, order)
        if array.name == name:
            return array
    raise MatError(f"it holds no {name}")


def _inflate(data: memoryview, limit: int) -> memoryview:
    """The first bytes of what is compressed, at most `limit`."""
    try:
        return memoryview(zlib.decompressobj().decompress(data, limit))
    except zlib.error as error:
        raise MatError(str(error)) from None


def _read_element(data: memoryview, at: int, order: Order, *, padded: bool = True) -> _Element:
    """The element at a place; padded: to 8 bytes, as all but whole variables are."""
    if at + 8 > len(data):
        raise MatError("it is cut short")
    first = int.from_bytes(data[at : at + 4], order)
    if first >> 16:  # a small element: type, length and up to 4 bytes in 8
        kind, size, start, end = first & 0xFFFF, first >> 16, at + 4, at + 8
    else:
        kind, size, start = first, int.from_bytes(data[at + 4 : at + 8], order), at + 8
        end = start + (-(-size // 8) * 8 if padded else size)
    if start + size > min(end, len(data)):
        raise MatError("it is cut short")
    return _Element(kind, data[start : start + size], min(end, len(data)))


def _read_parts(data: memoryview, order: Order) -> _Array:
    """An array, from what follows its tag: flags, dimensions, name and the rest."""
    flags = _read_element(data, 0, order)
    dims = _read_element(data, flags.end, order)
    name = _read_element(data, dims.end, order)
    if len(dims.data) > 4 * MAX_DIMS or len(flags.data) < 4:
        raise MatError("an array is damaged")
    num = math.prod(int.from_bytes(dims.data[at : at + 4], order) for at in range(0, len(dims.data), 4))
    kind = int.from_bytes(flags.data[:4], order) & 0xFF
    return _Array(kind, num, bytes(name.data).decode("ascii", "replace"), data[name.end :])


def _read_value(element: _Element, field: str, order: Order) -> str | float:
    """A text, or a single number; an empty array is an empty text. Raises MatError for anything else."""
    if element.kind == MATRIX and not element.data:
        return ""
    try:
        array = _read_parts(element.data, order) if element.kind == MATRIX else None
        if array is not None and not array.num:
            return ""
        if array is not None and array.kind == CHAR:
            return _read_text(_read_element(array.parts, 0, order), order)
        if array is not None and array.kind in NUMBERS and array.num == 1:
            stored = _read_element(array.parts, 0, order)
            (number,) = np.frombuffer(stored.data, np.dtype(NUMBER_TYPES[stored.kind]).newbyteorder(order))
            value: float = number.item()
            return value
    except (KeyError, ValueError) as error:
        raise MatError(f"{field} is damaged ({error})") from None
    raise MatError(f"{field} is neither text nor a single number")


def _read_text(stored: _Element, order: Order) -> str:
    """Raises KeyError or ValueError if it is none."""
    encoding = TEXT_TYPES[stored.kind]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "little" else "-be"
    return bytes(stored.data).decode(encoding)
