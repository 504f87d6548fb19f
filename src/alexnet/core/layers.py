"""The layers of §3 from configuration: shapes, counts and initial values, without building the network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from alexnet.schema import Params

FULL_CROP_PX = 224


def _expect_odd(count: int) -> int:
    if count % 2 == 0:
        raise ValueError("a window is around its middle, so its size is odd")
    return count


Count = Annotated[int, Field(gt=0)]
Size = Annotated[int, Field(ge=0)]
OddCount = Annotated[int, Field(gt=0), AfterValidator(_expect_odd)]
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
    """A hidden fully connected layer, followed by ReLU (if any) and dropout (§3.5, §4.2)."""

    units: Count
    crosses: bool
    relu: bool
    dropout: Share
    std: Positive
    bias: float


class LrnParams(Params):
    """Constants of local response normalization (§3.3)."""

    size: OddCount
    alpha: Positive
    beta: Positive


class SpatialNormParams(Params):
    """Constants of the 2012 code's second normalization, over size x size neighbours within a map."""

    size: OddCount
    k: Positive
    alpha: Positive
    beta: Positive


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


FULL_SIZE = SizeParams(width=1.0, fc_width=1.0, multiple=1, conv1="paper")

LayerName = Annotated[str, Field(pattern=r"^(conv[1-9]|fc[1-7]b?)$")]
AnyLayerName = Annotated[str, Field(pattern=r"^(conv[1-9]|fc[1-7]b?|fc8)$")]
LayerParams = Annotated[
    Annotated[ConvParams, Tag("conv")] | Annotated[HiddenParams, Tag("fc")],
    Discriminator(lambda layer: "fc" if "units" in dict(layer) else "conv"),
]


class NetworkParams(Params):
    """The `network` section, a variant's differences joined in. `layers` are the paper's, at full size."""

    layers: dict[LayerName, LayerParams]
    columns: Count
    lrn: LrnParams
    spatial_norm: SpatialNormParams
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


class NetworkSwitches(Params):
    """What a protocol says of the network and its input: where paper and 2012 code disagree, or one is silent."""

    mean_align: Literal["under_crop", "centre"]
    conv1_pad: Literal["right3", "crop227", "sym2"]
    norm1_before_relu: bool
    lrn_k: Positive
    lrn_alpha_over_n: bool
    lrn_per_group: bool
    spatial_norm2: bool
    init_std: dict[AnyLayerName, Positive]
    init_bias: dict[AnyLayerName, float]


