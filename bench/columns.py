"""Updates of the paper's network by two processes, a column each, against one process with the whole; a thread each.

Run it in the project's folder: `python bench/columns.py [--rounds 5] [--batch 64]`. An update is all of it: crops,
colour noise and dropout masks, forward, backward and optimizer. In each round the first process trains the whole
network while the second waits, then both train a column. Memory is that of parameters and velocities, at most over
the processes.
Prints progress on standard error, and one JSON object of medians (milliseconds) and ratios as its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist

from alexnet.core.layers import exchanged_values
from alexnet.core.team import Team
from alexnet.core.training import Minibatch, Tally, Trainer
from alexnet.device import join_group, leave_group, open_device
from alexnet.launch import joined, launch
from full_size import describe_machine, held_bytes, make_batch, make_trainer


def update(trainer: Trainer, batch: Minibatch) -> float:
    """Milliseconds of one."""
    begun = time.perf_counter()
    trainer.step(batch, 0, Tally())
    return 1e3 * (time.perf_counter() - begun)


def measure(rounds: int, batch_size: int) -> None:
    """What each of the two processes does; the first prints."""
    join_group(open_device("cpu", 1))
    rank = dist.get_rank()
    team = Team("columns", rank, 2, dist.new_group(backend="gloo"))
    column, batch = make_trainer(team=team), make_batch(batch_size)
    whole = make_trainer() if team.is_first else None
    took: dict[str, list[float]] = {"one": [], "columns": []}
    for turn in range(rounds + 1):  # the first warms up and does not count
        dist.barrier()
        alone = update(whole, batch) if whole else 0.0
        dist.barrier()
        together = update(column, batch)
        for name, milliseconds in (("one", alone), ("columns", together)):
            took[name] += [milliseconds] * (turn > 0)
        if team.is_first:
            print(f"{turn}: one {alone:.0f} ms, columns {together:.0f} ms", file=sys.stderr)
    held = torch.tensor(held_bytes(column))
    dist.all_reduce(held, dist.ReduceOp.MAX)
    if whole:
        ratios = [one / columns for one, columns in zip(took["one"], took["columns"], strict=True)]
        report = {
            "batch": batch_size,
            "rounds": rounds,
            "median_ms": {name: round(statistics.median(times), 1) for name, times in took.items()},
            "columns_speedup": round(statistics.median(ratios), 3),
            "columns_memory_fraction": round(held.item() / held_bytes(whole), 4),
            "exchanged_bytes_per_image_each_way": exchanged_values(whole.network.layers) * 4,
        }
        print(json.dumps(report | describe_machine()))
    leave_group()


def main() -> int:
    """Starts both processes, or is one of them."""
    parser = argparse.ArgumentParser(description="Time updates by columns.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    if joined() is not None:
        measure(arguments.rounds, arguments.batch)
        return 0
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    return launch(sys.argv[1:], 2, cores, program=(sys.executable, __file__))


if __name__ == "__main__":
    sys.exit(main())
