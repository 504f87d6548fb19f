"""Devices that nobody else uses meanwhile: leases of GPUs and cores, as locked files in .engines/devices.

Whoever starts a training, DVC, Snakemake or a user, it leases here what it takes. The kernel gives a lock back when the
process that holds it dies, however it dies, so no lease is ever stale and the files may stay.
Leases hold among the builds of one folder; two folders on one machine do not see each other's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alexnet.machine import Plan, usable_gpus

FOLDER = Path(".engines/devices")
RETRY_S = 0.2
CAN_PIN = hasattr(os, "sched_setaffinity")


@dataclass(frozen=True)
class Lease:
    """What is leased: GPUs by the names CUDA_VISIBLE_DEVICES has for them, or cores by number."""

    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()


@contextlib.contextmanager
def lease(plan: Plan, folder: Path = FOLDER) -> Iterator[Lease]:
    """The GPUs of a plan, or its cores if it has no GPUs, for this process and those it starts, until the end.

    Waits until enough are free, and says so once on standard error. Takes all there are if the plan has more.
    Enter it before PyTorch is imported: this process is bound to the cores, or CUDA_VISIBLE_DEVICES set to the GPUs.
    Where the system cannot bind a process to cores (macOS), the lease merely counts them.
    """
    kind = "GPU" if plan.gpus else "core"
    there = usable_gpus() if plan.gpus else [str(core) for core in _cores()]
    wanted = plan.gpus or plan.cores
    if wanted > len(there):
        print(f"{wanted} {kind}s are wanted; takes all there are, {len(there)}", file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack:
        names = _lock(kind, there, min(wanted, len(there)), folder, stack)
        if plan.gpus:
            stack.enter_context(_visible(names))
            yield Lease(gpus=tuple(names))
        else:
            cores = tuple(map(int, names))
            stack.enter_context(_bound(cores))
            yield Lease(cores=cores)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if CAN_PIN else list(range(os.cpu_count() or 1))


def _lock(
    kind: str, there: Sequence[str], number: int, folder: Path, stack: contextlib.ExitStack
) -> list[str]:
    """Names of `number` devices, locked until `stack` ends.

    One process at a time collects, and keeps what it has while it waits for the rest. The next comes when it is done:
    so no two wait for each other, and one that wants many is not passed for ever by those that want few.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = _Waiting(f"waiting for {number} of the {kind}s {', '.join(there)}: others use them")
    with contextlib.ExitStack() as turn:
        while not _try_lock(folder / f"{kind}-turn", turn):
            waiting.wait()
        taken: list[str] = []
        while True:
            for name in there:
                if len(taken) < number and name not in taken and _try_lock(folder / f"{kind}-{name}", stack):
                    taken.append(name)
            if len(taken) == number:
                return sorted(taken, key=there.index)
            waiting.wait()


def _try_lock(file: Path, stack: contextlib.ExitStack) -> bool:
    """Whether the lock was free; it is now held until `stack` ends."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    stack.callback(os.close, descriptor)
    return True


class _Waiting:
    """Says once what is waited for, at the first time."""

    def __init__(self, message: str) -> None:
        self._message = message

    def wait(self) -> None:
        if self._message:
            print(self._message, file=sys.stderr, flush=True)
        self._message = ""
        time.sleep(RETRY_S)


@contextlib.contextmanager
def _visible(gpus: Sequence[str]) -> Iterator[None]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextlib.contextmanager
def _bound(cores: Sequence[int]) -> Iterator[None]:
    if not CAN_PIN:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
