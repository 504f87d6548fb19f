"""The stage `metrics`: numbers only, nested, without dots in their names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alexnet.core.intervals import TableParams
from alexnet.data.predictions import write_predictions
from alexnet.errors import UserError
from alexnet.report.paper import TABLES
from alexnet.stages import metrics, table

from ..report.made_predictions import FIVE_WRONG, make_predictions, make_unlabelled

PARAMS = TableParams(confidence=0.95)
LEFT_OUT = {"ilsvrc2010": "no archives", "fall2009": "no archives"}


@dataclass
class Line:
    group: str
    data: str


STARS = {"star1": {0}, "star2": {0, 1, 2}}
MEMBERS = {
    **{name: Line("cnn", "ilsvrc2012") for name in FIVE_WRONG},
    **{name: Line("cnn*", "ilsvrc2012") for name in STARS},
}


def build(folder: Path) -> Path:
    """results/metrics.json of five plain and two pre-trained nets, whose test images have no labels."""
    for name, far in {**FIVE_WRONG, **STARS}.items():
        own = folder / "ilsvrc2012" / name
        write_predictions(own / "val.parquet", make_predictions(name, far=far, centre_far={*far, 19}))
        write_predictions(own / "test.parquet", make_unlabelled(name, "test", "never public"))
    tables = [folder / f"{name}.csv" for name in TABLES]
    for path in tables:
        table.run(path.stem, MEMBERS, LEFT_OUT, PARAMS, folder, path)
    metrics.run(MEMBERS, folder, tables, folder / "metrics.json")
    return folder / "metrics.json"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(build(tmp_path_factory.mktemp("results")).read_text())
    return read


def leaves(numbers: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in numbers.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def test_values_of_the_tables_are_nested(numbers: dict[str, Any]) -> None:
    assert numbers["table2"]["1 CNN"] == {"val": {"top1_error": 0.15, "top5_error": 0.15}}
    assert numbers["table2"]["5 CNNs"] == {"val": {"top1_error": 0.0, "top5_error": 0.0}}


def test_what_has_no_value_is_left_out(numbers: dict[str, Any]) -> None:
    assert set(numbers) == {"table2", "members", "effects"}
    assert "SIFT + FVs" not in numbers["table2"]
    assert set(numbers["members"]["cnn1"]) == {"val"}


def test_members_have_both_views(numbers: dict[str, Any]) -> None:
    assert numbers["members"]["cnn2"]["val"] == {
        "ten_views": {"top1_error": 0.1, "top5_error": 0.1}, "centre_view": {"top1_error": 0.15, "top5_error": 0.15}
    }  # fmt: skip
    assert set(numbers["members"]) == set(MEMBERS)


def test_effects_are_those_worked_by_hand(numbers: dict[str, Any]) -> None:
    effects = numbers["effects"]
    assert effects["ensemble"] == {"difference": -0.15, "standard_error": round(math.sqrt(0.15 / 19 / 20), 6)}
    # cnn* minus cnn: 0.8 (image 0), 0.3 (images 1, 2), -0.2 (twelve), 0 (five): mean -0.05
    error = math.sqrt((0.64 + 0.18 + 0.48 - 20 * 0.05**2) / 19 / 20)
    assert effects["pretraining"] == {"difference": -0.05, "standard_error": round(error, 6)}
    assert effects["ten_views"] == {"difference": -0.05, "standard_error": 0.05}  # image 19 only


def test_all_leaves_are_finite_numbers_and_no_name_has_a_dot(numbers: dict[str, Any]) -> None:
    for path, value in leaves(numbers):
        assert isinstance(value, float), path
        assert math.isfinite(value), path
        assert not any("." in name for name in path), path


def test_equal_predictions_make_equal_bytes(tmp_path: Path) -> None:
    text = build(tmp_path / "one").read_text()
    assert build(tmp_path / "other").read_text() == text
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_a_missing_table_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        metrics.run({}, tmp_path, [tmp_path / "table1.csv"], tmp_path / "metrics.json")
    assert str(caught.value) == (
        f"{tmp_path / 'table1.csv'}: the table is missing. Run `alexnet table table1` first."
    )


def test_without_members_there_are_no_effects(tmp_path: Path) -> None:
    metrics.run({}, tmp_path, [], tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == {}
