"""The real commands from nothing to the report, twice: by either engine, once with a training killed on its way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.project import Project, configure_small, copy_project, read_results

COMMAND = [sys.executable, "-m", "alexnet.cli"]
LONG = "cnn1"  # trains long enough to be killed on its way


def member(
    group: str, data: str, variant: str, seed: int, start: str = "scratch", epochs: int = 1
) -> dict[str, Any]:
    """A line of `members`."""
    line = {
        "group": group,
        "data": data,
        "variant": variant,
        "protocol": "default",
        "seed": seed,
        "start": start,
    }
    return {**line, "overrides": {"epochs": epochs}}


MEMBERS = {
    LONG: member("cnn", "ilsvrc2012", "two_columns", 1, epochs=12),
    "cnn2": member("cnn", "ilsvrc2012", "two_columns", 2),
    "pretrained1": member("pretrained", "fall2011", "six_conv", 6),
    "finetuned1": member("cnn*", "ilsvrc2012", "six_conv", 8, start="pretrained1"),
}


ABLATION = {
    "base": "cnn", "data": "ilsvrc2012", "split": "val", "variant": "no_lrn", "protocol": "default",
    "overrides": {"epochs": 1}, "seeds": [1, 2],
}  # fmt: skip
RELU_TANH = {
    "classes": 2, "rates": {"relu": [0.002], "tanh": [0.01]}, "choice_seeds": [3], "seeds": [1], "batch": 8,
    "momentum": 0.9, "max_epochs": 2, "target": 0.25,
}  # fmt: skip
NEIGHBOURS = {"data": "ilsvrc2012", "seed": 1}
RESULTS = {
    "table1.csv", "table2.csv", "fall2009.csv", "metrics.json", "claims.csv", "ablations.csv", "protocols.csv", "report.html",
    *(f"figures/figure{number}{end}" for number in (1, 2, 3, 4) for end in (".svg", "_narrow.svg", ".png")),
    "figures/figures.json",
}  # fmt: skip


def make_project(folder: Path) -> Project:
    """A project with few images, four members and two data sets."""
    project = copy_project(folder, COMMAND)
    project.edit("src/alexnet/data/checkpoint.py", "LEAST_PAUSE_S = 10.0", "LEAST_PAUSE_S = 0.1")
    demo = project.path("configs/demo.yaml")
    profile = yaml.safe_load(demo.read_text())
    datasets = profile["datasets"]
    datasets["ilsvrc"]["ilsvrc2012"]["source"] |= {"train": 24, "val": 3, "test": 3}
    datasets["fall"]["fall2011"]["source"] |= {"train": 24}
    datasets["ilsvrc"]["ilsvrc2010"] = None
    profile["left_out"] = dict.fromkeys(("ilsvrc2010", "fall2009"), "not in this test")
    demo.write_text(yaml.safe_dump(profile))
    configure_small(
        project, MEMBERS, "demo", ablations={"no_lrn": ABLATION}, relu_tanh={"ilsvrc2012": RELU_TANH},
        neighbours={"cnn2": NEIGHBOURS},
    )  # fmt: skip
    return project


@pytest.fixture(scope="module")
def by_snakemake(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by Snakemake, two jobs at a time."""
    project = make_project(tmp_path_factory.mktemp("snakemake"))
    project.snakemake()
    return project


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built by DVC, one stage at a time, killed once on the way and then gone on with by Snakemake."""
    project = make_project(tmp_path_factory.mktemp("dvc"))
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", f"train@{LONG}"], cwd=project.folder, env=project.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 240
    while not list(project.folder.glob(f".ckpt/{LONG}-*/checkpoint.safetensors")):
        assert process.poll() is None, "it ended before there was a checkpoint"
        assert time.monotonic() < end, "no checkpoint appeared"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.snakemake(f"train_{LONG}")
    project.dvc("repro")
    return project


def test_every_result_is_there_and_neither_engine_has_anything_to_do(by_snakemake: Project) -> None:
    assert set(read_results(by_snakemake)) == RESULTS
    json.loads(by_snakemake.path("results/metrics.json").read_text())
    by_snakemake.assert_idle()
    assert "up to date" in by_snakemake.dvc("repro")


def test_a_killed_training_went_on_from_its_checkpoint(by_dvc: Project) -> None:
    log = by_dvc.path(f"logs/train@{LONG}.log").read_text()
    assert "going on at epoch" in log
    assert not list(by_dvc.folder.glob(f".ckpt/{LONG}-*"))
    by_dvc.assert_idle()


def test_results_do_not_depend_on_the_engine_or_on_what_ran_beside(
    by_snakemake: Project, by_dvc: Project
) -> None:
    one, other = read_results(by_snakemake), read_results(by_dvc)
    assert {name for name in RESULTS if _without_times(one[name]) != _without_times(other[name])} == set()


def _without_times(content: bytes) -> bytes:
    return re.sub(rb'<section id="times".*?</section>', b"", content, flags=re.DOTALL)


def test_a_source_that_fails_leaves_everything_as_it_was(by_snakemake: Project) -> None:
    project = by_snakemake
    inventory = project.path("work/sources/ilsvrc2012/inventory.json")
    before = inventory.read_bytes(), read_results(project)
    params = project.path("params.yaml").read_text()
    data = yaml.safe_load(params)
    data["datasets"]["ilsvrc"]["ilsvrc2012"]["source"] = {
        "kind": "ilsvrc", "path": "inputs/ilsvrc2012", "year": 2012, "md5": {},
    }  # fmt: skip
    project.path("params.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    (project.folder / "inputs" / "ilsvrc2012").mkdir(parents=True)
    for engine in (project.dvc, project.snakemake):
        printed = engine("repro", code=-1) if engine == project.dvc else engine(code=-1)
        assert "missing archive ILSVRC2012_img_train.tar" in printed
        assert "Traceback" not in printed
        assert (inventory.read_bytes(), read_results(project)) == before
    project.path("params.yaml").write_text(params)
    assert "Running stage 'source" not in project.dvc("repro")  # that of before is still in place
    project.assert_idle()
