from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alexnet import machine as module
from alexnet.errors import UserError
from alexnet.machine import (
    Machine,
    Plan,
    count_devices,
    plan_prediction,
    plan_training,
    read_machine,
    usable_gpus,
)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "machine.yaml"
    file.write_text(text)
    return file


def test_without_the_file_each_training_takes_one_thread(tmp_path: Path) -> None:
    machine = read_machine(tmp_path / "machine.yaml")
    assert (machine.threads, machine.device, machine.parallel) == (1, "auto", "auto")
    assert machine.workers >= 1


def test_an_empty_file_is_the_same_as_none(tmp_path: Path) -> None:
    assert read_machine(write(tmp_path, "# nothing yet\n")) == read_machine(tmp_path / "none.yaml")


def test_settings_in_the_file_count(tmp_path: Path) -> None:
    machine = read_machine(write(tmp_path, "threads: 3\nworkers: 5\ndevice: cpu\n"))
    assert (machine.threads, machine.workers, machine.device) == (3, 5, "cpu")


def test_nothing_that_costs_equal_bytes_is_on_by_itself() -> None:
    assert not Machine().compile
    assert not Machine().channels_last


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "thread: 1\n",
            "machine.yaml: thread: unknown setting, expected one of threads, readers, workers, device, parallel, "
            "processes, compile, channels_last. Correct it.",
        ),
        (
            "threads: 0\n",
            "machine.yaml: threads: has a wrong value, found 0, expected greater than or equal to 1.",
        ),
        (
            "threads: two\n",
            "machine.yaml: threads: has a wrong value, found 'two', expected a valid integer.",
        ),
        (
            "device: gpu\n",
            "machine.yaml: device: has a wrong value, found 'gpu', expected 'auto', 'cpu' or 'cuda'.",
        ),
        (
            "parallel: model\n",
            "machine.yaml: parallel: has a wrong value, found 'model', "
            "expected 'auto', 'none', 'columns' or 'data'.",
        ),
        (
            "processes: 1\n",
            "machine.yaml: processes: has a wrong value, found 1, expected greater than or equal to 2.",
        ),
        (
            "compile: 1\n",
            "machine.yaml: compile: has a wrong value, found 1, expected a valid boolean.",
        ),
        ("threads: [\n", "machine.yaml: is no YAML: "),
        ("- threads\n", "machine.yaml: has a wrong value, found ['threads'], expected a valid dictionary"),
    ],
)
def test_a_mistake_is_said_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_machine(write(tmp_path, text))
    assert message in str(caught.value)


SHARE = "2 processes share 1 GPU, and talk over gloo"


@pytest.mark.parametrize(
    ("settings", "gpus", "expected"),
    [
        ({}, 0, Plan("none", 1, 0, 1)),
        ({}, 1, Plan("none", 1, 1, 1)),
        ({}, 2, Plan("columns", 2, 2, 2)),
        ({}, 4, Plan("columns", 2, 2, 2)),
        ({"threads": 3}, 4, Plan("columns", 2, 2, 6)),
        ({"device": "cpu"}, 4, Plan("none", 1, 0, 1)),
        ({"parallel": "none", "threads": 4}, 2, Plan("none", 1, 1, 4)),
        ({"parallel": "columns", "threads": 2}, 0, Plan("columns", 2, 0, 4)),
        ({"parallel": "columns"}, 1, Plan("columns", 2, 1, 2, (SHARE,))),
        ({"parallel": "columns", "device": "cuda"}, 1, Plan("columns", 2, 1, 2, (SHARE,))),
        ({"parallel": "columns"}, 4, Plan("columns", 2, 2, 2)),
        ({"parallel": "data"}, 0, Plan("data", 2, 0, 2)),
        ({"parallel": "data", "processes": 4}, 4, Plan("data", 4, 4, 4)),
        (
            {"parallel": "data", "processes": 3},
            2,
            Plan("data", 3, 2, 3, ("3 processes share 2 GPUs, and talk over gloo",)),
        ),
    ],
)
def test_a_training_of_two_columns_takes(settings: dict[str, Any], gpus: int, expected: Plan) -> None:
    assert plan_training(Machine(**settings), gpus, columns=2) == expected


@pytest.mark.parametrize("parallel", ["auto", "columns"])
def test_a_network_with_one_column_trains_on_one_device_and_says_so(parallel: Any) -> None:
    plan = plan_training(Machine(parallel=parallel), gpus=2, columns=1)
    assert plan == Plan("none", 1, 1, 1, ("the network has one column, so one device trains it",))


def test_one_column_is_enough_to_share_the_images() -> None:
    assert plan_training(Machine(parallel="data"), gpus=2, columns=1) == Plan("data", 2, 2, 2)


def test_a_gpu_that_is_asked_for_and_missing_is_a_mistake() -> None:
    for plan in (lambda machine: plan_training(machine, 0, 2), lambda machine: plan_prediction(machine, 0)):
        with pytest.raises(UserError) as caught:
            plan(Machine(device="cuda", parallel="columns"))
        assert "machine.yaml: device: no GPU can be used, found cuda, expected cpu or auto" in str(
            caught.value
        )


def test_processes_started_by_somebody_else_are_as_many_as_they_are_under_data() -> None:
    machine = Machine(parallel="data", threads=2)
    assert plan_training(machine, 2, 2, joined=8) == Plan(
        "data", 8, 2, 16, ("8 processes share 2 GPUs, and talk over gloo",)
    )


def test_processes_started_by_somebody_else_must_fit_the_mode() -> None:
    assert plan_training(Machine(), 2, 2, joined=2).mode == "columns"
    assert plan_training(Machine(), 1, 2, joined=1).mode == "none"
    with pytest.raises(UserError) as caught:
        plan_training(Machine(), 2, 2, joined=4)
    assert str(caught.value) == (
        "machine.yaml: parallel: auto trains this member in a fixed number of processes, "
        "found 4 that were started, expected 2. Set parallel: data for any number."
    )


def test_a_prediction_takes_one_device() -> None:
    machine = Machine(parallel="data", processes=4, threads=3)
    assert plan_prediction(machine, 4) == Plan("none", 1, 1, 3)
    assert plan_prediction(machine, 0) == Plan("none", 1, 0, 3)


def test_the_stages_take_what_two_columns_take() -> None:
    assert count_devices(Machine(threads=3), 4) == {
        "training_cores": 6, "training_gpus": 2, "prediction_cores": 3, "prediction_gpus": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("2, 0", ["2", "0"]),
        ("1,7,2", ["1"]),
        ("GPU-1f2e,MIG-3", ["GPU-1f2e", "MIG-3"]),
    ],
)
def test_usable_gpus_are_those_that_are_there_and_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    for name in ("nvidia3", "nvidia5", "nvidia6", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(module, "DEV", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert usable_gpus() == expected


def test_without_a_driver_no_name_of_a_gpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEV", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1f2e")
    assert usable_gpus() == []
