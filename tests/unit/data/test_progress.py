from __future__ import annotations

import io
import sys
import time

import pytest

from alexnet.data.progress import describe, describe_duration, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_line_tells_count_rate_and_time_left() -> None:
    line = describe("prepare x", "image", 1200, 4000, 12.0, "val")
    assert line == "prepare x: 1,200 of 4,000 images, 30%, 100/s, 28 s left, val"


def test_rate_leaves_out_what_an_earlier_run_did() -> None:
    line = describe("train x", "image", 200, 4000, 2.0, before=1000)
    assert line == "train x: 1,200 of 4,000 images, 30%, 100/s, 28 s left"


def test_bytes_are_shown_in_megabytes() -> None:
    assert describe("md5", "B", 5_000_000, 10_000_000, 1.0) == "md5: 5 of 10 MB, 50%, 5/s, 1 s left"


def test_unknown_total_gives_no_time_left() -> None:
    assert describe("index", "synset", 10, None, 5.0) == "index: 10 synsets, 2/s"


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (11_100, "3 h 05 min")])
def test_duration_is_in_its_largest_units(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


def test_lines_go_to_stderr_and_only_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress(total=100, what="work", unit="image") as advance:
        for _ in range(100):
            now[0] += 0.25
            advance(1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(",")[0] for line in captured.err.splitlines()] == [
        "work: 40 of 100 images",
        "work: 80 of 100 images",
    ]


def test_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(total=10, what="work", unit="image", done=4) as advance:
        advance(6, note="last")
    assert "work" in terminal.getvalue() and "10/10" in terminal.getvalue()
