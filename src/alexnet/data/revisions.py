"""What git keeps of a run: parameters and results of a commit, or of the working tree. Nothing is checked out."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alexnet import paths
from alexnet.errors import UserError

KEPT = (str(paths.PARAMS), str(paths.RESULTS))
SUFFIXES = (".csv", ".json")
WORKING_TREE = "the working tree"


@dataclass(frozen=True)
class Snapshot:
    """A state of a run. name: what it is called. files: path -> text, of params.yaml and results/."""

    name: str
    files: Mapping[str, str]


def read_revision(revision: str | None) -> Snapshot:
    """params.yaml and the CSV and JSON files of results/, of a commit, or of the working tree if `revision` is None.

    In the working tree files count that git tracks or would add. Raises UserError if there is no git, no repository or
    no such commit.
    """
    if revision is None:
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *KEPT)
        there = sorted({name for name in _names(listed) if Path(name).is_file()})
        return Snapshot(WORKING_TREE, {name: Path(name).read_text(encoding="utf-8") for name in there})
    commit = _find_commit(revision)
    names = _names(_git("ls-tree", "-r", "-z", "--name-only", commit, "--", *KEPT))
    about = _git("log", "-1", "--format=%h, %s", commit).strip()
    return Snapshot(about, {name: _git("show", f"{commit}:./{name}") for name in names})


def _names(listed: str) -> list[str]:
    return [name for name in listed.split("\0") if name.endswith(SUFFIXES) or name == str(paths.PARAMS)]


def _find_commit(revision: str) -> str:
    """The full name of a commit."""
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except UserError:
        _git("rev-parse", "--git-dir")  # says so if there is no repository
        raise UserError(
            "alexnet compare",
            "there is no such commit",
            found=revision,
            fix="`git log --oneline` lists them.",
        ) from None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True)
        return done.stdout.decode("utf-8")
    except FileNotFoundError:
        raise UserError("alexnet compare", "needs git, which is not there", fix="Install git.") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["failed"]
        raise UserError(f"git {arguments[0]}", lines[-1], fix="Run it in the project's folder.") from None
