from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.data.parts import open_parts, remove_parts
from alexnet.errors import UserError

IDENTITY = {"source": "a", "params": {"resize": 8}}


def _keep(folder: Path, name: str, content: str = "pixels") -> None:
    with open_parts(folder, IDENTITY, "work") as parts:
        (parts.room / "new").write_text(content)
        parts.keep(name, parts.room / "new", {"count": len(content)})


def test_part_is_there_again_with_its_note(tmp_path: Path) -> None:
    _keep(tmp_path / "work", "one")
    with open_parts(tmp_path / "work", IDENTITY, "work") as parts:
        assert parts.note("one") == {"count": 6} and parts.note("two") is None
        assert (parts.files / "one").read_text() == "pixels"


def test_part_without_a_file_has_its_note_alone(tmp_path: Path) -> None:
    with open_parts(tmp_path / "work", IDENTITY, "work") as parts:
        parts.keep("empty", None, {"count": 0})
        assert parts.note("empty") == {"count": 0} and list(parts.files.iterdir()) == []


def test_part_under_way_is_no_part(tmp_path: Path) -> None:
    with open_parts(tmp_path / "work", IDENTITY, "work") as parts:
        (parts.room / "half").write_text("pix")
    with open_parts(tmp_path / "work", IDENTITY, "work") as parts:
        assert list(parts.room.iterdir()) == [] and list(parts.files.iterdir()) == []


def test_parts_of_another_identity_go_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep(tmp_path / "work", "one")
    assert capsys.readouterr().err == ""
    with open_parts(tmp_path / "work", {**IDENTITY, "source": "b"}, "prepare x") as parts:
        assert parts.note("one") is None and list(parts.files.iterdir()) == []
    assert capsys.readouterr().err == "prepare x: parts that were made otherwise are thrown away: source\n"


def test_unreadable_identity_is_another_one(tmp_path: Path) -> None:
    _keep(tmp_path / "work", "one")
    (tmp_path / "work/identity.json").write_text('{"sou')
    with open_parts(tmp_path / "work", IDENTITY, "work") as parts:
        assert parts.note("one") is None


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with open_parts(tmp_path / "work", IDENTITY, "work"):
        second = open_parts(tmp_path / "work", IDENTITY, "work")
        with pytest.raises(UserError, match="work: is under way already"):
            second.__enter__()
    with open_parts(tmp_path / "work", IDENTITY, "work"):
        pass


def test_nothing_is_left_of_a_finished_work(tmp_path: Path) -> None:
    _keep(tmp_path / "work", "one")
    remove_parts(tmp_path / "work")
    assert not (tmp_path / "work").exists()
    remove_parts(tmp_path / "work")
