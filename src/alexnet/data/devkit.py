"""The contests' development kit: classes with their ids, and the labels of the val images (§1.3)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.inventory import Synset, number_synsets
from alexnet.data.mat_files import read_rows
from alexnet.data.tars import GET_AGAIN, read_small_files
from alexnet.errors import UserError

WNID = re.compile(r"n\d{8}", re.ASCII)
MAX_DIGITS = 9  # of an id


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

    Raises UserError if it cannot be read, has no classes, wnids repeat or the ids are not 1 to the number of classes.
    """
    try:
        fields = ("num_children", "WNID", "words", id_field := f"ILSVRC{year}_ID")
        rows = read_rows(content, "synsets", fields, optional=("num_train_images",))
        leaves = [row for row in rows if _whole(row["num_children"]) == 0]
        wnids = [_wnid(row["WNID"]) for row in leaves]
        ids = {wnid: _whole(row[id_field]) for wnid, row in zip(wnids, leaves, strict=True)}
        words = {wnid: str(row["words"]) for wnid, row in zip(wnids, leaves, strict=True)}
        images = {
            wnid: _whole(row["num_train_images"]) if "num_train_images" in row else None
            for wnid, row in zip(wnids, leaves, strict=True)
        }
    except ValueError as error:
        raise UserError(where, f"is no list of synsets of ILSVRC{year} ({error})", fix=GET_AGAIN) from error
    if not leaves or len(ids) < len(leaves) or sorted(ids.values()) != list(range(1, len(ids) + 1)):
        raise UserError(
            where, "classes are missing or repeat", found=f"{len(ids)} wnids in {len(leaves)} rows without children",
            expected="as many, with the ids from 1 on", fix=GET_AGAIN,
        )  # fmt: skip
    return number_synsets(words, ids, images)


def _whole(value: str | float) -> int:
    """A number that is whole and not below zero. Raises ValueError if it is none."""
    if isinstance(value, str) or not math.isfinite(value) or value < 0 or int(value) != value:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return int(value)


def _wnid(value: str | float) -> str:
    if not isinstance(value, str) or WNID.fullmatch(value) is None:
        raise ValueError(f"{str(value)[:40]!r} is no WordNet id")
    return value


def read_ids(content: bytes, where: str) -> list[int]:
    """The devkit ids of a ground-truth file, one a line. Raises UserError for a line that is no number."""
    ids = []
    for number, line in enumerate(content.decode("ascii", "replace").rstrip().split("\n")):
        text = line.strip()
        if not text.isdecimal() or len(text) > MAX_DIGITS:
            raise UserError(f"{where}, line {number + 1}", "is no id", found=repr(text[:40]), fix=GET_AGAIN)
        ids.append(int(text))
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
