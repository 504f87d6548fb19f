"""Prediction files: what is written is read, in equal bytes, and damage is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alexnet.core.predictions import Predictions, ViewPredictions
from alexnet.data.predictions import read_members, read_predictions, write_predictions
from alexnet.errors import UserError

from ..report.made_predictions import make_predictions, view


def assert_same(read: Predictions, written: Predictions) -> None:
    for name in ("dataset", "member", "split", "num_classes", "keys", "reason", "synsets_sha256"):
        assert getattr(read, name) == getattr(written, name), name
    assert read.labels.dtype == np.int64
    assert read.labels.tolist() == written.labels.tolist()
    for ours, theirs in ((read.ten, written.ten), (read.centre, written.centre)):
        assert_same_view(ours, theirs)


def assert_same_view(read: ViewPredictions, written: ViewPredictions) -> None:
    for name, dtype in (("labels", np.int32), ("top_probs", np.float32), ("probs", np.float16)):
        ours, theirs = getattr(read, name), getattr(written, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.dtype == dtype, name
            assert ours.shape == theirs.shape, name
            assert ours.tobytes() == theirs.tobytes(), name


def test_what_is_written_is_read(tmp_path: Path) -> None:
    labels = np.array([3, -1, 5, 0] * 5)
    written = make_predictions("cnn1", near={1}, centre_far={2}, labels=labels, synsets_sha256="ab12")
    write_predictions(tmp_path / "val.parquet", written)
    assert_same(read_predictions(tmp_path / "val.parquet"), written)


def test_float16_probabilities_come_back_to_the_bit(tmp_path: Path) -> None:
    every = np.arange(0x3C01, dtype=np.uint16).view(np.float16)  # from 0 to 1, those below normal ones too
    probs = np.resize(every, (2561, 6))
    written = make_predictions("cnn1", num_images=2561, ten=view(probs))
    write_predictions(tmp_path / "val.parquet", written)
    read = read_predictions(tmp_path / "val.parquet").ten.probs
    assert read is not None
    assert read.tobytes() == probs.tobytes()


def test_rows_go_on_over_row_groups(tmp_path: Path) -> None:
    written = make_predictions("cnn1", num_images=20_000)
    write_predictions(tmp_path / "val.parquet", written)
    assert pq.ParquetFile(tmp_path / "val.parquet").num_row_groups == 3
    assert_same(read_predictions(tmp_path / "val.parquet"), written)


def test_a_split_without_images_is_a_file_with_a_reason(tmp_path: Path) -> None:
    written = make_predictions("cnn1", "test", num_images=0, reason="no test archive")
    write_predictions(tmp_path / "test.parquet", written)
    assert_same(read_predictions(tmp_path / "test.parquet"), written)


def test_three_classes_have_three_best(tmp_path: Path) -> None:
    three = view(np.array([[0.2, 0.7, 0.1]]))
    written = Predictions("d", "m", "val", 3, ["a"], np.array([1]), three, three, None)
    write_predictions(tmp_path / "val.parquet", written)
    assert read_predictions(tmp_path / "val.parquet").ten.labels.tolist() == [[1, 0, 2]]


def test_too_many_classes_keep_their_five_best_only(tmp_path: Path) -> None:
    written = make_predictions("cnn1", keep_probs=False)
    write_predictions(tmp_path / "val.parquet", written)
    assert_same(read_predictions(tmp_path / "val.parquet"), written)
    assert "ten_probs" not in pq.read_schema(tmp_path / "val.parquet").names


def test_columns_are_those_of_the_format(tmp_path: Path) -> None:
    write_predictions(tmp_path / "val.parquet", make_predictions("cnn1"))
    schema = pq.read_schema(tmp_path / "val.parquet")
    labels, tops, probs = pa.list_(pa.int32(), 5), pa.list_(pa.float32(), 5), pa.list_(pa.float16(), 6)
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "key": pa.string(), "label": pa.int32(),
        "ten_labels": labels, "ten_top_probs": tops, "ten_probs": probs,
        "centre_labels": labels, "centre_top_probs": tops, "centre_probs": probs,
    }  # fmt: skip
    assert json.loads(schema.metadata[b"alexnet"]) == {
        "dataset": "ilsvrc2012", "member": "cnn1", "split": "val", "num_classes": 6, "reason": None,
        "synsets_sha256": None,
    }  # fmt: skip


def test_unlabelled_is_null_in_the_file(tmp_path: Path) -> None:
    write_predictions(tmp_path / "val.parquet", make_predictions("cnn1", labels=np.array([2, -1] * 10)))
    assert pq.read_table(tmp_path / "val.parquet")["label"].to_pylist() == [2, None] * 10


def test_only_the_views_asked_for_have_their_probabilities_read(tmp_path: Path) -> None:
    written = make_predictions("cnn1")
    write_predictions(tmp_path / "val.parquet", written)
    read = read_predictions(tmp_path / "val.parquet", probs_of=("ten",))
    assert_same_view(read.ten, written.ten)
    assert_same_view(read.centre, replace(written.centre, probs=None))


def test_equal_predictions_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_predictions(tmp_path / name, make_predictions("cnn1", far={3}, num_images=9000))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    path = tmp_path / "val.parquet"
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(caught.value) == f"{path}: the predictions are missing. Run predict for this member first."


@pytest.mark.parametrize("content", [b"", b"not parquet at all", None])
def test_a_damaged_file_says_so(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "val.parquet"
    write_predictions(path, make_predictions("cnn1"))
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(caught.value) == f"{path}: the file is damaged. Delete it and run predict again."


@pytest.mark.parametrize("metadata", [None, {b"alexnet": b"{}"}, {b"alexnet": b"["}, {b"alexnet": b"[1]"}])
def test_another_parquet_file_is_refused(tmp_path: Path, metadata: dict[bytes, bytes] | None) -> None:
    path = tmp_path / "val.parquet"
    pq.write_table(pa.table({"key": ["a"]}).replace_schema_metadata(metadata), path)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(caught.value) == f"{path}: this is no file of predictions. Delete it and run predict again."


def test_a_member_s_file_must_hold_its_own_predictions(tmp_path: Path) -> None:
    path = tmp_path / "ilsvrc2012" / "cnn2" / "val.parquet"
    write_predictions(path, make_predictions("cnn1"))
    with pytest.raises(UserError) as caught:
        read_members(tmp_path, "ilsvrc2012", ["cnn2"], ["val"], probs_of=())
    assert str(caught.value) == (
        f"{path}: holds the predictions of something else, found ilsvrc2012 cnn1 val, expected ilsvrc2012 cnn2 val. "
        "Delete it and run predict again."
    )
