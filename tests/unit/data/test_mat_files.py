from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.mat_files import MatError, read_rows
from tests.unit.data.made_archives import mat

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12).filter(
    lambda text: text == text.rstrip()  # SciPy pads and strips
)
NUMBER = st.one_of(
    st.floats(allow_nan=False),
    st.integers(0, 255).map(np.uint8),
    st.integers(-(1 << 31), (1 << 31) - 1).map(np.int32),
    st.integers(0, (1 << 64) - 1).map(np.uint64),
)


def _saved(rows: list[tuple[Any, ...]], fields: list[str], *, compressed: bool) -> bytes:
    array = np.empty((len(rows), 1), [(name, object) for name in fields])
    for place, row in enumerate(rows):
        array[place, 0] = row
    return mat({"before": np.zeros((300, 300)), "synsets": array}, compressed=compressed)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(NUMBER, TEXT, st.lists(st.floats(), max_size=3)), min_size=1, max_size=4),
    st.booleans(),
)
def test_values_are_those_that_scipy_wrote(rows: list[tuple[Any, ...]], compressed: bool) -> None:
    content = _saved(rows, ["number", "text", "list"], compressed=compressed)
    assert read_rows(content, "synsets", ["text", "number"], ["none"]) == [
        {"number": row[0], "text": row[1]} for row in rows
    ]


def _element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data.ljust(-(-len(data) // 8) * 8, b"\0")


def _small(kind: int, data: bytes, order: str = "<") -> bytes:
    if order == "<":
        return struct.pack("<HH", kind, len(data)) + data.ljust(4, b"\0")
    return struct.pack(">HH", len(data), kind) + data.ljust(4, b"\0")


def _array(kind: int, dims: tuple[int, ...], *parts: bytes, name: bytes = b"", order: str = "<") -> bytes:
    flags, sizes = struct.pack(f"{order}II", kind, 0), struct.pack(f"{order}{len(dims)}I", *dims)
    head = _element(6, flags, order) + _element(5, sizes, order) + _element(1, name, order)
    return _element(14, head + b"".join(parts), order)


def _struct(fields: bytes, num: int, *values: bytes, width: int = 4, order: str = "<") -> bytes:
    parts = _small(5, struct.pack(f"{order}I", width), order) + _element(1, fields, order)
    return _array(2, (num, 1), parts, *values, name=b"synsets", order=order)


def _file(*variables: bytes, order: str = "<") -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + {"<": b"\0\1IM", ">": b"\1\0MI"}[order] + b"".join(variables)


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_and_texts_are_read_as_matlab_stores_them(order: str) -> None:
    """Small whole numbers in a byte or two, texts in UTF-16, in either order of bytes."""
    text = "né∀".encode("utf-16-le" if order == "<" else "utf-16-be")
    values = [
        _array(6, (1, 1), _small(2, b"\x07", order), order=order),
        _array(4, (1, 3), _element(17 if order == "<" else 4, text, order), order=order),
        _array(6, (1, 1), _element(9, struct.pack(f"{order}d", 2.5), order), order=order),
        _array(4, (1, 2), _small(16, b"ok", order), order=order),
        _array(6, (1, 1), _small(4, struct.pack(f"{order}H", 1000), order), order=order),
        _array(4, (0, 0), order=order),
    ]
    content = _file(_struct(b"num\0text", 3, *values, order=order), order=order)
    assert read_rows(content, "synsets", ["num", "text"]) == [
        {"num": 7, "text": "né∀"}, {"num": 2.5, "text": "ok"}, {"num": 1000, "text": ""},
    ]  # fmt: skip


def _nested(depth: int) -> bytes:
    array = _array(6, (0, 0), _element(9, b""))
    for _ in range(depth):
        array = _array(1, (1, 1), array)
    return array


def test_what_is_not_asked_for_is_passed_over_whatever_it_is() -> None:
    values = [_nested(2000), _array(6, (1, 1), _small(2, b"\x07"))]
    assert read_rows(_file(_struct(b"deepnum\0", 1, *values)), "synsets", ["num"]) == [{"num": 7}]


NUM = _array(6, (1, 1), _small(2, b"\x07"))
ZEROS = zlib.compress(_struct(b"num\0", 1 << 20, bytes(1 << 25)))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([], "holds no synsets"),
        ([_array(6, (1, 1), _element(9, bytes(8)), name=b"synsets")], "is no array of fields"),
        ([_struct(b"", 0)], "has no fields"),
        ([_struct(b"num\0", 0, width=0)], "has no fields"),
        ([_struct(b"name", 1, NUM)], "has no field num"),
        ([_struct(b"num\0", 1 << 30, NUM)], "states 1,073,741,824 items and has not as many"),
        ([_struct(b"num\0", 2, NUM)], "it is cut short"),
        ([_struct(b"num\0", 1, NUM)[:-8]], "it is cut short"),
        ([_struct(b"num\0", 1, _nested(3))], "num is neither text nor a single number"),
        (
            [_struct(b"num\0", 1, _array(6, (1, 2), _small(2, b"\1\2")))],
            "num is neither text nor a single number",
        ),
        ([_struct(b"num\0", 1, _array(6, (1, 1), _small(2, b"\1\2")))], "num is damaged"),
        ([_struct(b"num\0", 1, _array(6, (1, 1), _small(99, b"\1")))], "num is damaged"),
        ([_struct(b"num\0", 1, _array(4, (1, 1 << 30), _element(16, b"\xff\xff")))], "num is damaged"),
        ([_struct(b"num\0", 1, _array(6, (1,) * 40, _small(2, b"\1")))], "an array is damaged"),
        ([_element(15, ZEROS)], "has 8,388,608 bytes and more"),
        ([_element(15, b"no zlib")], "incorrect header check"),
        ([_element(9, b"12345678")], "a variable is no array"),
        ([b"\x0e\0"], "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bomb_and_oddity_end_before_they_are_read(variables: list[bytes], message: str) -> None:
    with pytest.raises(MatError, match=message):
        read_rows(_file(*variables), "synsets", ["num"])
