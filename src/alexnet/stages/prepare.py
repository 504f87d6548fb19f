"""Brings a data set's images to one size and stores them as shards (§2)."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alexnet.core import resize
from alexnet.core.order import seeded_order
from alexnet.core.resize import PrepareParams, centre_square, resized_shape
from alexnet.data import decode, images, jpeg, shards
from alexnet.data.decode import MAX_PIXELS, DecodeError, decode_rgb, decoder_versions, hash_pixels
from alexnet.data.held_out import HeldOut, join_held_out, open_held_out, write_held_out
from alexnet.data.images import read_image
from alexnet.data.inventory import SPLITS, Inventory, Place, as_places, load_inventory, load_places
from alexnet.data.parts import Parts, hash_files, open_parts, remove_parts
from alexnet.data.pool import map_in_processes
from alexnet.data.progress import progress
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    Shard,
    ShardWriter,
    shard_name,
    write_index,
    write_manifest,
)
from alexnet.data.whole import replace_folder, sync_file
from alexnet.errors import UserError

HELD_OUT_SPLITS = ("val", "test")
ORDER = ("val", "test", "train")  # a broken val or test image stops the run, so they come first

# Size of JPEGs as a part of raw pixels, by quality: means over 200 photographs of ImageNet at 256 x 256, 4:2:0.
JPEG_PARTS = {
    10: 0.018,
    30: 0.033,
    50: 0.044,
    70: 0.059,
    80: 0.074,
    90: 0.109,
    95: 0.155,
    98: 0.216,
    100: 0.296,
}


# Whose changes may change a shard; the kernel of `resize` is named by its path, since its compiler takes long to load.
CODE = [Path(str(module.__file__)) for module in (resize, decode, jpeg, images, shards)]
CODE.append(CODE[0].with_name("area_cpu.py"))


@dataclass(frozen=True)
class Folders:
    """Where a data set is read and written.

    unfinished: shards of a run under way, or of one that was killed. held_out: file for the pixel hashes of the val and
    test images, which no pre-training set may hold. excluded: folder of such files; images with these pixels are left
    out, listed and counted.
    """

    source: Path
    output: Path
    unfinished: Path
    held_out: Path | None
    excluded: Path | None


@dataclass(frozen=True)
class Task:
    """The images of one shard, and where it is written."""

    split: str
    name: str
    path: Path
    places: list[Place]
    params: PrepareParams
    held_out: Path | None


@dataclass(frozen=True)
class Done:
    """What became of a task's images. kept: rows of INDEX_SCHEMA."""

    name: str
    path: Path
    shard: Shard | None
    kept: list[tuple[str, int | None, str, int]]
    broken: list[dict[str, str]]
    held_out: list[dict[str, str]]


def run(dataset: str, params: PrepareParams, folders: Folders, *, workers: int) -> None:
    """Writes the shards, indexes and manifest of a data set into the folder `folders.output`, whole.

    A run that was killed is gone on with, shard by shard. Training images that do not decode are listed and counted;
    a val or test image that does not raises UserError, and so do a data set that no training image is left of and a
    disk without room. The result depends neither on the number of workers nor on interruptions.
    """
    inventory, what = load_inventory(folders.source), f"prepare {dataset}"
    identity = _identify(dataset, params, folders)
    with open_parts(folders.unfinished, identity, what) as parts:
        counts = {split: inventory.splits[split].count for split in SPLITS}
        _check_room(what, sum(counts.values()), params, parts)
        held_out = _join_held_out(folders.excluded, parts.room)
        finished = sum(
            len(note["kept"]) + len(note["broken"]) + len(note["held_out"])
            for split in ORDER
            for name in _names(split, counts[split], params)
            if (note := parts.note(name)) is not None
        )
        if finished:
            print(f"{what}: going on after {finished:,} images", file=sys.stderr)
        with progress(sum(counts.values()), what, "image", done=finished) as advance:
            tasks = (
                task
                for split in ORDER
                for task in _list_tasks(dataset, split, params, folders.source, parts, held_out)
            )
            for done in map_in_processes(prepare_shard, tasks, workers, what):
                _keep(done, parts)
                advance(len(done.kept) + len(done.broken) + len(done.held_out))
        _finish(dataset, params, inventory, folders, parts)
    remove_parts(folders.unfinished)


