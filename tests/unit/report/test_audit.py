from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from alexnet.data.audits import SAME_COLUMNS
from alexnet.data.inventory import Inventory, SplitCount, Synset
from alexnet.report import audit
from alexnet.report.audit import (
    Tally,
    choose_pictures,
    compare_places,
    count_classes,
    render,
    summarise,
)

SYNSETS = [
    Synset(0, "n1", "ant", 2, 0, 3),
    Synset(1, "n2", "bee", 1, 1, 1),
    Synset(2, "n3", "cow", None, 2, None),
]


def _rows(*rows: tuple[str, str, int | None, list[str], tuple[int, int] | None, float]) -> pd.DataFrame:
    """Rows of split, key, label, kinds, (width, height) and grey level; without a size it does not decode."""
    frame = pd.DataFrame(
        [
            {
                "split": split,
                "key": key,
                "label": label,
                "kinds": kinds,
                "width": size[0] if size else None,
                "height": size[1] if size else None,
                **{f"mean_{channel}": level + n if size else None for n, channel in enumerate("rgb")},
                "is_grey": level == 0 if size else None,
                "reason": None if size else "cut short",
            }
            for split, key, label, kinds, size, level in rows
        ]
    )
    return frame.astype({"label": "Int32", "width": "Int32", "height": "Int32", "is_grey": "boolean"})


FIRST = _rows(
    ("train", "a", 0, [], (500, 400), 100.0),
    ("train", "b", 0, ["cmyk", "progressive"], (100, 400), 50.0),
    ("train", "c", 1, ["unreadable", "truncated"], None, 0),
)
SECOND = _rows(
    ("train", "d", 0, ["progressive"], (255, 600), 0),
    ("val", "e", 1, ["unreadable"], None, 0),
    ("test", "f", None, [], (256, 256), 200.0),
)
NO_SAME = pd.DataFrame(columns=SAME_COLUMNS)


def _tally(*frames: pd.DataFrame) -> Tally:
    tally = Tally(len(SYNSETS))
    for frame in frames:
        tally.add(frame)
    return tally


def _summary(tally: Tally, same: pd.DataFrame = NO_SAME, others: tuple[str, ...] = ()) -> dict[str, Any]:
    splits = {"train": SplitCount(4, None), "val": SplitCount(1, None), "test": SplitCount(1, "no labels")}
    inventory = Inventory("own", "folder", [], SYNSETS, splits)
    columns = {"width": np.array([500, 100, 255, 256], np.int32), "mean_r": np.array([0.5, 1.0], np.float32)}
    classes = count_classes(SYNSETS, tally)
    return summarise(inventory, tally, classes, columns, same, others, {"pillow": "1"})


def test_images_are_added_up_whatever_the_batches() -> None:
    for frames in ((FIRST, SECOND), (pd.concat([FIRST, SECOND], ignore_index=True),)):
        tally = _tally(*frames)
        assert tally.images == {"train": 4, "val": 1, "test": 1}
        assert +tally.unreadable == {"train": 1, "val": 1}
        assert +tally.labelled == {"train": 4, "val": 1}
        assert +tally.small == {"train": 2}  # 100 and 255 pixels
        assert +tally.grey == {"train": 1}
        assert +tally.odd == {"train": 2, "val": 1}  # a progressive JPEG is nothing odd
        assert tally.kinds["progressive"] == {"train": 2} and tally.kinds["unreadable"] == {
            "train": 1,
            "val": 1,
        }
        assert tally.reasons == {"cut short": 2}
        assert [item["key"] for item in tally.refused] == ["c", "e"]
        assert tally.sums.tolist() == [350.0, 354.0, 358.0]
        assert tally.classes["train"].tolist() == [3, 1, 0] and tally.classes["val"].tolist() == [0, 1, 0]


def test_lists_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LISTED", 1)
    monkeypatch.setattr(audit, "EXAMPLES", 1)
    tally = _tally(FIRST, SECOND)
    assert [item["key"] for item in tally.refused] == ["c"]
    assert tally.examples["unreadable"] == [("train", "c")]
    assert tally.extremes["widest"]["key"].tolist() == ["a"]


def test_pictures_are_of_odd_kinds_and_of_extremes_that_differ() -> None:
    chosen = choose_pictures(_tally(FIRST, SECOND), NO_SAME, "own")
    assert ("unreadable", "val", "e") in chosen and ("cmyk", "train", "b") in chosen
    assert not any(why == "progressive" for why, _, _ in chosen)
    firsts = {why: key for why, _, key in reversed(chosen)}
    assert firsts["widest"] == "a" and firsts["tallest"] == "b"
    assert firsts["largest"] == "a" and firsts["smallest"] == "b"  # 200,000 and 40,000 pixels
    assert firsts["brightest"] == "f" and firsts["darkest"] == "d"
    disagreeing = [
        place for why, *place in choose_pictures(_tally(FIRST), SAME, "own") if why == "labels disagree"
    ]
    assert disagreeing == [["train", "a"], ["train", "b"], ["val", "e"]]
    equal = _rows(("train", "a", 0, [], (64, 64), 1.0), ("train", "b", 0, [], (64, 64), 2.0))
    assert {why for why, _, _ in choose_pictures(_tally(equal), NO_SAME, "own")} == {"brightest", "darkest"}


def test_classes_are_held_against_the_development_kit() -> None:
    frame = count_classes(SYNSETS, _tally(FIRST, SECOND))
    assert frame.columns.tolist() == [
        "wnid", "words", "label", "devkit_id", "train", "val", "test", "devkit_train", "difference",
    ]  # fmt: skip
    assert frame["train"].tolist() == [3, 1, 0] and frame["val"].tolist() == [0, 1, 0]
    assert frame["difference"].tolist() == [0, 0, pd.NA]
    fewer = count_classes([Synset(0, "n1", "ant", 2, 0, 5), *SYNSETS[1:]], _tally(FIRST, SECOND))
    assert fewer["difference"].tolist()[:2] == [-2, 0]


