"""Starts one command in several processes that compute together, and ends them together.

The processes find each other as torch.distributed expects it, by RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE,
MASTER_ADDR and MASTER_PORT. No port is guessed: the parent listens on one that the kernel chose and rank 0 inherits the
open socket, so nobody can take it in between (device.join_group).

A process that has these variables already was started by somebody who does the same, and starts no others. So several
machines train one member, with `parallel: data` in each one's machine.yaml and the project on a shared disk:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m alexnet.cli train MEMBER

Such processes claim no devices: whoever starts them says which are theirs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO, Any

LISTENER = "ALEXNET_LISTENER"  # number of the open socket that rank 0 inherits; device.py reads it
ERRORS = "ALEXNET_ERRORS"  # number of the open file that takes users' mistakes
PROGRAM = (sys.executable, "-m", "alexnet.cli")
HOST = "127.0.0.1"
GRACE_S = 10.0  # between the end of the first, if it failed, and SIGKILL for the others
POLL_S = 0.05
PR_SET_PDEATHSIG = 1


def joined() -> int | None:
    """How many processes compute together if this is one of them, started by `launch` or by torchrun; else None."""
    return int(os.environ["WORLD_SIZE"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else None


def report(message: str) -> None:
    """Prints a user's mistake on standard error. One of several processes hands it to `launch` instead.

    All of them meet the same mistake as a rule, and it should be read once.
    """
    if ERRORS in os.environ:
        os.write(int(os.environ[ERRORS]), f"{message}\n".encode())
    else:
        print(message, file=sys.stderr)


def launch(
    arguments: Sequence[str], processes: int, cores: Sequence[int] = (), program: Sequence[str] = PROGRAM
) -> int:
    """Runs `program` with `arguments` in several processes; the exit code of the first that fails, or 0.

    When one fails the others are ended. SIGTERM and SIGINT are passed on, and once all have ended, in their own time,
    128 + the signal is returned. On Linux they die with this process, however it dies.
    Rank 0 has this process's standard output, the others none; all have its standard error.
    cores: claimed ones, of which each process is bound to its share; none where they compute on GPUs.
    """
    assert joined() is None, "started as one of several already"
    with (
        socket.create_server((HOST, 0), backlog=processes) as listener,
        tempfile.TemporaryFile() as errors,
        _Group() as group,
    ):
        for rank in range(processes):
            if not group.is_ending:
                environment = _environment(rank, processes, listener, errors)
                handed = [errors.fileno(), *([listener.fileno()] if rank == 0 else [])]
                group.start([*program, *arguments], rank, environment, handed, share(cores, rank, processes))
        listener.close()  # rank 0 has it, and with it the others notice when rank 0 is gone
        code = group.wait()
        errors.seek(0)
        for message in dict.fromkeys(errors.read().decode().splitlines()):
            print(message, file=sys.stderr, flush=True)
    return code


def share(cores: Sequence[int], rank: int, processes: int) -> Sequence[int]:
    """The cores of one process: a part of its own, or one that others use too if there are fewer than processes."""
    if len(cores) < processes:
        return [cores[rank % len(cores)]] if cores else []
    return cores[rank * len(cores) // processes : (rank + 1) * len(cores) // processes]


def _environment(rank: int, processes: int, listener: socket.socket, errors: IO[bytes]) -> dict[str, str]:
    return {
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",  # a host's own name may not resolve
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(listener.getsockname()[1]),
        LISTENER: str(listener.fileno()),
        ERRORS: str(errors.fileno()),
    }


class _Group:
    """Processes that end together. As a context it also catches the signals that it forwards."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._signal: int | None = None  # the one that was caught
        self._deadline: float | None = None  # when those that are left are killed
        self._handlers: dict[signal.Signals, Any] = {}  # of before

    @property
    def is_ending(self) -> bool:
        """Whether those that run have been told to end."""
        return self._signal is not None or self._deadline is not None

    def start(
        self,
        command: Sequence[str],
        rank: int,
        environment: dict[str, str],
        handed: Sequence[int],
        cores: Sequence[int],
    ) -> None:
        """Starts one more. handed: open files it inherits."""
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if rank == 0 else subprocess.DEVNULL,
            pass_fds=handed,
            process_group=0,  # a terminal's Ctrl-C reaches the parent alone, and so each of these once
            preexec_fn=_before_start(os.getpid(), cores),  # this process has no threads
        )
        self._processes.append(process)
        if self.is_ending:  # the signal came while it was being started
            process.terminate()

    def wait(self) -> int:
        """The exit code once all have ended."""
        failed = 0
        while any(process.poll() is None for process in self._processes):
            failed = failed or self._failure()
            if failed and not self.is_ending:
                self._send(signal.SIGTERM)
            if failed and self._deadline is None:
                self._deadline = time.monotonic() + GRACE_S
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._send(signal.SIGKILL)
            time.sleep(POLL_S)
        return 128 + self._signal if self._signal else failed or self._failure()

    def _failure(self) -> int:
        """The exit code of a process that failed, as a shell gives it; 0 if none has."""
        codes = [process.poll() or 0 for process in self._processes]
        return next((code if code > 0 else 128 - code for code in codes if code), 0)

    def _send(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)

    def _forward(self, number: int, _: FrameType | None) -> None:
        """No deadline: they may have a checkpoint to write."""
        self._signal = number
        self._send(number)

    def __enter__(self) -> _Group:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left behind, also if a process could not be started."""
        self._send(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _before_start(parent: int, cores: Sequence[int]) -> Callable[[], None]:
    """What a new process does first: it asks to be killed when its parent is gone, and keeps to its cores."""
    # Loaded here: little is safe after a fork.
    library = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if library is not None:
            library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # gone before it was asked for
                os._exit(1)
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)

    return prepare
