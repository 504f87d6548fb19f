"""One member's training as a sequence of updates; the caller brings the images and keeps the state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from alexnet.core.augment import (
    CENTRE_VIEW,
    colour_noise,
    network_input,
    view_batch,
    view_places,
)
from alexnet.core.draws import Draws, chunk_numbers, draw_augmentation, dropout_mask, image_order
from alexnet.core.network import Network
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import Rates
from alexnet.core.sgd import Descent
from alexnet.core.team import Team


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
    """Sums over the images this process has seen so far in an epoch."""

    images: int = 0
    loss: float = 0.0
    wrong: int = 0


@dataclass(frozen=True)
class Minibatch:
    """Images of one update, or a process's part of them."""

    crops: Tensor  # (n, crop, crop, 3) uint8, cut and mirrored as drawn, on the device that computes
    labels: Tensor  # (n,) int64
    indices: npt.NDArray[np.int64]  # (n,) of the images in their split
    draws: Draws
    total: int  # images in the whole minibatch


class Trainer:
    """A network under training: its velocities, and what an update needs besides the images.

    machine settings: `compiled` runs the network through torch.compile, `channels_last` lays its values out so.
    """

    def __init__(
        self, network: Network, protocol: ProtocolParams, colours: Colours, seed: int, *,
        team: Team | None = None, compiled: bool = False, channels_last: bool = False,
    ) -> None:  # fmt: skip
        self.network, self.protocol, self.colours, self.seed = network, protocol, colours, seed
        self.team = team or Team()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        network.to(memory_format=self.layout)
        self.descent = Descent(
            dict(network.named_parameters()), protocol.momentum, self._decay, lr_in_velocity=protocol.lr_in_velocity
        )  # fmt: skip
        self._compiled = compiled
        self._has_colour_noise = False
        self._trained: set[str] = set()
        self._call: Callable[..., Tensor] = network

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.colours.mean_image.device

    def set_rates(self, rates: Rates) -> None:
        """Sets the rates for the updates to come; to be called at the beginning of each epoch."""
        self.descent.set_rates(rates.of)
        self._has_colour_noise = rates.has_colour_noise
        trained = {name for name, parameter in self.network.named_parameters() if parameter.requires_grad}
        if trained != self._trained:
            self._trained, self._call = trained, self._wrapped()

    def _wrapped(self) -> Callable[..., Tensor]:
        """The network as it is called; made anew when other parameters train, which data parallelism counts on."""
        module: nn.Module = self.network
        if self._compiled:
            module = torch.compile(module)  # type: ignore[assignment]
        return self._in_parallel(module) if self.team.mode == "data" else module

    def _in_parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over processes, in one and the same order from the first update on.

        It orders its sums anew after its first backward pass, which is therefore one over no images: else a training
        that goes on from a checkpoint would add up otherwise than an undisturbed one.
        """
        parallel = DistributedDataParallel(module)
        weight, side = next(self.network.parameters()), self.network.side
        units = {layer.name: layer.outputs for layer in self.network.layers if layer.dropout}
        masks = {name: weight.new_empty(0, count) for name, count in units.items()}
        with self.precision():
            values = parallel(weight.new_empty(0, 3, side, side), masks)
        torch.autograd.backward(values.sum())
        self.descent.clear()
        return parallel

    def step(self, batch: Minibatch, update: int, tally: Tally) -> float:
        """One update on a minibatch, added to the tally; returns the mean loss here (0 without logits or images).

        update: counted from the start of training; it picks the dropout masks. Source: §5.
        """
        inputs = self.inputs(batch.crops, batch.draws)
        masks = self._masks(update, batch.indices)
        self.descent.clear()
        with self.precision():
            values = self._call(inputs, masks)
        if not self._gives_logits:
            torch.autograd.backward(values, torch.zeros_like(values))
            self.descent.step()
            return 0.0
        logits = values if values.dtype == torch.float64 else values.float()
        summed = F.cross_entropy(logits, batch.labels, reduction="sum")
        # DistributedDataParallel averages over processes, whose parts may differ in size.
        parts = self.team.size if self.team.mode == "data" else 1
        torch.autograd.backward(summed * (parts / batch.total))
        self.descent.step()
        loss = summed.item()
        tally.images += len(batch.labels)
        tally.loss += loss
        tally.wrong += int((logits.argmax(1) != batch.labels).sum())
        return loss / len(batch.labels) if len(batch.labels) else 0.0

    def inputs(self, crops: Tensor, draws: Draws) -> Tensor:
        """What the network takes, (n, 3, side, side), of crops (n, side, side, 3) uint8 cut as drawn (§4.1)."""
        protocol, colours, noise = self.protocol, self.colours, None
        if self._has_colour_noise:
            alphas = torch.from_numpy(draws.alphas).to(self.device)
            noise = colour_noise(
                alphas, colours.stddev, colours.eigenvectors, protocol.colour_std, protocol.colour_basis
            )
        batch = network_input(
            crops, draws, colours.mean_image, noise, mean_align=protocol.mean_align,
            rescale=protocol.colour_rescale and self._has_colour_noise,
        )  # fmt: skip
        dtype = next(self.network.parameters()).dtype
        return batch.to(dtype=dtype, memory_format=self.layout)

    def precision(self) -> torch.autocast:
        """The context a forward pass runs in."""
        is_low = self.protocol.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_low)

    def norms(self) -> dict[str, float]:
        """Of each layer the norm of its weights and of its last update, in all columns."""
        names = [f"{layer.name}.weight" for layer in self.network.layers]
        own = dict(self.network.named_parameters())
        squares: list[float] = []
        for name in names:
            if name not in own or (self.team.mode == "data" and not self.team.is_first):
                squares += [0.0, 0.0]
                continue
            moved = self.descent.moved(name)
            squares += [own[name].detach().double().square().sum().item(), moved**2]
        roots = [math.sqrt(value) for value in self.team.total(squares)]
        kinds = ("weight_norm", "update_norm")
        columns = [f"{name.split('.')[0]}_{kind}" for name in names for kind in kinds]
        return dict(zip(columns, roots, strict=True))

    @property
    def _gives_logits(self) -> bool:
        return self.team.mode != "columns" or self.team.is_first

    def _masks(self, update: int, indices: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        images = torch.from_numpy(indices).to(self.device)
        masks = {}
        for place, layer in enumerate(self.network.layers):
            if layer.dropout and self.network.share(layer):
                first, units = self.network.rows(layer).start, self.network.share(layer)
                masks[layer.name] = dropout_mask(
                    self.seed, update, place, images, units, layer.dropout, first
                )
        return masks

    def _decay(self, name: str) -> float:
        """The rule of §5 is given for weights; the 2012 code decays no bias."""
        return self.protocol.weight_decay if self.protocol.decay_biases or name.endswith(".weight") else 0.0


def epoch_order(protocol: ProtocolParams, seed: int, epoch: int, num_images: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch uses the images: shuffled, or under `fixed_order` as stored (2012 code)."""
    return np.arange(num_images) if protocol.fixed_order else image_order(seed, epoch, num_images)


