"""A prepared data set of given images, written through the project's own writers."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from alexnet.data.inventory import Synset
from alexnet.data.shards import (
    INDEX_SCHEMA,
    Manifest,
    PreparedCounts,
    PreparedSplit,
    ShardWriter,
    open_split,
    shard_name,
    write_index,
    write_manifest,
)


def make_split(folder: Path, images: np.ndarray, quality=None, shard_images=5) -> PreparedSplit:
    """The train split of images (N, side, side, 3); quality: of JPEG, None for raw pixels."""
    folder.mkdir(parents=True)
    store = "jpeg" if quality else "raw"
    shards, rows = [], []
    for number, start in enumerate(range(0, len(images), shard_images)):
        writer = ShardWriter(folder / shard_name("train", number, store), quality)
        for place in range(start, min(start + shard_images, len(images))):
            rows.append((f"{place:04}", place % 4, "", writer.add(images[place], "")))
        shards.append(writer.close())
    columns = list(zip(*rows, strict=True)) or [[] for _ in INDEX_SCHEMA]
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, INDEX_SCHEMA, strict=True)]
    write_index(folder, "train", pa.table(arrays, schema=INDEX_SCHEMA))
    counts = PreparedCounts(len(images), shards, [], [], None)
    synsets = [Synset(label, f"n{label:08}", f"thing {label}", label + 1, label) for label in range(4)]
    write_manifest(
        folder,
        Manifest("made", images.shape[1], "area_cubic", store, quality, {}, 4, synsets, {"train": counts}),
    )
    return open_split(folder, "train")
