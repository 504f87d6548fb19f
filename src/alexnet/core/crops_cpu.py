"""Cuts crops out of images in memory, mirrored or not, in one pass: a compiled kernel that takes addresses.

An image may lie anywhere, as in the memory map of a file. A crop's row is copied as it is, or reversed ten pixels at a
time: two vectors of 16 bytes, which overlap by two, hold ten pixels, and so reading and writing touch nothing else.
Nine pixels and fewer are copied one by one.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alexnet.core.compiling import compile_kernel

_TEN, _VECTOR = 10, 16
_SECOND = 3 * _TEN - _VECTOR  # first byte of the second vector
_THREE, _GROUP, _GROUP_BYTES = np.uintp(3), np.uintp(_TEN), np.uintp(3 * _TEN)

Places = npt.NDArray[np.int64]
Addresses = npt.NDArray[np.uintp]


def _copy_bytes(_context, target, source, count):  # type: ignore[no-untyped-def]
    """Copies bytes from one address to another; they do not overlap."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        byte = ir.IntType(8).as_pointer()
        to, of = (builder.inttoptr(address, byte) for address in arguments[:2])
        cgutils.raw_memcpy(builder, to, of, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(target, source, count), generate


def _copy_ten_reversed(_context, target, source):  # type: ignore[no-untyped-def]
    """Copies ten pixels from one address to another, the last first."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        vector = ir.VectorType(ir.IntType(8), _VECTOR)
        (to, after), (source, behind) = (
            [builder.inttoptr(builder.add(address, ir.Constant(address.type, offset)), vector.as_pointer())
             for offset in (0, _SECOND)]
            for address in arguments
        )  # fmt: skip
        first, second = builder.load(source, align=1), builder.load(behind, align=1)
        for offset, place in ((0, to), (_SECOND, after)):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), _VECTOR), _find_bytes(offset))
            builder.store(builder.shuffle_vector(first, second, mask), place, align=1)
        return context.get_dummy_value()

    return types.void(target, source), generate


def _find_bytes(offset: int) -> list[int]:
    """Where the bytes of ten reversed pixels from `offset` on lie in both vectors, one behind the other."""
    pixels, colours = np.divmod(np.arange(offset, offset + _VECTOR), 3)
    places = (_TEN - 1 - pixels) * 3 + colours
    found: list[int] = np.where(places < _VECTOR, places, places - _SECOND + _VECTOR).tolist()
    return found


_copy, _copy_reversed = intrinsic(_copy_bytes), intrinsic(_copy_ten_reversed)


def _cut(
    addresses: Addresses,
    rows: Places,
    columns: Places,
    mirrored: npt.NDArray[np.bool_],
    side: Any,
    crop: Any,
    target: Any,
) -> None:
    """Crops of all images, one behind the other from the address `target` on. All numbers but places are unsigned."""
    length, line = crop * _THREE, side * _THREE
    to = target
    for n in range(len(addresses)):
        source = addresses[n] + np.uintp(rows[n]) * line + np.uintp(columns[n]) * _THREE
        for _ in range(crop):
            if not mirrored[n]:
                _copy(to, source, length)
            elif crop < _GROUP:
                for x in range(crop):
                    _copy(to + x * _THREE, source + length - (x + np.uintp(1)) * _THREE, _THREE)
            else:
                place, last = np.uintp(0), length - _GROUP_BYTES
                while place < last:
                    _copy_reversed(to + place, source + last - place)
                    place += _GROUP_BYTES
                _copy_reversed(to + last, source)  # some of these pixels again, where tens do not fill a row
            to += length
            source += line


@functools.lru_cache
def _compiled() -> Any:
    vector = types.Array(types.int64, 1, "C", readonly=True)
    return compile_kernel(
        _cut,
        types.void(
            types.Array(types.uintp, 1, "C", readonly=True), vector, vector,
            types.Array(types.boolean, 1, "C", readonly=True), types.uintp, types.uintp, types.uintp,
        ),
    )  # fmt: skip


def cut_at(
    addresses: Addresses,
    rows: Places,
    columns: Places,
    mirrored: npt.NDArray[np.bool_],
    side: int,
    crops: npt.NDArray[np.uint8],
) -> None:
    """Fills `crops` (n, crop, crop, 3) uint8 from n images (side, side, 3) uint8 RGB; other threads run meanwhile.

    addresses: (n,) where each image's first byte lies; whoever asks sees to it that the images stay there. rows,
    columns: (n,) of each crop's first pixel; mirrored: (n,). `alexnet.core.augment.cut_crops` is the plain twin.
    """
    count, crop = crops.shape[:2]
    assert crops.shape == (count, crop, crop, 3)
    assert crops.flags.c_contiguous
    assert len(addresses) == len(rows) == len(columns) == len(mirrored) == count
    if count == 0:
        return
    assert 0 <= rows.min() <= rows.max() <= side - crop
    assert 0 <= columns.min() <= columns.max() <= side - crop
    _compiled()(addresses, rows, columns, mirrored, side, crop, crops.ctypes.data)
