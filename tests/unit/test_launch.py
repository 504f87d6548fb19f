from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alexnet import launch as module
from alexnet.launch import joined, launch, share
from tests.unit.lines import read_line

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's kernel")

# A process of several; its first argument says what it does.
RANK = """
import os, signal, sys, time
from alexnet.launch import report
rank, what = os.environ["RANK"], sys.argv[1]
def say(*words):
    os.write(2, (" ".join(map(str, words)) + "\\n").encode())  # at once, so that lines stay whole
def wait():
    say("ready", rank, os.getpid())
    time.sleep(60)
if what == "tell":
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    told = [os.environ[name] for name in names] + sorted(os.sched_getaffinity(0))
    print(*told)
    say(*told)
elif what == "fail" and rank == sys.argv[2]:
    sys.exit(7)
elif what == "mistake":
    report("error: params.yaml is wrong.")
    report(f"error: rank {rank} too." if rank == "1" else "error: params.yaml is wrong.")
    sys.exit(1)
elif what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait()
elif what == "slow":
    def write(*_):
        time.sleep(0.6)  # twice as long as one has after another failed
        say("written", rank)
        sys.exit(143)
    signal.signal(signal.SIGTERM, write)
    wait()
elif what == "said":
    def end(number, _):
        say("got", signal.Signals(number).name, rank)
        sys.exit(3)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    wait()
else:
    wait()
"""
PARENT = """
import os, sys
from alexnet import launch
launch.GRACE_S = 0.3
cores = [int(core) for core in sys.argv[1].split(",") if core]
code = launch.launch(sys.argv[2:], 2, cores, program=[sys.executable, "rank.py"])
print("code", code, flush=True)
assert "torch" not in sys.modules
"""


class Parent:
    """A process that launches two, and what it and they print."""

    def __init__(self, folder: Path, *arguments: str, cores: str = "") -> None:
        (folder / "rank.py").write_text(RANK)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, cores, *arguments],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ready(self) -> dict[str, int]:
        """The ids of the two, once they wait."""
        lines = [read_line(self.process.stderr).split() for _ in range(2)]
        assert [line[0] for line in lines] == ["ready", "ready"]
        return {line[1]: int(line[2]) for line in lines}

    def end(self) -> tuple[list[str], list[str]]:
        """The lines on standard output and standard error, once it has ended."""
        output, errors = self.process.communicate(timeout=20)
        return output.splitlines(), errors.splitlines()


@pytest.fixture
def parents() -> Iterator[list[Parent]]:
    """Those a test starts; they do not outlive it."""
    started: list[Parent] = []
    yield started
    for parent in started:
        parent.process.kill()
        parent.process.communicate()


@pytest.fixture
def start(parents: list[Parent], tmp_path: Path) -> Any:
    def start_parent(*arguments: str, cores: str = "") -> Parent:
        parents.append(Parent(tmp_path, *arguments, cores=cores))
        return parents[-1]

    return start_parent


def wait_until_gone(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} is still there"
    finally:
        os.close(descriptor)


def test_each_process_learns_who_it_is_and_only_the_first_prints(start: Any) -> None:
    output, errors = start("tell").end()
    assert len(output) == 2
    assert output[-1] == "code 0"
    first, second = (line.split() for line in sorted(errors))
    assert output[0].split() == first
    assert first[:5] == ["0", "0", "2", "2", "127.0.0.1"]
    assert second[:5] == ["1", "1", "2", "2", "127.0.0.1"]
    assert first[5] == second[5]
    assert 1024 < int(first[5]) < 65536


@pytest.mark.skipif(sys.platform != "linux" or (os.cpu_count() or 1) < 2, reason="needs two cores to bind to")
def test_each_process_keeps_to_its_share_of_the_cores(start: Any) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    _, errors = start("tell", cores=",".join(map(str, cores))).end()
    assert [int(line.split()[6]) for line in sorted(errors)] == cores
    assert all(len(line.split()) == 7 for line in errors)


def test_shares_are_disjoint_and_shared_only_if_they_must_be() -> None:
    assert [share([2, 3, 5, 7], rank, 2) for rank in (0, 1)] == [[2, 3], [5, 7]]
    assert [share([0, 1, 2], rank, 2) for rank in (0, 1)] == [[0], [1, 2]]
    assert [share([4, 6], rank, 3) for rank in (0, 1, 2)] == [[4], [6], [4]]
    assert [share([], rank, 2) for rank in (0, 1)] == [[], []]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_one_that_fails_ends_the_other_and_its_code_is_returned(start: Any, rank: str) -> None:
    begun = time.monotonic()
    output, _ = start("fail", rank).end()
    assert output == ["code 7"]
    assert time.monotonic() - begun < 20


def test_one_that_is_killed_ends_the_other(start: Any) -> None:
    parent = start("said")
    os.kill(parent.ready()["1"], signal.SIGKILL)
    assert parent.end() == (["code 137"], ["got SIGTERM 0"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_reach_every_process(start: Any, number: signal.Signals, code: int) -> None:
    parent = start("said")
    parent.ready()
    parent.process.send_signal(number)
    output, errors = parent.end()
    assert sorted(errors) == [f"got {number.name} 0", f"got {number.name} 1"]
    assert output == [f"code {code}"]


def test_what_a_terminal_sends_reaches_the_parent_alone(start: Any) -> None:
    pids = start("wait").ready().values()
    assert [os.getpgid(pid) for pid in pids] == list(pids)


def test_one_that_does_not_end_is_killed(start: Any) -> None:
    parent = start("stubborn")
    pids = parent.ready()
    os.kill(pids["1"], signal.SIGUSR1)
    assert parent.end()[0] == [f"code {128 + signal.SIGUSR1}"]
    with pytest.raises(ProcessLookupError):
        os.kill(pids["0"], 0)


def test_a_signal_leaves_them_time_for_a_checkpoint(start: Any) -> None:
    parent = start("slow")
    parent.ready()
    parent.process.terminate()
    output, errors = parent.end()
    assert sorted(errors) == ["written 0", "written 1"]
    assert output == ["code 143"]


@ON_LINUX
def test_nobody_outlives_a_killed_parent(start: Any) -> None:
    parent = start("stubborn")
    pids = parent.ready()
    parent.process.kill()
    for pid in pids.values():
        wait_until_gone(pid)


def test_a_mistake_of_all_is_read_once(start: Any) -> None:
    output, errors = start("mistake").end()
    assert output == ["code 1"]
    assert errors[0] == "error: params.yaml is wrong."
    assert errors.count("error: params.yaml is wrong.") == 1


def test_a_process_alone_says_its_mistake_itself(capsys: pytest.CaptureFixture[str]) -> None:
    module.report("error: wrong.")
    assert capsys.readouterr().err == "error: wrong.\n"


def test_what_was_started_by_torchrun_is_joined_and_alone_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert joined() is None
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    assert joined() == 8


def test_a_joined_process_launches_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(AssertionError, match="started as one of several"):
        launch(["train", "cnn1"], 2)
