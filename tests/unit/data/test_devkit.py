from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.data.devkit import label_by_name, read_devkit, read_ids, read_meta
from alexnet.errors import UserError
from tests.unit.data.made_archives import DEVKIT_IDS, LABELS, devkit, mat, meta, tar


def test_labels_follow_sorted_wnids_and_ids_stay_beside_them() -> None:
    synsets = read_meta(meta(2012), 2012, "meta.mat")
    assert {synset.wnid: synset.label for synset in synsets} == LABELS
    assert {synset.wnid: synset.devkit_id for synset in synsets} == DEVKIT_IDS
    assert all(synset.devkit_id != synset.label + 1 for synset in synsets)  # the two orders differ everywhere


def test_ancestors_are_no_classes() -> None:
    assert [synset.wnid for synset in read_meta(meta(2012), 2012, "meta.mat")] == sorted(LABELS)


def test_kit_with_a_single_class_is_read() -> None:
    (synset,) = read_meta(meta(2010, {"n00000010": 1}), 2010, "meta.mat")
    assert (synset.wnid, synset.words) == ("n00000010", "words of n00000010")


def test_kit_says_how_many_training_images_a_class_has() -> None:
    images = {synset.wnid: synset.train_images for synset in read_meta(meta(2012), 2012, "meta.mat")}
    assert images == {"n00000010": 703, "n00000020": 701, "n00000030": 702}


def _rows(columns: dict[str, list[Any]]) -> Any:
    """A struct array."""
    rows = np.empty((len(next(iter(columns.values()))), 1), [(name, object) for name in columns])
    for name, values in columns.items():
        for place, value in enumerate(values):
            rows[name][place, 0] = value
    return rows


TWO: dict[str, list[Any]] = {
    "ILSVRC2010_ID": [2, 1],
    "WNID": ["n00000001", "n00000002"],
    "words": ["", "größer, ∀"],
    "num_children": [0, 0],
}


@pytest.mark.parametrize("compressed", [False, True])
def test_kit_of_other_types_without_numbers_of_images_is_read(compressed: bool) -> None:
    columns = {**TWO, "num_children": [np.uint8(0), np.int16(0)]}
    variables = {"cost_matrix": np.zeros((2, 2), np.uint8), "synsets": _rows(columns)}
    first, second = read_meta(mat(variables, compressed=compressed), 2010, "meta.mat")
    assert (first.words, first.devkit_id, first.train_images) == ("", 2, None)
    assert (second.words, second.devkit_id, second.wnid) == ("größer, ∀", 1, "n00000002")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ILSVRC2010_ID": [1, 3]}, "classes are missing or repeat"),
        ({"ILSVRC2010_ID": [1, 1]}, "classes are missing or repeat"),
        ({"WNID": ["n00000001", "n00000001"]}, "found 1 wnids in 2 rows"),
        ({"num_children": [3, 2]}, "found 0 wnids"),
        ({"ILSVRC2010_ID": ["1", 2]}, "'1' is no count"),
        ({"ILSVRC2010_ID": [1.5, 2]}, "'1.5' is no count"),
        ({"ILSVRC2010_ID": [np.nan, 2]}, "'nan' is no count"),
        ({"WNID": ["n0000001", "n00000002"]}, "is no WordNet id"),
        ({"WNID": [3.0, "n00000002"]}, "is no WordNet id"),
        (
            {"words": [{"deep": {"deeper": {"deepest": 1.0}}}, ""]},
            "words is neither text nor a single number",
        ),
    ],
)
def test_kit_whose_classes_cannot_be_is_refused(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_meta(mat({"synsets": _rows({**TWO, **columns})}), 2010, "meta.mat")


@pytest.mark.parametrize("content", [b"", b"<html>" * 50, b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_file_that_is_no_mat_file_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="no MATLAB 5 file"):
        read_meta(content, 2010, "meta.mat")


def test_kit_of_another_year_is_refused() -> None:
    with pytest.raises(UserError, match="no list of synsets of ILSVRC2010"):
        read_meta(meta(2012), 2010, "meta.mat")


def test_damaged_meta_is_refused() -> None:
    with pytest.raises(UserError, match="no list of synsets"):
        read_meta(meta(2012)[:300], 2012, "meta.mat")


def test_repeated_id_is_refused() -> None:
    with pytest.raises(UserError, match="missing or repeat"):
        read_meta(meta(2012, {"n00000010": 1, "n00000020": 1}), 2012, "meta.mat")


def test_ground_truth_follows_names_not_the_order_in_the_tar() -> None:
    synsets = read_meta(meta(2012), 2012, "meta.mat")
    labels = label_by_name(["c", "a", "b"], [1, 2, 3], synsets, "truth")
    assert labels == {"a": 1, "b": 2, "c": 0}  # ids 1, 2, 3 are labels 1, 2, 0


@pytest.mark.parametrize("ids", [[1, 2], [1, 2, 3, 1]])
def test_ground_truth_of_another_length_is_refused(ids: list[int]) -> None:
    synsets = read_meta(meta(2012), 2012, "meta.mat")
    with pytest.raises(UserError, match=f"found {len(ids)} ids, expected 3"):
        label_by_name(["a", "b", "c"], ids, synsets, "truth")


@pytest.mark.parametrize("devkit_id", [0, 4, 1001])
def test_id_of_no_class_is_refused(devkit_id: int) -> None:
    synsets = read_meta(meta(2012), 2012, "meta.mat")
    with pytest.raises(
        UserError, match=f"line 2: is no class's id, found {devkit_id}, expected one of 3 ids, 1 to 3"
    ):
        label_by_name(["a", "b"], [1, devkit_id], synsets, "truth")


@pytest.mark.parametrize("line", ["n01", "-1", "1.0", "", "\u0663", pytest.param("9" * 5000, id="long")])
def test_line_that_is_no_id_is_refused(line: str) -> None:
    assert read_ids(b"3\r\n12\n\n", "truth") == [3, 12]
    with pytest.raises(UserError, match="truth, line 2: is no id, found "):
        read_ids(f"3\n{line}\n4\n".encode(), "truth")


def test_kit_without_its_ground_truth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kit.tar"
    path.write_bytes(tar({"kit/data/meta.mat": meta(2012)}))
    with pytest.raises(UserError, match=r"holds no data/ILSVRC2012_validation_ground_truth\.txt"):
        read_devkit(path, 2012)


def test_kit_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kit.tar.gz"
    content = devkit(2012, (1, 2, 3))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged or cut short"):
        read_devkit(path, 2012)
