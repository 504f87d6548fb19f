"""A trained net's description and single weights as arrays, for those who need no PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from alexnet.core.layers import Layer, NetworkParams, NetworkSwitches, input_side, plan_layers
from alexnet.errors import UserError

ENTRY = "alexnet"  # the same as in alexnet.data.weights


@dataclass(frozen=True)
class NetPlan:
    """What a trained net is made of. input_side: pixels along a side of what it takes; pool: size and stride."""

    layers: tuple[Layer, ...]
    input_side: int
    pool: tuple[int, int]


def read_plan(path: Path) -> NetPlan:
    """What the net in a file of weights is made of. Raises UserError if it is missing or no such file."""
    about, _ = _read(path, None)
    network = NetworkParams.model_validate_json(json.dumps(about["network"]))
    switches = NetworkSwitches.model_validate_json(json.dumps(about["switches"]))
    return NetPlan(
        plan_layers(network, switches, about["num_classes"], about["crop"]),
        input_side(network, switches, about["crop"]),
        (network.pool.size, network.pool.stride),
    )


def read_array(path: Path, name: str) -> npt.NDArray[Any]:
    """One parameter of a net, such as conv1.weight. Raises UserError if it is missing or no such file."""
    _, array = _read(path, name)
    assert array is not None
    return array


def _read(path: Path, name: str | None) -> tuple[dict[str, Any], npt.NDArray[Any] | None]:
    try:
        with safe_open(path, framework="np") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})[ENTRY])
            return about, None if name is None else np.asarray(file.get_tensor(name))
    except FileNotFoundError:
        raise UserError(
            str(path), "is missing", fix="Build the stage that makes it, `alexnet train`."
        ) from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            str(path), "holds no trained net", found=error, fix="Delete it and build it again."
        ) from None
