"""Local response normalization (§3.3) with its own backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

CHUNK_VALUES = 1 << 17  # values handled at once, so that the temporaries stay in the cache


def lrn_reference(values: Tensor, size: int, alpha: float, beta: float, k: float, groups: int = 1) -> Tensor:
    """Plain twin of `local_response_norm`: the formula of §3.3, map by map. Slow, for tests."""
    maps = values.shape[1] // groups
    normalized = torch.empty_like(values)
    for group in range(groups):
        for i in range(maps):
            first, last = max(0, i - size // 2), min(maps - 1, i + size // 2)
            window = values[:, group * maps + first : group * maps + last + 1]
            scale = k + alpha * window.square().sum(1)
            normalized[:, group * maps + i] = values[:, group * maps + i] / scale**beta
    return normalized


def _window_sums(values: Tensor, size: int) -> Tensor:
    """Sums over `size` neighbouring maps, the window cut at the first and last; values (N, groups, maps, P)."""
    sums = values.clone()
    maps = values.shape[2]
    for shift in range(1, min(size // 2, maps - 1) + 1):
        sums[:, :, shift:] += values[:, :, : maps - shift]
        sums[:, :, : maps - shift] += values[:, :, shift:]
    return sums


def _power(scale: Tensor, beta: float) -> Tensor:
    """scale ** -beta; square roots are several times faster than pow at the paper's 0.75."""
    if beta == 0.75:
        root = scale.rsqrt()
        return root * root.sqrt()
    return scale.pow(-beta)


def _chunks(values: Tensor) -> range:
    images = max(1, CHUNK_VALUES // max(1, values[0].numel()))
    return range(0, len(values), images)


class _LocalResponseNorm(torch.autograd.Function):
    """Keeps only its input; the backward pass computes the scale again, chunk by chunk."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.constants = size, alpha, beta, k  # type: ignore[attr-defined]
        result = torch.empty_like(values)
        chunks = _chunks(values)
        for start in chunks:
            part = values[start : start + chunks.step]
            scale = _window_sums(part.square(), size).mul_(alpha).add_(k)
            torch.mul(part, _power(scale, beta), out=result[start : start + chunks.step])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (values,) = ctx.saved_tensors
        size, alpha, beta, k = ctx.constants
        (gradient,) = gradients
        gradient = gradient.contiguous()
        result = torch.empty_like(values)
        chunks = _chunks(values)
        for start in chunks:
            part, incoming = values[start : start + chunks.step], gradient[start : start + chunks.step]
            scale = _window_sums(part.square(), size).mul_(alpha).add_(k)
            direct = incoming * _power(scale, beta)
            shared = _window_sums((direct * part).div_(scale), size)
            out = result[start : start + chunks.step]
            torch.mul(part, shared, out=out)
            out.mul_(-2 * alpha * beta).add_(direct)
        return result, None, None, None, None


def local_response_norm(
    values: Tensor, size: int, alpha: float, beta: float, k: float, groups: int = 1
) -> Tensor:
    """values / (k + alpha * sum of squares over `size` neighbouring maps) ** beta, within each group of maps.

    values: (N, maps, H, W) float, maps a multiple of groups; size odd. `alpha` multiplies the sum itself: pass
    alpha / size for the 2012 code's reading. Returns the same shape and type. At the first and last maps the
    window is cut. Source: §3.3; groups are the columns of the 2012 code, whose LRN never crosses devices.
    """
    images, maps, height, width = values.shape
    grouped = values.contiguous().view(images, groups, maps // groups, height * width)
    result: Tensor = _LocalResponseNorm.apply(grouped, size, alpha, beta, k)
    return result.view(images, maps, height, width)
