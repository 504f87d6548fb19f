"""Checkpoints of a training: outside both engines' outputs, whole, and of one configuration only."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from alexnet.data.weights import Tensors, read_tensors, write_tensors

LEAST_PAUSE_S = 10.0
WORTH = 50  # pause this many times as long as the last checkpoint took to write: 2 % of the time at most


def fingerprint(about: dict[str, Any], files: Iterable[Path]) -> str:
    """A hash of everything a training depends on: its parameters, and the content of its inputs and code."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Checkpoints:
    """The checkpoint of one member under one configuration."""

    def __init__(self, folder: Path, member: str, mark: str) -> None:
        self.folder = folder / f"{member}-{mark}"
        self.file = self.folder / "checkpoint.safetensors"
        self._next = time.monotonic() + LEAST_PAUSE_S

    def read(self) -> Tensors | None:
        """What was last written, or None."""
        return read_tensors(self.file) if self.file.exists() else None

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() >= self._next

    def write(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Replaces the checkpoint, whole."""
        begun = time.monotonic()
        write_tensors(self.file, tensors, about)
        ended = time.monotonic()
        self._next = ended + max(LEAST_PAUSE_S, WORTH * (ended - begun))

    def remove(self) -> None:
        """Removes it; called when the member's weights are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)
