"""Reads every image of a data set's archives and reports what is odd, broken, there twice or missing (§1.5)."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alexnet.data import decode, images, inspect, jpeg
from alexnet.data.access import explain_access
from alexnet.data.audits import (
    IMAGE_SCHEMA,
    IMAGES,
    find_same,
    list_audits,
    read_column,
)
from alexnet.data.decode import DecodeError, decode_rgb, decoder_versions
from alexnet.data.images import read_image
from alexnet.data.inspect import Inspection, inspect_image, refuse
from alexnet.data.inventory import SPLITS, Inventory, Place, as_places, load_inventory, load_places
from alexnet.data.parts import Parts, hash_files, open_parts, remove_parts
from alexnet.data.pool import map_in_processes
from alexnet.data.progress import progress
from alexnet.data.whole import whole_folder
from alexnet.report.audit import Tally, choose_pictures, count_classes, render, summarise
from alexnet.report.sheet import Picture, draw_sheet, merge_titles, shrink

PART_IMAGES = 256  # read by one process at a time, and kept if the audit is killed
ROOM_BYTES = 1 << 22

PART_SCHEMA = IMAGE_SCHEMA.remove(IMAGE_SCHEMA.get_field_index("wnid"))

CODE = (decode, images, inspect, jpeg)  # whose changes may change what is found


@dataclass(frozen=True)
class Folders:
    """Where a data set is read and its audit written.

    audits: of all data sets, a folder for each. unfinished: parts of an audit under way, or of one that was killed.
    """

    source: Path
    audits: Path
    unfinished: Path


@dataclass(frozen=True)
class Task:
    """Some images of a split, and the file for what is found."""

    split: str
    path: Path
    places: list[Place]


@dataclass(frozen=True)
class Done:
    """A task that is done."""

    path: Path
    count: int


def run(dataset: str, folders: Folders, *, workers: int) -> str:
    """Writes the audit of a data set into its folder, whole, and returns it as text.

    Files: images.parquet (a row per image), classes.csv (a row per class), same_pixels.csv (images that are there
    twice), audit.json (all numbers) and oddest.png (pictures of the oddest). Nothing odd stops it; an archive that is
    not there any more, or another, raises UserError. A run that was killed is gone on with.
    """
    return run_all({dataset: folders}, workers=workers)


def run_all(datasets: Mapping[str, Folders], *, workers: int) -> str:
    """Writes the audits of several data sets as `run` does, each compared with all others, whichever comes first."""
    others = {name: list_audits(folders.audits, besides=datasets) for name, folders in datasets.items()}
    with contextlib.ExitStack() as stack:
        read = [
            stack.enter_context(_read_images(name, folders, workers)) for name, folders in datasets.items()
        ]
        images = {one.dataset: one.images for one in read}
        texts = [_compare(one, {**others[one.dataset], **images}) for one in read]
    for folders in datasets.values():
        remove_parts(folders.unfinished)
    return "\n".join(texts)


@dataclass(frozen=True)
class Read:
    """A data set all of whose images were looked at. images: the file of their rows."""

    dataset: str
    folders: Folders
    inventory: Inventory
    tally: Tally
    images: Path


@contextlib.contextmanager
def _read_images(dataset: str, folders: Folders, workers: int) -> Iterator[Read]:
    """Looks at the images; what was found is locked while the block runs."""
    inventory, what = load_inventory(folders.source), f"audit {dataset}"
    with open_parts(folders.unfinished, _identify(dataset, folders.source), what) as parts:
        _inspect(what, inventory, folders.source, parts, workers)
        path = parts.folder / IMAGES
        with explain_access(str(path)):
            tally = _join(inventory, parts, path)
        yield Read(dataset, folders, inventory, tally, path)


def _compare(read: Read, audits: Mapping[str, Path]) -> str:
    """Writes one audit, and returns it as text. audits: the images of all data sets that were audited, this one too."""
    dataset, output = read.dataset, read.folders.audits / read.dataset
    with explain_access(str(output)), whole_folder(output) as folder:
        shutil.copyfile(read.images, folder / IMAGES)
        same = find_same(dataset, audits)
        summary = _write(folder, read.inventory, read.tally, same, sorted(set(audits) - {dataset}))
        places = _find_places(read.folders.source, choose_pictures(read.tally, same, dataset))
        pictures = list(_show(places, read.inventory))
        draw_sheet(f"{dataset}: the oddest files", pictures).save(folder / "oddest.png")
    return f"{output} has a row per image, all numbers and pictures of the oddest files.\n\n{render(summary)}"


def _identify(dataset: str, source: Path) -> dict[str, Any]:
    """All that the parts depend on."""
    code = [Path(__file__), *(Path(str(module.__file__)) for module in CODE)]
    return {
        "dataset": dataset,
        "source": hash_files([source / name for name in ("inventory.json", "index.parquet")]),
        "decoder": decoder_versions(),
        "code": hash_files(code),
    }


def _inspect(what: str, inventory: Inventory, source: Path, parts: Parts, workers: int) -> None:
    """Looks at every image that no finished part has."""
    total = sum(inventory.splits[split].count for split in SPLITS)
    names = {name: parts.note(name) for split in SPLITS for name in _part_names(inventory, split)}
    finished = sum(note["count"] for note in names.values() if note is not None)
    if finished:
        print(f"{what}: going on after {finished:,} images", file=sys.stderr)
    with progress(total, what, "image", done=finished) as advance:
        tasks = (task for split in SPLITS for task in _list_tasks(inventory, split, source, parts, names))
        for done in map_in_processes(inspect_part, tasks, workers, what):
            with explain_access(str(parts.folder)):
                parts.keep(done.path.name, done.path, {"count": done.count})
            advance(done.count)


def _part_names(inventory: Inventory, split: str) -> list[str]:
    num_parts = -(-inventory.splits[split].count // PART_IMAGES)
    return [f"{split}_{number:06}.parquet" for number in range(num_parts)]


def _list_tasks(
    inventory: Inventory, split: str, source: Path, parts: Parts, notes: Mapping[str, object]
) -> Iterator[Task]:
    names = _part_names(inventory, split)
    if all(notes[name] is not None for name in names):
        return
    rows = load_places(source, split)
    for number, name in enumerate(names):
        if notes[name] is None:
            places = as_places(rows.slice(number * PART_IMAGES, PART_IMAGES))
            yield Task(split, parts.room / name, places)


def inspect_part(task: Task) -> Done:
    """Looks at some images and writes a row for each: IMAGE_SCHEMA without the wnid."""
    room = _take_room()
    rows = [_to_row(task.split, place, _inspect_place(place, room)) for place in task.places]
    table = pa.Table.from_pylist(rows, schema=PART_SCHEMA)
    with explain_access(str(task.path)):
        pq.write_table(table, task.path, compression="zstd", write_page_checksum=True)
    return Done(task.path, len(rows))


@functools.cache
def _take_room() -> npt.NDArray[np.uint8]:
    """The memory that each process decodes into."""
    return np.empty(ROOM_BYTES, np.uint8)


def _inspect_place(place: Place, room: npt.NDArray[np.uint8]) -> Inspection:
    try:
        data = read_image(place)
    except DecodeError as error:  # of the zip that the image lies in
        return refuse(error)
    return inspect_image(data, place.key, room)


def _to_row(split: str, place: Place, found: Inspection) -> dict[str, Any]:
    red, green, blue = found.means or (None, None, None)
    return {
        "split": split,
        "key": place.key,
        "label": place.label,
        "bytes": place.size,
        "kinds": found.kinds,
        "pixels": found.pixels,
        "width": found.width,
        "height": found.height,
        "mean_r": red,
        "mean_g": green,
        "mean_b": blue,
        "is_grey": found.is_grey,
        "reason": found.reason,
        "warning": found.warning,
    }


def _join(inventory: Inventory, parts: Parts, path: Path) -> Tally:
    """Writes the rows of all parts into one file, with their wnids, and adds them up."""
    tally = Tally(len(inventory.synsets))
    wnids = pa.array([synset.wnid for synset in inventory.synsets], pa.string())
    place = IMAGE_SCHEMA.get_field_index("wnid")
    with pq.ParquetWriter(path, IMAGE_SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for split in SPLITS:
            waiting: list[pa.Table] = []
            names = _part_names(inventory, split)
            for number, name in enumerate(names, 1):
                rows = pq.read_table(parts.files / name, page_checksum_verification=True)
                named = wnids.take(rows["label"].combine_chunks())
                waiting.append(rows.add_column(place, IMAGE_SCHEMA.field(place), named))
                if len(waiting) == 64 or number == len(names):  # not too small groups of rows
                    table = pa.concat_tables(waiting).combine_chunks()
                    writer.write_table(table)
                    tally.add(table.to_pandas(types_mapper=_nullable))
                    waiting = []
    return tally


def _nullable(kind: pa.DataType) -> Any:
    """Numbers stay whole where some are missing."""
    return {pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}.get(kind)


def _write(
    folder: Path, inventory: Inventory, tally: Tally, same: pd.DataFrame, others: Sequence[str]
) -> dict[str, Any]:
    """Writes all but the images' rows and pictures; returns the numbers."""
    classes = count_classes(inventory.synsets, tally)
    classes.to_csv(folder / "classes.csv", index=False, lineterminator="\n")
    same.to_csv(folder / "same_pixels.csv", index=False, lineterminator="\n")
    columns = {name: read_column(folder / IMAGES, name) for name in ("width", "height")}
    columns["shorter_side"] = np.minimum(columns["width"], columns["height"])
    for name in ("bytes", "mean_r", "mean_g", "mean_b"):
        columns[name] = read_column(folder / IMAGES, name)
    summary = summarise(inventory, tally, classes, columns, same, others, decoder_versions())
    (folder / "audit.json").write_text(
        json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )
    return summary


def _find_places(source: Path, chosen: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, Place]]:
    """The places of chosen images, each once, with its title and split."""
    titles = merge_titles(chosen)
    places: dict[tuple[str, str], Place] = {}
    for split in SPLITS:
        keys = [key for of, key in titles if of == split]
        if keys:
            rows = load_places(source, split)
            found = as_places(rows.filter(pc.is_in(rows["key"], pa.array(keys, pa.string()))))
            places |= {(split, place.key): place for place in found}
    return [(title, split, places[split, key]) for (split, key), title in titles.items()]


def _show(places: Iterable[tuple[str, str, Place]], inventory: Inventory) -> Iterator[Picture]:
    for title, split, place in places:
        name = "no label"
        if place.label is not None:
            synset = inventory.synsets[place.label]
            name = synset.words.partition(",")[0] or synset.wnid
        try:
            image = decode_rgb(read_image(place))
        except DecodeError as error:
            yield Picture(None, title, [f"{split}: {place.key}", name, error.reason])
        else:
            size = f"{image.shape[1]} x {image.shape[0]}, {place.size:,} bytes"
            yield Picture(shrink(image), title, [f"{split}: {place.key}", name, size])
