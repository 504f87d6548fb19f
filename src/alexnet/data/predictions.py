"""Prediction files in and out: one parquet file per member and split, a row per image."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alexnet.core.predictions import Predictions, ViewPredictions
from alexnet.data.whole import whole_file
from alexnet.errors import UserError

__all__ = ["Predictions", "ViewPredictions", "read_members", "read_predictions", "write_predictions"]

METADATA_KEY = b"alexnet"
VIEWS = ("ten", "centre")
MAKE_AGAIN = "Delete it and run predict again."


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Writes `predictions` to `path`, whole; equal predictions give equal bytes."""
    _check(predictions)
    columns: dict[str, pa.Array] = {
        "key": pa.array(predictions.keys, pa.string()),
        "label": pa.array(predictions.labels.astype(np.int32), mask=predictions.labels < 0),
        **_view_columns("ten", predictions.ten, predictions.num_classes),
        **_view_columns("centre", predictions.centre, predictions.num_classes),
    }
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: _describe(predictions)})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, row_group_size=8192, compression="zstd", use_dictionary=False)


def read_predictions(path: Path, *, probs_of: Collection[str] = ("ten", "centre")) -> Predictions:
    """The predictions in `path`, with all probabilities of the views `probs_of`; `probs` of the others are None.

    Reading only what is needed matters at full size, where a view has 100 MB of them for the val images alone.
    Raises UserError if the file is missing, damaged or not a file of predictions.
    """
    table = _read_table(path, probs_of)
    try:
        about = json.loads(table.schema.metadata[METADATA_KEY])
        return Predictions(
            **{name: about[name] for name in ("dataset", "member", "split", "num_classes", "reason")},
            synsets_sha256=about["synsets_sha256"],
            keys=table["key"].to_pylist(),
            labels=table["label"].cast(pa.int64()).fill_null(-1).to_numpy(),
            ten=_read_view("ten", table, about["num_classes"]),
            centre=_read_view("centre", table, about["num_classes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(str(path), "this is no file of predictions", fix=MAKE_AGAIN) from error


def read_members(
    folder: Path, dataset: str, members: Iterable[str], splits: Iterable[str], *, probs_of: Collection[str]
) -> dict[str, dict[str, Predictions]]:
    """Member -> split -> its predictions, of these members and splits only, from folder/dataset/member/split.parquet.

    Raises UserError as read_predictions does, and if a file holds the predictions of something else.
    """
    return {
        member: {split: _read_own(folder, dataset, member, split, probs_of) for split in splits}
        for member in members
    }


def _read_own(folder: Path, dataset: str, member: str, split: str, probs_of: Collection[str]) -> Predictions:
    path = folder / dataset / member / f"{split}.parquet"
    predictions = read_predictions(path, probs_of=probs_of)
    found = (predictions.dataset, predictions.member, predictions.split)
    if found != (dataset, member, split):
        raise UserError(
            str(path), "holds the predictions of something else", found=" ".join(found),
            expected=f"{dataset} {member} {split}", fix=MAKE_AGAIN,
        )  # fmt: skip
    return predictions


def _read_table(path: Path, probs_of: Collection[str]) -> pa.Table:
    """The columns of `path`, those of all probabilities only for the views asked for."""
    if not path.is_file():
        raise UserError(str(path), "the predictions are missing", fix="Run predict for this member first.")
    unwanted = {f"{view}_probs" for view in VIEWS if view not in probs_of}
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=[name for name in file.schema_arrow.names if name not in unwanted])
    except (pa.ArrowException, OSError) as error:
        raise UserError(str(path), "the file is damaged", fix=MAKE_AGAIN) from error


def _describe(predictions: Predictions) -> bytes:
    """JSON of everything that holds for the whole file."""
    names = ("dataset", "member", "split", "num_classes", "reason", "synsets_sha256")
    return json.dumps({name: getattr(predictions, name) for name in names}, sort_keys=True).encode()


def _view_columns(view: str, predictions: ViewPredictions, num_classes: int) -> dict[str, pa.Array]:
    """A view's columns, named for it, each a list of fixed size per image."""
    num_best = min(5, num_classes)
    columns = {
        f"{view}_labels": _as_lists(predictions.labels.astype(np.int32), num_best),
        f"{view}_top_probs": _as_lists(predictions.top_probs.astype(np.float32), num_best),
    }
    if predictions.probs is not None:
        columns[f"{view}_probs"] = _as_lists(predictions.probs.astype(np.float16), num_classes)
    return columns


def _as_lists(values: npt.NDArray[Any], size: int) -> pa.Array:
    """(N, size) values as N lists of a fixed size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), size)


def _read_view(view: str, table: pa.Table, num_classes: int) -> ViewPredictions:
    """The predictions of one view out of the columns named for it."""
    num_best, probs = min(5, num_classes), f"{view}_probs"
    return ViewPredictions(
        labels=_as_matrix(table[f"{view}_labels"], num_best),
        top_probs=_as_matrix(table[f"{view}_top_probs"], num_best),
        probs=_as_matrix(table[probs], num_classes) if probs in table.column_names else None,
    )


def _as_matrix(column: pa.ChunkedArray, size: int) -> npt.NDArray[Any]:
    """N lists of a fixed size as (N, size) values of the same type."""
    values: Any = column.combine_chunks().flatten()
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), size)


def _check(predictions: Predictions) -> None:
    """Our own invariants: one label per image, the same classes in every view."""
    num_images, num_classes = len(predictions.keys), predictions.num_classes
    assert predictions.labels.shape == (num_images,), predictions.labels.shape
    for view in (predictions.ten, predictions.centre):
        assert view.labels.shape == (num_images, min(5, num_classes)), view.labels.shape
        assert view.top_probs.shape == view.labels.shape, view.top_probs.shape
        assert view.probs is None or view.probs.shape == (num_images, num_classes), view.probs.shape
