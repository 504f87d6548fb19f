"""What test_pool gives to processes: functions of a module that they can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from alexnet.data.pool import map_in_processes
from alexnet.errors import UserError


def double(number: int) -> int:
    time.sleep(0.02 * (number % 3))  # so that they do not end in order
    return 2 * number


def process_of(_: int) -> int:
    return os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise UserError("here", "is wrong", found=number, expected="another", fix="Change it.")
    return number


def fail(number: int) -> int:
    raise ZeroDivisionError(f"at {number}")


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def has_torch(_: int) -> bool:
    return "torch" in sys.modules


def note_and_wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def main() -> None:
    for _ in map_in_processes(note_and_wait, [sys.argv[1]] * 4, 2, "wait"):
        pass


if __name__ == "__main__":
    main()
