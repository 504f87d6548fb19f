"""Shrinking by area averages on CPUs: a compiled kernel for uint8 RGB that computes the wanted part and no more.

A target pixel is the mean of the source over its interval, as in OpenCV's INTER_AREA. Rows come first: the source rows
under one target row are summed, weighted, along whole lines of memory; then that one row, still in the core's first
cache, is summed along. All sums are of single-precision products in a fixed order, so every processor gives the same.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from alexnet.core.compiling import compile_kernel

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.uintp]

_THREE = np.uintp(3)
_LANES = 4  # of a vector: red, green, blue, and one that the next pixel overwrites


def shrink(
    image: npt.NDArray[np.uint8], height: int, width: int, top: int, left: int, side: int
) -> npt.NDArray[np.uint8]:
    """The part (side, side, 3) uint8 from (top, left) on of an image once it is shrunk to (height, width).

    image: (H, W, 3) uint8, not lower than `height` and not narrower than `width`. Halves are rounded up.
    """
    assert image.shape[0] >= height >= top + side
    assert image.shape[1] >= width >= left + side
    lines = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    square = np.empty((side, side * 3), np.uint8)
    _compiled()(lines, height, width, top, left, square)
    return square.reshape(side, side, 3)


@functools.lru_cache
def _compiled() -> Any:
    """The kernel; compiled once per machine."""
    lines = types.Array(types.uint8, 2, "C", readonly=True)  # and such as may be written
    sizes = [types.int64] * 4
    return compile_kernel(_shrink, types.void(lines, *sizes, types.uint8[:, ::1]))


def _shrink(
    lines: npt.NDArray[np.uint8], height: int, width: int, top: int, left: int, square: npt.NDArray[np.uint8]
) -> None:
    """Fills `square`, which begins at (top, left) of `lines` shrunk to (height, width)."""
    side, values = len(square), square.shape[1]
    first_rows, row_counts, row_weights = _find_taps(len(lines), height, top, side)
    columns, column_counts, weights = _find_taps(lines.shape[1] // 3, width, left, side)
    begin = 3 * columns[0]
    length = 3 * (columns[-1] + column_counts[-1]) - begin
    places = np.empty(side, np.uintp)
    for x in range(side):
        places[x] = 3 * columns[x] - begin
    # Taps of weight zero reach behind the last source place, into zeros, and the last vectors one value further.
    row, sums = np.zeros(length + 3 * weights.shape[1] + 1, np.float32), np.empty(values + 1, np.float32)
    for y in range(side):
        _sum_lines(lines, first_rows[y], row_counts[y], row_weights[y], begin, length, row)
        if (
            weights.shape[1] == 3
        ):  # nearly always; written out by the compiler, it takes two thirds of the time
            _sum_along(row, places, weights, _THREE, sums)
        else:
            _sum_along(row, places, weights, np.uintp(weights.shape[1]), sums)
        target = square[y]
        for i in range(values):
            target[i] = np.uint8(np.int32(sums[i] + np.float32(0.5)))


@numba.njit
def _find_taps(
    source: int, target: int, start: int, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Which source places each target place averages: first, number, and weights, zero behind a place's own.

    Of `count` target places from `start` on, of a line of `source` places that becomes one of `target`.
    """
    first, counts = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        # In whole numbers, in units of 1 / target of a source place, so that no interval begins a hair too early.
        low, high = (start + i) * source, (start + i + 1) * source
        first[i] = low // target
        counts[i] = (high + target - 1) // target - first[i]
    weights = np.zeros((count, counts.max()), np.float32)
    for i in range(count):
        low, high = (start + i) * source, (start + i + 1) * source
        for k in range(counts[i]):
            place = (first[i] + k) * target
            weights[i, k] = (min(high, place + target) - max(low, place)) / source
    return first, counts, weights


@numba.njit
def _sum_lines(
    lines: npt.NDArray[np.uint8],
    first: int,
    count: int,
    weights: Floats,
    begin: int,
    length: int,
    row: Floats,
) -> None:
    """The weighted sum of neighbouring lines."""
    line, weight = lines[first, begin : begin + length], weights[0]
    for i in range(length):
        row[i] = weight * np.float32(line[i])
    for k in range(1, count):
        line, weight = lines[first + k, begin : begin + length], weights[k]
        for i in range(length):
            row[i] += weight * np.float32(line[i])


@numba.njit
def _sum_along(row: Floats, places: Places, weights: Floats, taps: np.uintp, sums: Floats) -> None:
    """Red, green and blue of each target place, of `taps` source places."""
    out = weight = np.uintp(0)  # unsigned: a signed index is first asked whether it counts from the end
    for x in range(len(places)):
        _sum_pixels(row, places[x], weights, weight, taps, sums, out)
        out += _THREE
        weight += taps


@intrinsic
def _sum_pixels(_context, row, at, weights, first, taps, sums, out):  # type: ignore[no-untyped-def]
    """Four values of `sums` from `out` on: weights[first + k] * row[at + 3 * k and on], summed over k < taps.

    As one vector, which LLVM does not make by itself of three channels: it halves the time of this pass.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector, index, lane = ir.VectorType(ir.FloatType(), _LANES), arguments[1].type, ir.IntType(32)
        row, weights, sums = (
            context.make_array(signature.args[place])(context, builder, arguments[place]).data
            for place in (0, 2, 5)
        )
        at, first, taps, out = (arguments[place] for place in (1, 3, 4, 6))

        def place_of(data: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        def product(k: Any) -> Any:
            values = builder.load(place_of(row, builder.add(at, builder.mul(k, index(3)))), align=4)
            weight = builder.load(builder.gep(weights, [builder.add(first, k)]))
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), weight, lane(0))
            every = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(lane, _LANES), [0] * _LANES))
            return builder.fmul(every, values)

        total = cgutils.alloca_once_value(builder, product(index(0)))
        with cgutils.for_range(builder, taps, start=index(1), intp=index) as loop:
            builder.store(builder.fadd(builder.load(total), product(loop.index)), total)
        builder.store(builder.load(total), place_of(sums, out), align=4)
        return context.get_dummy_value()

    return types.void(row, at, weights, first, taps, sums, out), generate
