"""CIFAR-10's binary archive: records of a label and 32 x 32 pixels, rewritten as images that can be read one by one.

Nothing can be read from the middle of a gzip, so the records become one file of binary PPMs, one behind the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alexnet.data.access import explain_access
from alexnet.data.checksums import FileToCheck
from alexnet.data.inventory import Listing, Synset, make_places, number_synsets
from alexnet.data.progress import progress
from alexnet.data.tars import GET_AGAIN, check_name, read_members
from alexnet.errors import UserError

ARCHIVE, FOLDER, IMAGES = "cifar-10-binary.tar.gz", "cifar-10-batches-bin", "cifar-10.ppm"
NAMES = "batches.meta.txt"
BATCHES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
NUM_CLASSES, SIDE = 10, 32
RECORD = 1 + 3 * SIDE * SIDE  # a label, then all of red, of green and of blue
PPM = b"P6\n32 32\n255\n"
ENTRY = len(PPM) + 3 * SIDE * SIDE
READ_RECORDS = 1000
MAX_NAMES = 1 << 12  # bytes of the list of names
Reader = Callable[[int], bytes]
NO_VAL = "CIFAR-10 has no val images"


@dataclass(frozen=True)
class CifarArchive:
    """The archive, or the folder of its files. recorded: its path as messages shall have it."""

    path: Path
    recorded: str


def find_cifar10(path: Path, recorded: Path) -> CifarArchive:
    """The archive, which is `path` or lies in it, or else the folder that it was unpacked to.

    Raises UserError if there is neither.
    """
    if path.is_file():
        return CifarArchive(path, str(recorded))
    if (path / ARCHIVE).is_file():
        return CifarArchive(path / ARCHIVE, str(recorded / ARCHIVE))
    for folder in ("", FOLDER):
        if (path / folder / NAMES).is_file():
            return CifarArchive(path / folder, str(recorded / folder))
    raise UserError(
        str(recorded), "missing archive", found="none of them" if path.is_dir() else "no such file or folder",
        expected=f"{ARCHIVE}, or {FOLDER} with {NAMES} in it",
        fix="Put it there, or link the right one with `alexnet configure --data`.",
    )  # fmt: skip


def list_files(archive: CifarArchive) -> list[FileToCheck]:
    """The files whose md5 is to be checked."""
    if archive.path.is_file():
        return [FileToCheck(archive.path.resolve().name, archive.path)]
    names = [NAMES, *BATCHES["train"], *BATCHES["test"]]
    missing = [name for name in names if not (archive.path / name).is_file()]
    if missing:
        raise UserError(archive.recorded, f"holds no {', '.join(missing)}", fix=GET_AGAIN)
    return [FileToCheck(name, archive.path / name) for name in names]


def list_cifar10(archive: CifarArchive, folder: Path, recorded: Path) -> Listing:
    """Every image of the archive, once it is written into a file in `folder`, which the index is to call `recorded`.

    A class's wnid is its name; the key of an image holds its number in its split. Raises UserError if a batch is
    missing, there twice or not of whole records, or a label is no class's.
    """
    names, sizes = _survey(archive)
    synsets = number_synsets(dict.fromkeys(names, ""))
    labels = np.array([_label_of(name, synsets) for name in names], np.int32)
    starts, num = {}, 0
    for batch in [*BATCHES["train"], *BATCHES["test"]]:
        starts[batch] = num
        num += sizes[batch] // RECORD
    found = np.empty(num, np.uint8)
    with (
        progress(num, f"unpack {Path(archive.recorded).name}", "image") as advance,
        (folder / IMAGES).open("wb") as file,
        closing(_open_files(archive)) as files,
    ):
        for name, size, read in files:
            if name not in starts:
                continue
            for place in range(starts[name], starts[name] + size // RECORD, READ_RECORDS):
                records = _read_records(read)
                _check_labels(records[:, 0], place - starts[name], f"{archive.recorded}: {name}")
                found[place : place + len(records)] = records[:, 0]
                file.seek(place * ENTRY)
                file.write(_pack_ppm(records[:, 1:]))
                advance(len(records))
    num_train = starts[BATCHES["test"][0]]
    parts = {"train": slice(0, num_train), "test": slice(num_train, num)}
    places = {
        split: [_list_split(split, found[part], names, labels, part.start, recorded)]
        for split, part in parts.items()
    }
    return Listing(synsets, {**places, "val": []}, {"train": None, "val": NO_VAL, "test": None})


def _label_of(name: str, synsets: list[Synset]) -> int:
    return next(synset.label for synset in synsets if synset.wnid == name)


def _survey(archive: CifarArchive) -> tuple[list[str], dict[str, int]]:
    """The names of the classes, in the order of the archive's own labels, and the bytes of each batch."""
    names: list[str] = []
    sizes: dict[str, int] = {}
    known = [NAMES, *BATCHES["train"], *BATCHES["test"]]
    with closing(_open_files(archive)) as files:
        for name, size, read in files:
            where = f"{archive.recorded}: {name}"
            if name in sizes or (name.endswith(".bin") and name not in known):
                what = "is there twice" if name in sizes else "is no batch of CIFAR-10"
                raise UserError(where, what, fix=GET_AGAIN)
            sizes[name] = size
            if name == NAMES:
                names = _read_names(read(MAX_NAMES), where)
            elif name in known and (size % RECORD or not size):
                raise UserError(
                    where, "is not of whole records", found=f"{size:,} bytes",
                    expected=f"a multiple of {RECORD:,}", fix=GET_AGAIN,
                )  # fmt: skip
    missing = [name for name in known if name not in sizes]
    if missing:
        raise UserError(archive.recorded, f"holds no {', '.join(missing)}", fix=GET_AGAIN)
    return names, sizes


