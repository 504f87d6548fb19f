"""Sums over uint8 RGB images on CPUs, exact: of each value, and of all products of two channels of a pixel.

Images are taken four at a time and piece by piece, so that what is read once from memory is added and multiplied in
the core's first cache. Sums of values are kept in 16 bits and those of products in 32 for as long as they fit.
Channels are not parted by moving bytes: three vectors that lie one behind the other hold, lane by lane, one red, one
green and one blue value each, and so a vector of reds is picked from them, one of greens from those a byte further, and
one of blues.
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

Bytes = npt.NDArray[np.uint8]

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))  # of channels, in the order of the sums

# Of a vector of bytes; no multiple of three. 64 are a little faster, but not on CPUs with 16 registers.
_LANES = 32
_STEP = 3 * _LANES  # bytes taken at a time
_PIECE = 64 * _STEP  # of each of four images: together they fill half a core's first cache
_GROUP = 4  # images taken at once
_SUMS = len(PAIRS) * _LANES // 2  # two neighbouring products are summed into each

# 257 * 255 is 16 bits' largest number; a sum of 32 bits grows by up to two products a step.
_MOST_IMAGES = 257
_MOST_STEPS = ((1 << 32) - 1) // (2 * 255 * 255)


def add_images(images: Bytes, image_sum: npt.NDArray[np.uint64], products: npt.NDArray[np.int64]) -> None:
    """Adds images (n, values) uint8, whose values are red, green, blue and so on, to sums.

    image_sum: (values,) of each value. products: (6,) of all pixels' products of the PAIRS of channels. All arrays are
    contiguous.
    """
    assert images.shape[1] == len(image_sum) and images.shape[1] % 3 == 0
    _compiled()(images, image_sum, products)


@functools.lru_cache
def _compiled() -> Any:
    """The kernel; compiled once per machine."""
    images = types.Array(types.uint8, 2, "C", readonly=True)  # and such as may be written
    return compile_kernel(_add_images, types.void(images, types.uint64[::1], types.int64[::1]))


def _add_images(images: Bytes, image_sum: npt.NDArray[np.uint64], products: npt.NDArray[np.int64]) -> None:
    """Adds images to the sums."""
    count, size = images.shape
    values = images.reshape(-1)  # of all images: products know no borders between them
    short = np.zeros(size, np.uint16)
    lanes, steps, waiting = np.zeros(_SUMS, np.uint32), 0, 0
    for first in range(0, count, _GROUP):
        last = min(first + _GROUP, count)
        for start in range(0, size, _PIECE):
            stop = min(start + _PIECE, size)
            _sum_values(images[first:last, start:stop], short[start:stop])
            for image in range(first, last):
                if steps + _PIECE // _STEP > _MOST_STEPS:
                    _move_lanes(lanes, products)
                    steps = 0
                begin, end = image * size + start, image * size + stop
                # The last vector reaches two bytes further, where there must be some.
                whole = min(end - begin, len(values) - 2 - begin) // _STEP
                _sum_vectors(values, np.uintp(begin), np.uintp(whole), lanes)
                _sum_pixels(values[begin + whole * _STEP : end], products)
                steps += whole
        waiting += last - first
        if waiting + _GROUP > _MOST_IMAGES or last == count:
            for i in range(size):
                image_sum[i] += np.uint64(short[i])
            short[:] = 0
            waiting = 0
    _move_lanes(lanes, products)


@numba.njit
def _sum_values(images: Bytes, short: npt.NDArray[np.uint16]) -> None:
    """Adds up to four images."""
    if len(images) == _GROUP:  # at once, to read and write the sums once
        a, b, c, d = images[0], images[1], images[2], images[3]
        for i in range(len(short)):
            short[i] += np.uint16(a[i]) + np.uint16(b[i]) + np.uint16(c[i]) + np.uint16(d[i])
        return
    for image in images:
        for i in range(len(short)):
            short[i] += np.uint16(image[i])


@numba.njit
def _sum_pixels(values: Bytes, products: npt.NDArray[np.int64]) -> None:
    """Adds the products of a few pixels."""
    for i in range(0, len(values), 3):
        red, green, blue = np.int64(values[i]), np.int64(values[i + 1]), np.int64(values[i + 2])
        products[0] += red * red
        products[1] += green * green
        products[2] += blue * blue
        products[3] += red * green
        products[4] += green * blue
        products[5] += red * blue


@numba.njit
def _move_lanes(lanes: npt.NDArray[np.uint32], products: npt.NDArray[np.int64]) -> None:
    """Adds the sums of 32 bits to those of 64, and clears them."""
    share = len(lanes) // len(products)
    for i in range(len(lanes)):
        products[i // share] += np.int64(lanes[i])
        lanes[i] = 0


@intrinsic
def _sum_vectors(_context, values, begin, steps, lanes):  # type: ignore[no-untyped-def]
    """Adds the products of so many steps' pixels to `lanes`: 16 sums of each pair of channels."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        byte, lane, index = ir.IntType(8), ir.IntType(32), arguments[1].type
        vector, wide = ir.VectorType(byte, _LANES), ir.VectorType(lane, _LANES)
        half = ir.VectorType(lane, _LANES // 2)
        values, lanes = (
            context.make_array(signature.args[place])(context, builder, arguments[place]).data
            for place in (0, 3)
        )
        # A step's first byte is red, so lane p of vector v is where (v * _LANES + p) % 3 == 0.
        reds = [
            ir.Constant(ir.VectorType(ir.IntType(1), _LANES), [(v * _LANES + p) % 3 == 0 for p in range(_LANES)])
            for v in range(3)
        ]  # fmt: skip
        even, odd = (ir.Constant(half, list(range(first, _LANES, 2))) for first in (0, 1))

        def load(offset: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(values, [offset]), vector.as_pointer()), align=1)

        def pick(start: Any, channel: int) -> Any:
            one, two, three = (load(builder.add(start, index(v * _LANES + channel))) for v in range(3))
            return builder.zext(builder.select(reds[0], one, builder.select(reds[1], two, three)), wide)

        places = [
            builder.bitcast(builder.gep(lanes, [index(pair * _LANES // 2)]), half.as_pointer())
            for pair in range(len(PAIRS))
        ]
        sums = [cgutils.alloca_once_value(builder, builder.load(place, align=4)) for place in places]
        with cgutils.for_range(builder, arguments[2], intp=index) as loop:
            start = builder.add(arguments[1], builder.mul(loop.index, index(_STEP)))
            channels = [pick(start, channel) for channel in range(3)]
            for total, (one, other) in zip(sums, PAIRS, strict=True):
                product = builder.mul(channels[one], channels[other])
                # Neighbours first: that is one instruction with the product on x86.
                both = builder.add(
                    builder.shuffle_vector(product, product, even),
                    builder.shuffle_vector(product, product, odd),
                )
                builder.store(builder.add(builder.load(total), both), total)
        for total, place in zip(sums, places, strict=True):
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return types.void(values, begin, steps, lanes), generate
