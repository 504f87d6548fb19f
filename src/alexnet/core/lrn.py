"""Local response normalization (§3.3) and the 2012 code's form within each map, as operators of PyTorch.

Both keep only their input; the backward pass computes the scale again. On CPUs a compiled kernel does float32 and the
paper's exponent (`lrn_cpu`), on GPUs a Triton kernel does what lies across maps (`lrn_cuda`); whatever neither knows is
done with PyTorch's own operations, chunk by chunk. The kernels are imported when first needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_VALUES = 1 << 17  # values handled at once without a kernel, so that the temporaries stay in the cache


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


def spatial_norm_reference(values: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Plain twin of `spatial_norm`: the formula, pixel by pixel. Slow, for tests."""
    height, width = values.shape[2:]
    half = size // 2
    normalized = torch.empty_like(values)
    for y in range(height):
        for x in range(width):
            window = values[:, :, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
            scale = k + alpha * window.square().sum((2, 3))
            normalized[:, :, y, x] = values[:, :, y, x] / scale**beta
    return normalized


def local_response_norm(
    values: Tensor, size: int, alpha: float, beta: float, k: float, groups: int = 1
) -> Tensor:
    """values / (k + alpha * sum of squares over `size` neighbouring maps) ** beta, within each group of maps.

    values: (N, maps, H, W) float, maps a multiple of groups; size odd. `alpha` multiplies the sum itself: pass
    alpha / size for the 2012 code's reading. Returns the same shape and type, channels last if the input is; float16
    and bfloat16 are computed in float32. At the first and last maps the window is cut. Raises ValueError for an even
    size or groups of unequal size. Source: §3.3; groups are the columns of the 2012 code, whose LRN never crosses
    devices.
    """
    _check_size(size)
    if values.shape[1] % groups:
        raise ValueError(f"{values.shape[1]} maps do not make {groups} equal groups")
    result: Tensor = torch.ops.alexnet.response_norm(values, size, alpha, beta, k, groups)
    return result


def spatial_norm(values: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """values / (k + alpha * sum of squares over size × size pixels of the same map) ** beta.

    values: (N, maps, H, W) float; size odd. The window is cut at the borders of the map, and `alpha` multiplies the
    sum itself: the 2012 code's layer has size 5, alpha 1e-3 / 25, beta 0.75, k 1. Returns the same shape and type,
    channels last if the input is; float16 and bfloat16 are computed in float32. Raises ValueError for an even size.
    Source: the layer between LRN and pooling of conv2 in the 2012 code; Caffe's WITHIN_CHANNEL.
    """
    _check_size(size)
    result: Tensor = torch.ops.alexnet.response_norm(values, size, alpha, beta, k, None)
    return result


def _check_size(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the window's size is {size}, expected an odd number: it has a value at its centre")


def _forward(values: Tensor, size: int, alpha: float, beta: float, k: float, groups: int | None) -> Tensor:
    return _compute(values, None, size, alpha, beta, k, groups)


def _backward(
    values: Tensor, gradient: Tensor, size: int, alpha: float, beta: float, k: float, groups: int | None
) -> Tensor:
    return _compute(values, gradient, size, alpha, beta, k, groups)


def _result_like(values: Tensor, *_: Any) -> Tensor:
    """What both return, without values: all that torch.compile asks for."""
    return torch.empty_like(values, memory_format=_memory_format(values))


def _keep_input(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(inputs[0])
    ctx.constants = inputs[1:]


def _input_gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    (values,) = ctx.saved_tensors
    backward = torch.ops.alexnet.response_norm_backward
    return backward(values, gradient, *ctx.constants), None, None, None, None, None


def _refuse(*_: Any) -> None:
    raise NotImplementedError("response normalization can be differentiated once, not twice")


def _register() -> Any:
    """The operators alexnet::response_norm and its backward pass, known while the returned object lives.

    torch.compile does not look into them, so kernels of any kind may be inside. `groups` None means that the window
    lies within each map. `torch.library.custom_op` would do the same, but loads the compiler at the first call.
    """
    library: Any = torch.library.Library("alexnet", "DEF")  # type: ignore[no-untyped-call]
    constants = "int size, float alpha, float beta, float k, int? groups"
    library.define(f"response_norm(Tensor values, {constants}) -> Tensor")
    library.define(f"response_norm_backward(Tensor values, Tensor gradient, {constants}) -> Tensor")
    for name, compute in (("response_norm", _forward), ("response_norm_backward", _backward)):
        library.impl(name, compute, "CompositeExplicitAutograd")  # on every device
        torch.library.register_fake(f"alexnet::{name}", _result_like, lib=library)
    torch.library.register_autograd(
        "alexnet::response_norm", _input_gradient, setup_context=_keep_input, lib=library
    )
    torch.library.register_autograd("alexnet::response_norm_backward", _refuse, lib=library)
    return library


def _memory_format(values: Tensor) -> torch.memory_format:
    is_channels_last = not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


def _compute(
    values: Tensor,
    gradient: Tensor | None,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int | None,
) -> Tensor:
    """The normalized values, or with a gradient of these the gradient of the values, by the fastest way there is."""
    memory_format = _memory_format(values)
    values = values.contiguous(memory_format=memory_format)
    if gradient is not None:
        gradient = gradient.contiguous(memory_format=memory_format)
    if values.dtype != torch.float64:
        if values.device.type == "cpu" and beta == 0.75:
            return _compute_on_cpu(values, gradient, size, alpha, k, groups)
        cuda = _cuda_kernels() if values.device.type == "cuda" and groups is not None else None
        if cuda is not None and groups is not None and size <= cuda.MAX_SIZE:
            result: Tensor = cuda.across_maps(values, gradient, size, alpha, beta, k, groups)
            return result
    return _compute_plainly(values, gradient, size, alpha, beta, k, groups)


def _compute_on_cpu(
    values: Tensor, gradient: Tensor | None, size: int, alpha: float, k: float, groups: int | None
) -> Tensor:
    from alexnet.core import lrn_cpu  # its compiler takes half a second to load

    single, incoming = values.float(), None if gradient is None else gradient.float()
    if groups is None:
        result = lrn_cpu.within_maps(single, incoming, size, alpha, k)
    else:
        result = lrn_cpu.across_maps(single, incoming, size, alpha, k, groups)
    return result.to(values.dtype)


def _cuda_kernels() -> ModuleType | None:
    try:
        from alexnet.core import lrn_cuda
    except ImportError:  # PyTorch comes without Triton on some platforms
        return None
    return lrn_cuda


def _compute_plainly(
    values: Tensor,
    gradient: Tensor | None,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int | None,
) -> Tensor:
    """What `_compute` returns, for every device and type, in float32 or float64."""
    sums: Callable[[Tensor], Tensor] = functools.partial(_sums, size=size, groups=groups)
    result = torch.empty_like(values)
    single = torch.promote_types(values.dtype, torch.float32)
    images = max(1, CHUNK_VALUES // max(1, values.shape[1:].numel()))
    for start in range(0, len(values), images):
        chunk = slice(start, start + images)
        part = values[chunk].to(single)
        scale = sums(part.square()).mul_(alpha).add_(k)
        if gradient is None:
            result[chunk] = part * _power(scale, beta)
        else:
            direct = gradient[chunk].to(single) * _power(scale, beta)
            shared = sums((direct * part).div_(scale))
            result[chunk] = direct.sub_(shared.mul_(part).mul_(2 * alpha * beta))
    return result


def _sums(values: Tensor, size: int, groups: int | None) -> Tensor:
    """Sums over windows of (N, C, H, W): of `size` maps within each group, or of size × size pixels."""
    if groups is None:
        return F.avg_pool2d(values, size, stride=1, padding=size // 2, divisor_override=1)
    summed = values.clone()
    maps = values.shape[1] // groups
    split = (len(values), groups, maps, *values.shape[2:])  # a view, channels last or not
    grouped, source = summed.view(split), values.view(split)
    for shift in range(1, min(size // 2, maps - 1) + 1):
        grouped[:, :, shift:] += source[:, :, : maps - shift]
        grouped[:, :, : maps - shift] += source[:, :, shift:]
    return summed


def _power(scale: Tensor, beta: float) -> Tensor:
    """scale ** -beta; square roots are several times faster than pow at the paper's 0.75."""
    if beta == 0.75:
        root = scale.rsqrt()
        return root * root.sqrt()
    return scale.pow(-beta)


_LIBRARY = _register()
