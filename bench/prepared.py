"""A prepared data set of given images, for the benchmarks beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alexnet.data.inventory import Synset
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    Shard,
    ShardWriter,
    Store,
    shard_name,
    write_index,
    write_manifest,
)

SHARD_IMAGES = 1024


def write_prepared(
    folder: Path, images: npt.NDArray[np.uint8], quality: int | None, count: int | None = None
) -> Path:
    """The folder, with images (N, side, side, 3) as its train split, all of one class.

    quality: of JPEG, None for raw pixels. count: how many, over and over from the first; None for each once.
    """
    count = count or len(images)
    folder.mkdir()
    store: Store = "raw" if quality is None else "jpeg"
    shards: list[Shard] = []
    rows: list[tuple[str, int, str, int]] = []
    for number, start in enumerate(range(0, count, SHARD_IMAGES)):
        writer = ShardWriter(folder / shard_name("train", number, store), quality)
        for place in range(start, min(start + SHARD_IMAGES, count)):
            rows.append(
                (f"{place:08}", 0, f"{place:032x}", writer.add(images[place % len(images)], f"{place:032x}"))
            )
        shard = writer.close()
        assert shard is not None
        shards.append(shard)
    arrays = [
        pa.array(list(column), field.type)
        for column, field in zip(zip(*rows, strict=True), INDEX_SCHEMA, strict=True)
    ]
    write_index(folder, "train", pa.table(arrays, schema=INDEX_SCHEMA))
    counts = PreparedCounts(count, shards, [], [], None)
    synsets = [Synset(0, "n00000001", "made", 1, 0)]
    write_manifest(
        folder,
        Manifest(
            folder.name, images.shape[1], "area_cubic", store, quality, {}, 1, synsets, {"train": counts}
        ),
    )
    return folder
