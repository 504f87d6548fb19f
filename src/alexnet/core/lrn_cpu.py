"""Response normalization on CPUs: one compiled kernel for float32 and the exponent 0.75, run on PyTorch's own threads.

The kernel works tile by tile. A tile is small enough for a core's cache, so the main memory is read and written once
for each tensor and nothing but the result is allocated. Threads take the next few tiles from a shared counter; a tile
never crosses an image and its values depend on nothing else, so neither the number of threads nor the batch changes a
bit.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import threading
from typing import Any

import numba
import numpy as np
import torch
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

PIXELS = 256  # of one map in a tile, at most: long enough for vector instructions
TILE_VALUES = 1 << 15  # in a tile over many maps: 128 KB, so that the five buffers fit a core's second cache
ROW_VALUES = 1 << 13  # in a tile of whole pixels, with channels last
MAPS = 16  # of one tile within maps, with channels last: one cache line
SHARES = 8  # of all tiles per thread, each of neighbours: these share pages of memory, for which threads would wait
SERIAL_VALUES = 1 << 15  # fewer are not worth waking a second thread; PyTorch's own limit

FRESH_BYTES = 1 << 25  # glibc always asks the system for blocks of this size, and returns them
HUGE_PAGE = 1 << 21

# Square roots and quotients stay exactly rounded; only a product and the sum after it may become one operation.
_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}
_TABLE = types.CPointer(types.voidptr)
_COUNTER = types.CPointer(types.int64)


@intrinsic
def _counter(_context, table):  # type: ignore[no-untyped-def]
    """The first pointer of the table, which is that of the shared counter."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(builder.load(arguments[0]), context.get_value_type(_COUNTER))

    return _COUNTER(table), generate


