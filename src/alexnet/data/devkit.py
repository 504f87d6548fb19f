"""The contests' development kit: classes with their ids, and the labels of the val images (§1.3)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from alexnet.data.inventory import Synset, number_synsets
from alexnet.data.tars import GET_AGAIN, read_small_files
from alexnet.errors import UserError


@dataclass(frozen=True)
class Devkit:
    """synsets: the classes, by label. val_ids: devkit ids, line by line of the ground truth."""

    synsets: list[Synset]
    val_ids: list[int]


def read_devkit(path: Path, year: int) -> Devkit:
    """The development kit in a (gzipped) tar. Raises UserError if a part is missing, damaged or of another year."""
    meta, truth = "data/meta.mat", f"data/ILSVRC{year}_validation_ground_truth.txt"
    files = read_small_files(path, (meta, truth))
    return Devkit(read_meta(files[meta], year, f"{path}: {meta}"), read_ids(files[truth], f"{path}: {truth}"))


def read_meta(content: bytes, year: int, where: str) -> list[Synset]:
    """The classes in meta.mat, by label: the rows of `synsets` without children.

    Raises UserError if it cannot be read, has no classes, or ids or wnids repeat.
    """
    try:
        file: Any = io.BytesIO(content)
        rows = np.atleast_1d(loadmat(file, squeeze_me=True, variable_names=["synsets"])["synsets"])
        leaves = [row for row in rows if int(row["num_children"]) == 0]
        ids = [int(row[f"ILSVRC{year}_ID"]) for row in leaves]
        wnids = [str(row["WNID"]) for row in leaves]
        words = [_text(row["words"]) for row in leaves]
    except Exception as error:  # loadmat raises whatever it stumbles over
        raise UserError(
            where, f"is no list of synsets of ILSVRC{year} ({type(error).__name__}: {error})", fix=GET_AGAIN
        ) from error
    if not leaves or len(set(ids)) < len(ids) or len(set(wnids)) < len(wnids):
        raise UserError(
            where, "classes are missing or repeat", found=f"{len(set(wnids))} wnids", fix=GET_AGAIN
        )
    return number_synsets(dict(zip(wnids, words, strict=True)), dict(zip(wnids, ids, strict=True)))


def _text(value: Any) -> str:
    """A string of a .mat file, where an empty one is an empty array."""
    return value if isinstance(value, str) else "".join(map(str, np.atleast_1d(value)))


def read_ids(content: bytes, where: str) -> list[int]:
    """The devkit ids of a ground-truth file, one a line. Raises UserError for a line that is no number."""
    ids = []
    for number, line in enumerate(content.decode("ascii", "replace").split("\n")):
        text = line.strip()
        if text.isdecimal():
            ids.append(int(text))
        elif text:
            raise UserError(f"{where}, line {number + 1}", "is no id", found=repr(text[:40]), fix=GET_AGAIN)
    return ids


def label_by_name(names: list[str], ids: list[int], synsets: list[Synset], where: str) -> dict[str, int]:
    """The label of each image: line n of a ground truth belongs to the n-th name in alphabetical order (§1.3).

    Raises UserError if there are more or fewer ids than names, or an id is no class's.
    """
    if len(ids) != len(names):
        raise UserError(
            where, "the number of ids is not that of the images", found=f"{len(ids):,} ids",
            expected=f"{len(names):,}", fix="Check that archive and ground truth belong together.",
        )  # fmt: skip
    labels = {synset.devkit_id: synset.label for synset in synsets}
    for line, devkit_id in enumerate(ids):
        if devkit_id not in labels:
            raise UserError(
                f"{where}, line {line + 1}", "is no class's id", found=devkit_id,
                expected=f"one of {len(labels):,} ids, {min(filter(None, labels))} to {max(filter(None, labels))}",
                fix=GET_AGAIN,
            )  # fmt: skip
    return {name: labels[devkit_id] for name, devkit_id in zip(sorted(names), ids, strict=True)}
