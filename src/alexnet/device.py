"""The device a stage computes on. A machine setting: it never changes what is computed."""

from __future__ import annotations

import platform

import torch

from alexnet.errors import UserError


def open_device(device: str, threads: int) -> torch.device:
    """The device to compute on, `auto` taking a GPU if there is one, with PyTorch set to be repeatable on it.

    threads: of this process. Fixed here whoever started it: two processes that each take every core
    run several times slower than two with one thread, and sums split otherwise differ in their last bits.
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
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(device)


def describe_device(device: torch.device, threads: int) -> dict[str, object]:
    """What a record says of the machine."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
