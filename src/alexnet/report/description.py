"""A network and a protocol in words and numbers: the table of layers, and what differs between two protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alexnet.core.layers import (
    Layer,
    NetworkParams,
    exchanged_values,
    initial_stds,
    input_side,
    plan_layers,
)
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import Rates, rates_of

FLOAT_BYTES = 4


def describe(
    network: NetworkParams, protocol: ProtocolParams, num_classes: int, other: ProtocolParams
) -> dict[str, Any]:
    """The layers with their totals, what columns exchange, and the switches by which `protocol` differs from `other`.

    Rates are those of the first and of the last epoch; a schedule that waits for a plateau has only the first.
    Raises ValueError if the network cannot be built.
    """
    layers = plan_layers(network, protocol, num_classes, protocol.crop)
    stds = initial_stds(network, protocol, num_classes, protocol.crop)
    epochs = [0, protocol.epochs - 1] if protocol.schedule.kind != "plateau" else [0]
    rates = [rates_of(protocol, epoch) for epoch in epochs]
    return {
        "input_side": input_side(network, protocol, protocol.crop),
        "layers": [_describe_layer(layer, stds[layer.name], rates) for layer in layers],
        "totals": {
            "parameters": sum(layer.num_parameters for layer in layers),
            "neurons": sum(layer.num_neurons for layer in layers),
            "multiply_adds": sum(layer.num_multiply_adds for layer in layers),
        },
        "exchanged_bytes_per_image": exchanged_values(layers) * FLOAT_BYTES,
        "differences": find_differences(protocol, other),
    }


def find_differences(protocol: ProtocolParams, other: ProtocolParams) -> dict[str, list[Any]]:
    """The switches in which two protocols differ, each with both values."""
    here, there = protocol.model_dump(mode="json"), other.model_dump(mode="json")
    return {name: [here[name], there[name]] for name in here if here[name] != there[name]}


def render(described: dict[str, Any], title: str, names: tuple[str, str]) -> str:
    """What `describe` found, as text. names: of the two protocols."""
    head = [
        "layer", "output", "kernels", "parameters", "neurons", "multiply-adds", "device", "std", "bias", "lr",
        "bias lr",
    ]  # fmt: skip
    rows = [_cells(layer) for layer in described["layers"]]
    totals = [f"{described['totals'][key]:,}" for key in ("parameters", "neurons", "multiply_adds")]
    rows.append(["total", "", "", *totals, "", "", "", "", ""])
    lines = [title, "", *_align([head, *rows])]
    if described["exchanged_bytes_per_image"]:
        each_way = described["exchanged_bytes_per_image"]
        lines += ["", f"For each image the columns exchange {each_way:,} bytes forward and as many back."]
    lines += ["", f"Switches in which {names[0]} differs from {names[1]}:"]
    differences = described["differences"]
    if not differences:
        return "\n".join([*lines[:-1], f"{names[0]} and {names[1]} do not differ.", ""])
    table = [[name, _value(here), _value(there)] for name, (here, there) in differences.items()]
    return "\n".join([*lines, *_align([["switch", *names], *table]), ""])


def _describe_layer(layer: Layer, std: float, rates: list[Rates]) -> dict[str, Any]:
    after = []
    if layer.relu and not layer.norm_first:
        after.append("ReLU")
    after += ["LRN"] * layer.lrn + ["spatial norm"] * layer.spatial_norm + ["pool"] * layer.pool
    after += ["ReLU"] * layer.norm_first + ["dropout"] * (layer.dropout > 0)
    return {
        "name": layer.name,
        "side": layer.side,
        "outputs": layer.outputs,
        "kernel": layer.kernel if layer.is_conv else None,
        "stride": layer.stride if layer.is_conv else None,
        "pads": [layer.pad, layer.pad_end] if layer.is_conv else None,
        "inputs_of_a_unit": layer.inputs // layer.groups,
        "then": after,
        "parameters": layer.num_parameters,
        "neurons": layer.num_neurons,
        "multiply_adds": layer.num_multiply_adds,
        "device": _device(layer),
        "std": std,
        "bias": layer.bias,
        "lr": [rate.of(f"{layer.name}.weight") for rate in rates],
        "bias_lr": [rate.of(f"{layer.name}.bias") for rate in rates],
    }


def _device(layer: Layer) -> str:
    """Which columns hold the layer, and whether each sees the others' part of the layer before."""
    if layer.columns == 1:
        return "one"
    if layer.is_last:
        return "first, sees all"
    return "each, sees all" if layer.groups == 1 else "each, sees its own"


def _cells(layer: dict[str, Any]) -> list[str]:
    kernels, side = f"{layer['inputs_of_a_unit']:,} inputs", f"{layer['outputs']:,}"
    if layer["kernel"]:
        size = f"{layer['kernel']}×{layer['kernel']}×{layer['inputs_of_a_unit']}"
        pads = layer["pads"]
        pad = f"{pads[0]}" if pads[0] == pads[1] else f"{pads[0]}+{pads[1]}"
        kernels = f"{layer['outputs']} of {size}, stride {layer['stride']}, pad {pad}"
        side = f"{layer['side']}×{layer['side']}×{layer['outputs']}"
    counts = [f"{layer[key]:,}" for key in ("parameters", "neurons", "multiply_adds")]
    rates = [" → ".join(f"{rate:g}" for rate in dict.fromkeys(layer[key])) for key in ("lr", "bias_lr")]
    after = [f"{layer['name']}, {', '.join(layer['then'])}" if layer["then"] else layer["name"]]
    return [
        *after,
        side,
        kernels,
        *counts,
        layer["device"],
        f"{layer['std']:.3g}",
        f"{layer['bias']:g}",
        *rates,
    ]


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _align(rows: Iterable[list[str]]) -> list[str]:
    """Rows as lines, every column as wide as its widest cell."""
    table = list(rows)
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
