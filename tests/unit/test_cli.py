"""The command line: a command per stage, quick where nothing is computed, one line for a user's mistake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet import cli


def test_help_lists_a_command_per_stage(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for command in (
        "configure",
        "check",
        "source",
        "prepare",
        "rgb-pca",
        "train",
        "predict",
        "table",
        "doctor",
        "metrics",
        "report",
    ):
        assert f"\n    {command}" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "cnn99"], "names what does not exist, found cnn99"),
        (["prepare", "ilsvrc2014"], "names what does not exist, found ilsvrc2014"),
        (["configure", "nothing"], "nothing"),
        (
            ["configure", "demo", "--data", "ilsvrc2012"],
            "--data: is not of the form NAME=PATH, found ilsvrc2012.",
        ),
    ],
)
def test_a_mistake_is_one_line_and_a_bad_exit_code(arguments, text, capsys):
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["--help", "check", "source", "prepare", "configure", "table", "metrics", "claims", "figures", "report"],
)
def test_commands_that_train_nothing_do_not_import_torch(command):
    modules = {
        "--help": "alexnet.cli",
        "check": "alexnet.params",
        "configure": "alexnet.configure",
    }.get(command, f"alexnet.stages.{command}")
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("asked", "expected"), [([], None), (["--features", "fc7.npy"], Path("fc7.npy"))])
def test_predict_hands_on_where_features_are_to_go(asked, expected, tmp_path, monkeypatch):
    from alexnet.stages import predict

    seen = []
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "run", lambda *_, **options: seen.append(options))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert cli.main(["predict", "cnn1", "val", *asked]) == 0
    assert seen[0]["features"] == expected and seen[0]["device_name"] in ("cpu", "cuda")


def test_predict_takes_both_splits_where_none_is_named(tmp_path, monkeypatch, capsys):
    from alexnet.stages import predict

    seen = []
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "run", lambda member, split, *_, **__: seen.append((member, split)))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert cli.main(["predict", "cnn1"]) == 0
    assert seen == [("cnn1", "val"), ("cnn1", "test")]
    assert cli.main(["predict", "cnn1", "--features", "fc7.npy"]) == 1
    assert "--features: is one split's" in capsys.readouterr().err


def test_no_classes_are_refused(capsys):
    assert cli.main(["describe", "--classes", "0"]) == 1
    assert "--classes: is no number of classes, found 0, expected 1 or more" in capsys.readouterr().err
