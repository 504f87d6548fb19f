"""Each stage says how long it took, if it ended well; nothing else does."""

import json
import shutil
from pathlib import Path

import pytest

from alexnet import cli, paths
from alexnet.errors import UserError
from alexnet.stages import audit, card, table
from alexnet.times import time_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_stage_that_ends_well_is_timed_by_the_clock(monkeypatch):
    clock = iter([100.0, 161.24])
    monkeypatch.setattr("alexnet.times.time.perf_counter", lambda: next(clock))
    with time_stage("predict cnn1 val", "cuda"):
        assert not paths.TIMES.exists()
    text = Path("work/times/predict-cnn1-val.json").read_text()
    assert json.loads(text) == {"stage": "predict cnn1 val", "seconds": 61.2, "device": "cuda"}


def test_a_stage_that_fails_keeps_the_time_of_before():
    with time_stage("check"):
        pass
    before = Path("work/times/check.json").read_text()
    with pytest.raises(UserError), time_stage("check", "elsewhere"):
        raise UserError("here", "is wrong")
    assert Path("work/times/check.json").read_text() == before


def test_an_audit_is_timed_as_a_stage_only_when_it_is_of_all_data_sets(monkeypatch):
    shutil.copy(PARAMS, "params.yaml")
    monkeypatch.setattr(audit, "run_all", lambda datasets, workers: "")
    assert cli.main(["audit", "ilsvrc2012"]) == 0
    assert not paths.TIMES.exists()
    assert cli.main(["audit"]) == 0
    assert [path.name for path in paths.TIMES.iterdir()] == ["audit.json"]


def test_cards_are_timed_as_a_stage_only_when_they_are_of_all_members(monkeypatch):
    shutil.copy(PARAMS, "params.yaml")
    made = []
    monkeypatch.setattr(card, "run", lambda member, *_: made.append(member))
    assert cli.main(["card", "cnn1", "--output", "cnn1.md"]) == 0
    assert made == ["cnn1"] and not paths.TIMES.exists()
    assert cli.main(["card", "--output", "work/cards"]) == 0
    assert len(made) == 12
    assert [path.name for path in paths.TIMES.iterdir()] == ["cards.json"]


def test_commands_are_timed_by_what_they_make_and_not_when_they_only_show(monkeypatch):
    monkeypatch.setattr(table, "render", lambda path: "shown")
    assert cli.main(["table", "table2", "--show"]) == 0
    assert not paths.TIMES.exists()
    monkeypatch.setattr(cli, "_table", lambda options: None)
    assert cli.main(["table", "table2"]) == 0
    assert [path.name for path in paths.TIMES.iterdir()] == ["table-table2.json"]
