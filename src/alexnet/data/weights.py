"""Weights of members and checkpoints of their training, in safetensors: loading them executes nothing."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alexnet.core.layers import NetworkParams, NetworkSwitches
from alexnet.core.network import Network
from alexnet.data.whole import whole_file
from alexnet.errors import UserError

# All metadata in one entry: safetensors writes several in no fixed order, and equal runs must give equal bytes.
ENTRY = "alexnet"


@dataclass(frozen=True)
class Tensors:
    """Named tensors with what is known of them."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its name, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Size in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


DTYPES = {torch.float32: "F32", torch.float64: "F64"}


def write_stream(
    path: Path, entries: Sequence[Entry], pieces: Iterator[Tensor], about: dict[str, Any]
) -> None:
    """Writes tensors whose values come piece by piece in the order of `entries`, whole, with a JSON-able description.

    So no copy of all of them is ever in memory. Source: the safetensors format, a header and then the values.
    """
    header: dict[str, Any] = {"__metadata__": {ENTRY: json.dumps(about)}}
    end = 0
    for entry in entries:
        begin, end = end, end + entry.num_bytes
        header[entry.name] = {
            "dtype": DTYPES[entry.dtype], "shape": list(entry.shape), "data_offsets": [begin, end],
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for piece in pieces:
            file.write(piece.contiguous().numpy().data)
        assert file.tell() == 8 + len(text) + end


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Writes tensors with a JSON-able description, whole."""
    entries = [Entry(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]
    write_stream(path, entries, (tensor.detach().cpu() for tensor in tensors.values()), about)


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """A file of tensors, to read parts of. Raises UserError if it is missing or no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            yield TensorFile(file)
    except FileNotFoundError:
        raise UserError(
            str(path), "is missing", fix="Build the stage that makes it, `alexnet train`."
        ) from None
    except SafetensorError as error:
        raise UserError(
            str(path), "is no whole safetensors file", found=error, fix="Delete it and build it again."
        ) from None


class TensorFile:
    """An open file of tensors; nothing of them is in memory until asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.about: dict[str, Any] = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
        self.names: list[str] = list(file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._file.get_slice(name).get_shape())

    def rows(self, name: str, rows: slice) -> Tensor:
        """Some rows of a tensor."""
        part: Tensor = self._file.get_slice(name)[rows]
        return part

    def whole(self, name: str) -> Tensor:
        """All of a tensor."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


def read_tensors(path: Path) -> Tensors:
    """All tensors of a file and their description. Raises UserError if it is missing or no safetensors file."""
    with open_tensors(path) as file:
        return Tensors({name: file.whole(name) for name in file.names}, file.about)


def describe_network(network: Network, num_classes: int, crop: int) -> dict[str, Any]:
    """What stands in a file of weights beside them, so that they can be used alone."""
    return {
        "network": network.params.model_dump(mode="json"),
        "switches": network.switches.model_dump(mode="json", include=set(NetworkSwitches.model_fields)),
        "num_classes": num_classes,
        "crop": crop,
    }


def read_network(path: Path) -> tuple[Network, int]:
    """A trained network from its weights alone, with its number of classes."""
    stored = read_tensors(path)
    about = stored.about
    params = NetworkParams.model_validate_json(json.dumps(about["network"]))
    switches = NetworkSwitches.model_validate_json(json.dumps(about["switches"]))
    network = Network(params, switches, about["num_classes"], about["crop"])
    network.load_state_dict(stored.tensors)
    return network.eval(), about["num_classes"]
