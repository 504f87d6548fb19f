"""The Fall releases: one tar per synset, loose or inside a larger tar, and a declared split (§1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alexnet.core.order import seeded_order
from alexnet.data.access import read_bounded
from alexnet.data.checksums import FileToCheck
from alexnet.data.ilsvrc import SYNSET_TAR, list_synset, wnid_of
from alexnet.data.inventory import SPLITS, Listing, number_synsets, set_label
from alexnet.data.progress import progress
from alexnet.data.tars import Member, drop_hidden, scan_images, scan_tar
from alexnet.errors import UserError

WORDS = "words.txt"
MAX_WORDS = 1 << 26  # bytes of it; that of all of WordNet has three million


@dataclass(frozen=True)
class Fractions:
    """Parts of each class that go to val and test; the rest is train."""

    val: float
    test: float
    seed: int


@dataclass(frozen=True)
class FallArchives:
    """The tars of a release, by name, and words.txt where there is one. recorded: path that the index shall have."""

    tars: dict[str, Path]
    recorded: dict[str, str]
    words: Path | None


def find_fall(path: Path, recorded: Path) -> FallArchives:
    """The tars of a release: `path` itself, or those in it. Raises UserError if there is none."""
    if path.is_file():
        return FallArchives({path.resolve().name: path}, {path.resolve().name: str(recorded)}, None)
    tars = {tar.name: tar for tar in sorted(path.glob("*.tar"))} if path.is_dir() else {}
    if not tars:
        raise UserError(
            str(recorded), "missing archive", found="no tar in it" if path.is_dir() else "no such file or folder",
            expected="a tar, or a folder of tars such as n01440764.tar",
            fix="Put them there, or link the right folder with `alexnet configure --data`.",
        )  # fmt: skip
    words = path / WORDS
    return FallArchives(
        tars, {name: str(recorded / name) for name in tars}, words if words.is_file() else None
    )


def list_files(archives: FallArchives) -> list[FileToCheck]:
    """The files whose md5 is to be checked."""
    files = [FileToCheck(name, path) for name, path in archives.tars.items()]
    return files + ([FileToCheck(WORDS, archives.words)] if archives.words else [])


def list_fall(archives: FallArchives, fractions: Fractions) -> Listing:
    """Every image of a release, split as declared. Raises UserError if a tar is damaged or a synset repeats."""
    found: dict[str, pa.Table] = {}
    with progress(total=None, what="index synsets", unit="synset") as advance:
        for name, wnid, inside in _list_tars(archives):
            if wnid in found:
                raise UserError(
                    archives.recorded[name], f"synset {wnid} is there twice", fix="Remove one of the two."
                )
            file, images = archives.recorded[name], scan_images(archives.tars[name], inside)
            found[wnid] = list_synset(
                file, wnid, None, images, Path(file)
            )  # a table takes a tenth of the list
            advance()
    words = read_words(archives.words) if archives.words else {}
    synsets = number_synsets({wnid: words.get(wnid, "") for wnid in found})
    tables = {synset.wnid: set_label(found.pop(synset.wnid), synset.label) for synset in synsets}
    return Listing(synsets, *split_classes(tables, fractions))


def _list_tars(archives: FallArchives) -> Iterator[tuple[str, str, Member | None]]:
    """(archive, wnid, member that is the synset's tar or None if the archive itself is) of every synset."""
    for name, path in archives.tars.items():
        match = SYNSET_TAR.fullmatch(name)
        if match:
            yield name, match[1], None
        else:
            for inner in drop_hidden(str(path), scan_tar(path)):
                yield name, wnid_of(inner, path), inner


def read_words(path: Path) -> dict[str, str]:
    """The words of each wnid, from lines `WNID<TAB>words`. Raises UserError if the file cannot be read."""
    return parse_words(read_bounded(path, MAX_WORDS).decode("utf-8", "replace"))


def parse_words(text: str) -> dict[str, str]:
    """The words of each wnid, from lines `WNID<TAB>words`."""
    lines = (line.rstrip("\r").partition("\t") for line in text.split("\n"))
    return {wnid: words for wnid, tab, words in lines if tab}


def split_classes(
    tables: dict[str, pa.Table], fractions: Fractions
) -> tuple[dict[str, list[pa.Table]], dict[str, str | None]]:
    """The rows of each class divided into train, val and test, and why a split is empty."""
    places: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}
    for wnid, table in tables.items():
        table = table.sort_by("key")
        for split, chosen in split_class(wnid, len(table), fractions).items():
            places[split].append(table.take(pa.array(chosen)))
    reasons: dict[str, str | None] = dict.fromkeys(SPLITS)
    for split in ("val", "test"):
        if not sum(map(len, places[split])):
            reasons[split] = (
                f"the declared split (val {fractions.val}, test {fractions.test}) has no {split} images"
            )
    return places, reasons


def split_class(wnid: str, num_images: int, fractions: Fractions) -> dict[str, npt.NDArray[np.int64]]:
    """Which images of a class, in order of their keys, belong to train, val and test.

    Fractions are rounded to whole images, halves up, but one image at least is left to train. The draw belongs to
    the class alone: other classes do not change it.
    """
    order = seeded_order(num_images, fractions.seed, "split", wnid)
    num_test = min(int(fractions.test * num_images + 0.5), num_images - 1)
    num_val = min(int(fractions.val * num_images + 0.5), num_images - 1 - num_test)
    test, val, train = np.split(order, [num_test, num_test + num_val])
    return {"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)}
