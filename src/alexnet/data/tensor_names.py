"""What a safetensors file holds, from its header alone: no values are read, and PyTorch is not needed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.errors import UserError

MAX_HEADER = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file. dtype: as safetensors has it, such as F32."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(self.shape)


def list_tensors(path: Path) -> list[StoredTensor]:
    """The tensors of a safetensors file, in the order of their values. Raises UserError if it is missing or none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(min(length, MAX_HEADER)))
        header.pop("__metadata__", None)
        entries = sorted(header.items(), key=lambda entry: entry[1]["data_offsets"][0])
        return [StoredTensor(name, about["dtype"], tuple(about["shape"])) for name, about in entries]
    except FileNotFoundError:
        raise UserError(
            str(path), "is missing", fix="Build the stage that makes it, `alexnet train`."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            str(path), "is no whole safetensors file", found=error, fix="Delete it and build it again."
        ) from None


def hash_file(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
