"""What depends on the machine: the optional machine.yaml. No setting here makes a result stale.

Nothing here imports PyTorch or asks a driver: plans are made before either is wanted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alexnet import paths
from alexnet.errors import UserError

DEV = Path("/dev")
PAPER_COLUMNS = 2

Count = Annotated[int, Field(ge=1)]
Mode = Literal["none", "columns", "data"]


def _count_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Machine(BaseModel):
    """machine.yaml. Unlike parameters its settings have defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threads: Count = 1  # of each process of a training, and of a prediction
    readers: Annotated[int, Field(ge=0)] = (
        1  # threads of each that read images ahead; 0: each batch in its turn
    )
    workers: Count = Field(default_factory=_count_cores)  # processes that decode images
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: Literal["auto", "none", "columns", "data"] = "auto"  # auto: columns if there are two GPUs
    processes: Annotated[int, Field(ge=2)] = 2  # of a training under `parallel: data`
    compile: bool = False  # by torch.compile
    channels_last: bool = False  # how images lie in memory


@dataclass(frozen=True)
class Plan:
    """What one training or prediction takes of the machine."""

    mode: Mode
    processes: int
    gpus: int  # 0: it computes on cores
    cores: int
    notes: tuple[str, ...] = ()  # what the user may not expect, a line each

    @property
    def device(self) -> str:
        """What it computes on: as planned here, not as PyTorch may find later."""
        return "cuda" if self.gpus else "cpu"


def plan_training(machine: Machine, gpus: int, columns: int, joined: int | None = None) -> Plan:
    """How a member is trained.

    gpus: how many can be used. columns: of the member's network, 1 or 2.
    joined: how many processes have been started for this training already, if it is one of several.
    Raises UserError if a GPU is asked for and there is none, or if `joined` processes are too many or too few.
    """
    usable = _count_wanted(machine, gpus)
    automatic: Mode = "columns" if usable >= PAPER_COLUMNS else "none"
    mode = automatic if machine.parallel == "auto" else machine.parallel
    notes = []
    if mode == "columns" and columns == 1:
        mode = "none"
        notes.append("the network has one column, so one device trains it")
    processes = {"none": 1, "columns": columns, "data": joined or machine.processes}[mode]
    if joined not in (None, processes):
        raise UserError(
            "machine.yaml: parallel", f"{machine.parallel} trains this member in a fixed number of processes",
            found=f"{joined} that were started", expected=processes, fix="Set parallel: data for any number.",
        )  # fmt: skip
    taken = min(processes, usable)
    if 0 < taken < processes:
        notes.append(f"{processes} processes share {taken} GPU{'s' * (taken > 1)}, and talk over gloo")
    return Plan(mode, processes, taken, machine.threads * processes, tuple(notes))


def plan_prediction(machine: Machine, gpus: int) -> Plan:
    """How a split is predicted: on one device. Raises UserError if a GPU is asked for and there is none."""
    return Plan("none", 1, min(1, _count_wanted(machine, gpus)), machine.threads)


def count_devices(machine: Machine, gpus: int) -> dict[str, int]:
    """What the stages take, by the names that `meta` in dvc.yaml uses; a training that of a network with two columns.

    Raises UserError if a GPU is asked for and there is none.
    """
    training, prediction = plan_training(machine, gpus, PAPER_COLUMNS), plan_prediction(machine, gpus)
    return {
        "training_cores": training.cores,
        "training_gpus": training.gpus,
        "prediction_cores": prediction.cores,
        "prediction_gpus": prediction.gpus,
    }


def usable_gpus() -> list[str]:
    """The GPUs this process may use, each as CUDA_VISIBLE_DEVICES names it; none where there is no NVIDIA driver.

    Numbers count the GPUs that are there, whatever their files in /dev are called: so does CUDA.
    As for CUDA, the first number that names no GPU ends the list.
    """
    present = [str(number) for number in range(sum(1 for _ in DEV.glob("nvidia[0-9]*")))]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    named: list[str] = []
    for name in map(str.strip, visible.split(",")):
        is_known = name in present or name.startswith(("GPU-", "MIG-"))
        if not is_known or name in named:
            break
        named.append(name)
    return named


def _count_wanted(machine: Machine, gpus: int) -> int:
    """Usable GPUs that the settings let a stage take."""
    if machine.device == "cuda" and not gpus:
        raise UserError(
            "machine.yaml: device", "no GPU can be used", found="cuda", expected="cpu or auto on this machine",
            fix="Set device: cpu, or see that the driver is there and CUDA_VISIBLE_DEVICES hides not every GPU.",
        )  # fmt: skip
    return 0 if machine.device == "cpu" else gpus


def read_machine(path: Path = paths.MACHINE) -> Machine:
    """The settings in machine.yaml, or the defaults where it has none.

    Raises UserError if an unknown key or an impossible value stands there.
    """
    return _parse(path, _read(path))


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text()) or {}
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        raise UserError(
            str(path), f"is no YAML: {getattr(error, 'problem', error)}", fix="Mend it."
        ) from None


def _parse(path: Path, data: object) -> Machine:
    try:
        return Machine.model_validate(data)
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join([str(path), *map(str, mistake["loc"])]).replace(".yaml.", ".yaml: ", 1)
        if mistake["type"] == "extra_forbidden":
            known = ", ".join(Machine.model_fields)
            raise UserError(where, "unknown setting", expected=f"one of {known}", fix="Correct it.") from None
        expected = mistake["msg"].removeprefix("Input should be ")
        raise UserError(
            where, "has a wrong value", found=repr(mistake["input"]), expected=expected, fix="Correct it."
        ) from None
