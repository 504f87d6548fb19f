"""The stage `table`: files in, one CSV out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from alexnet.core.intervals import TableParams
from alexnet.data.predictions import write_predictions
from alexnet.errors import UserError
from alexnet.stages import table

from ..report.made_predictions import FIVE_WRONG, make_predictions

PARAMS = TableParams(confidence=0.95)


@dataclass
class Line:
    group: str
    data: str


MEMBERS = {name: Line("cnn", "ilsvrc2012") for name in FIVE_WRONG}


def write_all(folder: Path) -> None:
    for name, far in FIVE_WRONG.items():
        for split in ("val", "test"):
            write_predictions(
                folder / "ilsvrc2012" / name / f"{split}.parquet", make_predictions(name, split, far=far)
            )


def run(folder: Path, members: dict[str, Line]) -> Path:
    output = folder / "results" / "table2.csv"
    table.run("table2", members, {"fall2011": "no archives"}, PARAMS, folder, output)
    return output


def test_the_table_is_made_of_the_members_files(tmp_path: Path) -> None:
    write_all(tmp_path)
    frame = pd.read_csv(run(tmp_path, MEMBERS))
    values = frame.set_index(["model", "split", "metric"]).value
    assert values["1 CNN", "val", "top1_error"] == 0.15
    assert values["5 CNNs", "test", "top5_error"] == 0.0


def test_files_of_members_that_are_gone_are_not_read(tmp_path: Path) -> None:
    write_all(tmp_path)
    expected = run(tmp_path, MEMBERS).read_bytes()
    (tmp_path / "ilsvrc2012" / "removed").mkdir()
    (tmp_path / "ilsvrc2012" / "removed" / "val.parquet").write_text("stale")
    others = {"other": Line("cnn2010", "ilsvrc2010"), "pre": Line("pretrained", "fall2011")}
    assert run(tmp_path, {**MEMBERS, **others}).read_bytes() == expected


def test_a_missing_file_is_an_error_and_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    write_all(tmp_path)
    output = run(tmp_path, MEMBERS)
    before, missing = output.read_bytes(), tmp_path / "ilsvrc2012" / "cnn3" / "test.parquet"
    missing.unlink()
    with pytest.raises(UserError) as caught:
        run(tmp_path, MEMBERS)
    assert str(caught.value) == f"{missing}: the predictions are missing. Run predict for this member first."
    assert output.read_bytes() == before


def test_without_members_nothing_is_read(tmp_path: Path) -> None:
    table.run("table1", {}, {"ilsvrc2010": "no archives"}, PARAMS, tmp_path / "none", tmp_path / "table1.csv")
    assert set(pd.read_csv(tmp_path / "table1.csv").reason) == {
        "quoted from the paper", "ilsvrc2010 was left out: no archives"
    }  # fmt: skip


def test_a_written_table_is_shown_in_percent(tmp_path: Path) -> None:
    path = tmp_path / "table2.csv"
    path.write_text(
        "model,split,metric,value,ci_low,ci_high,ci_over,n,paper,difference,reason\n"
        "1 CNN,val,top1_error,0.38,0.36,0.4,seeds,5,0.407,-0.027,\n"
    )
    assert "| 1 CNN | val | top-1 | 38.0 | 36.0–40.0 over 5 seeds | 40.7 | -2.7 |" in table.render(path)


def test_a_table_that_is_not_there_is_told_how_to_build(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table2.csv: is missing. Build it: dvc repro table2."):
        table.render(tmp_path / "table2.csv")
