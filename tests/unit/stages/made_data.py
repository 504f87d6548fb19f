"""A small prepared data set, written through the project's own writers."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from alexnet.data.inventory import Synset
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    ShardWriter,
    shard_name,
    write_index,
    write_manifest,
)

SIDE = 36


def draw(label, rng):
    image = rng.integers(60, 190, (SIDE, SIDE, 3)).astype(np.uint8)
    image[4 + 7 * label : 11 + 7 * label, 6:30] = 255
    return image


def write_split(folder: Path, split: str, count: int, rng, labelled=True, quality=None) -> PreparedCounts:
    shards, rows = [], []
    for number, start in enumerate(range(0, count, 16)):
        writer = ShardWriter(folder / shard_name(split, number, "jpeg" if quality else "raw"), quality)
        for place in range(start, min(start + 16, count)):
            pixels = f"{place:032x}"
            size = writer.add(draw(place % 4, rng), pixels)
            rows.append((f"{split}_{place:04}", place % 4 if labelled else None, pixels, size))
        shards.append(writer.close())
    columns = list(zip(*rows, strict=True)) or [[] for _ in INDEX_SCHEMA]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, INDEX_SCHEMA, strict=True)]
    write_index(folder, split, pa.table(arrays, schema=INDEX_SCHEMA))
    return PreparedCounts(count, shards, [], [], None if labelled and count else "no labels")


def make_data(folder: Path, train=40, val=12, test=6, labelled_test=True, quality=None) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    splits = {
        "train": write_split(folder, "train", train, rng, quality=quality),
        "val": write_split(folder, "val", val, rng, quality=quality),
        "test": write_split(folder, "test", test, rng, labelled_test, quality),
    }
    synsets = [Synset(label, f"n{label:08}", f"bar {label}", label + 1, label) for label in range(4)]
    write_manifest(
        folder,
        Manifest("made", SIDE, "area_cubic", "jpeg" if quality else "raw", quality, {}, 4, synsets, splits),
    )
    return folder
