"""What response normalization costs on this CPU: ours, PyTorch's, plain operations, and only moving the tensors.

Run it in the project's folder: `python bench/lrn.py [--rounds 15] [--threads 2] [--shape 32 96 55 55]`. Each round
times every way forward and backward, so that a busy machine slows all alike. "traffic" reads and writes as often as
must be: once each forward, two reads and a write backward; like the others it allocates what it writes, and
"traffic_no_allocation" writes to the same memory each time.
Prints progress on standard error, and one JSON object of medians (milliseconds) and ratios as its last line.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet.core import lrn

SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 2.0  # PyTorch divides alpha by the size, as the 2012 code does
CONSTANTS = (SIZE, ALPHA / SIZE, BETA, K)
PROCESS = Path("/proc/self")

Way = Callable[[Tensor], Tensor]


class _Plain(torch.autograd.Function):
    """PyTorch's own operations, chunk by chunk: what is done where there is no kernel."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return lrn._compute_plainly(values, None, *CONSTANTS, groups=1)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return lrn._compute_plainly(values, gradients[0], *CONSTANTS, groups=1)


class _Traffic(torch.autograd.Function):
    """Moves what any such operator must move, and computes next to nothing."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.add(values, gradients[0])


WAYS: dict[str, Way] = {
    "ours": lambda values: lrn.local_response_norm(values, *CONSTANTS),
    "torch": nn.LocalResponseNorm(SIZE, ALPHA, BETA, K),
    "plain": _Plain.apply,
    "traffic": _Traffic.apply,
    "ours_within_maps": lambda values: lrn.spatial_norm(values, *CONSTANTS),
}


def tensors(shape: list[int], memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    """The input, as after ReLU, and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    values, gradient = (torch.randn(*shape, generator=generator) for _ in range(2))
    values = values.relu_().contiguous(memory_format=memory_format).requires_grad_()
    return values, gradient.contiguous(memory_format=memory_format)


def call(way: Way, values: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Milliseconds forward and backward."""
    values.grad = None
    begun = time.perf_counter()
    result = way(values)
    between = time.perf_counter()
    result.backward(gradient)  # type: ignore[no-untyped-call]
    return 1e3 * (between - begun), 1e3 * (time.perf_counter() - between)


def move(values: Tensor, gradient: Tensor, room: Tensor) -> tuple[float, float]:
    """Milliseconds of the same traffic forward and backward, without asking for memory."""
    with torch.no_grad():
        begun = time.perf_counter()
        room.copy_(values)
        between = time.perf_counter()
        torch.add(values, gradient, out=room)
    return 1e3 * (between - begun), 1e3 * (time.perf_counter() - between)


def resident_mb(field: str) -> float:
    """This process's resident memory, now (VmRSS) or at most (VmHWM), in megabytes."""
    (line,) = (line for line in (PROCESS / "status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def memory(name: str, shape: list[int]) -> float:
    """Megabytes at the peak of one call beyond input and incoming gradient: both results, and all in between."""
    values, gradient = tensors(shape, torch.contiguous_format)
    small = tensors([1, *shape[1:]], torch.contiguous_format)
    call(WAYS[name], *small)  # loads and compiles whatever it needs
    before = resident_mb("VmRSS")
    (PROCESS / "clear_refs").write_text("5")  # forgets the peak so far
    call(WAYS[name], values, gradient)
    return resident_mb("VmHWM") - before


def child(arguments: list[str], **variables: str) -> float:
    """The number that this program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    return float(done.stdout)


def main() -> None:
    """Measures all ways in turn; the memory and the first call, each in new processes."""
    parser = argparse.ArgumentParser(description="Time response normalization.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shape", type=int, nargs=4, default=[32, 96, 55, 55])
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--first-call", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = arguments.shape
    if arguments.memory:
        print(memory(arguments.memory, shape))
        return
    if arguments.first_call:
        print(sum(call(WAYS["ours"], *tensors([1, 6, 2, 2], torch.contiguous_format))))
        return
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    inputs = {name: tensors(shape, memory_format) for name, memory_format in formats.items()}
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        name: functools.partial(call, way, *inputs["contiguous"]) for name, way in WAYS.items()
    }
    runs["traffic_no_allocation"] = functools.partial(
        move, *inputs["contiguous"], torch.empty_like(inputs["contiguous"][1])
    )
    for name in ("ours", "ours_within_maps"):
        runs[f"{name}_channels_last"] = functools.partial(call, WAYS[name], *inputs["channels_last"])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(arguments.rounds + 1):  # the first warms and does not count
        for name, run in runs.items():
            took = run()
            print(f"{turn}: {name}: {took[0]:.1f} + {took[1]:.1f} ms", file=sys.stderr)
            times[name].extend([took] * (turn > 0))
    report: dict[str, object] = {"shape": shape, "threads": arguments.threads, "rounds": arguments.rounds}
    for name, all_took in times.items():
        report[f"{name}_ms"] = {
            "forward": round(statistics.median(took[0] for took in all_took), 1),
            "backward": round(statistics.median(took[1] for took in all_took), 1),
            "both": round(statistics.median(sum(took) for took in all_took), 1),
            "both_least": round(min(sum(took) for took in all_took), 1),
        }
    for other in ("torch", "plain", "traffic"):
        # The ratio within each round, so that what slows the machine from one to the next falls out.
        ratios = [sum(theirs) / sum(ours) for ours, theirs in zip(times["ours"], times[other], strict=True)]
        report[f"lrn_speedup_vs_{other}"] = round(statistics.median(ratios), 2)
    report["tensor_mb"] = round(inputs["contiguous"][0].nbytes / 2**20, 1)
    common = ["--threads", str(arguments.threads), "--shape", *map(str, shape)]
    for name in ("ours", "torch", "plain", "traffic"):
        report[f"{name}_peak_extra_mb"] = round(child(["--memory", name, *common]), 1)
    with tempfile.TemporaryDirectory() as cache:
        for state in ("cold", "cached"):
            report[f"first_call_{state}_s"] = round(child(["--first-call"], NUMBA_CACHE_DIR=cache) / 1e3, 2)
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    report["versions"] = {
        "python": platform.python_version(),
        **{name: __import__(name).__version__ for name in ("torch", "numba", "numpy")},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
