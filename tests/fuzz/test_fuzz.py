from __future__ import annotations

import json
import os
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.fuzz import __main__ as program
from tests.fuzz import run
from tests.fuzz.cases import KINDS, Room, schedule
from tests.fuzz.run import HangError, run_case, run_cases


def test_three_hundred_cases_end_as_they_should() -> None:
    kinds = schedule(with_photos=False)
    cases = [(kinds[number % len(kinds)], number) for number in range(300)]
    ends = list(run_cases(cases, seed=2012, photos=None, workers=1))
    failed = {f"{kind}:{number}": happened for (kind, number), outcome, happened in ends if outcome is None}
    assert not failed and len(ends) == 300
    outcomes = {kind: Counter(outcome for (one, _), outcome, _ in ends if one == kind) for kind in kinds}
    assert all("refused" in count or "undecodable" in count for count in outcomes.values())
    assert (
        sum(count["valid"] for count in outcomes.values()) > 50
    )  # damage is not so great that nothing is left to read


def test_case_depends_on_its_kind_number_and_seed_alone(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for kind, number in (("tar", 5), ("zip", 8), ("jpeg", 3)):
        contents = []
        for other in (number + 1, number):  # whatever ran before
            run_case(kind, other, 1, room)
            run_case(kind, number, 1, room)
            contents.append({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
        assert contents[0] == contents[1]


def test_error_that_no_user_is_to_meet_and_a_hang_come_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise KeyError("a bug")

    def hang(*_: object) -> str:
        while True:
            pass

    monkeypatch.setitem(KINDS, "tar", (fail, 1))
    with pytest.raises(KeyError, match="a bug"):
        run_case("tar", 0, 0, Room(tmp_path))
    monkeypatch.setitem(KINDS, "tar", (hang, 1))
    monkeypatch.setattr("tests.fuzz.run.SECONDS", 1)
    with pytest.raises(HangError, match="took more than 1 s"):
        run_case("tar", 0, 0, Room(tmp_path))


def work_that_dies_and_hangs(pipe: Connection, seed: int, photos: Path | None) -> None:
    pipe.send(None)
    while (case := pipe.recv()) is not None:
        if case[0] == "die":
            os._exit(7)
        if case[0] == "hang":
            time.sleep(600)
        pipe.send(("valid", ""))


def test_process_that_dies_or_hangs_is_one_cases_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_work", work_that_dies_and_hangs)
    monkeypatch.setattr(run, "MOST_SECONDS", 5)
    cases = [("a", 0), ("die", 1), ("b", 2), ("hang", 3), ("c", 4)]
    ends = {kind: (outcome, happened) for (kind, _), outcome, happened in run_cases(cases, 0, None, 1)}
    assert [kind for kind, (outcome, _) in ends.items() if outcome == "valid"] == ["a", "b", "c"]
    assert ends["die"] == (None, "the process died: 7")
    assert ends["hang"][0] is None and "hung for 5 s" in ends["hang"][1]


def test_failure_is_told_of_with_the_way_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [(("tar", 0), "refused", ""), (("zip", 1), None, "Traceback\nKeyError: a bug\n")]
    monkeypatch.setattr(program, "run_cases", lambda *_: iter(ends))
    assert program.main(["--cases", "2", "--seed", "7"]) == 1
    told = capsys.readouterr()
    assert "KeyError: a bug\nFAILED: python -m tests.fuzz --seed 7 --case zip:1\n" in told.err
    result = json.loads(told.out.splitlines()[-1])
    assert (result["cases"], result["failures"], result["outcomes"]) == (2, 1, {"refused": 1, "failed": 1})
