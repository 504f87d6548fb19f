"""A folder per class: {train,val,test}/CLASS/* or, with a declared split, CLASS/*; on the disk or in a zip."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alexnet.data.access import explain_access
from alexnet.data.checksums import FileToCheck
from alexnet.data.fall import WORDS, Fractions, parse_words, read_words, split_classes
from alexnet.data.inventory import SPLITS, Listing, make_places, number_synsets
from alexnet.data.tars import IMAGE_SUFFIXES, check_text, is_hidden
from alexnet.data.zips import Span, list_folders_in, list_members, open_zip, read_text
from alexnet.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """The class folders of each split, or of the split "" if there are none.

    path: the folder or zip they lie in. recorded: its path as the index shall have it. top: the folder of a zip that
    everything lies in, with a slash, or nothing. words: by class. notes: what there is that is not read. members:
    the files of each split and class, if they lie in a zip.
    """

    path: Path
    recorded: Path
    top: str
    classes: dict[str, list[str]]
    words: dict[str, str]
    notes: list[str]
    members: dict[tuple[str, str], dict[str, Span]] | None

    def where(self, *parts: str) -> str:
        """The path of something in it, as the index shall have it."""
        return str(self.recorded.joinpath(*filter(None, [self.top, *parts])))


def find_folders(path: Path, recorded: Path) -> ClassFolders:
    """The class folders in `path`, a folder or a zip. Raises UserError if there are none, or it cannot be read."""
    with explain_access(str(recorded)):
        if path.is_file():
            return _find_in_zip(path, recorded)
        if path.is_dir():
            return _find_on_disk(path, recorded)
        raise UserError(
            str(recorded), "is no folder and no zip",
            expected="a folder per class in it, or train and val with those in them",
            fix="Link the right one with `alexnet configure --data`.",
        )  # fmt: skip


def _find_on_disk(path: Path, recorded: Path) -> ClassFolders:
    notes: list[str] = []
    names = _list_folders(path, str(recorded), notes)
    splits = _choose_splits(names, recorded, notes)
    classes = {
        split: _list_folders(path / split, str(recorded / split), notes) if split else names
        for split in splits
    }
    words = path / WORDS
    return ClassFolders(
        path, recorded, "", classes, read_words(words) if words.is_file() else {}, notes, None
    )


def _list_folders(path: Path, where: str, notes: list[str]) -> list[str]:
    """The names of the folders in one, sorted. Raises UserError if an image lies beside them."""
    items = sorted(os.scandir(path), key=lambda item: item.name)
    folders = [item.name for item in items if item.is_dir() and not is_hidden(item.name)]
    others = [item.name for item in items if item.name not in folders]
    _refuse_image(others, where)
    _note(others, where, notes)
    return folders


def _choose_splits(folders: list[str], recorded: Path, notes: list[str]) -> list[str]:
    """The splits among the folders, or "" if they are classes."""
    splits = [split for split in SPLITS if split in folders]
    if not splits:
        return [""]
    if "train" not in splits:
        raise UserError(str(recorded), "has no folder train", found=", ".join(splits), fix="Add it.")
    _note([folder for folder in folders if folder not in splits], str(recorded), notes, "folders")
    return splits


def _refuse_image(names: Sequence[str], where: str) -> None:
    """Refuses an image that would be dropped."""
    for name in names:
        if not is_hidden(name) and name.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                where, "holds an image outside the folders of the classes", found=repr(name),
                expected="{train,val,test}/CLASS/IMAGE, or CLASS/IMAGE", fix="Sort it into one, or remove it.",
            )  # fmt: skip


def _note(names: Sequence[str], where: str, notes: list[str], what: str = "files") -> None:
    others = [name for name in names if name.rsplit("/", 1)[-1] != WORDS]
    if others:
        notes.append(f"{where}: {len(others):,} {what} are not read, such as {others[0]!r}")


def _find_in_zip(path: Path, recorded: Path) -> ClassFolders:
    notes: list[str] = []
    with open_zip(path) as archive:
        found = list_members(archive)
        names = [name for name in found if not is_hidden(name)]
        top = _find_top(names)
        words = read_text(archive, top + WORDS, str(recorded)) if top + WORDS in found else ""
        inside = [
            folder for folder in list_folders_in(archive) if folder.startswith(top) and not is_hidden(folder)
        ]
    _note([name for name in found if is_hidden(name)], str(recorded), notes, "hidden files")
    paths = {name: name.removeprefix(top).split("/") for name in names}
    splits = _choose_splits(sorted({parts[0] for parts in paths.values() if parts[1:]}), recorded, notes)
    depth = 2 if splits == [""] else 3
    members: dict[tuple[str, str], dict[str, Span]] = {}
    for folder in inside:  # also those without a file
        parts = folder.removeprefix(top).split("/")
        if len(parts) == depth - 1 and (depth == 2 or parts[0] in splits):
            members[parts[0] if depth == 3 else "", parts[-1]] = {}
    others = []
    for name, parts in paths.items():
        if depth == 3 and parts[1:] and parts[0] not in splits:
            continue  # of which a note tells
        if len(parts) == depth:
            split = parts[0] if depth == 3 else ""
            members.setdefault((split, parts[-2]), {})[parts[-1]] = found[name]
        else:
            others.append(name)
    _refuse_image(others, str(recorded))
    _note(others, str(recorded), notes)
    classes = {split: sorted(name for part, name in members if part == split) for split in splits}
    return ClassFolders(path, recorded, top, classes, parse_words(words), notes, members)


def _find_top(names: list[str]) -> str:
    """The one folder that all images in a zip lie in, if it is neither a split nor a class."""
    parts = [name.split("/") for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    tops = {part[0] for part in parts}
    if len(tops) != 1 or tops & set(SPLITS) or min(map(len, parts)) < 3:
        return ""
    return f"{tops.pop()}/"


def list_files(folders: ClassFolders) -> list[FileToCheck]:
    """The zip, or the class folders with one md5 each."""
    if folders.members is not None:
        return [FileToCheck(folders.path.resolve().name, folders.path)]
    return [
        FileToCheck("/".join(filter(None, [split, name])), folders.path / split / name)
        for split, names in folders.classes.items()
        for name in names
    ]


def list_folders(folders: ClassFolders, fractions: Fractions | None) -> Listing:
    """Every image in the class folders; a class's wnid is its folder's name, its words are in words.txt if at all.

    fractions: the declared split, None if the folder brings its own. Raises UserError if split and folder do not fit.
    """
    for note in folders.notes:
        print(note, file=sys.stderr)
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
    synsets = number_synsets({name: folders.words.get(name, "") for name in classes})
    labels = {synset.wnid: synset.label for synset in synsets}
    with explain_access(str(folders.recorded)):
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
        if name not in labels:
            raise UserError(
                folders.where(split, name), "is no class of the training images",
                fix="Add it to train, or remove it.",
            )  # fmt: skip
        tables[name] = _list_class(folders, split, name, labels[name])
    if not tables:
        raise UserError(
            folders.where(split), "holds no folder of a class", fix="Put each class's images into a folder."
        )
    return tables


def _list_class(folders: ClassFolders, split: str, name: str, label: int) -> pa.Table:
    where = folders.where(split, name)
    files = _list_files(folders, split, name)
    images = [file for file in sorted(files) if not is_hidden(file) and file.lower().endswith(IMAGE_SUFFIXES)]
    if len(images) < len(files):
        num = len(files) - len(images)
        print(f"{where}: {num:,} files are not named as images and are not read", file=sys.stderr)
    if not images:
        raise UserError(where, "holds no image", expected=f"names ending in {', '.join(IMAGE_SUFFIXES)}")
    for text in [name, *images]:
        check_text(text, where)
    keys, sizes = [f"{name}/{file}" for file in images], [files[file].size for file in images]
    offsets = [files[file].offset for file in images]
    if folders.members is not None:
        inside = folders.top + (f"{split}/" if split else "")
        members = [f"{inside}{key}" for key in keys]
        return make_places(str(folders.recorded), keys, label, sizes, offsets=offsets, members=members)
    paths = [str(folders.recorded / split / key) for key in keys]
    return make_places(paths, keys, label, sizes, offsets=offsets)


def _list_files(folders: ClassFolders, split: str, name: str) -> dict[str, Span]:
    """The files of a class; links to files are files, folders in it are told of."""
    if folders.members is not None:
        return folders.members[split, name]
    items = list(os.scandir(folders.path / split / name))
    inner = sorted(item.name for item in items if item.is_dir())
    if inner:
        what = f"{len(inner):,} folders in it are not read, such as {inner[0]!r}"
        print(f"{folders.where(split, name)}: {what}", file=sys.stderr)
    return {item.name: Span(0, item.stat().st_size) for item in items if not item.is_dir()}
