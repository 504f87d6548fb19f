"""Which stages run, under either engine and after the other. A stand-in for `alexnet` makes each stage instant."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.project import ROOT, STAND_IN, Project, configure_small, copy_project, read_results


def member(group: str, data: str, variant: str, seed: int, start: str = "scratch") -> dict[str, Any]:
    """A line of `members`."""
    line = {"group": group, "data": data, "variant": variant, "protocol": "default"}
    return {**line, "overrides": {}, "seed": seed, "start": start}


MEMBERS = {
    "cnn1": member("cnn", "ilsvrc2012", "two_columns", 1),
    "pretrained1": member("pretrained", "fall2011", "six_conv", 6),
    "finetuned1": member("cnn*", "ilsvrc2012", "six_conv", 8, start="pretrained1"),
    "cnn2010": member("cnn2010", "ilsvrc2010", "two_columns", 10),
}
ENGINES = ["dvc", "snakemake"]
# What takes seconds and DVC's cache does not hold: made again when Snakemake, which goes by dates, has removed it, or when
# what they were made of comes back.
REMADE = {"claims", "figures", "report"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project built once, by Snakemake from nothing."""
    folder = tmp_path_factory.mktemp("engines")
    project = copy_project(folder, [sys.executable, str(ROOT / STAND_IN)])
    configure_small(project, MEMBERS, "demo")
    ran = project.build("snakemake")
    assert len(ran) == len(set(ran))
    assert {line for line in ran if line.startswith("train")} == {f"train {name}" for name in MEMBERS}
    return project


@pytest.fixture
def project(built: Project) -> Iterator[Project]:
    """The built project; what a test changed in its text files is put back and built again."""
    texts = {
        path: path.read_bytes()
        for place in ("params.yaml", "dvc.yaml", "Snakefile", "src", "workflow")
        for path in ([built.path(place)] if built.path(place).is_file() else built.path(place).rglob("*.py"))
    }
    yield built
    for path, text in texts.items():
        if path.read_bytes() != text:
            path.write_bytes(text)
    built.dvc("repro")
    built.ran()


def test_after_snakemake_neither_engine_has_anything_to_do(project: Project) -> None:
    project.assert_idle()
    assert project.build("dvc") == []
    assert project.build("snakemake") == []


def test_changed_momentum_trains_and_does_not_prepare(project: Project) -> None:
    project.edit("params.yaml", "momentum: 0.9", "momentum: 0.8")
    ran = project.build("snakemake")
    results = {"table", "claims", "card", "figures", "report", "metrics"}
    assert {line.split()[0] for line in ran} <= {"train", "predict"} | results
    assert len([line for line in ran if line.startswith("train")]) == len(MEMBERS)
    project.assert_idle()
    project.edit("params.yaml", "momentum: 0.8", "momentum: 0.9")
    assert set(project.build("dvc")) <= REMADE, "the nets of before come from DVC's cache"
    project.assert_idle()


def test_a_value_that_comes_back_after_the_other_engine_ran_is_noticed(project: Project) -> None:
    project.edit("params.yaml", "seed: 10,", "seed: 21,")
    assert "train cnn2010" in project.build("snakemake")
    project.edit("params.yaml", "seed: 21,", "seed: 22,")
    assert "train cnn2010" in project.build("dvc")
    project.edit("params.yaml", "seed: 22,", "seed: 21,")
    dry = project.snakemake("--dry-run")
    assert "rule train_cnn2010:" in dry
    assert "rule train_cnn1:" not in dry
    assert [line for line in project.build("snakemake") if line.startswith("train")] == []
    project.assert_idle()


@pytest.mark.parametrize("engine", ENGINES)
def test_edited_code_of_the_tables_retrains_nothing(project: Project, engine: str) -> None:
    with project.path("src/alexnet/stages/table.py").open("a") as code:
        code.write(f"# edited under {engine}\n")
    dry = project.snakemake("--dry-run")
    assert "rule table2:" in dry
    assert "rule train" not in dry
    ran = {line.split()[0] for line in project.build(engine)}
    assert "table" in ran and ran <= {"table", "report"}  # same tables, so the metrics stand
    project.assert_idle()