def _identify(dataset: str, params: PrepareParams, folders: Folders) -> dict[str, Any]:
    """All that a shard depends on."""
    excluded = sorted(folders.excluded.glob("*.parquet")) if folders.excluded else []
    return {
        "dataset": dataset,
        "prepare": params.model_dump(mode="json"),
        "source": hash_files([folders.source / name for name in ("inventory.json", "index.parquet")]),
        "held_out": {file.name: hash_files([file]) for file in excluded},
        "decoder": decoder_versions(),
        "code": hash_files([Path(__file__), *CODE]),
    }


def _check_room(what: str, num_images: int, params: PrepareParams, parts: Parts) -> None:
    """Says what the shards will take of the disk, before the work; raises UserError if it has not that much."""
    raw = num_images * params.resize**2 * 3
    packed = raw * float(np.interp(params.quality, list(JPEG_PARTS), list(JPEG_PARTS.values())))
    needed = raw if params.store == "raw" else packed
    free = shutil.disk_usage(parts.folder).free
    sizes = {"raw": f"{raw / 1e9:,.2f} GB", "jpeg": f"about {packed / 1e9:,.2f} GB"}
    other = {"raw": f"as JPEG of quality {params.quality}", "jpeg": "raw"}[params.store]
    chosen = {"raw": "raw", "jpeg": f"as JPEG of quality {params.quality}"}[params.store]
    print(
        f"{what}: {num_images:,} images of {params.resize} x {params.resize} take {sizes[params.store]} {chosen} "
        f"(prepare.store; {sizes['jpeg' if params.store == 'raw' else 'raw']} {other}); {free / 1e9:,.2f} GB are free",
        file=sys.stderr,
    )  # fmt: skip
    needed -= sum(file.stat().st_size for file in parts.files.iterdir())
    if needed > free:
        raise UserError(
            what, "the disk has no room for the shards", found=f"{free / 1e9:,.2f} GB free",
            expected=f"{needed / 1e9:,.2f} GB", fix="Make room, or set prepare.store to jpeg or prepare.resize lower.",
        )  # fmt: skip


