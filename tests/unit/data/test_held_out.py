from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.held_out import HeldOut, join_held_out, open_held_out, write_held_out
from alexnet.errors import UserError

HASHES = [f"{n * 0x1F3D5B79 % 997:032x}" for n in range(60)]


def _table(hashes: list[str]) -> pa.Table:
    return pa.table({"key": [f"image {n}" for n, _ in enumerate(hashes)], "pixels": hashes})


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_exactly_what_was_held_out_is_found(
    tmp_path_factory: pytest.TempPathFactory, val: set[int], test: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("held_out")
    files = folder / "ilsvrc2010.parquet", folder / "ilsvrc2012.parquet"
    tables = {
        "val": _table([HASHES[n] for n in sorted(val)]),
        "test": _table([HASHES[n] for n in sorted(test - val)]),
    }
    write_held_out(files[0], {"val": tables["val"]})
    write_held_out(files[1], {"test": tables["test"]})
    join_held_out(files, folder)
    held_out = HeldOut(folder)
    places = {HASHES[n]: f"ilsvrc2010/val/image {place}" for place, n in enumerate(sorted(val))}
    places |= {HASHES[n]: f"ilsvrc2012/test/image {place}" for place, n in enumerate(sorted(test - val))}
    assert {pixels: held_out.find(pixels) for pixels in HASHES} == {
        pixels: places.get(pixels) for pixels in HASHES
    }


def test_hash_beyond_all_others_is_not_found(tmp_path: Path) -> None:
    write_held_out(tmp_path / "a.parquet", {"val": _table(["1" * 32])})
    join_held_out([tmp_path / "a.parquet"], tmp_path)
    assert HeldOut(tmp_path).find("f" * 32) is None and HeldOut(tmp_path).find("0" * 32) is None


def test_nothing_is_held_out_where_no_contest_was_prepared(tmp_path: Path) -> None:
    join_held_out([], tmp_path)
    assert HeldOut(tmp_path).find(HASHES[0]) is None and open_held_out(None) is None


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ilsvrc2012.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"ilsvrc2012\.parquet: cannot be read.*run prepare of its data set"):
        join_held_out([tmp_path / "ilsvrc2012.parquet"], tmp_path)
