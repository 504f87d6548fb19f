"""A folder per class: PATH/{train,val,test}/CLASS/* or, with a declared split, PATH/CLASS/*."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alexnet.data.checksums import FileToCheck
from alexnet.data.fall import WORDS, Fractions, read_words, split_classes
from alexnet.data.inventory import SPLITS, Listing, make_places, number_synsets
from alexnet.data.tars import IMAGE_SUFFIXES
from alexnet.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """The class folders of each split, or of the split "" if there are none.

    folder: where they lie. recorded: its path as the index shall have it.
    """

    folder: Path
    recorded: Path
    classes: dict[str, list[str]]


def find_folders(path: Path, recorded: Path) -> ClassFolders:
    """The class folders in `path`. Raises UserError if there are none."""
    if not path.is_dir():
        raise UserError(
            str(recorded), "is no folder", expected="a folder per class in it, or train and val with those in them",
            fix="Link the right folder with `alexnet configure --data`.",
        )  # fmt: skip
    splits = [split for split in SPLITS if (path / split).is_dir()]
    if splits and "train" not in splits:
        raise UserError(str(recorded), "has no folder train", found=", ".join(splits), fix="Add it.")
    classes = {split: _list_folders(path / split, recorded / split) for split in splits or [""]}
    return ClassFolders(path, recorded, classes)


def _list_folders(path: Path, recorded: Path) -> list[str]:
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    if not names:
        raise UserError(
            str(recorded), "holds no folder of a class", fix="Put each class's images into a folder."
        )
    return names


def list_files(folders: ClassFolders) -> list[FileToCheck]:
    """The class folders, each with one md5."""
    return [
        FileToCheck("/".join(filter(None, [split, name])), folders.folder / split / name)
        for split, names in folders.classes.items()
        for name in names
    ]


def list_folders(folders: ClassFolders, fractions: Fractions | None) -> Listing:
    """Every image in the class folders; a class's wnid is its folder's name, its words are in words.txt if at all.

    fractions: the declared split, None if the folder brings its own. Raises UserError if split and folder do not fit.
    """
    flat = "" in folders.classes
    if flat and fractions is None:
        raise UserError(
            str(folders.recorded), "brings no split of its own", found="a folder per class",
            expected="the folders train and val (and perhaps test) with those in them",
            fix="Sort the images into these, or declare a split (data sets of `fall` only).",
        )  # fmt: skip
    if not flat and fractions is not None:
        raise UserError(
            str(folders.recorded), "brings its own split", found=", ".join(folders.classes),
            expected="`split: as_archived` in params.yaml", fix="Write that in place of the fractions.",
        )  # fmt: skip
    classes = folders.classes["" if flat else "train"]
    words_file = folders.folder / WORDS
    words = read_words(words_file) if words_file.is_file() else {}
    synsets = number_synsets({name: words.get(name, "") for name in classes})
    labels = {synset.wnid: synset.label for synset in synsets}
    tables = {split: _list_split(folders, split, labels) for split in folders.classes}
    if fractions is not None:
        return Listing(synsets, *split_classes(tables[""], fractions))
    places = {split: list(tables.get(split, {}).values()) for split in SPLITS}
    reasons = {
        split: None if split in tables else f"{folders.recorded} has no folder {split}" for split in SPLITS
    }
    return Listing(synsets, places, reasons)


def _list_split(folders: ClassFolders, split: str, labels: dict[str, int]) -> dict[str, pa.Table]:
    """Rows of each class folder of a split."""
    tables = {}
    for name in folders.classes[split]:
        where = folders.recorded / split / name
        if name not in labels:
            raise UserError(
                str(where), "is no class of the training images", fix="Add it to train, or remove it."
            )
        tables[name] = _list_class(folders.folder / split / name, where, name, labels[name])
    return tables


def _list_class(folder: Path, where: Path, name: str, label: int) -> pa.Table:
    files = sorted(item for item in folder.iterdir() if item.name.lower().endswith(IMAGE_SUFFIXES))
    num_others = len(list(folder.iterdir())) - len(files)
    if num_others:
        print(f"{where}: {num_others} files are not named as images and are not read", file=sys.stderr)
    if not files:
        raise UserError(str(where), "holds no image", expected=f"names ending in {', '.join(IMAGE_SUFFIXES)}")
    sizes = [file.stat().st_size for file in files]
    keys = [f"{name}/{file.name}" for file in files]
    return make_places(
        [str(where / file.name) for file in files], keys, label, sizes, offsets=[0] * len(files)
    )