def _read_names(content: bytes, where: str) -> list[str]:
    names = content.decode("utf-8", "surrogateescape").split()
    if len(names) != NUM_CLASSES or len(set(names)) != NUM_CLASSES:
        raise UserError(
            where, "does not name the classes", found=f"{len(set(names))} names", expected=f"{NUM_CLASSES}, one a line",
            fix=GET_AGAIN,
        )  # fmt: skip
    for name in names:
        check_name(name, where)
        if "/" in name:
            raise UserError(where, "is no name of a class", found=repr(name), fix=GET_AGAIN)
    return names


def _open_files(archive: CifarArchive) -> Generator[tuple[str, int, Reader]]:
    """Name, bytes and reader of each file of the archive, or of the folder, in their order there."""
    if archive.path.is_file():
        for member, read in read_members(archive.path):
            yield member.base, member.size, read
        return
    for path in sorted(archive.path.iterdir()):
        if path.is_file():
            with explain_access(str(path)), path.open("rb") as file:
                yield path.name, os.fstat(file.fileno()).st_size, file.read


def _read_records(read: Reader) -> npt.NDArray[np.uint8]:
    """The next records (n, 3073) of a batch."""
    data = read(READ_RECORDS * RECORD)
    return np.frombuffer(data, np.uint8).reshape(-1, RECORD)


def _check_labels(labels: npt.NDArray[np.uint8], before: int, where: str) -> None:
    wrong = np.flatnonzero(labels >= NUM_CLASSES)
    if len(wrong):
        raise UserError(
            f"{where}, record {before + int(wrong[0]) + 1:,}", "has no class's label", found=int(labels[wrong[0]]),
            expected=f"0 to {NUM_CLASSES - 1}", fix=GET_AGAIN,
        )  # fmt: skip


def _pack_ppm(planes: npt.NDArray[np.uint8]) -> bytes:
    """PPM files, one behind the other, of images (n, 3 * 32 * 32) whose colours follow each other."""
    images = planes.reshape(-1, 3, SIDE * SIDE).transpose(0, 2, 1).reshape(len(planes), -1)
    header = np.broadcast_to(np.frombuffer(PPM, np.uint8), (len(planes), len(PPM)))
    return np.concatenate([header, images], axis=1).tobytes()


def _list_split(
    split: str,
    found: npt.NDArray[np.uint8],
    names: list[str],
    labels: npt.NDArray[np.int32],
    before: int,
    recorded: Path,
) -> pa.Table:
    """Rows of a split's images, of which `before` lie before them in the file. found: the archive's own labels."""
    keys = [f"{names[label]}/{split}_{number:05}" for number, label in enumerate(found)]
    offsets = [(before + number) * ENTRY for number in range(len(found))]
    return make_places(
        str(recorded / IMAGES), keys, labels[found].tolist(), [ENTRY] * len(found), offsets=offsets
    )
