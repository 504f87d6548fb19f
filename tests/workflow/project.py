"""A copy of this project in a temporary folder, driven through both engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
STAND_IN = "tests/workflow/stand_in.py"
# Written by every command of an engine for itself; neither decides anything by them.
OWN_FILES = (".snakemake", ".git", ".dvc/tmp", ".engines", "logs")

State = dict[str, tuple[int, int, str]]


@dataclass
class Project:
    """The copy. `environment` has a command `alexnet` of the copy first on its PATH."""

    folder: Path
    environment: dict[str, str]

    def path(self, name: str) -> Path:
        """A file of the copy."""
        return self.folder / name

    def call(self, *command: str, code: int = 0) -> str:
        """What a command printed, both streams; its exit code must be `code`, or any but 0 for -1."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        is_expected = done.returncode != 0 if code == -1 else done.returncode == code
        assert is_expected, f"{command} ended with {done.returncode}:\n{done.stdout[-5000:]}"
        return done.stdout

    def dvc(self, *arguments: str, code: int = 0) -> str:
        """Runs DVC."""
        return self.call(sys.executable, "-m", "dvc", *arguments, code=code)

    def snakemake(self, *arguments: str, code: int = 0) -> str:
        """Runs Snakemake on two cores."""
        return self.call(sys.executable, "-m", "snakemake", "--cores", "2", *arguments, code=code)

    def build(self, engine: str) -> list[str]:
        """Builds everything; the stages that ran, sorted."""
        self.dvc("repro") if engine == "dvc" else self.snakemake()
        return self.ran()

    def ran(self) -> list[str]:
        """Stages the stand-in noted since this was last asked."""
        log = self.path("ran.log")
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return sorted(lines)

    def assert_idle(self) -> None:
        """Neither engine has anything to do."""
        status = self.dvc("status")
        assert "up to date" in status, status
        dry = self.snakemake("--dry-run")
        assert "Nothing to be done" in dry, dry

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces one text in a file."""
        path = self.path(name)
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def state(self) -> State:
        """Size, time and content or target of every file an engine may go by."""
        found: State = {}
        for file in sorted(self.folder.rglob("*")):
            name = file.relative_to(self.folder).as_posix()
            # What Python compiled is its own business too.
            is_own = name.startswith(OWN_FILES) or "__pycache__" in file.parts
            if is_own or (file.is_dir() and not file.is_symlink()):
                continue
            status = file.lstat()
            content = str(file.readlink()) if file.is_symlink() else file.read_bytes().hex()
            found[name] = (status.st_size, status.st_mtime_ns, content)
        return found


def copy_project(folder: Path, alexnet: list[str]) -> Project:
    """A copy of the files git would commit, without results, with `alexnet` standing for the command."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(
            ("results/", "studies/", "dvc.lock", "tests/unit/")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    command = folder / "bin" / "alexnet"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexec " + " ".join(alexnet) + ' "$@"\n')
    command.chmod(0o755)
    # Nothing of the user's own: no home, no settings of git, no libraries that take every core.
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "ALEXNET_"))
    }
    environment = {
        **kept,
        "HOME": str(folder / "home"),
        "PATH": os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder / "src"),
        "STAND_IN_LOG": str(folder / "ran.log"),
        "XDG_CACHE_HOME": str(folder / "home" / "cache"),
    }
    (folder / "home").mkdir()
    with (folder / ".git" / "info" / "exclude").open("a") as exclude:
        exclude.write("bin/\nhome/\nran.log\n")
    return Project(folder, environment)


def configure_small(
    project: Project,
    members: dict[str, Any],
    profile: str,
    *arguments: str,
    ablations: dict[str, Any] | None = None,
    relu_tanh: dict[str, Any] | None = None,
    neighbours: dict[str, Any] | None = None,
) -> None:
    """Configures a profile `small`: another one with these entries alone, and without the set nobody trains on."""
    differences = yaml.safe_load(project.path(f"configs/{profile}.yaml").read_text()) or {}
    base = yaml.safe_load(project.path("configs/base.yaml").read_text())
    differences["members"] = dict.fromkeys(base["members"]) | members
    differences["ablations"] = ablations or {}
    differences["relu_tanh"] = relu_tanh or {}
    differences["neighbours"] = dict.fromkeys(base["neighbours"]) | (neighbours or {})
    differences.setdefault("datasets", {}).setdefault("fall", {})["fall2009"] = None
    project.path("configs/small.yaml").write_text(yaml.safe_dump(differences, sort_keys=False))
    project.call(sys.executable, "-m", "alexnet.cli", "configure", "small", *arguments)


def read_results(project: Project) -> dict[str, bytes]:
    """The content of every result, but for Snakemake's stamps."""
    files = [file for file in project.path("results").rglob("*") if file.is_file()]
    return {
        file.relative_to(project.path("results")).as_posix(): file.read_bytes()
        for file in files
        if not file.name.startswith(".")
    }
