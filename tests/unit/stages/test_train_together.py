"""Members trained in two processes: the same files as from one, and checkpoints that either goes on from."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from alexnet.data.checkpoint import FILE
from alexnet.data.weights import read_tensors
from tests.unit.stages.test_train import TIMED, make_project, run

ROOT = Path(__file__).parents[3]
LAUNCH = """
import sys
from alexnet.launch import launch
program = (sys.executable, "-W", "error", "-m", "tests.unit.stages.train_run")
sys.exit(launch(sys.argv[2:], int(sys.argv[1]), program=program))
"""
EPOCHS = 3


def start(project, mode, die_after=0, epochs=EPOCHS, processes=2):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-c", LAUNCH, str(processes), str(project), mode, str(die_after), str(epochs)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process, code=0):
    """What it printed; the exit code must be `code`, or any but 0 for None."""
    printed, errors = process.communicate(timeout=240)
    assert process.returncode == code if code is not None else process.returncode != 0, errors
    return printed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A project whose member was trained by one process."""
    project = make_project(tmp_path_factory.mktemp("alone"))
    run(project, "net", epochs=EPOCHS)
    return project


@pytest.fixture
def project(alone, tmp_path):
    """The same data with nothing trained."""
    shutil.copytree(alone, tmp_path / "project", ignore=shutil.ignore_patterns("net", ".ckpt"))
    return tmp_path / "project"


def assert_same(project, alone):
    """The weights and the history agree to float32 rounding."""
    own, other = (read_tensors(folder / "net/weights.safetensors") for folder in (project, alone))
    assert own.about == other.about and list(own.tensors) == list(other.tensors)
    for name, tensor in own.tensors.items():
        torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-3, atol=1e-5)
    histories = [pd.read_csv(folder / "net/history.csv").drop(columns=TIMED) for folder in (project, alone)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)


@pytest.mark.parametrize("mode", ["columns", "data"])
def test_two_processes_write_what_one_writes(project, alone, mode):
    printed = finish(start(project, mode))
    assert_same(project, alone)
    assert ("the columns exchange 2,560 bytes for each image forward, and as many back" in printed) == (
        mode == "columns"
    )


@pytest.mark.parametrize("mode", ["columns", "data"])
def test_what_two_began_one_goes_on_with(project, alone, mode, capsys):
    finish(start(project, mode, die_after=5), code=None)
    run(project, "net", epochs=EPOCHS)
    assert "going on at epoch 2, update 2 of it" in capsys.readouterr().out
    assert_same(project, alone)


@pytest.mark.parametrize(("mode", "processes"), [("columns", 2), ("data", 3)])
def test_several_killed_and_started_again_end_in_the_same_bits(project, mode, processes):
    """Three, since sums of two numbers have no order."""
    file = project / "net/weights.safetensors"
    finish(start(project, mode, processes=processes))
    undisturbed = file.read_bytes()
    file.unlink()
    finish(start(project, mode, die_after=5, processes=processes), code=None)
    assert "going on at epoch 2, update 2 of it" in finish(start(project, mode, processes=processes))
    assert file.read_bytes() == undisturbed


def test_what_one_began_two_columns_go_on_with(project, alone):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "tests.unit.stages.train_run", str(project), "none", "5", str(EPOCHS)]
    assert subprocess.run(command, env=environment, check=False).returncode == 7
    assert "going on at epoch 2, update 2 of it" in finish(start(project, "columns"))
    assert_same(project, alone)


def test_sigterm_to_the_parent_lets_both_columns_write_one_checkpoint_and_leave(project, alone):
    process = start(project, "columns", epochs=40)
    end = time.monotonic() + 120
    while not list(project.glob(f".ckpt/*/{FILE}")):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    printed = finish(process, code=128 + signal.SIGTERM)
    assert printed.count("train net: SIGTERM: checkpoint written after epoch") == 1
    names = set(read_tensors(next(project.glob(f".ckpt/*/{FILE}"))).tensors)
    whole = read_tensors(alone / "net/weights.safetensors").tensors
    assert names == {f"{kind}/{name}" for kind in ("weight", "velocity") for name in whole}
