"""Weights of members and checkpoints of their training, in safetensors: loading them executes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from alexnet.core.layers import NetworkParams
from alexnet.core.network import Network
from alexnet.data.whole import write_whole
from alexnet.errors import UserError

# All metadata in one entry: safetensors writes several in no fixed order, and equal runs must give equal bytes.
ENTRY = "alexnet"


@dataclass(frozen=True)
class Tensors:
    """Named tensors with what is known of them."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Writes tensors with a JSON-able description, whole."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(content, metadata={ENTRY: json.dumps(about, sort_keys=True)}))


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file and their description. Raises UserError if it is missing or no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            return Tensors({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(
            str(path), "is missing", fix="Build the stage that makes it, `alexnet train`."
        ) from None
    except SafetensorError as error:
        raise UserError(
            str(path), "is no whole safetensors file", found=error, fix="Delete it and build it again."
        ) from None


def write_weights(path: Path, network: Network, num_classes: int, crop: int) -> None:
    """Writes a member's final weights with the network they belong to, so that they can be used alone."""
    about = {"network": network.params.model_dump(mode="json"), "num_classes": num_classes, "crop": crop}
    write_tensors(path, network.state_dict(), about)


def read_network(path: Path) -> tuple[Network, int, int]:
    """A trained network from its weights alone, with its number of classes and the side of its crop in pixels."""
    stored = read_tensors(path)
    params = NetworkParams.model_validate_json(json.dumps(stored.about["network"]))
    num_classes, crop = stored.about["num_classes"], stored.about["crop"]
    network = Network(params, num_classes, crop)
    network.load_state_dict(stored.tensors)
    return network.eval(), num_classes, crop