@intrinsic
def _take(_context, counter):  # type: ignore[no-untyped-def]
    """The counter's value before one is added; no two threads get the same."""

    def generate(context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("add", arguments[0], context.get_constant(types.int64, 1), "monotonic")

    return types.int64(counter), generate


@numba.njit(**_OPTIONS)
def _windows(
    source: NDArray[np.float32], sums: NDArray[np.float32], step: int, size: int, length: int
) -> None:
    """sums[i] = source[i] + source[i + step] + ... over `size` values, for every i below `length`."""
    if size == 5:  # the paper's: one pass instead of five
        a, b = source[:length], source[step : step + length]
        c, d = source[2 * step : 2 * step + length], source[3 * step : 3 * step + length]
        e = source[4 * step : 4 * step + length]
        for i in range(length):
            sums[i] = a[i] + b[i] + c[i] + d[i] + e[i]
        return
    for i in range(length):
        sums[i] = source[i]
    for j in range(1, size):
        a = source[j * step : j * step + length]
        for i in range(length):
            sums[i] += a[i]


@numba.njit(**_OPTIONS)
def _tile_windows(
    padded: NDArray[np.float32],
    middle: NDArray[np.float32],
    sums: NDArray[np.float32],
    rows: int,
    width: int,
    step: int,
    size: int,
    along: bool,
    down: bool,
) -> None:
    """Window sums of a padded tile: along its rows, down its columns, or both, by way of `middle`."""
    border, length = size // 2 * width, rows * width
    if along and down:
        middle[:border] = 0
        middle[border + length : 2 * border + length] = 0
        _windows(padded[border:], middle[border:], step, size, length)
        _windows(middle, sums, width, size, length)
    else:
        _windows(padded, sums, step if along else width, size, length)


def _kernel(table: Any) -> None:
    """Normalizes tiles until none is left; with a gradient, computes the gradient of the input instead.

    `table` points to the numbers, the constants, the tiles, the values, the gradient and the result, see `_run`.
    """
    counter = _counter(table)
    numbers = numba.carray(table[0], (12,), np.int64)
    constants = numba.carray(table[1], (3,), np.float32)
    tiles = numba.carray(table[2], (numbers[1], 3), np.int64)
    all_values = numba.carray(table[3], (numbers[2],), np.float32)
    all_gradients = numba.carray(table[4], (numbers[2],), np.float32)
    all_results = numba.carray(table[5], (numbers[2],), np.float32)
    size, columns, row_stride, column_stride = numbers[3], numbers[4], numbers[5], numbers[6]
    along, down, is_backward = numbers[7] != 0, numbers[8] != 0, numbers[9] != 0
    room, share = numbers[10], numbers[11]
    alpha, k, factor = constants[0], constants[1], constants[2]
    half = size // 2
    padded, sums = np.empty(room, np.float32), np.empty(room, np.float32)
    middle = np.empty(room if along and down else 0, np.float32)
    tile = stop = 0
    while True:
        if tile == stop:
            tile = _take(counter) * share
            stop = min(tile + share, len(tiles))
            if tile >= stop:
                return
        start, rows, run = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        # Zeros between two rows and around all of them cut the windows, so that the loops need no case for borders.
        step = run if column_stride else 1
        width = columns * run + (half * step if along else 0)
        lead = (half * width if down else 0) + (half * step if along else 0)
        padded[: rows * width + 2 * lead] = 0
        for row in range(rows):
            for column in range(columns):
                at, to = start + row * row_stride + column * column_stride, row * width + column * run
                values, square = all_values[at : at + run], padded[lead + to : lead + to + run]
                for i in range(run):
                    square[i] = values[i] * values[i]
        _tile_windows(padded, middle, sums, rows, width, step, size, along, down)
        for row in range(rows):
            for column in range(columns):
                at, to = start + row * row_stride + column * column_stride, row * width + column * run
                values, result, total = (
                    all_values[at : at + run],
                    all_results[at : at + run],
                    sums[to : to + run],
                )
                if is_backward:
                    gradient, shared = all_gradients[at : at + run], padded[lead + to : lead + to + run]
                    for i in range(run):
                        scale = k + alpha * total[i]
                        inverse = np.float32(1) / scale
                        direct = gradient[i] * (inverse * np.sqrt(np.sqrt(scale)))  # scale ** -0.75
                        result[i] = direct
                        shared[i] = direct * values[i] * inverse
                else:
                    for i in range(run):
                        root = np.sqrt(k + alpha * total[i])
                        result[i] = values[i] / (root * np.sqrt(root))
        if is_backward:
            _tile_windows(padded, middle, sums, rows, width, step, size, along, down)
            for row in range(rows):
                for column in range(columns):
                    at, to = start + row * row_stride + column * column_stride, row * width + column * run
                    values, result, total = (
                        all_values[at : at + run],
                        all_results[at : at + run],
                        sums[to : to + run],
                    )
                    for i in range(run):
                        result[i] += factor * values[i] * total[i]
        tile += 1


@functools.lru_cache
def _compiled() -> Any:
    """The kernel as a C function; compiled once per machine, or once per process where no cache can be written.

    It has a single signature, so processes that compile it at once write the same files, each by renaming.
    """
    signature = types.void(_TABLE)
    try:
        return numba.cfunc(signature, cache=True, **_OPTIONS)(_kernel)
    except (OSError, RuntimeError):
        return numba.cfunc(signature, **_OPTIONS)(_kernel)


@functools.lru_cache
def _library_function(name: str, *arguments: Any) -> Any:
    """A C function of this process that returns nothing of use, or None if there is none of that name."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # each platform refuses in its own way
        return None
    function.argtypes, function.restype = arguments, None
    return function


def _on_threads(address: int, table: int, threads: int) -> None:
    """Calls the C function at `address` with `table` on that many threads and waits for all.

    GNU OpenMP's entry to a parallel region, where this process has one, runs it on PyTorch's own workers. These spin
    for a while after each operation, and new threads would have to share the cores with them.
    """
    openmp = _library_function(
        "GOMP_parallel", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    )
    if threads > 1 and openmp is not None:
        openmp(address, table, threads, 0)
        return
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)  # releases the interpreter while it runs
    others = [threading.Thread(target=function, args=(table,)) for _ in range(threads - 1)]
    for other in others:
        other.start()
    function(table)
    for other in others:
        other.join()


def _empty_like(values: Tensor) -> Tensor:
    """A new tensor; a large one in huge pages, on Linux: to hand out and clear small ones takes longer than the kernel.

    Smaller tensors are given memory that the process already has.
    """
    result = torch.empty_like(values)
    first, last = -(-result.data_ptr() // HUGE_PAGE) * HUGE_PAGE, result.data_ptr() + result.nbytes
    advise = _library_function("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if result.nbytes >= FRESH_BYTES and advise is not None and hasattr(mmap, "MADV_HUGEPAGE"):
        advise(first, (last - first) // HUGE_PAGE * HUGE_PAGE, mmap.MADV_HUGEPAGE)
    return result


def _run(
    values: Tensor,
    gradient: Tensor | None,
    size: int,
    alpha: float,
    k: float,
    tiles: NDArray[np.int64],
    columns: int,
    row_stride: int,
    column_stride: int,
    along: bool,
    down: bool,
) -> Tensor:
    """A new tensor like `values` with every tile done.

    tiles: (count, 3): a tile's first value, its rows, and how many values follow each other in memory. A row has
    `columns` such runs. The windows reach along the rows, down the columns, or both ways. With a column stride of 0 a
    row is one run and its values are neighbours; otherwise a run is the maps of one pixel, whose neighbour is the next
    run.
    """
    result = _empty_like(values)
    if not len(tiles):
        return result
    half, (rows, run) = size // 2, tiles[:, 1:].max(0)
    step = run if column_stride else 1
    width = columns * run + half * step
    threads = 1 if values.numel() < SERIAL_VALUES else min(torch.get_num_threads(), len(tiles))
    numbers = np.array(
        [
            0,  # the shared counter
            len(tiles),
            values.numel(),
            size,
            columns,
            row_stride,
            column_stride,
            along,
            down,
            gradient is not None,
            (rows + 2 * half) * width + 2 * half * step,  # enough for a padded tile
            -(-len(tiles) // (SHARES * threads)),
        ],
        np.int64,
    )
    constants = np.array([alpha, k, -1.5 * alpha], np.float32)
    tensors = (values, values if gradient is None else gradient, result)
    table = np.array(
        [numbers.ctypes.data, constants.ctypes.data, tiles.ctypes.data, *(t.data_ptr() for t in tensors)],
        np.uintp,
    )
    _on_threads(_compiled().address, table.ctypes.data, threads)
    return result


def _tiles(starts: NDArray[np.int64], rows: Any, runs: Any) -> NDArray[np.int64]:
    tiles = np.empty((*starts.shape, 3), np.int64)
    tiles[..., 0], tiles[..., 1], tiles[..., 2] = starts, rows, runs
    return tiles.reshape(-1, 3)


def across_maps(
    values: Tensor, gradient: Tensor | None, size: int, alpha: float, k: float, groups: int
) -> Tensor:
    """values / (k + alpha * sum of squares over `size` maps) ** 0.75, or that function's gradient.

    values: (N, C, H, W) float32 on the CPU, contiguous or channels last; gradient: the same, or None for the function
    itself. Returns a new tensor in the same memory format.
    """
    images, channels, height, width = values.shape
    maps, pixels = channels // groups, height * width
    images_at = np.arange(images)[:, None, None] * (channels * pixels)
    if values.is_contiguous():
        block = min(PIXELS, max(16, TILE_VALUES // max(1, maps)))
        first = np.arange(0, pixels, block)
        starts = images_at + np.arange(groups)[:, None] * (maps * pixels) + first
        tiles = _tiles(starts, maps, np.minimum(block, pixels - first))
        return _run(values, gradient, size, alpha, k, tiles, 1, pixels, 0, along=False, down=True)
    block = max(1, ROW_VALUES // max(1, maps))
    first = np.arange(0, pixels, block)
    starts = images_at + first[:, None] * channels + np.arange(groups) * maps
    tiles = _tiles(starts, np.minimum(block, pixels - first)[:, None], maps)
    return _run(values, gradient, size, alpha, k, tiles, 1, channels, 0, along=True, down=False)


def within_maps(values: Tensor, gradient: Tensor | None, size: int, alpha: float, k: float) -> Tensor:
    """values / (k + alpha * sum of squares over size × size pixels) ** 0.75, or that function's gradient.

    Takes and returns what `across_maps` does.
    """
    images, channels, height, width = values.shape
    pixels = height * width
    if values.is_contiguous():
        tiles = _tiles(np.arange(images * channels) * pixels, height, width)
        return _run(values, gradient, size, alpha, k, tiles, 1, width, 0, along=True, down=True)
    first = np.arange(0, channels, MAPS)
    starts = np.arange(images)[:, None] * (channels * pixels) + first
    tiles = _tiles(starts, height, np.minimum(MAPS, channels - first))
    row = width * channels
    return _run(values, gradient, size, alpha, k, tiles, width, row, channels, along=True, down=True)
