"""What git keeps of a run, and the command that compares two of its commits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from alexnet import cli
from alexnet.data.revisions import read_revision
from alexnet.errors import UserError

CLAIMS = "id,value,ci_low,ci_high,images,verdict\nlrn,0.02,0.01,0.03,1000,{}\n"


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(subject: str) -> str:
    git("add", "-A")
    git("commit", "-q", "-m", subject)
    return git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project below the top of a repository, with a commit."""
    project = tmp_path / "project"
    (project / "results/figures").mkdir(parents=True)
    monkeypatch.chdir(project)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git("init", "-q", str(tmp_path))
    (project / "params.yaml").write_text("tables: {confidence: 0.95}\n")
    (project / ".gitignore").write_text("results/ignored.csv\n")
    (project / "results/claims.csv").write_text(CLAIMS.format("undecided"))
    (project / "results/figures/figures.json").write_text('{"ratio": 2.5}\n')
    (project / "results/report.html").write_text("<html>")
    commit("First – with a dash")
    return project


def test_a_commit_has_its_parameters_and_tables_and_numbers(repository):
    first = git("rev-parse", "HEAD")
    (repository / "results/claims.csv").write_text("later")
    commit("Second")
    (repository / "results/claims.csv").write_text("latest")
    found = read_revision("HEAD~1")
    assert found.name == f"{git('rev-parse', '--short', first)}, First – with a dash"
    assert list(found.files) == ["params.yaml", "results/claims.csv", "results/figures/figures.json"]
    assert found.files["results/claims.csv"] == CLAIMS.format("undecided")
    assert (repository / "results/claims.csv").read_text() == "latest"


def test_the_working_tree_has_what_git_would_add(repository):
    (repository / "results/new.csv").write_text("new")
    (repository / "results/ignored.csv").write_text("ignored")
    (repository / "results/claims.csv").unlink()
    found = read_revision(None)
    assert found.name == "the working tree"
    assert list(found.files) == ["params.yaml", "results/figures/figures.json", "results/new.csv"]


@pytest.mark.parametrize("revision", ["nothing", "--help", "HEAD:./params.yaml", ""])
def test_what_is_no_commit_is_refused(repository, revision):
    with pytest.raises(UserError, match=r"there is no such commit, found"):
        read_revision(revision)


def test_a_folder_that_is_no_repository_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for revision in (None, "HEAD"):
        with pytest.raises(UserError, match=r"not a git repository"):
            read_revision(revision)


def test_without_git_the_message_says_so(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs git"):
        read_revision("HEAD")


def test_the_exit_code_tells_a_changed_verdict_from_a_mistake(repository, capsys):
    assert cli.main(["compare", "HEAD"]) == 0
    assert "Verdicts that changed: 0" in capsys.readouterr().out
    (repository / "results/claims.csv").write_text(CLAIMS.format("undecided").replace("0.02,", "0.025,"))
    assert cli.main(["compare", "HEAD"]) == 0
    assert "lrn, value  0.02 (0.01 to 0.03)  0.025 (0.01 to 0.03)  +0.005  0.49" in capsys.readouterr().out
    (repository / "results/claims.csv").write_text(CLAIMS.format("reproduced"))
    assert cli.main(["compare", "HEAD", "--json"]) == 1
    about = json.loads(capsys.readouterr().out)
    assert about["verdicts"] == [
        {"where": "results/claims.csv: lrn, verdict", "before": "undecided", "after": "reproduced"}
    ]
    commit("Second")
    assert cli.main(["compare", "HEAD~1", "HEAD"]) == 1
    assert cli.main(["compare", "HEAD", "HEAD"]) == 0
    assert cli.main(["compare", "HEAD~7"]) == 2
    assert cli.main(["compare", "HEAD", "--tolerance", "-1"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
