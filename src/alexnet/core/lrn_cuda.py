"""Response normalization across maps on GPUs: Triton kernels, forward and backward.

A program owns a block of pixels of one image and group and walks through the maps. The squares inside the window stay
in registers, in as many slots as the next power of two, so each value is read once forward and twice backward.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 64  # per program; one warp, so that the window's slots lie within a thread
MAX_SIZE = 15  # the widest window whose slots, four sets of them, fit a warp's registers


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    values, result, maps, pixels, groups, image_stride, map_stride, pixel_stride, alpha, beta, k,
    size: tl.constexpr, slots: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0)
    pixel = tl.program_id(1) * block + tl.arange(0, block)
    inside = pixel < pixels
    base = (plane // groups).to(tl.int64) * image_stride + (plane % groups) * maps * map_stride
    at = base + pixel * pixel_stride
    slot = tl.arange(0, slots)[:, None]
    squares = tl.zeros((slots, block), tl.float32)
    half: tl.constexpr = size // 2
    for ahead in range(maps + half):
        is_map = inside & (ahead < maps)
        value = tl.load(values + at + ahead * map_stride, mask=is_map, other=0.0).to(tl.float32)
        squares = tl.where(slot == ahead % slots, (value * value)[None, :], squares)
        i = ahead - half
        # A slot's age is how many maps ago it was written; those as old as the window is wide are out of it.
        age = (ahead % slots - slot + slots) % slots
        scale = k + alpha * tl.sum(tl.where(age < size, squares, 0.0), axis=0)
        is_out = inside & (i >= 0)
        own = tl.load(values + at + i * map_stride, mask=is_out, other=0.0).to(tl.float32)
        normalized = own * tl.exp2(-beta * tl.log2(scale))
        tl.store(result + at + i * map_stride, normalized.to(result.dtype.element_ty), mask=is_out)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    values, gradient, result, maps, pixels, groups, image_stride, map_stride, pixel_stride, alpha, beta, k,
    size: tl.constexpr, slots: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    plane = tl.program_id(0)
    pixel = tl.program_id(1) * block + tl.arange(0, block)
    inside = pixel < pixels
    base = (plane // groups).to(tl.int64) * image_stride + (plane % groups) * maps * map_stride
    at = base + pixel * pixel_stride
    slot = tl.arange(0, slots)[:, None]
    squares = tl.zeros((slots, block), tl.float32)
    shared = tl.zeros((slots, block), tl.float32)
    own = tl.zeros((slots, block), tl.float32)
    direct = tl.zeros((slots, block), tl.float32)
    half: tl.constexpr = size // 2
    for ahead in range(maps + 2 * half):
        is_map = inside & (ahead < maps)
        value = tl.load(values + at + ahead * map_stride, mask=is_map, other=0.0).to(tl.float32)
        squares = tl.where(slot == ahead % slots, (value * value)[None, :], squares)
        # The window around map i is complete: its share of every neighbour's gradient is known.
        i = ahead - half
        age = (ahead % slots - slot + slots) % slots
        scale = k + alpha * tl.sum(tl.where(age < size, squares, 0.0), axis=0)
        is_known = inside & (i >= 0) & (i < maps)
        centre = tl.load(values + at + i * map_stride, mask=is_known, other=0.0).to(tl.float32)
        incoming = tl.load(gradient + at + i * map_stride, mask=is_known, other=0.0).to(tl.float32)
        straight = incoming * tl.exp2(-beta * tl.log2(scale))
        share = tl.where(is_known, straight * centre / scale, 0.0)  # where there is no map, scale may be 0
        shared = tl.where(slot == ahead % slots, share[None, :], shared)
        own = tl.where(slot == ahead % slots, centre[None, :], own)
        direct = tl.where(slot == ahead % slots, straight[None, :], direct)
        # All neighbours of map o gave their shares; o's own entries were written `half` steps ago.
        o = i - half
        is_out = inside & (o >= 0)
        total = tl.sum(tl.where(age < size, shared, 0.0), axis=0)
        out = tl.sum(tl.where(age == half, direct, 0.0), axis=0)
        out -= 2 * alpha * beta * total * tl.sum(tl.where(age == half, own, 0.0), axis=0)
        tl.store(result + at + o * map_stride, out.to(result.dtype.element_ty), mask=is_out)


def across_maps(
    values: Tensor, gradient: Tensor | None, size: int, alpha: float, beta: float, k: float, groups: int
) -> Tensor:
    """values / (k + alpha * sum of squares over `size` maps) ** beta, or that function's gradient.

    values: (N, C, H, W) float32, float16 or bfloat16, contiguous or channels last; gradient: the same, or None for the
    function itself. Computes in float32. Returns a new tensor of the same type and memory format.
    """
    images, channels, height, width = values.shape
    result = torch.empty_like(values)
    if not values.numel():
        return result
    pixels = height * width
    map_stride, pixel_stride = (pixels, 1) if values.is_contiguous() else (1, channels)
    grid = (images * groups, triton.cdiv(pixels, PIXELS))
    tensors = (values, result) if gradient is None else (values, gradient, result)
    kernel: Any = _forward if gradient is None else _backward
    kernel[grid](
        *tensors, channels // groups, pixels, groups, channels * pixels, map_stride, pixel_stride,
        alpha, beta, k, size=size, slots=triton.next_power_of_2(size), block=PIXELS, num_warps=1,
    )  # fmt: skip
    return result