def _same(*rows: tuple[str, str, str, str, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=SAME_COLUMNS)


BEE, COW = "n00000020", "n00000030"
SAME = _same(
    ("p0", "own", "val", "h", "bee"),
    ("p0", "own", "val", "i", "bee"),
    ("p0", "own", "test", "j", None),
    ("p0", "own", "test", "k", None),
    ("p1", "own", "train", "a", "ant"),
    ("p1", "own", "train", "b", "ant"),
    ("p1", "own", "val", "e", "bee"),
    ("p2", "own", "test", "f", None),
    ("p2", "own", "train", "c", BEE),
    ("p2", "other", "train", "x", BEE),
    ("p2", "other", "val", "y", COW),
    ("p3", "own", "val", "g", "airplane"),
    ("p3", "other", "val", "z", COW),
)


def test_places_are_compared_two_by_two() -> None:
    found = [
        (*row["places"], row["pixels"], row["images"], row["labels_disagree"])
        for row in compare_places(SAME, "own")
    ]
    assert found == [
        ("train", "train", 1, 2, 0),
        ("train", "val", 1, 3, 1),
        ("train", "test", 1, 2, 0),  # no label disagrees with none
        ("train", "other/train", 1, 2, 0),
        ("train", "other/val", 1, 2, 1),
        ("val", "val", 1, 2, 0),
        ("val", "test", 1, 4, 0),
        ("val", "other/val", 1, 2, 0),  # nor one that is no wnid with another set's
        ("test", "test", 1, 2, 0),
        ("test", "other/train", 1, 2, 0),
        ("test", "other/val", 1, 2, 0),
    ]
    assert compare_places(NO_SAME, "own") == []


def test_labels_within_a_place_may_disagree_too() -> None:
    same = _same(*(("p", "own", "train", str(n), wnid) for n, wnid in enumerate(("ant", "ant", "bee"))))
    assert compare_places(same, "own") == [
        {"places": ["train", "train"], "pixels": 1, "images": 3, "labels_disagree": 1}
    ]


def test_leaks_and_other_labels_need_attention() -> None:
    summary = _summary(_tally(FIRST, SECOND), SAME, ("other",))
    assert summary["attention"] == [
        "1 train image cannot be decoded: left out by prepare",
        "1 val image cannot be decoded: refused by prepare, with the data set",
        "1 picture in both train and val",
        "1 picture in both train and val, with other labels",
        "1 picture in both train and test",
        "1 picture in both train and other/val",
        "1 picture in both train and other/val, with other labels",
        "1 picture in both val and test",
        "1 picture in both test and other/train",
    ]
    lines = render(summary).splitlines()
    assert (
        lines[-1] == "own: 9 findings need attention"
        and lines[-2] == "- 1 picture in both test and other/train"
    )


def test_first_groups_are_those_whose_labels_disagree() -> None:
    groups = _summary(_tally(FIRST), SAME)["same_pixels"]["first"]
    assert [(group["pixels"], group["labels_disagree"]) for group in groups] == [
        ("p1", True),
        ("p2", True),
        ("p0", False),
        ("p3", False),
    ]
    assert groups[0]["images"][2] == {"image": "own/val/e", "wnid": "bee"}


def test_damaged_images_and_other_counts_need_attention() -> None:
    rows = _rows(
        ("train", "a", 1, ["decoder_warned"], (9, 9), 1.0), ("train", "b", 1, ["missing_scans"], (9, 9), 1.0)
    )
    assert _summary(_tally(rows))["attention"] == [
        "1 image damaged, though decoded (decoder_warned)",
        "1 image damaged, though decoded (missing_scans)",
        "2 classes with another count of training images than the development kit: n1 -3, n2 +1",
    ]


def test_quantiles_are_values_that_occur_and_text_aligns() -> None:
    tally = _tally(FIRST, SECOND)
    summary = _summary(tally)
    assert summary["quantiles"] == {
        "percent": [0, 1, 5, 25, 50, 75, 95, 99, 100],
        "width": [100, 100, 100, 255, 256, 256, 500, 500, 500],
        "mean_r": [0.5, 0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1],
    }
    text = render(summary)
    assert "split  images  labelled  unreadable  odd  grey  below 256 px\n" in text
    assert "train       4         4           1    2     1             2\n" in text
    assert "test        1         0           0    0     0             0  no labels\n" in text
    assert "mean colour 87.5, 88.5, 89.5; 1 image grey throughout\n" in text
    assert "  2 x cut short\n" in text
    assert "no two images have the same pixels" in text


def test_nothing_odd_says_so() -> None:
    rows = _rows(
        *(("train", f"{n}", 0, [], (300, 300), float(n)) for n in (1, 2, 3)),
        ("train", "b", 1, [], (300, 300), 4.0),
    )
    text = render(_summary(_tally(rows)))
    assert text.endswith("own: nothing needs attention\n") and "no odd kind of file\n" in text
    assert "each has as many training images as the development kit says" in text


def test_set_without_a_readable_image_has_a_table_too() -> None:
    inventory = Inventory(
        "own", "folder", [], SYNSETS, {split: SplitCount(0, None) for split in ("train", "val", "test")}
    )
    tally = _tally(FIRST[2:])
    columns = {"width": np.empty(0, np.int32)}
    summary = summarise(inventory, tally, count_classes(SYNSETS, tally), columns, NO_SAME, [], {})
    assert summary["quantiles"]["width"] is None
    assert "1 train image cannot be decoded" in render(summary)
