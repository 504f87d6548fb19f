"""Features of all training images in a file of their own, made once for given weights and images.

The file grows block by block and is taken up again where it was left. A note beside it says what it belongs to.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from alexnet.data.whole import sync_file, sync_folder, write_whole
from alexnet.errors import UserError

NOTE_EVERY_S = 30.0

Features = npt.NDArray[np.float32]


def hash_inputs(weights: Path, data: Path, stats: Path) -> str:
    """A hash of all that features depend on: the weights, the manifest of the images, the mean image.

    Raises UserError if one of them is missing.
    """
    digest = xxhash.xxh3_128()
    for path in (weights, data / "manifest.json", stats / "mean_image.npy"):
        try:
            with path.open("rb") as file:
                for block in iter(lambda: file.read(1 << 22), b""):
                    digest.update(block)
        except OSError as error:
            raise UserError(
                str(path), f"cannot be read: {error.strerror}", fix="Build the stage that makes it."
            ) from None
        digest.update(b"\0")
    return digest.hexdigest()


def open_kept(path: Path, key: str) -> Features | None:
    """The features kept in `path`, (N, units), on disk, or None if there are none of this key."""
    if _read_note(path) != {"key": key}:
        return None
    try:
        kept: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return kept


class Growing:
    """Features under way. array: (N, units), on disk; done: rows that are there."""

    def __init__(self, path: Path, key: str, array: Any, done: int) -> None:
        self.array, self.done = array, done
        self._path, self._key, self._noted = path, key, time.monotonic()

    def add(self, rows: Features) -> None:
        """Writes the next rows; after a while also notes how many there are."""
        self.array[self.done : self.done + len(rows)] = rows
        self.done += len(rows)
        if time.monotonic() - self._noted >= NOTE_EVERY_S:
            self.note()

    def note(self) -> None:
        """Makes what is done durable."""
        self.array.flush()
        _write_note(self._path, {"key": self._key, "done": self.done})
        self._noted = time.monotonic()


@contextlib.contextmanager
def grow(path: Path, key: str, shape: tuple[int, int]) -> Iterator[Growing]:
    """Features (N, units) float32 to be filled, from where an earlier run left them; `path` when the block ends well.

    Raises UserError if the disk has no room, or another process is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with _alone(path):
        note = _read_note(part)
        done = int(note["done"]) if note.get("key") == key and part.is_file() else 0
        if not done:
            part.unlink(missing_ok=True)
            _reserve(part, shape)
        growing = Growing(part, key, np.lib.format.open_memmap(part, mode="r+"), done)
        if growing.array.shape != shape:
            raise UserError(str(part), "is of another shape", found=growing.array.shape, fix="Delete it.")
        try:
            yield growing
        finally:
            growing.note()
        assert growing.done == shape[0], (growing.done, shape)
        sync_file(part)
        _note_of(path).unlink(missing_ok=True)  # of earlier features, which are none of these
        os.replace(part, path)
        sync_folder(path.parent)
        _write_note(path, {"key": key})
        _note_of(part).unlink()


def _reserve(part: Path, shape: tuple[int, int]) -> None:
    """Makes the file with all its room, so that a full disk is met here and not in the middle."""
    needed, free = shape[0] * shape[1] * 4, shutil.disk_usage(part.parent).free
    if needed > free:
        raise UserError(
            str(part.parent), "the disk has no room for the features", found=f"{free / 1e9:,.2f} GB free",
            expected=f"{needed / 1e9:,.2f} GB", fix="Make room, or let it be a link to a larger disk.",
        )  # fmt: skip
    array = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
    del array
    if hasattr(os, "posix_fallocate"):
        with part.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While the block runs, no other process fills the same file."""
    with path.with_name(f"{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                str(path), "another process is computing these features", fix="Wait for it."
            ) from None
        yield


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(_note_of(path).read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(path: Path, note: dict[str, Any]) -> None:
    write_whole(_note_of(path), json.dumps(note) + "\n")
