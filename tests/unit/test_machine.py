from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.machine import read_machine


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
    assert not machine.uses_gpu


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "thread: 1\n",
            "machine.yaml: thread: unknown setting, expected one of threads, workers, device, parallel.",
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
        ("threads: [\n", "machine.yaml: is no YAML: "),
        ("- threads\n", "machine.yaml: has a wrong value, found ['threads'], expected a valid dictionary"),
    ],
)
def test_a_mistake_is_said_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_machine(write(tmp_path, text))
    assert message in str(caught.value)
