from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alexnet.data import audits
from alexnet.data.audits import IMAGE_SCHEMA, find_same, list_audits, read_column
from alexnet.errors import UserError

A, B, C = "a" * 32, "b1" * 16, "0123456789abcdef" * 2
A_TWIN = "a" * 31 + "b"  # the same first half


def _write(folder: Path, name: str, rows: list[tuple[str, str, str | None, str | None]]) -> None:
    """Rows of split, key, pixels, wnid."""
    (folder / name).mkdir(parents=True)
    filled: list[dict[str, Any]] = [
        {
            "split": split,
            "key": key,
            "pixels": pixels,
            "wnid": wnid,
            "width": None if pixels is None else number,
        }
        for number, (split, key, pixels, wnid) in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(filled, schema=IMAGE_SCHEMA), folder / name / "images.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(
        tmp_path,
        "own",
        [
            ("train", "t1", A, "n1"),
            ("train", "t2", B, "n1"),
            ("train", "t3", None, "n1"),
            ("val", "v1", B, "n2"),
            ("val", "v2", None, "n2"),
            ("test", "s1", C, None),
        ],
    )
    _write(tmp_path, "other", [("train", "o1", A_TWIN, "n1"), ("train", "o2", C, "n3"), ("val", "o3", "c" * 32, "n3"),
                               ("val", "o4", "c" * 32, "n3")])  # fmt: skip
    (tmp_path / ".own.7.tmp").mkdir()  # of an audit under way
    (tmp_path / ".own.7.tmp/images.parquet").write_text("half")
    return tmp_path


@pytest.mark.parametrize("batch_rows", [1, 2, 1 << 16])
def test_images_of_the_same_pixels_are_found_in_all_sets(
    folder: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "BATCH_ROWS", batch_rows)
    same = find_same("own", list_audits(folder))
    assert same.to_numpy(object).tolist() == [
        [C, "other", "train", "o2", "n3"],
        [C, "own", "test", "s1", None],
        [B, "own", "train", "t2", "n1"],
        [B, "own", "val", "v1", "n2"],
    ]


def test_images_that_only_others_share_are_theirs_to_report(folder: Path) -> None:
    assert find_same("other", list_audits(folder))["key"].tolist() == ["o2", "s1", "o3", "o4"]
    _write(folder, "alone", [("train", "x", "d" * 32, "n1")])
    assert len(find_same("alone", list_audits(folder))) == 0
    _write(folder, "broken", [("train", "x", None, "n1")])
    assert len(find_same("broken", list_audits(folder))) == 0


def test_keys_are_the_first_digits_wherever_the_text_begins() -> None:
    column = pa.array([None, A, C, B])
    expected = [int(text[:16], 16) for text in (C, B)]
    assert audits._to_keys(column.slice(2)).tolist() == expected
    assert audits._to_keys(column.drop_null().slice(1)).tolist() == expected
    assert audits._to_keys(pa.array([], pa.string())).tolist() == []


def test_column_has_no_nulls(folder: Path) -> None:
    assert read_column(folder / "own/images.parquet", "width").tolist() == [0, 1, 3, 5]


def test_damaged_audit_of_another_set_is_refused(folder: Path) -> None:
    (folder / "other/images.parquet").write_text("PAR1")
    with pytest.raises(
        UserError, match=r"other/images.parquet: cannot be read. Delete its folder and audit it again."
    ):
        list_audits(folder)
    pq.write_table(pa.table({"key": ["x"]}), folder / "other/images.parquet")
    with pytest.raises(UserError, match="is no audit of this version"):
        list_audits(folder)