def _names(split: str, num_images: int, params: PrepareParams) -> list[str]:
    """The names of a split's shards."""
    return [
        shard_name(split, number, params.store) for number in range(-(-num_images // params.shard_images))
    ]


def _list_tasks(
    dataset: str, split: str, params: PrepareParams, source: Path, parts: Parts, held_out: Path | None
) -> Iterator[Task]:
    """What is left to do of a split, shard by shard."""
    rows = load_places(source, split)
    if split == "train":  # stored in a random order, drawn once, as the 2012 code's files were
        rows = rows.take(pa.array(seeded_order(len(rows), params.seed, dataset, split)))
    for number, name in enumerate(_names(split, len(rows), params)):
        if parts.note(name) is None:
            places = as_places(rows.slice(number * params.shard_images, params.shard_images))
            yield Task(split, name, parts.room / name, places, params, held_out)


def prepare_shard(task: Task) -> Done:
    """Writes one shard.

    Raises UserError for a val or test image that does not decode, and for a disk without room.
    """
    held_out = open_held_out(task.held_out)
    done = Done(task.name, task.path, None, [], [], [])
    room = np.empty(1 << 22, np.uint8)
    try:
        writer = ShardWriter(task.path, task.params.quality if task.params.store == "jpeg" else None)
        try:
            for place in task.places:
                _store(place, task, held_out, writer, done, room)
        finally:
            shard = writer.close()
    except OSError as error:
        raise _explain(error, task.path) from None
    return Done(done.name, done.path, shard, done.kept, done.broken, done.held_out)


def _store(
    place: Place,
    task: Task,
    held_out: HeldOut | None,
    writer: ShardWriter,
    done: Done,
    room: npt.NDArray[np.uint8],
) -> None:
    """Adds one image to the shard, or to the lists of those left out."""
    try:
        image = _decode(read_image(place), task.params, room)
    except DecodeError as error:
        if task.split != "train":
            raise UserError(
                f"{place.file}: {place.key}", f"a {task.split} image does not decode: {error.reason}",
                fix="Get the archive again; an image of this split is never left out.",
            ) from None  # fmt: skip
        done.broken.append({"key": place.key, "reason": error.reason})
        return
    pixels = hash_pixels(image)
    if held_out is not None and (other := held_out.find(pixels)) is not None:
        done.held_out.append({"key": place.key, "of": other})
        return
    size = writer.add(centre_square(image, task.params.resize, task.params.interpolation), pixels)
    done.kept.append((place.key, place.label, pixels, size))


def _decode(data: bytes, params: PrepareParams, room: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3). Raises DecodeError also for an image so long and thin that resizing it would fill memory."""
    image = decode_rgb(data, room)
    height, width = resized_shape(image.shape[0], image.shape[1], params.resize)
    if height * width > MAX_PIXELS:
        raise DecodeError(f"{image.shape[1]}x{image.shape[0]} would be resized to {width}x{height}")
    return image


def _explain(error: OSError, path: Path) -> UserError:
    """What a failed write says to the user; the shards that are finished stay."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return UserError(
        str(path), "no space is left on the disk" if full else f"cannot be written ({error.strerror or error})",
        fix="Make room and start it again: it goes on where it was." if full else "Check the folder and the disk.",
    )  # fmt: skip


def _keep(done: Done, parts: Parts) -> None:
    note = {key: value for key, value in asdict(done).items() if key not in ("name", "path")}
    try:
        parts.keep(done.name, done.path if done.shard else None, note)
    except OSError as error:
        raise _explain(error, parts.folder) from None


def _finish(
    dataset: str, params: PrepareParams, inventory: Inventory, folders: Folders, parts: Parts
) -> None:
    """Makes one data set of the finished shards."""
    splits: dict[str, PreparedCounts] = {}
    indexes: dict[str, pa.Table] = {}
    for split in ORDER:
        about = inventory.splits[split]
        splits[split], indexes[split] = _sum_up(_names(split, about.count, params), about.reason, parts)
    _report(dataset, splits)
    _check_train(dataset, splits["train"])
    try:
        for split in ORDER:
            write_index(parts.files, split, indexes[split])
            sync_file(parts.files / f"{split}.parquet")
        write_manifest(
            parts.files,
            Manifest(
                dataset, params.resize, params.interpolation, params.store,
                params.quality if params.store == "jpeg" else None, decoder_versions(), len(inventory.synsets),
                inventory.synsets, splits,
            ),
        )  # fmt: skip
        sync_file(parts.files / "manifest.json")
        if folders.held_out is not None:
            write_held_out(folders.held_out, {split: indexes[split] for split in HELD_OUT_SPLITS})
        replace_folder(parts.files, folders.output)
    except OSError as error:
        raise _explain(error, folders.output) from None


def _check_train(dataset: str, counts: PreparedCounts) -> None:
    if counts.count == 0:
        raise UserError(
            f"prepare {dataset}", "no training image is left",
            found=f"{len(counts.broken)} broken, {len(counts.held_out)} held out", fix="Check the data set's source.",
        )  # fmt: skip


def _sum_up(names: list[str], reason: str | None, parts: Parts) -> tuple[PreparedCounts, pa.Table]:
    """What became of a split's images, and its index."""
    written: list[Shard] = []
    broken: list[dict[str, str]] = []
    held_out: list[dict[str, str]] = []
    tables = [INDEX_SCHEMA.empty_table()]
    for name in names:
        note = parts.note(name)
        assert note is not None
        broken += note["broken"]
        held_out += note["held_out"]
        if note["shard"] is not None:
            written.append(Shard(**note["shard"]))
            columns = zip(zip(*note["kept"], strict=True), INDEX_SCHEMA, strict=True)
            arrays = [pa.array(list(column), field.type) for column, field in columns]
            tables.append(pa.table(arrays, schema=INDEX_SCHEMA))
    index = pa.concat_tables(tables).combine_chunks()
    return PreparedCounts(len(index), written, broken, held_out, reason), index


def _report(dataset: str, splits: Mapping[str, PreparedCounts]) -> None:
    """Says what was left out; the manifest lists it."""
    for split, counts in splits.items():
        for items, why in (
            (counts.broken, "do not decode"),
            (counts.held_out, "are val or test images elsewhere"),
        ):
            if items:
                keys = ", ".join(item["key"] for item in items[:3]) + (", ..." if len(items) > 3 else "")
                print(
                    f"prepare {dataset}: {len(items)} {split} images {why} and are left out: {keys}",
                    file=sys.stderr,
                )


def _join_held_out(excluded: Path | None, room: Path) -> Path | None:
    """The folder of the joined hashes of what is to be left out."""
    if excluded is None:
        return None
    join_held_out(sorted(excluded.glob("*.parquet")), room)
    return room
