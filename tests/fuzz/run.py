"""Runs cases in processes of their own, so that a crash, a hang or a flood of memory is one case's failure."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.cases import KINDS, Room

SECONDS = 20  # of computing that a case may take
MOST_SECONDS = 300  # until one that waits, or does not heed the alarm, is ended; a busy machine needs some
MORE_MEMORY = 3 << 30  # bytes of address space that a case may take


class HangError(Exception):
    """A case took too long."""


def run_case(kind: str, number: int, seed: int, room: Room) -> str:
    """How one case ends. Raises what it raises if that is none of the errors that users are to meet."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])

    def stop(*_: object) -> None:
        raise HangError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("error")
            return KINDS[kind][0](rng, room)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def read_photos(path: Path | None) -> list[bytes]:
    """The files of a tar of photographs."""
    if path is None:
        return []
    with tarfile.open(path) as archive:
        files = [archive.extractfile(member) for member in archive if member.isreg()]
        return [file.read() for file in files if file is not None]


def _work(pipe: Connection, seed: int, photos: Path | None) -> None:
    """Says None once it is ready; then answers (kind, number) with (outcome, or None and the traceback)."""
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder), read_photos(photos))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, resource.RLIM_INFINITY))
        pipe.send(None)
        while (case := pipe.recv()) is not None:
            kind, number = case
            try:
                pipe.send((run_case(kind, number, seed, room), ""))
            except Exception:
                pipe.send((None, traceback.format_exc()))


@dataclass
class _Worker:
    """A process, the case that it has, and since when."""

    process: Any
    pipe: Connection
    case: tuple[str, int] | None = None
    since: float = 0.0

    def give(self, case: tuple[str, int] | None) -> None:
        self.case, self.since = case, time.monotonic()
        self.pipe.send(case)

    def end(self) -> None:
        if self.case is None:  # it waits for the next one, so it can leave by itself
            with contextlib.suppress(OSError):
                self.pipe.send(None)
            self.process.join(MOST_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.pipe.close()


def run_cases(
    cases: list[tuple[str, int]], seed: int, photos: Path | None, workers: int
) -> Iterator[tuple[tuple[str, int], str | None, str]]:
    """(case, outcome, or None if it failed, what happened then) of each case, in the order in which they end."""
    context = multiprocessing.get_context("spawn")

    def start() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, seed, photos), daemon=True)
        process.start()
        theirs.close()
        ours.recv()  # what it takes to start is no part of a case's time
        return _Worker(process, ours)

    waiting = deque(cases)
    team = [start() for _ in range(min(workers, len(cases)))]
    try:
        for worker in team:
            worker.give(waiting.popleft())
        while busy := [worker for worker in team if worker.case is not None]:
            wait([worker.pipe for worker in busy], timeout=1.0)
            for place, worker in enumerate(team):
                if worker.case is None:
                    continue
                case, happened = worker.case, None
                if worker.pipe.poll():
                    try:
                        outcome, happened = worker.pipe.recv()
                    except (EOFError, OSError):
                        worker.process.join()
                        outcome, happened = None, f"the process died: {worker.process.exitcode}"
                elif time.monotonic() - worker.since > MOST_SECONDS:
                    outcome, happened = None, f"hung for {MOST_SECONDS} s, and had to be killed"
                if happened is None:
                    continue
                if happened and not happened.startswith("Traceback"):
                    worker.end()
                    worker = team[place] = start()
                worker.case = None
                if waiting:
                    worker.give(waiting.popleft())
                yield case, outcome, happened
    finally:
        for worker in team:
            worker.end()


def say(text: str) -> None:
    """A line on the standard error."""
    print(text, file=sys.stderr, flush=True)
