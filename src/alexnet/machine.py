"""What depends on the machine: the optional machine.yaml. No setting here changes a result or makes one stale."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alexnet import paths
from alexnet.errors import UserError

Count = Annotated[int, Field(ge=1)]


def _count_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Machine(BaseModel):
    """machine.yaml. Unlike parameters its settings have defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threads: Count = 1  # of each training and prediction
    workers: Count = Field(default_factory=_count_cores)  # processes that decode images
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: Literal["auto"] = "auto"

    @property
    def uses_gpu(self) -> bool:
        """Whether trainings will take a GPU, as far as one can tell without asking its driver."""
        return self.device == "cuda" or (self.device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")))


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