@pytest.mark.parametrize("engine", ENGINES)
def test_one_more_seed_trains_one_net(project: Project, engine: str) -> None:
    name = f"cnn_by_{engine}"
    line = json.dumps(member("cnn", "ilsvrc2012", "two_columns", 33))
    project.edit("params.yaml", "  cnn1: {", f"  {name}: {line}\n  cnn1: {{")
    ran = project.build(engine)
    assert [line for line in ran if line.startswith(("train", "predict"))] == [
        f"predict {name}", f"train {name}",
    ]  # fmt: skip
    assert not any(line.startswith(("source", "prepare", "rgb-pca")) for line in ran)
    project.assert_idle()


@pytest.mark.parametrize("engine", ENGINES)
def test_one_more_ablation_trains_its_nets_alone(project: Project, engine: str) -> None:
    line = {
        "base": "cnn", "data": "ilsvrc2012", "split": "val", "variant": "no_lrn", "protocol": "default",
        "overrides": {}, "seeds": [1, 2],
    }  # fmt: skip
    project.edit("params.yaml", "\nablations: {}\n", f"\nablations:\n  by_{engine}: {json.dumps(line)}\n")
    ran = project.build(engine)
    assert f"ablate by_{engine}" in ran
    assert {line.split()[0] for line in ran} <= {"ablate", "claims", "report"}
    project.assert_idle()


def test_snakemakes_own_report_has_every_chapter(project: Project) -> None:
    project.build("snakemake")
    project.snakemake("--report", "report.zip")
    with zipfile.ZipFile(project.path("report.zip")) as archive:
        text = "".join(
            archive.read(name).decode() for name in archive.namelist() if name.endswith((".js", ".html"))
        )
    project.path("report.zip").unlink()
    for chapter in ("Tables", "Verdicts", "Figures", "Page"):
        assert f'"{chapter}"' in text
    for caption in (
        "Every claim of the paper with its verdict",
        "Training error against epoch",
        "The network, drawn",
    ):
        assert caption in text


def test_one_table_does_not_need_the_nets_of_another(project: Project) -> None:
    project.edit("params.yaml", "momentum: 0.9", "momentum: 0.6")
    project.snakemake("results/table2.csv")
    ran = project.ran()
    assert "train finetuned1" in ran
    assert "table table2" in ran
    assert not [line for line in ran if "2010" in line or "table1" in line]


def test_source_and_check_may_both_be_due(project: Project) -> None:
    params = project.path("params.yaml")
    seed = yaml.safe_load(params.read_text())["datasets"]["ilsvrc"]["ilsvrc2010"]["source"]["seed"]
    params.write_text(params.read_text().replace(f"seed: {seed}\n", "seed: 99\n"))
    sources = ["source_ilsvrc_ilsvrc2010", "source_ilsvrc_ilsvrc2012", "source_fall_fall2011"]
    project.snakemake("check", *sources)
    assert project.ran() == ["source fall2011", "source ilsvrc2010", "source ilsvrc2012"]
    assert "check:" not in project.dvc("status").splitlines()


def test_a_dry_run_changes_nothing(project: Project) -> None:
    project.edit("params.yaml", "momentum: 0.9", "momentum: 0.5")
    project.path("work/models/cnn1/weights.safetensors").unlink()
    os.utime(project.path("work/recipes/prepare"))  # newer than what depends on it, as after a checkout
    before = project.state()
    for arguments in (["--dry-run"], ["-np"], ["--rulegraph", "dot"], ["--summary"]):
        project.snakemake(*arguments)
        assert project.state() == before, arguments
    assert not list(project.path(".engines").glob("tokens-*"))


def test_only_the_graph_is_on_standard_output(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "dot"],
        cwd=project.folder, env=project.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("digraph")


