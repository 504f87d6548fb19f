"""The command line: a command per stage, quick where nothing is computed, one line for a user's mistake."""

import subprocess
import sys

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
        "metrics",
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


@pytest.mark.parametrize("command", ["--help", "check", "source", "prepare", "configure", "table", "metrics"])
def test_commands_that_train_nothing_do_not_import_torch(command):
    modules = {
        "--help": "alexnet.cli",
        "check": "alexnet.params",
        "configure": "alexnet.configure",
    }.get(command, f"alexnet.stages.{command}")
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
