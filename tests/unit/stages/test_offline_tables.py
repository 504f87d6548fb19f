"""The command `tables`: everything from a folder of predictions, nothing of it skipped in silence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from alexnet import cli
from alexnet.data.predictions import write_predictions
from alexnet.errors import UserError
from alexnet.stages import offline_tables
from alexnet.stages.offline_tables import Wanted, find_members

from ..report.made_predictions import FIVE_WRONG, make_predictions, make_unlabelled

ROOT = Path(__file__).parents[3]
GROUPS = dict.fromkeys(FIVE_WRONG, "cnn")
LEFT_OUT = {"fall2009": "no archives"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, far in FIVE_WRONG.items():
        for split in ("val", "test"):
            write_predictions(
                tmp_path / "ilsvrc2012" / name / f"{split}.parquet", make_predictions(name, split, far=far)
            )
    other = make_predictions("cnn2010", "test", far={3}, dataset="ilsvrc2010")
    write_predictions(tmp_path / "ilsvrc2010" / "cnn2010" / "test.parquet", other)
    return tmp_path


def run(
    folder: Path, *subsets: list[str], groups: dict[str, str] = GROUPS, splits: int = 0
) -> dict[str, pd.DataFrame]:
    return offline_tables.run(folder, Wanted(groups, subsets, LEFT_OUT, 0.95, splits))


def values(frame: pd.DataFrame) -> pd.Series:
    return frame.set_index(["model", "split", "metric"]).value


def test_every_table_is_made_and_members_elsewhere_are_named(folder, capsys):
    made = run(folder, groups={**GROUPS, "late": "cnn*"})
    assert list(made) == ["table1", "table2", "fall2009"]
    assert values(made["table2"])["1 CNN", "val", "top1_error"] == 0.15
    assert values(made["table2"])["5 CNNs", "test", "top5_error"] == 0
    reasons = made["fall2009"].set_index(["model", "metric"]).reason
    assert reasons["CNN, sixth conv layer", "top1_error"] == "fall2009 was left out: no archives"
    said = capsys.readouterr().err
    assert f"{folder} has no predictions for ilsvrc2012 of late" in said
    assert "cnn2010 of ilsvrc2010 have no group" in said
    assert values(run(folder, groups={"cnn2010": "cnn2010"})["table1"])["CNN", "test", "top1_error"] == 0.05


def test_a_row_without_members_blames_the_folder_and_not_params_yaml(folder):
    reasons = run(folder)["table1"].set_index(["model", "metric"]).reason
    assert reasons["CNN", "top1_error"] == f"{folder} has no member of group cnn2010"


def test_a_split_without_a_file_has_a_reason(folder):
    (folder / "ilsvrc2012/cnn3/test.parquet").unlink()
    rows = run(folder)["table2"].set_index(["model", "split", "metric"])
    assert rows.reason["5 CNNs", "test", "top5_error"] == f"{folder} has no test.parquet of cnn3"
    assert rows.value["5 CNNs", "val", "top1_error"] == 0
    (folder / "ilsvrc2012/cnn3/val.parquet").unlink()
    assert "4 of 5 members" in run(folder)["table2"].set_index("model").reason["5 CNNs"].iloc[0]
    (folder / "ilsvrc2010/cnn2010/test.parquet").rename(folder / "ilsvrc2010/cnn2010/val.parquet")
    with pytest.raises(UserError, match=r"cnn2010: has no predictions for these splits, expected test"):
        run(folder, groups={"cnn2010": "cnn2010"})


def test_ensembles_of_any_subset(folder):
    made = run(folder, ["cnn4", "cnn5"], ["cnn2010"])
    rows = made["ensembles"].set_index(["ensemble", "split", "metric"])
    assert rows.value["cnn4 + cnn5", "val", "top1_error"] == 9 / 20
    assert rows.value["cnn2010", "test", "top1_error"] == 0.05
    assert made["ensembles"].split.tolist() == ["val", "val", "test", "test"] * 2
    assert rows.reason["cnn2010", "val", "top1_error"] == f"{folder} has no val.parquet of cnn2010"


def test_searched_weights_stand_beside_equal_ones(folder, capsys):
    made = run(folder, ["cnn4", "cnn5"], ["cnn4"], splits=2)
    assert list(made)[3:] == ["ensembles", "weights", "search"]
    assert made["weights"].ensemble.unique().tolist() == ["5 CNNs", "cnn4 + cnn5"]
    assert made["search"].ensemble.tolist() == ["5 CNNs", "cnn4 + cnn5"]
    assert "5 CNNs, searched weights" in set(made["table2"].model)
    assert set(made["ensembles"].weights) == {"equal", "searched"}
    text = offline_tables.render(made)
    assert "## Table 2\n\n| model" in text and "## Weights searched on validation\n\n| ensemble" in text
    write_predictions(folder / "ilsvrc2012/cnn1/val.parquet", make_unlabelled("cnn1", "val", "kept back"))
    run(folder, splits=2)
    assert "no weights are searched for 5 CNNs: kept back" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (["cnn1", "cnn6"], "has no predictions of this member, found cnn6"),
        (["cnn1", "cnn1"], "names a member twice"),
        (["cnn1", "cnn2010"], "these are predicted together on no data set"),
    ],
)
def test_a_subset_that_cannot_be_is_refused(folder, subset, message):
    with pytest.raises(UserError, match=message):
        run(folder, subset)


def test_a_subset_on_several_data_sets_is_refused(folder):
    for split in ("val", "test"):
        there = make_predictions("cnn1", split, dataset="ilsvrc2010")
        write_predictions(folder / f"ilsvrc2010/cnn1/{split}.parquet", there)
    with pytest.raises(UserError, match="predicted together on several data sets"):
        run(folder, ["cnn1"])


def test_a_folder_without_predictions_is_refused(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/train.parquet").touch()
    with pytest.raises(UserError, match="has no predictions, expected DATASET/MEMBER/SPLIT.parquet"):
        find_members(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        find_members(tmp_path / "nowhere")


def test_the_command_writes_what_the_stage_table_writes(folder, tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    monkeypatch.chdir(project)
    assert cli.main(["tables", "--predictions", str(folder), "--output", "out"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["fall2009.csv", "table1.csv", "table2.csv"]
    assert "has no predictions for ilsvrc2012 of finetuned1, finetuned2" in capsys.readouterr().err
    shutil.copytree(folder / "ilsvrc2010", "work/predictions/ilsvrc2010")
    assert cli.main(["table", "table1"]) == 0
    assert Path("out/table1.csv").read_bytes() == Path("results/table1.csv").read_bytes()
    groups = ["--group", "cnn=cnn1,cnn2,cnn3,cnn4,cnn5"]
    assert cli.main(["tables", "--predictions", str(folder), *groups, "--members", "cnn4,cnn5", "cnn1"]) == 0
    text = capsys.readouterr().out
    assert "| 1 CNN | val | top-1 | 15.0 |" in text
    assert "| cnn4 + cnn5 | equal | ilsvrc2012 | val | top1_error | 45.00 |" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--group", "cnn"], "is not of the form GROUP=MEMBER,..., found cnn"),
        (["--group", "cnn=a,", "--group", "x=b"], "is no list of members, found 'a,'"),
        (["--group", "cnn=a", "--group", "cnn*=a"], "names a member twice, found a"),
        (["--weights", "search", "--splits", "0"], "--splits: is too small, found 0"),
    ],
)
def test_a_mistake_in_the_command_is_said(arguments, message, folder, capsys):
    assert cli.main(["tables", "--predictions", str(folder), *arguments]) == 1
    assert message in capsys.readouterr().err
