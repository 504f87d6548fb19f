"""The device a stage computes on, and the group of processes it may be one of. Machine settings, no parameters."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from alexnet.errors import UserError

# Rank 0 alone writes checkpoints; to a slow disk that takes minutes, while the others wait.
GROUP_TIMEOUT = timedelta(minutes=30)
LISTENER = "ALEXNET_LISTENER"  # the same as in launch.py, which stages never import
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
NO_PROMISE = "with compile or channels_last, equal bytes from equal runs are not promised"


def open_device(device: str, threads: int) -> torch.device:
    """The device to compute on, `auto` taking a GPU if there is one, with PyTorch set to be repeatable on it.

    threads: of this process. Fixed here whoever started it: two processes that each take every core
    run several times slower than two with one thread, and sums split otherwise differ in their last bits.
    One of several processes takes the GPU of its LOCAL_RANK; where there are fewer, they share.
    Raises UserError if a GPU is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "machine.yaml: device",
            "no GPU can be used",
            found="cuda",
            expected="cpu or auto on this machine",
            fix="Set device: cpu, or install a driver that PyTorch finds.",
        )
    torch.set_num_threads(threads)
    _keep_memory()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(chosen)
        return chosen
    return torch.device(device)


def _keep_memory() -> None:
    """Makes glibc keep what it was given: by default it hands large blocks back after each update, and gets them again
    page by page, which took a quarter of the time of an update at full size. Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        adjust = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if adjust is not None:
            adjust(M_MMAP_MAX, 0)
            adjust(M_TRIM_THRESHOLD, (1 << 31) - 1)


def join_group(device: torch.device) -> None:
    """Joins the processes that were started together, over nccl if each has a GPU of its own, else over gloo.

    Call it only in such a process, after `open_device`. Waits until all have come.
    """
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = choose_backend(device, torch.cuda.device_count())
    distributed.init_process_group(
        backend,
        store=_open_store(rank, processes),  # by torchrun's own rules if None
        rank=rank,
        world_size=processes,
        timeout=GROUP_TIMEOUT,
        device_id=device if backend == "nccl" else None,
    )


def leave_group() -> None:
    """Leaves the group, if this process is in one."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def choose_backend(device: torch.device, gpus: int) -> str:
    """nccl if each process of this machine has one of its `gpus` to itself, else gloo. All machines must agree."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    return "nccl" if device.type == "cuda" and here <= gpus and distributed.is_nccl_available() else "gloo"


def _open_store(rank: int, processes: int) -> Store | None:
    """Where processes of `launch` meet: at the socket that rank 0 inherited."""
    if LISTENER not in os.environ:
        return None
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        processes,
        is_master=rank == 0,
        timeout=GROUP_TIMEOUT,
        master_listen_fd=int(os.environ[LISTENER]) if rank == 0 else None,
    )


def describe_device(
    device: torch.device,
    threads: int,
    mode: str = "none",
    *,
    is_compiled: bool = False,
    is_channels_last: bool = False,
) -> dict[str, object]:
    """What a record says of the machine. mode: how several processes share the work."""
    is_joined = distributed.is_initialized()
    described: dict[str, object] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": threads,
        "processes": distributed.get_world_size() if is_joined else 1,
        "mode": mode,
        "backend": distributed.get_backend() if is_joined else None,
        "compile": is_compiled,
        "channels_last": is_channels_last,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if is_compiled or is_channels_last:
        described["note"] = NO_PROMISE
    return described
