"""The layers of §3 from configuration: shapes, counts and initial deviations, without building the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from alexnet.schema import Params

FULL_CROP_PX = 224

Count = Annotated[int, Field(gt=0)]
Size = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class ConvParams(Params):
    """A convolutional layer with what follows it: ReLU, then LRN, then pooling (§3.5)."""

    maps: Count
    kernel: Count
    stride: Count
    pad: Size
    pad_end: Size
    crosses: bool
    lrn: bool
    pool: bool
    std: Positive
    bias: float


class HiddenParams(Params):
    """A hidden fully connected layer, followed by ReLU and dropout (§3.5, §4.2)."""

    units: Count
    dropout: Share
    std: Positive
    bias: float


class LrnParams(Params):
    """Constants of local response normalization (§3.3)."""

    size: Count
    k: Positive
    alpha: Positive
    beta: Positive
    alpha_over_n: bool


class PoolParams(Params):
    """Max pooling over size x size units, stride apart (§3.4)."""

    size: Count
    stride: Count


class OutputParams(Params):
    """The last fully connected layer, fc8: one unit for each class (§3.5)."""

    std: Positive
    bias: float


class Conv1Size(Params):
    """What conv1 becomes for small images."""

    kernel: Count
    stride: Count
    pad: Size
    pad_end: Size


class SizeParams(Params):
    """How much narrower than the paper's the network is built."""

    width: Annotated[float, Field(gt=0, le=1)]
    fc_width: Annotated[float, Field(gt=0, le=1)]
    multiple: Count
    conv1: Conv1Size | Literal["paper"]


LayerName = Annotated[str, Field(pattern=r"^(conv[1-9]|fc[1-7])$")]
LayerParams = Annotated[
    Annotated[ConvParams, Tag("conv")] | Annotated[HiddenParams, Tag("fc")],
    Discriminator(lambda layer: "fc" if "units" in dict(layer) else "conv"),
]


class NetworkParams(Params):
    """The `network` section, a variant's differences joined in. `layers` are the paper's, at full size."""

    layers: dict[LayerName, LayerParams]
    columns: Count
    lrn: LrnParams
    pool: PoolParams
    output: OutputParams
    keep_gain: bool
    size: SizeParams

    @model_validator(mode="after")
    def _layers_make_a_network(self) -> NetworkParams:
        for name, layer in self.layers.items():
            if isinstance(layer, ConvParams) != name.startswith("conv"):
                raise ValueError(f"layer {name} has the keys of the other kind of layer")
        if "conv1" not in self.layers:
            raise ValueError("conv1 is missing; it reads the image")
        return self


def join(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` joined in, mapping by mapping; a change to null removes the key."""
    joined = dict(base)
    for key, change in changes.items():
        if change is None:
            joined.pop(key, None)
        elif isinstance(change, Mapping) and isinstance(joined.get(key), Mapping):
            joined[key] = join(joined[key], change)
        else:
            joined[key] = change
    return joined


@dataclass(frozen=True)
class Layer:
    """A layer with every number resolved: what the module, the counts and the initial weights are made from."""

    name: str
    is_conv: bool
    inputs: int  # maps or units coming in
    outputs: int  # maps or units going out
    side: int  # of the square of units after the convolution, before pooling; 1 for fully connected
    out_side: int  # after pooling
    kernel: int
    stride: int
    pad: int
    pad_end: int
    groups: int
    lrn: bool
    pool: bool
    dropout: float
    std: float
    bias: float
    is_last: bool

    @property
    def fan_in(self) -> int:
        """Inputs of one unit."""
        return self.kernel**2 * self.inputs // self.groups

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return self.fan_in * self.outputs + self.outputs

    @property
    def num_neurons(self) -> int:
        """Units of the layer, as the paper counts them (before pooling)."""
        return self.side**2 * self.outputs

    @property
    def num_multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return self.num_neurons * self.fan_in


def _pooled_side(side: int, pool: PoolParams) -> int:
    """Side after pooling, rounded up as the 2012 code does."""
    return 1 + max(0, math.ceil((side - pool.size) / pool.stride))


def _narrowed(count: int, width: float, multiple: int) -> int:
    return count if width == 1 else max(multiple, round(count * width / multiple) * multiple)


def _full_layer(
    name: str, inputs: int, outputs: int, dropout: float, std: float, bias: float, *, is_last: bool = False
) -> Layer:
    return Layer(name, False, inputs, outputs, 1, 1, 1, 1, 0, 0, 1, False, False, dropout, std, bias, is_last)


def plan_layers(params: NetworkParams, num_classes: int, crop: int) -> tuple[Layer, ...]:
    """The layers of the network for square crops, in order, the last one giving num_classes logits.

    crop: side of the input in pixels. Raises ValueError if a layer has no room or its maps do not divide
    into the columns. Source: §3.5; pooling sizes from the 2012 code.
    """
    convs = sorted(name for name in params.layers if name.startswith("conv"))
    hidden = sorted(name for name in params.layers if name.startswith("fc"))
    layers: list[Layer] = []
    maps, side = 3, crop
    for name in convs:
        conv = params.layers[name]
        assert isinstance(conv, ConvParams)
        if name == "conv1" and isinstance(params.size.conv1, Conv1Size):
            conv = conv.model_copy(update=params.size.conv1.model_dump())
        outputs = _narrowed(conv.maps, params.size.width, params.size.multiple)
        if side + conv.pad + conv.pad_end < conv.kernel:
            raise ValueError(f"{name} has a kernel of {conv.kernel} but only {side} pixels come in")
        groups = 1 if conv.crosses else params.columns
        if maps % groups or outputs % params.columns:
            raise ValueError(
                f"{name} takes {maps} maps and gives {outputs}; {params.columns} columns divide both"
            )
        conv_side = (side + conv.pad + conv.pad_end - conv.kernel) // conv.stride + 1
        out_side = _pooled_side(conv_side, params.pool) if conv.pool else conv_side
        layers.append(
            Layer(
                name, True, maps, outputs, conv_side, out_side, conv.kernel, conv.stride, conv.pad, conv.pad_end,
                groups, conv.lrn, conv.pool, 0.0, conv.std, conv.bias, False,
            )
        )  # fmt: skip
        maps, side = outputs, out_side
    units = maps * side**2
    for name in hidden:
        full = params.layers[name]
        assert isinstance(full, HiddenParams)
        outputs = _narrowed(full.units, params.size.fc_width, params.size.multiple)
        layers.append(_full_layer(name, units, outputs, full.dropout, full.std, full.bias))
        units = outputs
    output = params.output
    layers.append(_full_layer("fc8", units, num_classes, 0.0, output.std, output.bias, is_last=True))
    return tuple(layers)


def initial_stds(params: NetworkParams, num_classes: int, crop: int) -> dict[str, float]:
    """Deviation of each layer's initial weights, by layer name.

    §5 gives 0.01 for every layer. In a narrow network that loses the signal: a unit sums fewer inputs. With
    `keep_gain` each layer's deviation grows by sqrt(fan-in at full size / own fan-in), so that a unit's sum
    has the variance it would have at full size. Departs from the paper only in networks narrower than its own.
    """
    own = plan_layers(params, num_classes, crop)
    if not params.keep_gain:
        return {layer.name: layer.std for layer in own}
    full_size = SizeParams(width=1.0, fc_width=1.0, multiple=1, conv1="paper")
    full = plan_layers(params.model_copy(update={"size": full_size}), num_classes, FULL_CROP_PX)
    return {
        layer.name: layer.std * math.sqrt(twin.fan_in / layer.fan_in)
        for layer, twin in zip(own, full, strict=True)
    }
