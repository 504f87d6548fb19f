"""The contests' official archives: a train tar of tars, flat val and test tars, a development kit (§1.2, §1.3)."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa

from alexnet.data.access import read_bounded
from alexnet.data.checksums import FileToCheck
from alexnet.data.devkit import label_by_name, read_devkit, read_ids
from alexnet.data.inventory import SPLITS, Listing, Synset, make_places
from alexnet.data.progress import progress
from alexnet.data.tars import IMAGE_SUFFIXES, Member, drop_hidden, scan_images, scan_tar
from alexnet.errors import UserError

SYNSET_TAR = re.compile(r"(n\d{8})\.tar", re.ASCII)
NUMBERED = re.compile(r".*_(\d{8})\.JPEG", re.ASCII)
MAX_TRUTH = 1 << 24  # bytes of a ground truth; the longest has under a million


@dataclass(frozen=True)
class Names:
    """What the archives of a contest are called."""

    train: str
    val: str
    test: tuple[str, ...]  # the first that is there
    devkit: str
    test_truth: str
    patch: str | None

    def required(self) -> tuple[str, ...]:
        """Archives that nothing works without."""
        return self.train, self.val, self.devkit

    def optional(self) -> tuple[str, ...]:
        """Files that need not be there, even if their md5 is given."""
        return *self.test, self.test_truth, *([self.patch] if self.patch else [])


NAMES = {
    2010: Names(
        "ILSVRC2010_images_train.tar",
        "ILSVRC2010_images_val.tar",
        ("ILSVRC2010_images_test.tar",),
        "ILSVRC2010_devkit-1.0.tar.gz",
        "ILSVRC2010_test_ground_truth.txt",
        "patch_images.tar",
    ),
    2012: Names(
        "ILSVRC2012_img_train.tar",
        "ILSVRC2012_img_val.tar",
        ("ILSVRC2012_img_test.tar", "ILSVRC2012_img_test_v10102019.tar"),
        "ILSVRC2012_devkit_t12.tar.gz",
        "ILSVRC2012_test_ground_truth.txt",
        None,
    ),
}


@dataclass(frozen=True)
class Archives:
    """The archives of a contest in a folder. recorded: that folder's path as the index shall have it."""

    folder: Path
    recorded: Path
    year: int
    names: Names = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", NAMES[self.year])

    def has(self, name: str) -> bool:
        """Whether an archive is there. Raises UserError if something else has its name."""
        path = self.folder / name
        if path.exists() and not path.is_file():
            raise UserError(
                str(self.recorded / name), "is no file", expected="the archive as it was downloaded, not unpacked",
                fix="Put it there, or rename what is there.",
            )  # fmt: skip
        return path.is_file()

    def first(self, names: Sequence[str]) -> str | None:
        """The first archive that is there."""
        return next((name for name in names if self.has(name)), None)

    def used(self) -> list[str]:
        """Names of the files that are read."""
        optional = [self.first(self.names.test), self.first([self.names.test_truth])]
        patch = self.names.patch if self.names.patch and self.has(self.names.patch) else None
        return [*self.names.required(), *filter(None, [*optional, patch])]


def find_archives(folder: Path, recorded: Path, year: int) -> Archives:
    """The archives in a folder. Raises UserError if one is missing."""
    archives = Archives(folder, recorded, year)
    missing = [name for name in archives.names.required() if not archives.has(name)]
    if missing:
        raise UserError(
            str(recorded), f"missing archive {', '.join(missing)}",
            found="no such folder" if not folder.is_dir() else f"{len(list(folder.iterdir()))} other files",
            expected=f"a folder that holds {', '.join(archives.names.required())}",
            fix="Put it there, or link the right folder with `alexnet configure --data`.",
        )  # fmt: skip
    return archives


def list_files(archives: Archives) -> list[FileToCheck]:
    """The archives whose md5 is to be checked."""
    return [FileToCheck(name, archives.folder / name) for name in archives.used()]


def list_ilsvrc(archives: Archives) -> Listing:
    """Every image of a contest. Raises UserError if archives, development kit and ground truths do not fit."""
    names, devkit_path = archives.names, archives.folder / archives.names.devkit
    devkit = read_devkit(devkit_path, archives.year)
    places = {"train": _list_train(archives, devkit.synsets)}
    val = scan_images(archives.folder / names.val)
    places["val"] = [
        _list_flat(
            archives, names.val, val, devkit.val_ids, devkit.synsets, f"ground truth in {names.devkit}"
        )
    ]
    test, reason = _list_test(archives, devkit.synsets)
    places["test"] = [test] if test is not None else []
    if names.patch and archives.has(names.patch):
        places = _patch(archives, names.patch, places)
    return Listing(devkit.synsets, places, {"train": None, "val": None, "test": reason})


def _list_train(archives: Archives, synsets: list[Synset]) -> list[pa.Table]:
    """Rows of the tar of tars, one table per class."""
    name = archives.names.train
    path, labels = archives.folder / name, {synset.wnid: synset.label for synset in synsets}
    tables: dict[str, pa.Table] = {}
    with progress(total=len(labels), what=f"index {name}", unit="synset") as advance:
        for inner in drop_hidden(str(path), scan_tar(path)):
            wnid = wnid_of(inner, path)
            if wnid in tables or wnid not in labels:
                what = "is there twice" if wnid in tables else "is no class of the development kit"
                raise UserError(
                    str(path), f"{inner.name} {what}", fix="Check that archive and kit belong together."
                )
            images = scan_images(path, inner)
            tables[wnid] = list_synset(str(archives.recorded / name), wnid, labels[wnid], images, path)
            advance()
    missing = sorted(set(labels) - set(tables))
    if missing:
        raise UserError(
            str(path), f"no tar for {len(missing)} classes ({', '.join(missing[:3])}{', ...' if missing[3:] else ''})",
            found=len(tables), expected=f"{len(labels)}, as in the development kit",
            fix="Get the archive again, or the kit that belongs to it.",
        )  # fmt: skip
    return list(tables.values())


