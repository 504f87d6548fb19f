"""Checkpoints of a training: outside both engines' outputs, whole, and of one configuration only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from alexnet.data.weights import Entry, TensorFile, open_tensors, write_stream
from alexnet.errors import UserError

LEAST_PAUSE_S = 10.0
WORTH = 50  # pause this many times as long as the last checkpoint took to write: 2 % of the time at most
FILE = "checkpoint.safetensors"


def hash_files(files: Iterable[Path]) -> str:
    """A hash of the content of files, in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def fingerprint(identity: Mapping[str, Any]) -> str:
    """A short hash of what a training depends on."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoints:
    """The checkpoint of one member under one configuration.

    identity: everything the training depends on, its parameters, seed and a hash of its inputs and code. It stands
    in the file, and its hash in the folder's name: a checkpoint of other parameters stays where it is, for when they
    come back.
    """

    def __init__(self, folder: Path, member: str, identity: Mapping[str, Any]) -> None:
        self.member, self.identity = member, dict(identity)
        self.folder = folder / f"{member}-{fingerprint(identity)}"
        self.file = self.folder / FILE
        self._next = time.monotonic() + LEAST_PAUSE_S

    @contextlib.contextmanager
    def open(self) -> Iterator[TensorFile | None]:
        """What was last written, or None. Raises UserError if it belongs to another configuration."""
        for left in self.folder.glob(f".{FILE}.*.tmp"):  # by a process that was killed while writing
            left.unlink(missing_ok=True)
        if not self.file.exists():
            yield None
            return
        with open_tensors(self.file) as stored:
            differences = find_differences(stored.about.get("identity", {}), self.identity)
            if differences:
                raise UserError(
                    str(self.file), "this checkpoint belongs to another configuration", found="; ".join(differences),
                    fix="Delete it, or restore the configuration it was made with.",
                )  # fmt: skip
            yield stored

    def others(self) -> list[str]:
        """What to say of each checkpoint of this member that belongs to another configuration."""
        lines = []
        for file in sorted(self.folder.parent.glob(f"{self.member}-{'[0-9a-f]' * 16}/{FILE}")):
            if file != self.file:
                with contextlib.suppress(UserError), open_tensors(file) as stored:
                    differences = "; ".join(find_differences(stored.about.get("identity", {}), self.identity))
                    lines.append(f"{file.parent} belongs to another configuration ({differences}): not used")
        return lines

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() >= self._next

    def write(self, entries: Sequence[Entry], pieces: Iterator[Tensor], about: Mapping[str, Any]) -> None:
        """Replaces the checkpoint, whole."""
        begun = time.monotonic()
        write_stream(self.file, entries, pieces, {**about, "identity": self.identity})
        ended = time.monotonic()
        self._next = ended + max(LEAST_PAUSE_S, WORTH * (ended - begun))

    def remove(self) -> None:
        """Removes it; called when the member's weights are in place."""
        shutil.rmtree(self.folder, ignore_errors=True)


def find_differences(there: Mapping[str, Any], here: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between two nested mappings, by the path of its keys, with both values."""
    found = []
    for key in dict.fromkeys([*there, *here]):
        name, left, right = f"{path}{key}", there.get(key, "nothing"), here.get(key, "nothing")
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += find_differences(left, right, f"{name}.")
        elif left != right:
            found.append(f"{name} is {left} there and {right} here")
    return found
