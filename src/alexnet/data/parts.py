"""Parts of long work, kept outside every output so that a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from alexnet.data.access import explain_access
from alexnet.data.whole import sync_file, sync_folder, write_whole
from alexnet.errors import UserError


class Parts:
    """Finished parts of one work in a folder: a file for each, and what is known of it.

    room: where parts under way are written; files: where the finished ones are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.room, self.files, self._notes = folder / "under_way", folder / "files", folder / "notes"
        for place in (self.room, self.files, self._notes):
            place.mkdir(exist_ok=True)

    def keep(self, name: str, written: Path | None, note: Mapping[str, Any]) -> None:
        """Makes a part durable: the file `written`, if it has one, and then the note that says it is whole."""
        if written is not None:
            sync_file(written)
            os.replace(written, self.files / name)
            sync_folder(self.files)
        write_whole(self._notes / f"{name}.json", json.dumps(note))

    def note(self, name: str) -> dict[str, Any] | None:
        """What was noted of a finished part, or None if it is not finished."""
        path = self._notes / f"{name}.json"
        if not path.exists():
            return None
        note: dict[str, Any] = json.loads(path.read_text())
        return note


@contextlib.contextmanager
def open_parts(folder: Path, identity: Mapping[str, Any], what: str) -> Iterator[Parts]:
    """The parts of a work that are finished, locked while the block runs.

    identity: all that the parts depend on; parts of another one are thrown away, and it is said. They stay where they
    are when the block ends, however it does: `remove_parts` takes them away. Raises UserError if another process holds
    them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{folder.name}.lock"), what):
        about = folder / "identity.json"
        text = json.dumps(identity, sort_keys=True, indent=1) + "\n"
        known = about.read_text() if about.exists() else None
        if known != text:
            if any((folder / "notes").glob("*.json")):
                print(f"{what}: parts that were made otherwise are thrown away: {_differs(known, identity)}",
                      file=sys.stderr)  # fmt: skip
            shutil.rmtree(folder)
            folder.mkdir()
            write_whole(about, text)
        shutil.rmtree(folder / "under_way", ignore_errors=True)  # what a killed run left
        yield Parts(folder)


def hash_files(files: Iterable[Path]) -> str:
    """XXH3-128 of some files, for an identity. Raises UserError if one cannot be read."""
    digest = xxhash.xxh3_128()
    for file in files:
        with explain_access(str(file)):
            digest.update(xxhash.xxh3_128_digest(file.read_bytes()))
    return digest.hexdigest()


def remove_parts(folder: Path) -> None:
    """Takes away what a finished work leaves, but for the lock, which another process may be waiting at."""
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                what, "is under way already", fix="Wait for the other process, or stop it."
            ) from None
        yield


def _differs(known: str | None, identity: Mapping[str, Any]) -> str:
    """The parts of an identity that are not as they were."""
    try:
        before = json.loads(known or "{}")
    except ValueError:
        before = {}
    return ", ".join(sorted(name for name in identity if before.get(name) != identity[name])) or "all"