def epoch_draws(
    protocol: ProtocolParams,
    seed: int,
    epoch: int,
    order: npt.NDArray[np.int64],
    places: slice,
    num_offsets: int,
) -> Draws:
    """The draws of the images at some places of an epoch's order; not drawn is what the protocol leaves out.

    num_offsets: places of a crop along a side.
    """
    chunks = chunk_numbers(places, protocol.crop_chunk) if protocol.crop_chunk > 1 else None
    draws = draw_augmentation(seed, epoch, order[places], num_offsets, chunks)
    if protocol.crop_offsets == "centre":
        middle = np.full_like(draws.rows, (num_offsets - 1) // 2)
        draws = replace(draws, rows=middle, columns=middle)
    return draws if protocol.mirror else replace(draws, mirrored=np.zeros_like(draws.mirrored))


def part_of(indices: npt.NDArray[np.int64], team: Team) -> slice:
    """A process's part of a minibatch: a share in order under `data`, the first never without one, else all of it."""
    if team.mode != "data":
        return slice(0, len(indices))
    ends = [-(-len(indices) * rank // team.size) for rank in (team.rank, team.rank + 1)]
    return slice(*ends)


def minibatches(
    protocol: ProtocolParams, seed: int, epoch: int, num_images: int, num_offsets: int, team: Team, first: int = 0
) -> Iterator[tuple[npt.NDArray[np.int64], Draws]]:  # fmt: skip
    """A process's part of each minibatch of an epoch, from the `first` on: indices and draws, of each image once.

    num_offsets: places of a crop along a side.
    """
    order = epoch_order(protocol, seed, epoch, num_images)
    for start in range(first * protocol.batch, num_images, protocol.batch):
        own = part_of(order[start : start + protocol.batch], team)
        places = slice(start + own.start, start + own.stop)
        yield order[places], epoch_draws(protocol, seed, epoch, order, places, num_offsets)


# What belongs to the classes of a set and not to its images: left behind when a net starts from another's.
CLASSIFIER = ("fc7b.", "fc8.")


def names_to_copy(names: Iterable[str], start_layers: str) -> list[str]:
    """Those of a start's parameters that a member takes over (§7; the 2012 notes also copy convolutions alone)."""
    if start_layers == "convs":
        return [name for name in names if name.startswith("conv")]
    return [name for name in names if start_layers == "all" or not name.startswith(CLASSIFIER)]


def copy_start(
    network: Network, shapes: Mapping[str, Sequence[int]], read: Callable[[str, slice], Tensor]
) -> None:
    """Copies parameters into the network, in place, a column taking its part.

    shapes: of the whole parameters to copy; read: gives some rows of one. Raises ValueError if one does not fit.
    """
    own, known = dict(network.named_parameters()), network.whole_names()
    for name, shape in shapes.items():
        here = network.whole_shape(name) if name in known else None
        if here != tuple(shape):
            raise ValueError(f"{name} is {tuple(shape)} in the start but {here or 'no such layer'} here")
    layers = {layer.name: layer for layer in network.layers}
    with torch.no_grad():
        for name in shapes:
            if name in own:
                own[name].copy_(read(name, network.rows(layers[name.split(".")[0]])))


def is_stuck(mean_loss: float, num_classes: int) -> bool:
    """Whether a mean loss is that of guessing, ln(classes), or worse."""
    return mean_loss >= 0.995 * math.log(num_classes)


@torch.no_grad()
def find_cause(network: Network, inputs: Tensor, team: Team | None = None) -> str:
    """What most likely keeps a network at ln(classes), seen in its units' answers to a batch, with the switch to turn.

    inputs: (n, 3, side, side); team: of columns, all of which call this at once. Units whose sums are never positive
    have died, which too large updates do; sums that hardly differ between images have lost them on the way, which too
    small weights do.
    """
    seen: list[tuple[str, float, float]] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, sums: Tensor) -> None:
            by_unit = sums.float().flatten(2).amax(2) if sums.dim() > 2 else sums.float()
            is_dead = (by_unit.amax(0) <= 0).float().mean().item()
            values = sums.float()
            varies = values.var(0).mean().sqrt() / values.square().mean().sqrt().clamp_min(1e-30)
            seen.append((name, is_dead, varies.item()))

        return hook

    hidden = [layer.name for layer in network.layers if not layer.is_last]
    hooks = [network.get_submodule(name).register_forward_hook(look(name)) for name in hidden]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    seen = _average(seen, team or Team())
    dead = [f"{name} ({share:.0%})" for name, share, _ in seen if share > 0.9]
    if dead:
        return (
            f"no image reaches most units of {', '.join(dead)} any more: updates were too large. Lower lr or bias_lr, "
            "or init_std and init_bias if this was so from the start."
        )
    lost = [(name, varies) for name, _, varies in seen if varies < 1e-4]
    if lost:
        return (
            f"from {lost[0][0]} on, sums differ between images by {lost[0][1]:.1e} of their size: the images are lost "
            "on the way. Raise init_std (network.keep_gain does it for narrow networks) or lower init_bias."
        )
    return "units respond and images differ in every layer: lr is too low, or so high that it undoes itself."


def _average(seen: list[tuple[str, float, float]], team: Team) -> list[tuple[str, float, float]]:
    """The means over columns of what each saw of its units."""
    sums = team.total([value for _, *values in seen for value in values])
    return [
        (name, sums[2 * place] / team.size, sums[2 * place + 1] / team.size)
        for place, (name, _, _) in enumerate(seen)
    ]


@torch.no_grad()
def centre_logits(network: Network, images: Tensor, mean_image: Tensor) -> Tensor:
    """Logits (N, classes) of the centre view; images (N, H, W, 3) uint8."""
    place = view_places(images.shape[1], network.side)[CENTRE_VIEW]
    logits: Tensor = network(_view(network, images, mean_image, place))
    return logits


@dataclass(frozen=True)
class Views:
    """What a network says of images: probabilities (N, classes) float32, features (N, units) float32."""

    ten: Tensor  # mean over the ten views
    centre: Tensor  # of the centre view
    features: Tensor  # of the centre view, in the last hidden layer after ReLU


@torch.no_grad()
def view_probs(network: Network, images: Tensor, mean_image: Tensor) -> Views:
    """What the network says of images (N, H, W, 3) uint8, square, one view after another.

    Probabilities, not logits, are averaged, with equal weight. Source: §4.1.
    """
    places = view_places(images.shape[1], network.side)
    total: Tensor | None = None
    centre = features = torch.empty(0)
    for number, place in enumerate(places):
        hidden, logits = network.run(_view(network, images, mean_image, place))
        probs = logits.softmax(1)
        if number == CENTRE_VIEW:
            centre, features = probs, hidden
        total = probs.double() if total is None else total + probs
    assert total is not None
    return Views((total / len(places)).float(), centre, features)


def _view(network: Network, images: Tensor, mean_image: Tensor, place: tuple[int, int, bool]) -> Tensor:
    """One view of each image, as the network takes it."""
    views = view_batch(images, mean_image, place, network.side, mean_align=network.switches.mean_align)
    return views.to(next(network.parameters()).dtype)


def batches(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """The order cut into minibatches; the last may be smaller, so that every image is used."""
    for start in range(0, len(order), size):
        yield order[start : start + size]
