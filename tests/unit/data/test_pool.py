from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet.data.pool import map_in_processes
from alexnet.errors import UserError
from tests.unit.data import pool_work


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 11])
def test_results_come_in_the_order_of_the_tasks(workers: int, count: int) -> None:
    expected = [2 * n for n in range(count)]
    assert list(map_in_processes(pool_work.double, range(count), workers, "double")) == expected


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(50):
            taken.append(n)
            yield n

    results = map_in_processes(pool_work.double, tasks(), 2, "double")
    assert next(results) == 0 and len(taken) <= 5
    results.close()  # type: ignore[attr-defined]


def test_one_worker_or_one_task_needs_no_other_process() -> None:
    assert list(map_in_processes(pool_work.process_of, [1], 4, "ask")) == [os.getpid()]
    assert set(map_in_processes(pool_work.process_of, [1, 2], 1, "ask")) == {os.getpid()}
    assert os.getpid() not in set(map_in_processes(pool_work.process_of, [1, 2], 2, "ask"))


@pytest.mark.parametrize("workers", [1, 2])
def test_mistake_of_a_user_comes_back_whole(workers: int) -> None:
    with pytest.raises(UserError) as caught:
        list(map_in_processes(pool_work.refuse_seven, range(20), workers, "work"))
    assert str(caught.value) == "here: is wrong, found 7, expected another. Change it."


def test_other_errors_come_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError, match="at 0"):
        list(map_in_processes(pool_work.fail, range(5), 2, "work"))


def test_process_that_dies_is_told_of() -> None:
    with pytest.raises(UserError, match="work: a worker process died, .* found 2 workers"):
        list(map_in_processes(pool_work.die, range(20), 2, "work"))


def test_processes_start_without_torch() -> None:
    import torch  # noqa: F401  (it is here)

    assert not any(map_in_processes(pool_work.has_torch, range(4), 2, "look"))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or just going
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux's /proc which processes live")
def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-m", "tests.unit.data.pool_work", str(tmp_path)])
    end = time.monotonic() + 30
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(pids) == 2 and all(map(_alive, pids))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(map(_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_alive, pids))