def join(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` joined in, mapping by mapping.

    Null removes a mapping (a layer, say) and is a value elsewhere. A mapping with a key `kind` replaces as a
    whole, since each kind has keys of its own.
    """
    joined = dict(base)
    for key, change in changes.items():
        if isinstance(change, Mapping) and isinstance(joined.get(key), Mapping) and "kind" not in change:
            joined[key] = join(joined[key], change)
        elif change is None and key in joined and isinstance(joined[key], Mapping):
            joined.pop(key)
        else:
            joined[key] = change
    return joined


@dataclass(frozen=True)
class Layer:
    """A layer with every number resolved: what the module, the counts and the initial weights are made from."""

    name: str
    is_conv: bool
    inputs: int  # maps or units coming in, of all columns
    outputs: int  # maps or units going out, of all columns
    side: int  # of the square of units after the convolution, before pooling; 1 for fully connected
    out_side: int  # after pooling
    kernel: int
    stride: int
    pad: int
    pad_end: int
    groups: int  # 1 if every unit sees all inputs, else as many as there are columns
    columns: int  # that share its units
    lrn: bool
    lrn_groups: int  # maps are normalized within each of so many groups
    norm_first: bool  # LRN and pooling before ReLU
    spatial_norm: bool
    pool: bool
    relu: bool
    dropout: float
    std: float
    bias: float
    is_last: bool

    @property
    def fan_in(self) -> int:
        """Inputs of one unit."""
        return self.kernel**2 * self.inputs // self.groups

    @property
    def num_weights(self) -> int:
        """Weights, without biases."""
        return self.fan_in * self.outputs

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return self.num_weights + self.outputs

    @property
    def num_neurons(self) -> int:
        """Units of the layer, as the paper counts them (before pooling)."""
        return self.side**2 * self.outputs

    @property
    def num_multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return self.num_neurons * self.fan_in

    def rows(self, column: int) -> slice:
        """Which of its units a column holds: an equal share in order, fc8 being the first column's as a whole.

        Source: shares from Fig. 2; the 2012 code keeps the last layer on one GPU.
        """
        if self.is_last:
            return slice(0, self.outputs if column == 0 else 0)
        share = self.outputs // self.columns
        return slice(column * share, (column + 1) * share)

    @property
    def meets(self) -> bool:
        """Whether each column needs what the others computed in the layer before (conv1 reads the image)."""
        return self.columns > 1 and self.groups == 1 and self.name != "conv1"


def _pooled_side(side: int, pool: PoolParams) -> int:
    """Side after pooling, rounded up as the 2012 code does."""
    return 1 + max(0, math.ceil((side - pool.size) / pool.stride))


def _narrowed(count: int, width: float, multiple: int) -> int:
    return count if width == 1 else max(multiple, round(count * width / multiple) * multiple)


def _sized_conv1(params: NetworkParams, switches: NetworkSwitches) -> ConvParams:
    """conv1 as it is built: the paper's, its missing pixels found as `conv1_pad` says, or that for small images."""
    conv1 = params.layers["conv1"]
    assert isinstance(conv1, ConvParams)
    if isinstance(params.size.conv1, Conv1Size):
        return conv1.model_copy(update=params.size.conv1.model_dump())
    added = conv1.pad + conv1.pad_end
    pads = {"right3": (0, added), "crop227": (0, 0), "sym2": ((added + 1) // 2, (added + 1) // 2)}
    pad, pad_end = pads[switches.conv1_pad]
    return conv1.model_copy(update={"pad": pad, "pad_end": pad_end})


def input_side(params: NetworkParams, switches: NetworkSwitches, crop: int) -> int:
    """Side in pixels of what the network takes: the crop, or under `crop227` as many pixels more as conv1 lacks.

    Raises ValueError if `conv1_pad` is changed where conv1 is not the paper's, since it would do nothing.
    """
    if isinstance(params.size.conv1, Conv1Size):
        if switches.conv1_pad != "right3":
            raise ValueError(f"conv1_pad is {switches.conv1_pad}, but size.conv1 says how conv1 is padded")
        return crop
    conv1 = params.layers["conv1"]
    assert isinstance(conv1, ConvParams)
    return crop + conv1.pad + conv1.pad_end if switches.conv1_pad == "crop227" else crop


def plan_layers(
    params: NetworkParams, switches: NetworkSwitches, num_classes: int, crop: int
) -> tuple[Layer, ...]:
    """The layers of the network for square crops, in order, the last one giving num_classes logits.

    crop: side of the crop in pixels. Raises ValueError if a layer has no room, its maps do not divide
    into the columns, or a switch names a layer's value that cannot be. Source: §3.5; pooling sizes from the 2012 code.
    """
    layers: list[Layer] = []
    maps, side = 3, input_side(params, switches, crop)
    for name in sorted(name for name in params.layers if name.startswith("conv")):
        conv = params.layers[name] if name != "conv1" else _sized_conv1(params, switches)
        assert isinstance(conv, ConvParams)
        outputs = _narrowed(conv.maps, params.size.width, params.size.multiple)
        if side + conv.pad + conv.pad_end < conv.kernel:
            raise ValueError(f"{name} has a kernel of {conv.kernel} but only {side} pixels come in")
        groups = 1 if conv.crosses else params.columns
        _expect_shares(name, maps, outputs, groups, params.columns)
        conv_side = (side + conv.pad + conv.pad_end - conv.kernel) // conv.stride + 1
        if conv.pool and conv_side <= params.pool.size - params.pool.stride:
            raise ValueError(f"{name} is pooled over {params.pool.size} units but only {conv_side} are left")
        out_side = _pooled_side(conv_side, params.pool) if conv.pool else conv_side
        layers.append(
            Layer(
                name=name, is_conv=True, inputs=maps, outputs=outputs, side=conv_side, out_side=out_side,
                kernel=conv.kernel, stride=conv.stride, pad=conv.pad, pad_end=conv.pad_end, groups=groups,
                columns=params.columns, lrn=conv.lrn,
                lrn_groups=params.columns if switches.lrn_per_group else 1,
                norm_first=conv.lrn and name == "conv1" and switches.norm1_before_relu,
                spatial_norm=conv.lrn and name == "conv2" and switches.spatial_norm2,
                pool=conv.pool, relu=True, dropout=0.0, std=switches.init_std.get(name, conv.std),
                bias=switches.init_bias.get(name, conv.bias), is_last=False,
            )
        )  # fmt: skip
        maps, side = outputs, out_side
    units = maps * side**2
    for name in sorted(name for name in params.layers if name.startswith("fc")):
        hidden = params.layers[name]
        assert isinstance(hidden, HiddenParams)
        outputs = _narrowed(hidden.units, params.size.fc_width, params.size.multiple)
        groups = 1 if hidden.crosses else params.columns
        _expect_shares(name, units, outputs, groups, params.columns)
        layers.append(_full_layer(name, units, outputs, groups, hidden, params, switches))
        units = outputs
    layers.append(_full_layer("fc8", units, num_classes, 1, params.output, params, switches))
    return tuple(layers)


def _expect_shares(name: str, inputs: int, outputs: int, groups: int, columns: int) -> None:
    if inputs % groups or outputs % columns:
        what = "maps" if name.startswith("conv") else "units"
        raise ValueError(f"{name} takes {inputs} {what} and gives {outputs}; {columns} columns divide both")


def _full_layer(
    name: str, inputs: int, outputs: int, groups: int, layer: HiddenParams | OutputParams,
    params: NetworkParams, switches: NetworkSwitches,
) -> Layer:  # fmt: skip
    hidden = layer if isinstance(layer, HiddenParams) else None
    return Layer(
        name=name, is_conv=False, inputs=inputs, outputs=outputs, side=1, out_side=1, kernel=1, stride=1, pad=0,
        pad_end=0, groups=groups, columns=params.columns, lrn=False, lrn_groups=1, norm_first=False,
        spatial_norm=False, pool=False, relu=hidden is not None and hidden.relu,
        dropout=hidden.dropout if hidden else 0.0, std=switches.init_std.get(name, layer.std),
        bias=switches.init_bias.get(name, layer.bias), is_last=hidden is None,
    )  # fmt: skip


def initial_stds(
    params: NetworkParams, switches: NetworkSwitches, num_classes: int, crop: int
) -> dict[str, float]:
    """Deviation of each layer's initial weights, by layer name.

    §5 gives 0.01 for every layer. In a narrow network that loses the signal: a unit sums fewer inputs. With
    `keep_gain` each layer's deviation grows by sqrt(fan-in at full size / own fan-in), so that a unit's sum
    has the variance it would have at full size. Departs from the paper only in networks narrower than its own.
    """
    own = plan_layers(params, switches, num_classes, crop)
    if not params.keep_gain:
        return {layer.name: layer.std for layer in own}
    full = plan_layers(params.model_copy(update={"size": FULL_SIZE}), switches, num_classes, FULL_CROP_PX)
    return {
        layer.name: layer.std * math.sqrt(twin.fan_in / layer.fan_in)
        for layer, twin in zip(own, full, strict=True)
    }


def exchanged_values(layers: tuple[Layer, ...]) -> int:
    """Activations that one image's forward pass sends between two columns, both ways together.

    Before each layer that crosses, each column sends its share of the layer before to every other. One LRN over
    all maps needs them all too. Gradients take the same way back. Source: §3.5, Fig. 2.
    """
    total = 0
    for before, layer in itertools.pairwise(layers):
        others = layer.columns - 1
        if before.lrn and before.lrn_groups < before.columns:
            total += before.outputs * before.side**2 * others
        if layer.meets:
            total += before.outputs * before.out_side**2 * others
    return total
