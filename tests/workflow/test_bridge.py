from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from jinja2 import Environment

from bridge import (
    STAMP,
    Dates,
    Stage,
    caption_of,
    claim_locks,
    join_captions,
    lay_token,
    read_date,
    within,
)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_stage(name: str, inputs: list[str], outputs: list[str], parents: list[str]) -> Stage:
    return Stage(
        name, inputs, outputs, folders=[], marks=[], parents=parents, threads=None, gpu=None, priority=0
    )


def make_file(path: str, seconds: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(path)
    os.utime(path, (seconds, seconds))


def test_a_folder_stands_for_the_outputs_in_it() -> None:
    made = {"work/a/1": None, "work/a/2": None, "work/ab": None}
    assert within("work/a", made) == ["work/a/1", "work/a/2"]
    assert within("work/ab", made) == ["work/ab"]
    assert within("src/x.py", made) == []


def test_captions_of_a_folders_files_are_joined_by_their_names() -> None:
    for name in ("figure1", "figure2"):
        path = Path(f"workflow/report/{name}.rst")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"**About {name}.**\n")
    joined = Path(join_captions("results/figures"))
    environment = Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701 (as Snakemake has it)
    template = environment.from_string(joined.read_text())
    wildcards = {"name": "figure2"}
    assert template.render(snakemake={"wildcards": wildcards}).strip() == "**About figure2.**"
    assert caption_of("results/table2.csv") == "workflow/report/table2.rst"


def test_a_token_is_old_for_a_clean_stage_and_new_for_a_stale_one(tmp_path: Path) -> None:
    stage = make_stage("train@x", [], ["out"], [])
    assert os.stat(lay_token(stage, False, tmp_path).token).st_mtime == 0
    assert os.stat(lay_token(stage, True, tmp_path).token).st_mtime > 0
    assert stage.rule == "train_x"


def test_outputs_older_than_inputs_are_dated_anew_and_their_children_after_them() -> None:
    for path, seconds in (("a", 300), ("b", 200), ("c", 250)):
        make_file(path, seconds)
    stages = [make_stage("b", ["a"], ["b"], ["a"]), make_stage("c", ["b"], ["c"], ["b"])]
    dates = Dates()
    dates.order(stages, stale=set())
    assert read_date("a", True) < read_date("b", False) <= read_date("c", False)
    dates.undo()
    assert [os.stat(path).st_mtime for path in "abc"] == [300, 200, 250]


def test_kept_dates_are_not_undone() -> None:
    make_file("a", 300)
    make_file("b", 200)
    dates = Dates()
    dates.order([make_stage("b", ["a"], ["b"], [])], stale=set())
    dates.keep()
    dates.undo()
    assert os.stat("b").st_mtime > 300


def test_undoing_leaves_what_somebody_wrote_since() -> None:
    make_file("a", 300)
    make_file("b", 200)
    dates = Dates()
    dates.order([make_stage("b", ["a"], ["b"], [])], stale=set())
    make_file("b", 900)
    dates.undo()
    assert os.stat("b").st_mtime == 900


def test_outputs_of_a_stale_stage_keep_their_dates() -> None:
    make_file("a", 300)
    make_file("b", 200)
    Dates().order([make_stage("b", ["a"], ["b"], [])], stale={"b"})
    assert os.stat("b").st_mtime == 200


def test_a_folder_is_dated_by_its_stamp_alone() -> None:
    make_file("in", 300)
    make_file("folder/file", 100)
    os.utime("folder", (100, 100))
    dates = Dates()
    dates.order([make_stage("s", ["in"], ["folder"], [])], stale=set())
    assert os.stat("folder/file").st_mtime == 100
    assert read_date("folder", True) == os.stat(f"folder/{STAMP}").st_mtime_ns > 300 * 10**9
    dates.undo()
    assert os.listdir("folder") == ["file"]


def test_a_missing_mark_of_a_clean_stage_is_made() -> None:
    dates = Dates()
    dates.order([make_stage("s", [], ["mark"], [])], stale=set())
    assert Path("mark").exists()
    dates.undo()
    assert not Path("mark").exists()


def test_a_link_is_as_new_as_its_target_for_who_reads_it() -> None:
    make_file("target", 500)
    Path("link").symlink_to("target")
    os.utime("link", (400, 400), follow_symlinks=False)
    assert read_date("link", is_input=True) == 500 * 10**9
    assert read_date("link", is_input=False) == 400 * 10**9


def test_locks_of_a_dead_process_go_and_those_of_a_live_one_stay() -> None:
    make_file(".snakemake/locks/0.input.lock", 1)
    make_file(".engines/tokens-x/train", 1)
    with open(".engines/running", "w") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        claim_locks()
        assert Path(".snakemake/locks/0.input.lock").exists()
        assert Path(".engines/tokens-x/train").exists()
    for name in os.listdir("/proc/self/fd"):  # the share that this process holds since, as if it had ended
        if os.path.realpath(f"/proc/self/fd/{name}").endswith(".engines/running"):
            os.close(int(name))
    claim_locks()
    assert not Path(".snakemake/locks/0.input.lock").exists()
    assert not Path(".engines/tokens-x").exists()
