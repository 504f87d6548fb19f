"""What audits found, a row per image, and which images of all of them are the same."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alexnet.errors import UserError

IMAGES = "images.parquet"
BATCH_ROWS = 1 << 16  # read at a time, so that memory does not grow with the set
HASH_DIGITS = 32
# pixels: their hash; it and all behind it but `kinds`, `reason` and `warning` are null for what does not decode.
# kinds: see `inspect`. mean_*: grey levels. is_grey: the three channels are equal. reason: why it does not decode.
IMAGE_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("key", pa.string()),
        ("label", pa.int32()),
        ("wnid", pa.string()),
        ("bytes", pa.int64()),
        ("kinds", pa.list_(pa.string())),
        ("pixels", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mean_r", pa.float32()),
        ("mean_g", pa.float32()),
        ("mean_b", pa.float32()),
        ("is_grey", pa.bool_()),
        ("reason", pa.string()),
        ("warning", pa.string()),
    ]
)
SAME_COLUMNS = ["pixels", "dataset", "split", "key", "wnid"]

Keys = npt.NDArray[np.uint64]


def list_audits(folder: Path, *, besides: Container[str] = ()) -> dict[str, Path]:
    """The images of each data set that was audited, by its name. Raises UserError if one is damaged.

    besides: data sets that are not wanted.
    """
    paths = {path.parent.name: path for path in sorted(folder.glob(f"[!.]*/{IMAGES}"))}
    found = {name: path for name, path in paths.items() if name not in besides}
    for path in found.values():
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                str(path), "cannot be read", fix="Delete its folder and audit it again."
            ) from error
        if not schema.equals(IMAGE_SCHEMA):
            raise UserError(
                str(path), "is no audit of this version", fix="Delete its folder and audit it again."
            )
    return found


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of the rows of an audit, in order, some tens of thousands at a time."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=columns)


def read_column(path: Path, name: str) -> npt.NDArray[Any]:
    """One numeric column of an audit, without its nulls."""
    column: npt.NDArray[Any] = pq.read_table(path, columns=[name])[name].drop_null().to_numpy()
    return column


def find_same(dataset: str, audits: Mapping[str, Path]) -> pd.DataFrame:
    """Every image that has the pixels of another one, where one of them is of `dataset`: SAME_COLUMNS, sorted.

    audits: of all data sets, by name. Memory holds 8 bytes for each image and the rows found.
    """
    own = np.sort(_read_keys(audits[dataset]))
    wanted = [own[1:][own[1:] == own[:-1]]]
    for name, path in audits.items():
        if name != dataset:
            others = np.unique(_read_keys(path))
            wanted.append(others[_is_in(others, own)])
    keys = np.unique(np.concatenate(wanted))
    rows = [pd.DataFrame(columns=SAME_COLUMNS, dtype=object)]
    for name, path in audits.items():
        for batch in read_batches(path, [column for column in SAME_COLUMNS if column != "dataset"]):
            readable = batch.filter(pc.is_valid(batch["pixels"]))
            found = readable.filter(pa.array(_is_in(_to_keys(readable["pixels"]), keys)))
            if len(found):
                rows.append(found.to_pandas().assign(dataset=name)[SAME_COLUMNS])
    same = pd.concat(rows, ignore_index=True)
    # The keys are but half of the hashes.
    same = same[same.duplicated("pixels", keep=False)]
    same = same[same["pixels"].isin(same.loc[same["dataset"] == dataset, "pixels"])]
    same = same.sort_values(["pixels", "dataset", "split", "key"], ignore_index=True).astype(object)
    return same.where(same.notna(), None)


def _read_keys(path: Path) -> Keys:
    """The first half of each image's hash, as a number."""
    parts = [np.empty(0, np.uint64)]
    for batch in read_batches(path, ["pixels"]):
        parts.append(_to_keys(batch["pixels"].drop_null()))
    return np.concatenate(parts)


def _to_keys(hashes: pa.StringArray) -> Keys:
    """hashes: hexadecimal, without nulls."""
    if not len(hashes):
        return np.empty(0, np.uint64)
    _, offsets, content = hashes.buffers()
    start = np.frombuffer(offsets, np.int32)[hashes.offset]
    text = np.frombuffer(content, np.uint8)[start : start + HASH_DIGITS * len(hashes)]
    digits = text.reshape(-1, HASH_DIGITS)[:, : HASH_DIGITS // 2]
    values = (digits & 15) + 9 * (digits >> 6)  # "0" is 0x30, "a" is 0x61
    return np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2]).view(">u8")[:, 0].astype(np.uint64)


def _is_in(keys: Keys, ordered: Keys) -> npt.NDArray[np.bool_]:
    """Whether each key is among those of a sorted array."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    places = np.searchsorted(ordered, keys).clip(max=len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[places] == keys
    return found
