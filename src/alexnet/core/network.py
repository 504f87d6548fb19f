"""The network of §3 as a module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.core.layers import Layer, NetworkParams, plan_layers
from alexnet.core.lrn import local_response_norm


class Network(nn.Module):
    """The network of §3.5 on crops (N, 3, crop, crop) float32, giving logits (N, num_classes).

    Two columns are one module with grouped convolutions and LRN for each column, which computes the same
    function as two devices that exchange activations before the layers that cross.
    """

    def __init__(self, params: NetworkParams, num_classes: int, crop: int) -> None:
        super().__init__()
        self.params = params
        self.layers = plan_layers(params, num_classes, crop)
        for layer in self.layers:
            module = (
                nn.Conv2d(
                    layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.pad, groups=layer.groups
                )
                if layer.is_conv
                else nn.Linear(layer.inputs, layer.outputs)
            )
            self.add_module(layer.name, module)

    def forward(self, images: Tensor, masks: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits (N, num_classes). `masks` holds a (N, units) mask of 0 and 1 for each layer with dropout.

        Without masks this is the test path: outputs times the chance of being kept (§4.2).
        """
        values = images
        for layer in self.layers:
            values = self._conv(layer, values) if layer.is_conv else self._full(layer, values, masks)
        return values

    def _conv(self, layer: Layer, values: Tensor) -> Tensor:
        if layer.pad_end != layer.pad:
            more = layer.pad_end - layer.pad
            values = F.pad(values, (0, more, 0, more))
        values = F.relu(self.get_submodule(layer.name)(values))
        if layer.lrn:
            lrn = self.params.lrn
            alpha = lrn.alpha / lrn.size if lrn.alpha_over_n else lrn.alpha
            values = local_response_norm(values, lrn.size, alpha, lrn.beta, lrn.k, self.params.columns)
        if layer.pool:
            # On CPUs PyTorch pools eight times faster with channels last; the values are the same.
            values = values.contiguous(memory_format=torch.channels_last)
            values = F.max_pool2d(
                values, self.params.pool.size, self.params.pool.stride, ceil_mode=True
            ).contiguous()
        return values

    def _full(self, layer: Layer, values: Tensor, masks: Mapping[str, Tensor] | None) -> Tensor:
        values = self.get_submodule(layer.name)(values.flatten(1))
        if layer.is_last:
            return values
        values = F.relu(values)
        if not layer.dropout:
            return values
        return values * (1 - layer.dropout) if masks is None else values * masks[layer.name]


def initialize(network: Network, stds: Mapping[str, float], seed: int) -> None:
    """Draws every weight from N(0, std²) and sets the biases, in place; the same seed gives the same weights.

    Source: §5 (Gaussian, biases of 1 in conv2, conv4, conv5 and the hidden fully connected layers, else 0).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.layers:
            module = network.get_submodule(layer.name)
            assert isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
            drawn = torch.randn(module.weight.shape, generator=generator, dtype=torch.float32)
            module.weight.copy_(drawn * stds[layer.name])
            module.bias.fill_(layer.bias)
