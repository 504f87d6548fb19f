"""Brings a data set's images to one size and stores them as shards (§2)."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alexnet.core.order import seeded_order
from alexnet.core.resize import PrepareParams, centre_square, resized_shape
from alexnet.data.decode import MAX_PIXELS, DecodeError, decode_rgb, decoder_versions, hash_pixels
from alexnet.data.images import read_image
from alexnet.data.inventory import Place, as_places, load_inventory, load_places
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
from alexnet.data.whole import whole_file, whole_folder
from alexnet.errors import UserError

HELD_OUT_SPLITS = ("val", "test")
ORDER = ("val", "test", "train")  # a broken val or test image stops the run, so they come first


@dataclass(frozen=True)
class Task:
    """The images of one shard, and where it goes."""

    split: str
    path: Path
    places: list[Place]
    params: PrepareParams
    held_out: Path | None


@dataclass(frozen=True)
class Done:
    """What became of a task's images."""

    shard: Shard | None
    kept: list[tuple[str, int | None, str]]
    broken: list[dict[str, str]]
    held_out: list[dict[str, str]]


@dataclass(frozen=True)
class Failed:
    """What a UserError said; the exception itself does not survive the way out of a process."""

    where: str
    what: str
    found: object
    expected: object
    fix: str


def run(
    dataset: str,
    params: PrepareParams,
    source: Path,
    output: Path,
    *,
    held_out_output: Path | None,
    excluded: Path | None,
    workers: int,
) -> None:
    """Writes the shards, indexes and manifest of a data set into the folder `output`, whole.

    held_out_output: file for the pixel hashes of the val and test images, which no pre-training set may hold.
    excluded: folder of such files; images with these pixels are left out, listed and counted.
    Training images that do not decode are listed and counted; a val or test image that does not raises UserError,
    and so does a data set that no training image is left of.
    The result does not depend on the number of workers.
    """
    inventory = load_inventory(source)
    splits: dict[str, PreparedCounts] = {}
    indexes: dict[str, pa.Table] = {}
    with whole_folder(output) as folder:
        held_out = _join_held_out(excluded, folder.with_suffix(".held_out")) if excluded else None
        try:
            total = sum(count.count for count in inventory.splits.values())
            with progress(total, f"prepare {dataset}", "image") as advance:
                for split in ORDER:
                    done = []
                    for result in _prepare_split(dataset, split, params, source, folder, held_out, workers):
                        done.append(result)
                        advance(len(result.kept) + len(result.broken) + len(result.held_out))
                    splits[split], indexes[split] = _sum_up(done, inventory.splits[split].reason)
                    write_index(folder, split, indexes[split])
        finally:
            if held_out is not None:
                held_out.unlink(missing_ok=True)
        _report(dataset, splits)
        _check_train(dataset, splits["train"])
        write_manifest(
            folder,
            Manifest(
                dataset, params.resize, params.interpolation, decoder_versions(), len(inventory.synsets),
                inventory.synsets, splits,
            ),
        )  # fmt: skip
    if held_out_output is not None:
        _write_held_out(held_out_output, indexes)


