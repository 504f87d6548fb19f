"""The network of §3 as a module: whole on one device, or one column of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.core.draws import initial_generator
from alexnet.core.layers import Layer, NetworkParams, NetworkSwitches, input_side, plan_layers
from alexnet.core.lrn import local_response_norm, spatial_norm


class Exchange(Protocol):
    """How a column gets what the others computed. Values are (N, share, ...); shares stand in order of columns."""

    def gather(self, values: Tensor) -> Tensor:
        """The values of all columns, (N, all, ...), for each of them; differentiable."""
        ...


class GroupedLinear(nn.Module):
    """A fully connected layer whose columns do not see each other: `groups` layers side by side."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, values: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        parts = values.view(len(values), self.groups, self.weight.shape[1]).transpose(0, 1)
        weights = self.weight.view(self.groups, -1, self.weight.shape[1]).transpose(1, 2)
        return torch.bmm(parts, weights).transpose(0, 1).flatten(1) + self.bias


class Network(nn.Module):
    """The network of §3.5 on crops (N, 3, side, side) float32, giving logits (N, num_classes).

    Two columns are one module with grouped convolutions and LRN for each column. With `column` it is that column
    alone, which holds its own units' parameters and meets the others through `exchange`; both compute the same
    function. Only the first column, which holds fc8, gives logits; the others give what fc8 takes.
    """

    def __init__(
        self, params: NetworkParams, switches: NetworkSwitches, num_classes: int, crop: int,
        *, column: int | None = None, exchange: Exchange | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        assert (column is None) == (exchange is None)
        self.params, self.switches, self.column, self.exchange = params, switches, column, exchange
        self.layers = plan_layers(params, switches, num_classes, crop)
        self.side = input_side(params, switches, crop)
        for layer in self.layers:
            if self.share(layer):
                self.add_module(layer.name, self._module(layer))

    def rows(self, layer: Layer) -> slice:
        """Which of a layer's units are here."""
        return slice(0, layer.outputs) if self.column is None else layer.rows(self.column)

    def share(self, layer: Layer) -> int:
        """How many of a layer's units are here."""
        rows = self.rows(layer)
        return int(rows.stop - rows.start)

    def whole_shape(self, name: str) -> tuple[int, ...]:
        """Shape in the whole network of the parameter `name`, such as conv2.weight."""
        layer = next(layer for layer in self.layers if layer.name == name.split(".")[0])
        if name.endswith(".bias"):
            return (layer.outputs,)
        kernel = (layer.kernel, layer.kernel) if layer.is_conv else ()
        return (layer.outputs, layer.inputs // layer.groups, *kernel)

    def whole_names(self) -> list[str]:
        """Names of all parameters of the whole network, in order."""
        return [f"{layer.name}.{kind}" for layer in self.layers for kind in ("weight", "bias")]

    def forward(self, images: Tensor, masks: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits (N, num_classes). `masks` holds a (N, own units) mask of 0 and 1 for each layer with dropout.

        Without masks this is the test path: outputs times the chance of being kept (§4.2).
        """
        return self.run(images, masks)[1]

    def run(self, images: Tensor, masks: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Features (N, units) and logits: the features are the last rectified hidden layer's, before dropout."""
        values = features = images
        for layer in self.layers:
            if layer.meets and self.exchange is not None:
                values = self.exchange.gather(values)
            if not self.share(layer):
                return features, values
            if layer.is_conv:
                values = self._conv(layer, values)
                continue
            values = self.get_submodule(layer.name)(values.flatten(1))
            if layer.relu:
                features = values = F.relu(values, inplace=True)
            if layer.dropout:
                values = values * (1 - layer.dropout) if masks is None else values * masks[layer.name]
        return features, values

    def _module(self, layer: Layer) -> nn.Module:
        groups = layer.groups if self.column is None else 1
        inputs = layer.inputs if self.column is None else layer.inputs // layer.groups
        outputs = self.share(layer)
        if layer.is_conv:
            pad = layer.pad if layer.pad == layer.pad_end else 0  # unequal ones are laid on before
            return nn.Conv2d(inputs, outputs, layer.kernel, layer.stride, pad, groups=groups)
        return nn.Linear(inputs, outputs) if groups == 1 else GroupedLinear(inputs, outputs, groups)

    def _conv(self, layer: Layer, values: Tensor) -> Tensor:
        if layer.pad_end != layer.pad:
            values = F.pad(values, (layer.pad, layer.pad_end, layer.pad, layer.pad_end))
        values = self.get_submodule(layer.name)(values)
        if not layer.norm_first:
            values = F.relu(values, inplace=True)
        if layer.lrn:
            values = self._normalize(layer, values)
        if layer.spatial_norm:
            spatial = self.params.spatial_norm
            values = spatial_norm(
                values, spatial.size, spatial.alpha / spatial.size**2, spatial.beta, spatial.k
            )
        if layer.pool:
            values = self._pool(values)
        return F.relu(values) if layer.norm_first else values

    def _normalize(self, layer: Layer, values: Tensor) -> Tensor:
        """LRN of the maps here; one over all maps of the layer has to gather them first."""
        lrn, switches = self.params.lrn, self.switches
        alpha = lrn.alpha / lrn.size if switches.lrn_alpha_over_n else lrn.alpha
        if self.exchange is None:
            return local_response_norm(values, lrn.size, alpha, lrn.beta, switches.lrn_k, layer.lrn_groups)
        if layer.lrn_groups == layer.columns:
            return local_response_norm(values, lrn.size, alpha, lrn.beta, switches.lrn_k)
        gathered = self.exchange.gather(values)
        return local_response_norm(gathered, lrn.size, alpha, lrn.beta, switches.lrn_k)[:, self.rows(layer)]

    def _pool(self, values: Tensor) -> Tensor:
        pool = self.params.pool
        if values.is_cuda or values.is_contiguous(memory_format=torch.channels_last):
            return F.max_pool2d(values, pool.size, pool.stride, ceil_mode=True)
        # On CPUs PyTorch pools eight times faster with channels last; the values are the same.
        values = values.contiguous(memory_format=torch.channels_last)
        return F.max_pool2d(values, pool.size, pool.stride, ceil_mode=True).contiguous()


def initialize(network: Network, stds: Mapping[str, float], seed: int) -> None:
    """Draws every weight from N(0, std²) and sets the biases, in place; the same seed gives the same weights.

    Each column's part is drawn apart, so that a column alone draws just its own.
    Source: §5 (Gaussian, biases of 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0).
    """
    with torch.no_grad():
        for place, layer in enumerate(network.layers):
            rows = network.rows(layer)
            for column in range(layer.columns):
                own = layer.rows(column)
                if not rows.start <= own.start < own.stop <= rows.stop:
                    continue
                weight = network.get_parameter(f"{layer.name}.weight")[
                    own.start - rows.start : own.stop - rows.start
                ]
                generator = initial_generator(seed, place, column)
                drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
                weight.copy_(drawn * stds[layer.name])
            if network.share(layer):
                network.get_parameter(f"{layer.name}.bias").fill_(layer.bias)
