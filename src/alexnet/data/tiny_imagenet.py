"""Tiny ImageNet's zip: photographs of 64 x 64, a folder per class, and labelled val images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alexnet.core.order import seeded_order
from alexnet.data.checksums import FileToCheck
from alexnet.data.fall import parse_words
from alexnet.data.inventory import Listing, Synset, make_places, number_synsets
from alexnet.data.tars import GET_AGAIN, IMAGE_SUFFIXES, is_hidden, tell_hidden
from alexnet.data.zips import Span, list_members, open_zip, read_text
from alexnet.errors import UserError

NO_TEST = "Tiny ImageNet's test images have no labels"


@dataclass(frozen=True)
class TinyZip:
    """The zip. recorded: its path as the index shall have it."""

    path: Path
    recorded: str


def find_zip(path: Path, recorded: Path) -> TinyZip:
    """The zip: `path` itself, or the only one in it. Raises UserError if there is none or more."""
    if path.is_file():
        return TinyZip(path, str(recorded))
    zips = sorted(path.glob("*.zip")) if path.is_dir() else []
    if len(zips) != 1:
        raise UserError(
            str(recorded), "missing archive" if not zips else "more than one archive",
            found=f"{len(zips)} zips" if path.is_dir() else "no such file or folder",
            expected="Tiny ImageNet's zip, or a folder that holds it alone",
            fix="Put it there, or link the right one with `alexnet configure --data`.",
        )  # fmt: skip
    return TinyZip(zips[0], str(recorded / zips[0].name))


def list_files(archive: TinyZip) -> list[FileToCheck]:
    """The zip, whose md5 is to be checked."""
    return [FileToCheck(archive.path.resolve().name, archive.path)]


def list_tiny_imagenet(archive: TinyZip, fraction: float, at_most: int | None, seed: int) -> Listing:
    """Train and labelled val images of some of the zip's classes; see `choose_classes`.

    Raises UserError if the zip is damaged or a file of its official layout is missing or does not fit.
    """
    with open_zip(archive.path) as file:
        members = list_members(file)
        top = _find_top(members, archive)
        texts = {
            name: read_text(file, f"{top}{name}", archive.recorded)
            for name in ("wnids.txt", "words.txt", "val/val_annotations.txt")
        }
    wnids, words = texts["wnids.txt"].split(), parse_words(texts["words.txt"])
    annotations = texts["val/val_annotations.txt"].rstrip().split("\n")
    _refuse_strays(archive, members, top, set(wnids))
    chosen = choose_classes(wnids, fraction, at_most, seed)
    synsets = number_synsets({wnid: words.get(wnid, "") for wnid in chosen})
    places = {
        "train": _list_train(archive, members, top, synsets),
        "val": [_list_val(archive, members, top, annotations, synsets, set(wnids))],
        "test": [],
    }
    return Listing(synsets, places, {"train": None, "val": None, "test": NO_TEST})


def choose_classes(wnids: list[str], fraction: float, at_most: int | None, seed: int) -> list[str]:
    """The first `fraction` of the classes, at most `at_most` but never none, in a seeded order of the sorted wnids."""
    ordered = sorted(set(wnids))
    num = max(1, int(fraction * len(ordered) + 0.5))
    num = num if at_most is None else min(num, at_most)
    return [ordered[place] for place in seeded_order(len(ordered), seed, "classes")[:num]]


def _find_top(members: dict[str, Span], archive: TinyZip) -> str:
    """The folder that everything lies in, with a slash, or nothing."""
    tops = [name.removesuffix("wnids.txt") for name in members if f"/{name}".endswith("/wnids.txt")]
    if len(tops) != 1:
        raise UserError(
            archive.recorded, "is not Tiny ImageNet's zip", found=f"{len(tops)} files wnids.txt", expected="one",
            fix="Give tiny-imagenet-200.zip, or one laid out like it.",
        )  # fmt: skip
    return tops[0]


def _refuse_strays(archive: TinyZip, members: dict[str, Span], top: str, wnids: set[str]) -> None:
    """Refuses an image that lies where none belongs, as it would be dropped in silence; hidden files are told of."""
    hidden = [name for name in members if is_hidden(name)]
    tell_hidden(archive.recorded, hidden)
    for name in set(members) - set(hidden):
        match name.removeprefix(top).split("/"):
            case ["train", wnid, "images", _] if wnid in wnids:
                continue
            case ["val" | "test", "images", _]:
                continue
        if name.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                archive.recorded, "holds an image outside the folders of its classes", found=repr(name),
                expected="train/WNID/images, of a class in wnids.txt, val/images and test/images",
                fix="Check that this is the right archive.",
            )  # fmt: skip


def _list_train(
    archive: TinyZip, members: dict[str, Span], top: str, synsets: list[Synset]
) -> list[pa.Table]:
    by_wnid: dict[str, list[str]] = {synset.wnid: [] for synset in synsets}
    for name in members:
        parts = name.removeprefix(top).split("/")
        if (
            len(parts) == 4
            and parts[0] == "train"
            and parts[2] == "images"
            and parts[1] in by_wnid
            and not is_hidden(name)
        ):
            by_wnid[parts[1]].append(_check_image(name, archive))
    tables = []
    for synset in synsets:
        names = by_wnid[synset.wnid]
        if not names:
            raise UserError(archive.recorded, f"holds no training image of {synset.wnid}", fix=GET_AGAIN)
        keys = [f"{synset.wnid}/{name.rsplit('/', 1)[1]}" for name in names]
        tables.append(_make_rows(archive, members, keys, synset.label, names))
    return tables


def _check_image(name: str, archive: TinyZip) -> str:
    if not name.lower().endswith(IMAGE_SUFFIXES):
        raise UserError(
            archive.recorded, "holds a file that is not named as an image", found=repr(name), fix=GET_AGAIN
        )
    return name


def _list_val(
    archive: TinyZip,
    members: dict[str, Span],
    top: str,
    annotations: list[str],
    synsets: list[Synset],
    known: set[str],
) -> pa.Table:
    """Rows of the val images of the chosen classes. Raises UserError if image and annotation do not pair up."""
    where = f"{archive.recorded}: val_annotations.txt"
    labels = {synset.wnid: synset.label for synset in synsets}
    wnids: dict[str, str] = {}
    for number, line in enumerate(annotations):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in known or name in wnids or f"{top}val/images/{name}" not in members:
            raise UserError(
                f"{where}, line {number + 1}", "names no image and class of this zip, or an image again",
                found=repr(line[:60]), expected="IMAGE<TAB>WNID", fix=GET_AGAIN,
            )  # fmt: skip
        wnids[name] = wnid
    images = {
        name.rsplit("/", 1)[1]
        for name in members
        if name.startswith(f"{top}val/images/") and not is_hidden(name)
    }
    if images != set(wnids):
        raise UserError(where, f"says nothing of {sorted(images - set(wnids))[0]}", fix=GET_AGAIN)
    names = [name for name, wnid in wnids.items() if wnid in labels]
    paths = [_check_image(f"{top}val/images/{name}", archive) for name in names]
    each = [labels[wnids[name]] for name in names]
    return _make_rows(archive, members, names, each, paths)


def _make_rows(
    archive: TinyZip, members: dict[str, Span], keys: list[str], labels: int | list[int], names: list[str]
) -> pa.Table:
    """Rows of the members of these names."""
    sizes, offsets = [members[name].size for name in names], [members[name].offset for name in names]
    return make_places(archive.recorded, keys, labels, sizes, offsets=offsets, members=names)
