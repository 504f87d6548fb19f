"""The four-layer net of Figure 1, with ReLU or tanh, and how its rates are chosen (§3.1).

The paper does not say which net it is. This is the 2012 code's for CIFAR-10 (`layers-19pct`): three convolutional
layers and a fully connected one, 89,578 parameters for 32 x 32 pixels and 10 classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.core.draws import initial_generator
from alexnet.core.epochs import epochs_to

Activation = Literal["relu", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "tanh")

MAPS = (32, 32, 64)
KERNEL, PAD = 5, 2
POOL, POOL_STRIDE = 3, 2
STDS = (1e-4, 0.01, 0.01, 0.01)  # of the initial weights; biases begin at 0
LEAST_SIDE = 8  # pixels; below it a pooling has no unit left


def pooled_side(side: int) -> int:
    """Side after a pooling, rounded up as the 2012 code does."""
    return 1 + max(0, math.ceil((side - POOL) / POOL_STRIDE))


class CifarNet(nn.Module):
    """The net for images (N, 3, side, side) float32, giving logits (N, num_classes).

    Three times a convolution, the activation and pooling: max, mean and mean, the mean over the units that are there.
    No dropout, no normalization. Raises ValueError if the images are smaller than 8 pixels.
    """

    def __init__(self, activation: Activation, num_classes: int, side: int) -> None:
        super().__init__()
        if side < LEAST_SIDE:
            raise ValueError(f"three poolings leave nothing of {side} pixels, expected {LEAST_SIDE} or more")
        self.activation = activation
        inputs = (3, *MAPS)
        for place, maps in enumerate(MAPS):
            self.add_module(f"conv{place + 1}", nn.Conv2d(inputs[place], maps, KERNEL, padding=PAD))
            side = pooled_side(side)
        self.fc4 = nn.Linear(MAPS[-1] * side**2, num_classes)

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        values = images
        for place in range(len(MAPS)):
            sums = self.get_submodule(f"conv{place + 1}")(values)
            if place == 0:  # both activations rise, so they may follow the maximum: fewer units to compute
                values = self._activate(F.max_pool2d(sums, POOL, POOL_STRIDE, ceil_mode=True))
            else:
                values = F.avg_pool2d(self._activate(sums), POOL, POOL_STRIDE, ceil_mode=True)
        logits: Tensor = self.fc4(values.flatten(1))
        return logits

    def _activate(self, sums: Tensor) -> Tensor:
        return F.relu(sums) if self.activation == "relu" else torch.tanh(sums)


def initialize(net: CifarNet, seed: int) -> None:
    """Draws every weight from N(0, std²), conv1's std being 1e-4 and the others' 0.01, and sets the biases to 0.

    In place; the same seed gives the same weights. Source: the 2012 code's `layers-19pct`.
    """
    with torch.no_grad():
        for place, (layer, std) in enumerate(zip(net.children(), STDS, strict=True)):
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            drawn = torch.randn(layer.weight.shape, generator=initial_generator(seed, place, 0))
            layer.weight.copy_(drawn * std)
            assert layer.bias is not None
            layer.bias.zero_()


@dataclass(frozen=True)
class Trial:
    """Trainings at one rate, to choose it by: training errors of successive epochs, for each seed that was tried.

    is_given_up: stopped as soon as another rate was sure to be better.
    """

    lr: float
    errors: tuple[tuple[float, ...], ...]
    is_given_up: bool = False

    def epochs(self, target: float) -> float | None:
        """Mean epochs to the target over seeds; None if a net did not get there, or the rate was given up."""
        reached = [epochs_to(errors, target) for errors in self.errors]
        found = [epochs for epochs in reached if epochs is not None]
        return None if self.is_given_up or len(found) < len(reached) else sum(found) / len(found)

    @property
    def last_error(self) -> float:
        """Mean over seeds of the last epoch's error."""
        return sum(errors[-1] for errors in self.errors) / len(self.errors)


def choose_rate(trials: Sequence[Trial], target: float) -> float:
    """The rate that takes the fewest epochs to the target, on average over seeds; of equal ones the smaller.

    Where no rate gets there, the one with the least error at the end. The paper chose them for each activation by
    itself, so that it trains as fast as it can; the rule is ours.
    """

    def rank(trial: Trial) -> tuple[bool, float, float]:
        epochs = trial.epochs(target)
        return (epochs is None, trial.last_error if epochs is None else epochs, trial.lr)

    candidates = [trial for trial in trials if not trial.is_given_up]
    return min(candidates, key=rank).lr


def epochs_left(trials: Sequence[Trial], current: Trial, num_seeds: int, target: float, most: int) -> int:
    """Epochs for which the next training at a rate may still win, at most `most`; 0 if it cannot any more.

    trials: finished, of other rates. current: of this rate so far. num_seeds: how many each rate is tried with.
    """
    best = [epochs for trial in trials if (epochs := trial.epochs(target)) is not None]
    if not best:
        return most
    spent = sum(epochs_to(errors, target) or math.inf for errors in current.errors)
    left = min(best) * num_seeds - spent
    return min(most, math.ceil(left)) if left > 0 else 0
