"""Val and test images of the contests, by the hashes of their pixels, which no pre-training set may hold."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alexnet.data.whole import whole_file
from alexnet.errors import UserError

SCHEMA = pa.schema([(name, pa.string()) for name in ("pixels", "split", "key")])
HASHES, IMAGES = "held_out.npy", "held_out.parquet"


def write_held_out(path: Path, indexes: Mapping[str, pa.Table]) -> None:
    """Writes the hashes of all images of some splits, each with its split and key.

    indexes: tables with the columns `pixels` and `key`, by split.
    """
    tables = [
        pa.table([table["pixels"], pa.array([split] * len(table), pa.string()), table["key"]], schema=SCHEMA)
        for split, table in indexes.items()
    ]
    with whole_file(path) as temporary:
        pq.write_table(pa.concat_tables([SCHEMA.empty_table(), *tables]), temporary, compression="zstd")


def join_held_out(excluded: Iterable[Path], folder: Path) -> None:
    """Joins files of hashes into two in `folder`: the hashes, sorted, and the image each belongs to.

    Raises UserError if one cannot be read.
    """
    pixels: list[str] = []
    images: list[str] = []
    for file in excluded:
        try:
            rows = pq.read_table(file, schema=SCHEMA)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                str(file), "cannot be read", fix="Delete it and run prepare of its data set."
            ) from error
        pixels += rows["pixels"].to_pylist()
        images += [f"{file.stem}/{row['split']}/{row['key']}" for row in rows.to_pylist()]
    hashes = np.array(pixels, "S32")
    order = np.argsort(hashes, kind="stable")
    np.save(folder / HASHES, hashes[order])
    pq.write_table(
        pa.table({"of": pa.array([images[place] for place in order], pa.string())}), folder / IMAGES
    )


class HeldOut:
    """The joined hashes in a folder, as a map of the file: many processes share one copy."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._hashes = folder, np.load(folder / HASHES, mmap_mode="r", allow_pickle=False)

    def find(self, pixels: str) -> str | None:
        """The held-out image with these pixels, as DATASET/SPLIT/KEY, or None."""
        wanted = np.bytes_(pixels)
        place = int(np.searchsorted(self._hashes, wanted))
        if place == len(self._hashes) or self._hashes[place] != wanted:
            return None
        return str(pq.read_table(self._folder / IMAGES)["of"][place])


@functools.lru_cache(maxsize=1)
def open_held_out(folder: Path | None) -> HeldOut | None:
    """The joined hashes in a folder, opened once by each process; None for none."""
    return None if folder is None else HeldOut(folder)