def test_dates_that_say_nothing_make_no_work(project: Project) -> None:
    for place in ("work", "src", "params.yaml"):
        path = project.path(place)
        for file in sorted([path] if path.is_file() else path.rglob("*"), reverse=True):
            os.utime(file, follow_symlinks=False)
    project.assert_idle()
    assert project.build("snakemake") == []
    project.assert_idle()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_deleted_output_comes_back_without_a_training(project: Project, engine: str) -> None:
    project.path("work/models/cnn1/weights.safetensors").unlink()
    shutil.rmtree(project.path("work/stats/ilsvrc2010"))
    assert set(project.build(engine)) <= REMADE
    assert project.path("work/models/cnn1/weights.safetensors").exists()
    project.assert_idle()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_mistyped_key_is_one_message_and_leaves_all_as_it_was(project: Project, engine: str) -> None:
    results = read_results(project)
    project.edit("params.yaml", "    momentum: 0.9", "    momentun: 0.9")
    before = {name: value for name, value in project.state().items() if not name.startswith("home")}
    printed = project.dvc("repro", code=-1) if engine == "dvc" else project.snakemake(code=-1)
    assert printed.count("params.yaml: protocols.default.momentun: unknown key") == 1
    assert "Did you mean momentum?" in printed
    assert "Traceback" not in printed
    assert read_results(project) == results
    assert {name: value for name, value in project.state().items() if not name.startswith("home")} == before
    assert project.ran() == []


def test_snakemake_config_is_refused(project: Project) -> None:
    printed = project.snakemake("--dry-run", "--config", "momentum=0.5", code=-1)
    assert "--config: DVC reads params.yaml alone" in printed
    assert "Traceback" not in printed


def test_after_a_kill_snakemake_goes_on_without_unlocking(project: Project) -> None:
    project.edit("params.yaml", "momentum: 0.9", "momentum: 0.4")
    environment = {**project.environment, "STAND_IN_TRAINS_S": "4"}
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: project.path("ran.log").exists() and "train" in project.path("ran.log").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(project.path(".snakemake/locks").iterdir())
    project.snakemake()  # waits for trainings that outlived the kill
    assert not list(project.path(".engines").glob("tokens-*"))
    trainings = [line for line in project.ran() if line.startswith("train")]
    assert sorted(trainings) == sorted(f"train {name}" for name in MEMBERS), "what outlived the kill was used"
    project.assert_idle()


def test_a_clone_without_the_cache_is_built_again_and_clean(project: Project, tmp_path: Path) -> None:
    commit = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    project.call("git", "add", "--all")
    project.call(*commit, "commit", "--quiet", "--message", "built")
    folder = tmp_path / "clone"
    own = {"PYTHONPATH": str(folder / "src"), "STAND_IN_LOG": str(folder / "ran.log")}
    clone = Project(folder, {**project.environment, **own})
    project.call("git", "clone", "--quiet", str(project.folder), str(clone.folder))
    assert len(clone.build("dvc")) > 2 * len(MEMBERS)
    clone.assert_idle()
    metrics = clone.path("results/metrics.json")
    metrics.write_text(json.dumps({"members": 99}))
    assert "99" in clone.dvc("metrics", "diff")


def test_one_data_set_alone_is_enough(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project", [sys.executable, str(ROOT / STAND_IN)])
    archives = tmp_path / "archives"
    archives.mkdir()
    for name in ("img_train.tar", "img_val.tar", "devkit_t12.tar.gz"):
        (archives / f"ILSVRC2012_{name}").touch()
    configure_small(project, MEMBERS, "imagenet", "--data", f"ilsvrc2012={archives}")
    ran = project.build("dvc")
    assert [line for line in ran if line.startswith("train")] == ["train cnn1"]
    assert "table table1" in ran
    assert "prepare fall2011" not in ran
    project.assert_idle()


def wait_for(is_so: object, seconds: float = 60) -> None:
    """Waits until a function returns something true."""
    assert callable(is_so)
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
