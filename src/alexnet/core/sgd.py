"""The update rule of §5."""

from __future__ import annotations

import torch
from torch import Tensor


def update(
    weights: list[Tensor],
    velocities: list[Tensor],
    gradients: list[Tensor],
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """One step in place: v <- momentum v - weight_decay lr w - lr g; w <- w + v.

    The rate stands inside the velocity, so that a drop of lr does not shrink what is already rolling;
    torch.optim.SGD keeps it outside. With lr 0 nothing moves, as in the 2012 code. Source: §5.
    """
    if lr == 0:
        return
    with torch.no_grad():
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients, alpha=-lr)
        if weight_decay:
            torch._foreach_add_(velocities, weights, alpha=-lr * weight_decay)
        torch._foreach_add_(weights, velocities)
