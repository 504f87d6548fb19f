"""What Snakemake is told of the devices, and what it runs side by side."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from tests.workflow.project import ROOT, STAND_IN, Project, configure_small, copy_project

CNN = {
    "group": "cnn", "data": "ilsvrc2012", "variant": "two_columns", "protocol": "default", "overrides": {},
    "start": "scratch",
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose /dev is the folder `dev` in it."""
    project = copy_project(tmp_path_factory.mktemp("devices"), [sys.executable, str(ROOT / STAND_IN)])
    configure_small(project, {"cnn1": {**CNN, "seed": 1}, "cnn2": {**CNN, "seed": 2}}, "demo")
    project.edit("src/alexnet/machine.py", 'DEV = Path("/dev")', 'DEV = Path("dev")')
    project.path("dev").mkdir()
    project.environment.pop("CUDA_VISIBLE_DEVICES", None)
    return project


def set_machine(project: Project, gpus: int, machine: str) -> None:
    """Gives the project so many GPUs and this machine.yaml."""
    for file in project.path("dev").iterdir():
        file.unlink()
    for number in range(gpus):
        project.path(f"dev/nvidia{number}").touch()
    project.path("machine.yaml").write_text(machine)


def takes(printed: str, rule: str) -> dict[str, int]:
    """Threads and GPUs of a rule, as a dry run prints them where they are not 1 and 0."""
    block = printed.partition(f"rule {rule}:")[2].partition("\n[")[0]
    found: dict[str, Any] = dict(re.findall(r"\b(threads|gpu)[:=] ?(\d+)", block))
    return {"threads": int(found.get("threads", 1)), "gpu": int(found.get("gpu", 0))}


@pytest.mark.parametrize(
    ("gpus", "machine", "training", "prediction"),
    [
        (0, "", (1, 0), (1, 0)),
        (0, "parallel: columns\n", (2, 0), (1, 0)),
        (2, "", (2, 2), (1, 1)),
        (4, "parallel: none\nthreads: 2\n", (2, 1), (2, 1)),
    ],
)
def test_snakemake_is_told_what_a_stage_takes(
    project: Project, gpus: int, machine: str, training: tuple[int, int], prediction: tuple[int, int]
) -> None:
    set_machine(project, gpus, machine)
    printed = project.snakemake("--dry-run", "work/predictions/ilsvrc2012/cnn1/val.parquet")
    assert takes(printed, "train_cnn1") == dict(zip(("threads", "gpu"), training, strict=True))
    assert takes(printed, "predict_cnn1") == dict(zip(("threads", "gpu"), prediction, strict=True))
    assert takes(printed, "recipe_train") == {"threads": 1, "gpu": 0}


@pytest.mark.parametrize(
    ("gpus", "arguments", "given_out"), [(0, [], 0), (4, [], 4), (4, ["--resources", "gpu=2"], 2)]
)
def test_as_many_gpus_are_given_out_as_there_are_unless_the_user_says_how_many(
    project: Project, gpus: int, arguments: list[str], given_out: int
) -> None:
    set_machine(project, gpus, "")
    printed = project.snakemake("--forceall", *arguments, "--", "check")
    assert re.findall(r"Provided resources: gpu=\D*(\d+)", printed) == [str(given_out)]


def test_a_missing_gpu_is_one_message_before_anything_runs(project: Project) -> None:
    set_machine(project, 0, "device: cuda\n")
    printed = project.snakemake("--dry-run", code=1)
    assert "machine.yaml: device: no GPU can be used, found cuda" in printed
    assert "UserError" not in printed
