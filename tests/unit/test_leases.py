from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet import leases, machine
from alexnet.leases import lease
from alexnet.machine import Plan
from tests.unit.lines import read_line

# Leases what its arguments say (GPUs, cores), tells it, and keeps it until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from alexnet import leases, machine
machine.DEV, leases.RETRY_S = Path("dev"), 0.02
leases._cores = lambda: [0, 1, 2]
leases.CAN_PIN = False
with leases.lease(machine.Plan("none", 1, int(sys.argv[1]), int(sys.argv[2])), Path("devices")) as got:
    print(*got.gpus, *got.cores, flush=True)
    sys.stdin.read()
"""

Start = Callable[[int, int], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that leases GPUs or cores, of three each."""
    (tmp_path / "dev").mkdir()
    for number in range(3):
        (tmp_path / "dev" / f"nvidia{number}").touch()
    started = []
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}

    def start_holder(gpus: int, cores: int) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLDER, str(gpus), str(cores)],
                cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start_holder
    for process in started:
        process.kill()
        process.communicate()


def leased(process: subprocess.Popen[str]) -> set[str]:
    """What a holder has, once it has it."""
    return set(read_line(process.stdout).split())


def said(process: subprocess.Popen[str]) -> str:
    """The next line on standard error."""
    return read_line(process.stderr)


@pytest.mark.parametrize("kind", ["GPU", "core"])
def test_leases_never_overlap_and_one_too_many_waits(start: Start, kind: str) -> None:
    gpus, cores = (1, 1) if kind == "GPU" else (0, 1)
    first, second, third = (start(gpus, cores) for _ in range(3))
    assert leased(first) | leased(second) | leased(third) == {"0", "1", "2"}
    late = start(gpus, cores)
    assert said(late) == f"waiting for 1 of the {kind}s 0, 1, 2: others use them\n"
    time.sleep(0.1)  # several times as long as until it tries again
    second.communicate()
    assert len(leased(late)) == 1
    assert late.communicate()[1] == "", "said once"


def test_what_a_killed_process_had_is_free(start: Start) -> None:
    holder = start(0, 3)
    assert len(leased(holder)) == 3
    waiting = start(0, 2)
    assert said(waiting).startswith("waiting for 2 of the cores")
    holder.send_signal(signal.SIGKILL)
    assert len(leased(waiting)) == 2


def test_two_that_each_need_all_do_not_block_each_other(start: Start) -> None:
    both = [start(3, 3) for _ in range(2)]
    while both:
        ready, _, _ = select.select([process.stdout for process in both], [], [], 20)
        assert ready, "neither got its three"
        number = next(n for n, process in enumerate(both) if process.stdout is ready[0])
        assert len(leased(both[number])) == 3
        both.pop(number).communicate()  # and the other gets its three


def test_one_that_wants_many_is_not_passed_by_those_that_want_few(start: Start) -> None:
    first, second = start(0, 1), start(0, 1)
    leased(first)
    leased(second)
    many = start(0, 3)
    assert said(many).startswith("waiting for 3")
    few = start(0, 1)
    assert said(few).startswith("waiting for 1")
    first.communicate()
    second.communicate()
    assert len(leased(many)) == 3
    many.communicate()
    assert len(leased(few)) == 1


def test_more_cores_than_there_are_means_all(start: Start) -> None:
    holder = start(0, 5)
    assert leased(holder) == {"0", "1", "2"}
    assert said(holder) == "5 cores are wanted; takes all there are, 3\n"


@pytest.mark.skipif(not leases.CAN_PIN, reason="this system binds no process to cores")
def test_the_process_and_its_children_keep_to_the_leased_cores(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    with lease(Plan("none", 1, 0, 1), tmp_path) as got:
        assert os.sched_getaffinity(0) == set(got.cores)
        child = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
        assert subprocess.check_output(child, text=True).split() == [str(got.cores[0])]
    assert os.sched_getaffinity(0) == before


def test_leased_gpus_alone_are_visible_and_cores_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(machine, "DEV", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1,0")
    cores = leases._cores()
    with lease(Plan("columns", 2, 2, 8), tmp_path) as got:
        assert got == leases.Lease(gpus=("3", "1"))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,1"
        assert leases._cores() == cores
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,1,0"