def wnid_of(inner: Member, path: Path) -> str:
    """The wnid of a synset's tar inside another. Raises UserError if it is not named like one."""
    match = SYNSET_TAR.fullmatch(inner.base)
    if match is None:
        raise UserError(
            str(path), "holds a file that is no synset's tar", found=repr(inner.name),
            expected="names such as n01440764.tar", fix="Check that this is the right archive.",
        )  # fmt: skip
    return match[1]


def list_synset(file: str, wnid: str, label: int | None, images: list[Member], path: Path) -> pa.Table:
    """Rows of one synset's images; label: None if it is not known yet. Raises UserError if there are none."""
    if not images:
        raise UserError(f"{path}: {wnid}", "holds no image", fix="Get the archive again.")
    keys = [f"{wnid}/{image.base}" for image in images]
    return make_places(
        file, keys, label, [image.size for image in images], offsets=[image.offset for image in images]
    )


def _list_flat(
    archives: Archives,
    name: str,
    images: list[Member],
    ids: list[int] | None,
    synsets: list[Synset],
    where: str,
) -> pa.Table:
    """Rows of a flat tar, labelled if `ids` of a ground truth are given."""
    keys = [image.base for image in images]
    labels: list[int | None] | None = None
    if ids is not None:
        by_name = label_by_name(keys, ids, synsets, f"{archives.recorded}: {where}")
        _check_numbers(keys, str(archives.recorded / name))
        labels = [by_name[key] for key in keys]
    file, offsets = str(archives.recorded / name), [image.offset for image in images]
    return make_places(file, keys, labels, [image.size for image in images], offsets=offsets)


def _check_numbers(names: list[str], where: str) -> None:
    """Refuses images whose names do not end in the numbers from 1 on: line n of a ground truth is of number n."""
    for number, name in enumerate(sorted(names), 1):
        match = NUMBERED.fullmatch(name)
        if match is None or int(match[1]) != number:
            raise UserError(
                where, "an image is missing, or is not named as its ground truth expects", found=name,
                expected=f"a name that ends in _{number:08}.JPEG", fix="Check that this is the right archive.",
            )  # fmt: skip


def _list_test(archives: Archives, synsets: list[Synset]) -> tuple[pa.Table | None, str | None]:
    """Rows of the test tar, and why there are none or why they have no labels."""
    names, name = archives.names, archives.first(archives.names.test)
    if name is None:
        return None, f"{names.test[0]} is not there"
    images = scan_images(archives.folder / name)
    if not archives.has(names.test_truth):
        reason = f"no labels: {names.test_truth} is not there"
        if archives.year == 2012:
            reason += " (they were never public)"
        return _list_flat(archives, name, images, None, synsets, ""), reason
    truth = read_bounded(archives.folder / names.test_truth, MAX_TRUTH)
    ids = read_ids(truth, str(archives.recorded / names.test_truth))
    return _list_flat(archives, name, images, ids, synsets, names.test_truth), None


def _patch(archives: Archives, name: str, places: dict[str, list[pa.Table]]) -> dict[str, list[pa.Table]]:
    """The rows with those of the patch archive in place of the blank images they repair, each used exactly once."""
    path = archives.folder / name
    patches: dict[tuple[str, str], Member] = {}
    for member in scan_tar(path):
        if not member.name.lower().endswith(IMAGE_SUFFIXES):
            print(f"{path}: {member.name!r} is not named as an image and is not read", file=sys.stderr)
            continue
        split = PurePosixPath(member.name).parent.name
        if split not in SPLITS or (split, member.base) in patches:
            what = "is there twice" if split in SPLITS else "lies in no folder train, val or test"
            raise UserError(str(path), f"patch {member.name!r} {what}", fix="Get the archive again.")
        patches[split, member.base] = member
    num_left = sum(split == "test" for split, _ in patches)
    if num_left and not places["test"]:
        print(f"{path}: {num_left} patches of test images not used, as there are none", file=sys.stderr)
        patches = {key: member for key, member in patches.items() if key[0] != "test"}
    used: set[tuple[str, str]] = set()
    file = str(archives.recorded / name)
    patched = {
        split: [_patch_table(table, split, patches, used, file, path) for table in tables]
        for split, tables in places.items()
    }
    unused = sorted(set(patches) - used)
    if unused:
        raise UserError(str(path), f"patch {'/'.join(unused[0])} repairs no image", found=f"{len(unused)} such patches",
                        expected="each used exactly once", fix="Check that the archives belong together.")  # fmt: skip
    return patched


def _patch_table(
    table: pa.Table,
    split: str,
    patches: dict[tuple[str, str], Member],
    used: set[tuple[str, str]],
    file: str,
    path: Path,
) -> pa.Table:
    """A table with the patched rows moved to the patch archive."""
    rows = table.to_pylist()
    found = False
    for row in rows:
        key = split, PurePosixPath(row["key"]).name
        if key not in patches:
            continue
        if key in used:
            raise UserError(str(path), f"patch {'/'.join(key)} repairs two images", fix="Check that archive.")
        used.add(key)
        found = True
        row.update(file=file, offset=patches[key].offset, size=patches[key].size)
    return pa.Table.from_pylist(rows, schema=table.schema) if found else table
