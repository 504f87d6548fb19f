from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alexnet.data.inventory import (
    SPLITS,
    Inventory,
    SourceFile,
    SplitCount,
    join_places,
    load_inventory,
    load_places,
    make_places,
    number_synsets,
    write_inventory,
)
from alexnet.errors import UserError


def _write(folder: Path) -> Inventory:
    """An inventory of two training images in a tar and 300 test images in a zip."""
    names = [f"{n:03}" for n in range(300)]
    splits = {
        "train": make_places("a.tar", ["b/1", "b/2"], [0, None], [9, 0], offsets=[512, 1536]),
        "val": join_places([], "val", ""),
        "test": make_places("a.zip", names, 0, [7] * 300, members=names),
    }
    counts = {split: SplitCount(len(rows), None) for split, rows in splits.items()}
    synsets = number_synsets({"n00000001": "ok, ∀"}, {"n00000001": 1}, {"n00000001": 700})
    inventory = Inventory("x", "folder", [SourceFile("a.tar", 9, "0" * 32, None)], synsets, counts)
    write_inventory(folder, inventory, splits)
    return inventory


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written, read = _write(tmp_path), load_inventory(tmp_path)
    assert written == replace(read, index_xxh3_128="")
    assert [len(load_places(tmp_path, split)) for split in SPLITS] == [2, 0, 300]
    assert load_inventory(tmp_path).synsets[0].train_images == 700


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.pop("synsets"),
        lambda about: about["splits"].pop("val"),
        lambda about: about["splits"]["val"].update(count="0"),
        lambda about: about["synsets"][0].update(label=1),
        lambda about: about["synsets"][0].update(words=None),
        lambda about: about["files"].append(7),
    ],
)
def test_inventory_of_other_form_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    _write(tmp_path)
    path = tmp_path / "inventory.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))
    with pytest.raises(UserError, match="is no inventory"):
        load_inventory(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_file_that_is_no_inventory_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "inventory.json").write_bytes(content)
    with pytest.raises(UserError, match="is no inventory"):
        load_inventory(tmp_path)


def test_missing_files_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"inventory.json: is missing\. Run source"):
        load_inventory(tmp_path)
    _write(tmp_path)
    (tmp_path / "index.parquet").unlink()
    with pytest.raises(UserError, match=r"index.parquet: is missing\. Run source"):
        load_places(tmp_path, "train")


def test_index_of_other_length_is_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    path = tmp_path / "inventory.json"
    about = json.loads(path.read_text())
    about["splits"]["train"]["count"] = 3
    path.write_text(json.dumps(about))
    with pytest.raises(UserError, match="found 2 rows, expected 3"):
        load_places(tmp_path, "train")


def test_flipped_bit_in_the_index_shows_before_it_is_read(tmp_path: Path) -> None:
    _write(tmp_path)  # with some bits flipped the reader of such files never comes back
    path = tmp_path / "index.parquet"
    content = path.read_bytes()
    for place in (20, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(UserError, match="its bytes are not those that were written"):
            load_places(tmp_path, "train")
