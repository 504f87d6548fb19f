"""One member's training as a sequence of updates; the caller brings the images and keeps the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.core.augment import (
    CENTRE_VIEW,
    colour_noise,
    training_batch,
    view_batch,
    view_places,
)
from alexnet.core.draws import Draws, dropout_mask
from alexnet.core.network import Network
from alexnet.core.protocol import ProtocolParams
from alexnet.core.sgd import update


@dataclass(frozen=True)
class Colours:
    """Mean image and RGB PCA of the training images, on the device that computes."""

    mean_image: Tensor  # (H, W, 3) float32, 0-255
    stddev: Tensor  # (3,) float32, square roots of the eigenvalues
    eigenvectors: Tensor  # (3, 3) float32, one a row

    def to(self, device: torch.device) -> Colours:
        """The same on another device."""
        return Colours(self.mean_image.to(device), self.stddev.to(device), self.eigenvectors.to(device))


@dataclass
class Tally:
    """Sums over the images seen so far in an epoch."""

    images: int = 0
    loss: float = 0.0
    wrong: int = 0


@dataclass
class Trainer:
    """A network under training: its velocities, and what an update needs besides the images."""

    network: Network
    protocol: ProtocolParams
    colours: Colours
    seed: int
    velocities: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, weight in self.network.named_parameters():
            self.velocities.setdefault(name, torch.zeros_like(weight))

    def step(
        self, images: Tensor, labels: Tensor, draws: Draws, number: int, lr: float, tally: Tally
    ) -> None:
        """One update on a minibatch, added to the tally.

        images: (N, H, W, 3) uint8; labels: (N,) int64; number: of the update, counted from the start of
        training (it picks the dropout masks). Source: §5.
        """
        batch = training_batch(
            images,
            draws,
            self.colours.mean_image,
            self._noise(draws),
            self.protocol.crop,
            mirror=self.protocol.mirror,
        )
        logits = self.network(batch, self._masks(number, len(images)))
        loss = F.cross_entropy(logits, labels)
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._descend(lr)
        tally.images += len(images)
        tally.loss += loss.item() * len(images)
        tally.wrong += int((logits.argmax(1) != labels).sum())

    def _noise(self, draws: Draws) -> Tensor | None:
        if not self.protocol.colour_std:
            return None
        alphas = torch.from_numpy(draws.alphas).to(self.colours.stddev.device)
        return colour_noise(alphas, self.colours.stddev, self.colours.eigenvectors, self.protocol.colour_std)

    def _masks(self, number: int, num_images: int) -> dict[str, Tensor]:
        device = self.colours.stddev.device
        return {
            layer.name: dropout_mask(self.seed, number, place, (num_images, layer.outputs), layer.dropout).to(
                device
            )
            for place, layer in enumerate(self.network.layers)
            if layer.dropout
        }

    def _descend(self, lr: float) -> None:
        """Updates weights with decay and biases without it (the rule of §5 is given for weights)."""
        for is_bias in (False, True):
            names = [name for name, _ in self.network.named_parameters() if name.endswith("bias") == is_bias]
            weights: list[Tensor] = [self.network.get_parameter(name) for name in names]
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            assert len(gradients) == len(weights)
            decay = 0.0 if is_bias else self.protocol.weight_decay
            update(
                weights,
                [self.velocities[name] for name in names],
                gradients,
                lr,
                self.protocol.momentum,
                decay,
            )


def copy_start(network: Network, start: dict[str, Tensor]) -> list[str]:
    """Copies every layer of `start` but fc8 into the network, in place, and returns the names copied (§7).

    An empty start copies nothing. Raises ValueError if a layer of the start does not fit.
    """
    own = network.state_dict()
    names = [name for name in start if not name.startswith("fc8.")]
    for name in names:
        if name not in own or own[name].shape != start[name].shape:
            shape = tuple(own[name].shape) if name in own else "no such layer"
            raise ValueError(f"{name} is {tuple(start[name].shape)} in the start but {shape} here")
        own[name].copy_(start[name])
    return names


@torch.no_grad()
def centre_logits(network: Network, images: Tensor, mean_image: Tensor, crop: int) -> Tensor:
    """Logits (N, classes) of the centre view; images (N, H, W, 3) uint8."""
    place = view_places(images.shape[1], crop)[CENTRE_VIEW]
    logits: Tensor = network(view_batch(images, mean_image, place, crop))
    return logits


@torch.no_grad()
def view_probs(network: Network, images: Tensor, mean_image: Tensor, crop: int) -> tuple[Tensor, Tensor]:
    """Mean probabilities over the ten views, and those of the centre view; each (N, classes) float32.

    images: (N, H, W, 3) uint8, square. Probabilities, not logits, are averaged, with equal weight.
    Source: §4.1.
    """
    places = view_places(images.shape[1], crop)
    total: Tensor | None = None
    centre = torch.empty(0)
    for number, place in enumerate(places):
        probs = network(view_batch(images, mean_image, place, crop)).softmax(1)
        centre = probs if number == CENTRE_VIEW else centre
        total = probs.double() if total is None else total + probs
    assert total is not None
    return (total / len(places)).float(), centre


def batches(order: npt.NDArray[np.int64], size: int) -> Sequence[npt.NDArray[np.int64]]:
    """The order cut into minibatches; the last may be smaller, so that every image is used."""
    return [order[start : start + size] for start in range(0, len(order), size)]
