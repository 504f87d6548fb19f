"""Archives made by hand in the official layouts, small enough to think about."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

# Devkit ids run against the sorted wnids, so that no class has the same place in both: 3 classes, 1 ancestor.
DEVKIT_IDS = {"n00000010": 3, "n00000020": 1, "n00000030": 2}
LABELS = {"n00000010": 0, "n00000020": 1, "n00000030": 2}
ANCESTOR = "n00000001"


def jpeg(seed: int, height: int = 40, width: int = 50) -> bytes:
    """A JPEG that differs from that of every other seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(stream, "JPEG")
    return stream.getvalue()


def tar(members: Mapping[str, bytes]) -> bytes:
    """A tar of files in the given order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def odd_tar(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    """A tar whose second member has the given name, type and stated size, and no content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("good.JPEG"))
        header = tarfile.TarInfo(name)
        header.type, header.linkname, header.size = kind, link, size
        archive.addfile(header)
    return stream.getvalue()


def meta(year: int, ids: Mapping[str, int] = DEVKIT_IDS) -> bytes:
    """meta.mat with the classes in order of their ids, and an ancestor of all behind them.

    The class of id n has 700 + n training images, it says.
    """
    rows = [(wnid, devkit_id, 0) for wnid, devkit_id in sorted(ids.items(), key=lambda item: item[1])]
    rows.append((ANCESTOR, len(ids) + 1, len(ids)))
    fields = [f"ILSVRC{year}_ID", "WNID", "words", "num_children", "num_train_images"]
    synsets = np.empty((len(rows), 1), dtype=[(field, object) for field in fields])
    for place, (wnid, devkit_id, num_children) in enumerate(rows):
        num_train = 0.0 if num_children else 700.0 + devkit_id
        synsets[place, 0] = (float(devkit_id), wnid, f"words of {wnid}", float(num_children), num_train)
    return mat({"synsets": synsets})


def mat(variables: Mapping[str, Any], *, compressed: bool = False) -> bytes:
    """A MATLAB 5 file, whose header does not tell the time."""
    stream: Any = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    content: bytes = stream.getvalue()
    return b"MATLAB 5.0 MAT-file".ljust(116) + content[116:]


def devkit(year: int, val_ids: Iterable[int], ids: Mapping[str, int] = DEVKIT_IDS) -> bytes:
    """A gzipped development kit."""
    truth = "".join(f"{devkit_id}\n" for devkit_id in val_ids).encode()
    members = {
        "kit/data/meta.mat": meta(year, ids),
        f"kit/data/ILSVRC{year}_validation_ground_truth.txt": truth,
    }
    return gzipped_tar(members)


def gzipped_tar(members: Mapping[str, bytes]) -> bytes:
    """A tar of files in the given order, gzipped."""
    return gzip.compress(tar(members), mtime=0)


NAMES = {
    2010: ("ILSVRC2010_images_train.tar", "ILSVRC2010_images_val.tar", "ILSVRC2010_images_test.tar"),
    2012: ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_img_test.tar"),
}
DEVKITS = {2010: "ILSVRC2010_devkit-1.0.tar.gz", 2012: "ILSVRC2012_devkit_t12.tar.gz"}


def write_contest(folder: Path, year: int = 2012, *, with_test: bool = True) -> Path:
    """A contest of 3 classes with 4 training images each, 3 val and 3 test images; test labels for 2010 only.

    Val image n (from 1) has id n, so the labels of images 1, 2, 3 are 1, 2, 0. The val tar holds them backwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, val, test = NAMES[year]
    inner = {
        f"{wnid}.tar": tar({f"{wnid}_{n * 7}.JPEG": jpeg(100 * label + n) for n in range(4)})
        for wnid, label in LABELS.items()
    }
    (folder / train).write_bytes(tar(inner))
    (folder / val).write_bytes(tar({f"ILSVRC{year}_val_{n:08}.JPEG": jpeg(1000 + n) for n in (3, 2, 1)}))
    (folder / DEVKITS[year]).write_bytes(devkit(year, (1, 2, 3)))
    if with_test:
        (folder / test).write_bytes(
            tar({f"test/ILSVRC{year}_test_{n:08}.JPEG": jpeg(2000 + n) for n in (1, 2, 3)})
        )
    if with_test and year == 2010:
        (folder / "ILSVRC2010_test_ground_truth.txt").write_text("3\n3\n1\n")
    return folder


def tiny_members(num_classes: int = 4, num_train: int = 3) -> dict[str, bytes]:
    """The files of a zip laid out as Tiny ImageNet's, with one val image per class."""
    wnids = [f"n0000{n:04}" for n in range(num_classes)]
    members = {
        "tiny/wnids.txt": "\n".join(reversed(wnids)).encode(),
        "tiny/words.txt": "".join(f"{wnid}\twords of {wnid}\n" for wnid in wnids).encode(),
        "tiny/val/val_annotations.txt": "".join(
            f"val_{n}.JPEG\t{wnid}\t0\t0\t9\t9\n" for n, wnid in enumerate(wnids)
        ).encode(),
        "tiny/test/images/test_0.JPEG": jpeg(1),
    }
    for label, wnid in enumerate(wnids):
        members[f"tiny/train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        members[f"tiny/val/images/val_{label}.JPEG"] = jpeg(500 + label)
        for n in range(num_train):
            members[f"tiny/train/{wnid}/images/{wnid}_{n}.JPEG"] = jpeg(10 * label + n)
    return members


CIFAR_NAMES = ("truck", "cat", "dog", "ant", "bee", "cow", "emu", "fox", "gnu", "hen")  # not in order


def cifar_image(number: int) -> NDArray[np.uint8]:
    """An image (32, 32, 3) that differs from that of every other number."""
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


def cifar_members(num: int = 3) -> dict[str, bytes]:
    """The files of CIFAR-10's binary archive, batches not in order, of a few records each.

    Image n of the training set, and 1000 + n of the test set, are of class n modulo 10 in order of CIFAR_NAMES.
    """

    def batch(first: int) -> bytes:
        numbers = range(first, first + num)
        return b"".join(bytes([n % 10]) + cifar_image(n).transpose(2, 0, 1).tobytes() for n in numbers)

    names = "".join(f"{name}\n" for name in CIFAR_NAMES) + "\n"
    files = {f"data_batch_{n}.bin": batch((n - 1) * num) for n in (1, 3, 5)}
    files |= {"batches.meta.txt": names.encode(), "test_batch.bin": batch(1000), "readme.html": b"<html>"}
    files |= {f"data_batch_{n}.bin": batch((n - 1) * num) for n in (4, 2)}
    return {f"cifar-10-batches-bin/{name}": content for name, content in files.items()}


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip of files in the given order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_class_folders(folder: Path, num_images: int = 3) -> Path:
    """Two classes, `ant` and `bee`, with a folder each."""
    for label, name in enumerate(("ant", "bee")):
        (folder / name).mkdir(parents=True)
        for n in range(num_images):
            (folder / name / f"{n}.JPEG").write_bytes(jpeg(label * 50 + n))
    return folder
