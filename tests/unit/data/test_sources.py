from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from alexnet.data.sources import FallDataset, IlsvrcDataset

FALL = {"kind": "fall", "path": "inputs/fall2011", "md5": {}}
TINY = {
    "kind": "tiny-imagenet",
    "path": "x",
    "md5": {},
    "classes": {"fraction": 0.5, "at_most": None, "seed": 1},
}
FOLDER = {"kind": "folder", "path": "x", "md5": {}}
CIFAR = {"kind": "cifar10", "path": "x", "md5": {}}
CONTEST = {"kind": "ilsvrc", "path": "x", "year": 2012, "md5": {}}
SPLIT = {"val": 0.01, "test": 0.0, "seed": 2011}


@pytest.mark.parametrize("source", [CONTEST, TINY, FOLDER, CIFAR])
def test_contest_takes_sources_with_splits(source: dict[str, Any]) -> None:
    assert IlsvrcDataset.model_validate({"source": source}).source.kind == source["kind"]


@pytest.mark.parametrize(
    ("source", "split"),
    [
        (FALL, SPLIT),
        (TINY, "as_archived"),
        (CIFAR, "as_archived"),
        (FOLDER, SPLIT),
        (FOLDER, "as_archived"),
    ],
)
def test_release_takes_a_split_that_fits_its_source(source: dict[str, Any], split: object) -> None:
    assert FallDataset.model_validate({"source": source, "split": split}).source.kind == source["kind"]


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        (FALL, "as_archived", "a Fall release brings none"),
        (TINY, SPLIT, "as Tiny ImageNet's zip brings its own"),
        (CIFAR, SPLIT, "as CIFAR-10 brings its own"),
        (FALL, {**SPLIT, "val": 0.5, "test": 0.5}, "must be below 1"),
        (FALL, {**SPLIT, "val": -0.1}, "greater than or equal to 0"),
        (FALL, "as_archive", "should be 'as_archived'"),
    ],
)
def test_release_refuses_a_split_that_does_not(source: dict[str, Any], split: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        FallDataset.model_validate({"source": source, "split": split})
    assert caught.value.error_count() == 1


def test_mistyped_key_of_a_split_gives_no_second_message_of_another_kind() -> None:
    with pytest.raises(ValidationError) as caught:
        FallDataset.model_validate({"source": FALL, "split": {"val": 0.1, "test": 0.0, "sed": 1}})
    assert {error["type"] for error in caught.value.errors()} == {"missing", "extra_forbidden"}


@pytest.mark.parametrize(
    "source",
    [FALL, {**CONTEST, "year": 2011}, {**CONTEST, "md5": {"a.tar": "no md5"}}, {**CONTEST, "kind": "other"}],
)
def test_contest_refuses_what_it_cannot_be(source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IlsvrcDataset.model_validate({"source": source})