def _prepare_split(
    dataset: str,
    split: str,
    params: PrepareParams,
    source: Path,
    folder: Path,
    held_out: Path | None,
    workers: int,
) -> Iterator[Done]:
    """The shards of a split, in order, made by as many processes as there are workers."""
    rows = load_places(source, split)
    if split == "train":  # stored in a random order, drawn once, as the 2012 code's files were
        rows = rows.take(pa.array(seeded_order(len(rows), params.seed, dataset, split)))
    tasks = (
        Task(
            split, folder / shard_name(split, number),
            as_places(rows.slice(number * params.shard_images, params.shard_images)), params, held_out,
        )
        for number in range(-(-len(rows) // params.shard_images))
    )  # fmt: skip
    if workers == 1 or len(rows) <= params.shard_images:
        yield from map(prepare_shard, tasks)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        try:
            yield from _map(pool, tasks, 2 * workers)
        except BrokenProcessPool:
            raise UserError(
                f"prepare {dataset}", "a worker process died, perhaps for lack of memory",
                found=f"{workers} workers", fix="Set fewer workers in machine.yaml.",
            ) from None  # fmt: skip
        finally:
            pool.shutdown(cancel_futures=True)  # after an error the shards under way are of no use


def _map(pool: ProcessPoolExecutor, tasks: Iterator[Task], ahead: int) -> Iterator[Done]:
    """Results in the order of the tasks, with at most `ahead` under way: the list of a million images is long."""
    waiting: deque[Future[Done | Failed]] = deque()
    for task in itertools.chain(tasks, itertools.repeat(None, ahead)):
        if task is not None:
            waiting.append(pool.submit(_prepare_shard_elsewhere, task))
        if waiting and (task is None or len(waiting) >= ahead):
            result = waiting.popleft().result()
            if isinstance(result, Failed):
                raise UserError(
                    result.where, result.what, found=result.found, expected=result.expected, fix=result.fix
                )
            yield result


def _prepare_shard_elsewhere(task: Task) -> Done | Failed:
    """prepare_shard for another process, which hands back a UserError in parts."""
    try:
        return prepare_shard(task)
    except UserError as error:
        return Failed(error.where, error.what, error.found, error.expected, error.fix)


def prepare_shard(task: Task) -> Done:
    """Writes one shard. Raises UserError for a val or test image that does not decode."""
    held_out = _load_held_out(task.held_out)
    writer = ShardWriter(task.path)
    done = Done(None, [], [], [])
    try:
        for place in task.places:
            _store(place, task, held_out, writer, done)
    finally:
        shard = writer.close()
    return Done(shard, done.kept, done.broken, done.held_out)


def _store(place: Place, task: Task, held_out: dict[str, str], writer: ShardWriter, done: Done) -> None:
    """Adds one image to the shard, or to the lists of those left out."""
    try:
        image = _decode(read_image(place), task.params)
    except DecodeError as error:
        if task.split != "train":
            raise UserError(
                f"{place.file}: {place.key}", f"a {task.split} image does not decode: {error.reason}",
                fix="Get the archive again; an image of this split is never left out.",
            ) from None  # fmt: skip
        done.broken.append({"key": place.key, "reason": error.reason})
        return
    pixels = hash_pixels(image)
    if pixels in held_out:
        done.held_out.append({"key": place.key, "of": held_out[pixels]})
        return
    writer.add(centre_square(image, task.params.resize, task.params.interpolation))
    done.kept.append((place.key, place.label, pixels))


def _decode(data: bytes, params: PrepareParams) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3). Raises DecodeError also for an image so long and thin that resizing it would fill memory."""
    image = decode_rgb(data)
    height, width = resized_shape(image.shape[0], image.shape[1], params.resize)
    if height * width > MAX_PIXELS:
        raise DecodeError(f"{image.shape[1]}x{image.shape[0]} would be resized to {width}x{height}")
    return image


def _check_train(dataset: str, counts: PreparedCounts) -> None:
    if counts.count == 0:
        raise UserError(
            f"prepare {dataset}", "no training image is left",
            found=f"{len(counts.broken)} broken, {len(counts.held_out)} held out", fix="Check the data set's source.",
        )  # fmt: skip


def _sum_up(done: list[Done], reason: str | None) -> tuple[PreparedCounts, pa.Table]:
    kept = [row for result in done for row in result.kept]
    columns: list[tuple[object, ...]] = list(zip(*kept, strict=True)) if kept else [(), (), ()]
    index = pa.table([pa.array(list(column), field.type) for column, field in zip(columns, INDEX_SCHEMA, strict=True)],
                     schema=INDEX_SCHEMA)  # fmt: skip
    shards = [result.shard for result in done if result.shard is not None]
    broken = [item for result in done for item in result.broken]
    held_out = [item for result in done for item in result.held_out]
    return PreparedCounts(len(kept), shards, broken, held_out, reason), index


def _report(dataset: str, splits: dict[str, PreparedCounts]) -> None:
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


def _write_held_out(path: Path, indexes: dict[str, pa.Table]) -> None:
    columns: dict[str, list[str]] = defaultdict(list)
    for split in HELD_OUT_SPLITS:
        columns["pixels"] += indexes[split]["pixels"].to_pylist()
        columns["split"] += [split] * len(indexes[split])
        columns["key"] += indexes[split]["key"].to_pylist()
    with whole_file(path) as temporary:
        schema = pa.schema([(name, pa.string()) for name in ("pixels", "split", "key")])
        pq.write_table(pa.table(dict(columns), schema=schema), temporary, compression="zstd")


def _join_held_out(excluded: Path, path: Path) -> Path:
    """One file of all hashes to leave out, each with the image it belongs to."""
    pixels, of = [], []
    for file in sorted(excluded.glob("*.parquet")):
        try:
            rows = pq.read_table(file, columns=["pixels", "split", "key"])
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                str(file), "cannot be read", fix="Delete it and run prepare of its data set."
            ) from error
        for row in rows.to_pylist():
            pixels.append(row["pixels"])
            of.append(f"{file.stem}/{row['split']}/{row['key']}")
    pq.write_table(pa.table({"pixels": pa.array(pixels, pa.string()), "of": pa.array(of, pa.string())}), path)
    return path


_held_out: tuple[Path, dict[str, str]] | None = None  # of this process; every shard needs it


def _load_held_out(path: Path | None) -> dict[str, str]:
    global _held_out
    if path is None:
        return {}
    if _held_out is None or _held_out[0] != path:
        table = pq.read_table(path)
        _held_out = path, dict(zip(table["pixels"].to_pylist(), table["of"].to_pylist(), strict=True))
    return _held_out[1]
