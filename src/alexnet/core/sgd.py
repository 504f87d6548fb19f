"""The update rule of §5, by PyTorch's fused optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Descent:
    """Momentum descent in place, each parameter at its own rate.

    §5: v <- momentum v - weight_decay lr w - lr g; w <- w + v.
    torch.optim.SGD keeps the rate outside: u <- momentum u + weight_decay w + g; w <- w - lr u. That is the same
    with v = -lr u while lr stays; when lr changes, the paper's v keeps its size, so u is multiplied by old lr / new
    lr. With lr_in_velocity false this is left out, which is PyTorch's form. With rate 0 a parameter is left alone,
    decay and momentum included, as in the 2012 code. Sources: §5; the 2012 code, the same term by term.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        momentum: float,
        decay_of: Callable[[str], float],
        *,
        lr_in_velocity: bool,
    ) -> None:
        self.lr_in_velocity = lr_in_velocity
        self.rates = dict.fromkeys(parameters, 0.0)  # those that the velocities were built up with
        self.parameters = dict(parameters)
        self._momentum, self._decays = momentum, {name: decay_of(name) for name in parameters}
        groups = [
            {"params": [parameter], "weight_decay": self._decays[name]}
            for name, parameter in parameters.items()
        ]
        self._optimizer = torch.optim.SGD(groups, lr=1.0, momentum=momentum, fused=True)
        for parameter in self.parameters.values():
            self._optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def velocity(self, name: str) -> Tensor:
        """u of a parameter, to read or to fill; v is -rates[name] times it."""
        buffer: Tensor = self._optimizer.state[self.parameters[name]]["momentum_buffer"]
        return buffer

    def set_rates(self, rate_of: Callable[[str], float]) -> None:
        """Sets each parameter's rate by name for the steps to come; those with rate 0 need no gradient any more."""
        for (name, parameter), group in zip(
            self.parameters.items(), self._optimizer.param_groups, strict=True
        ):
            old, new = self.rates[name], rate_of(name)
            parameter.requires_grad_(new > 0)
            if new == 0:
                continue
            if self.lr_in_velocity and old not in (0.0, new):
                self.velocity(name).mul_(old / new)
            self.rates[name] = group["lr"] = new

    def moved(self, name: str) -> float:
        """How far the last step moved a parameter here: the norm of the change."""
        if not self.parameters[name].requires_grad:
            return 0.0
        return self.rates[name] * float(self.velocity(name).double().norm())

    def clear(self) -> None:
        """Forgets the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update with the gradients at hand."""
        self._optimizer.step()
