"""Feeding from a set larger than memory: our loader's crops in random order against reading the disk from end to end.

Run it in the project's folder, where a cgroup can be made (as root, as a rule): `python bench/disk.py [--gigabytes 6]
[--memory 1000] [--rounds 5] [--batch 128] [--readers 1] [--folder .]`. It writes raw shards of random images into a
folder of its own and removes them at the end. A process whose memory, page cache included, is limited to so many
megabytes goes through all images once in each round, a random crop of 224 of each, after the shards' pages have been
dropped from the cache. In turn with it, all shards are read in order past the cache (O_DIRECT), 4 MB at a time: the
disk's own speed. Of the loader, bytes are those of the crops' rows, not of the whole images.
Prints progress on standard error, and one JSON object of medians and ratios as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet.core.draws import draw_augmentation, image_order
from alexnet.data.loader import Loader, Request
from alexnet.data.shards import open_split
from photographs import describe_machine
from prepared import write_prepared

SIDE, CROP = 256, 224
BLOCK = 1 << 22
RANDOM_IMAGES = 512
CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def memory_limit(megabytes: int) -> Iterator[Path]:
    """The file that takes the process to be limited. Raises OSError where no cgroup can be made."""
    version1 = CGROUPS / "memory"
    parent, limit = (version1, "memory.limit_in_bytes") if version1.is_dir() else (CGROUPS, "memory.max")
    group = parent / f"alexnet-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(megabytes * 1_000_000))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def read_directly(shards: list[Path]) -> float:
    """Bytes per second of reading all shards from end to end past the page cache."""
    begun, total = time.perf_counter(), 0
    with mmap.mmap(-1, BLOCK) as block:
        for shard in shards:
            opened = os.open(shard, os.O_RDONLY | os.O_DIRECT)
            with open(opened, "rb", buffering=0) as file:
                while done := file.readinto(block):
                    total += done
    return total / (time.perf_counter() - begun)


def drop(shards: list[Path]) -> None:
    """Drops the shards' pages from the cache."""
    for shard in shards:
        with shard.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_crops(folder: Path, batch: int, readers: int) -> None:
    """What the limited process does: for each line it goes through all images, and tells how fast."""
    split = open_split(folder, "train")
    for number, _ in enumerate(sys.stdin):
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        delivered = 0
        with Loader(
            split, requests(number, len(split), batch), CROP, readers=readers, device=torch.device("cpu")
        ) as loader:
            for _, crops in loader:
                delivered += len(crops)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        assert delivered == len(split)
        told = {
            "bytes_per_s": delivered * CROP * SIDE * 3 / seconds,
            "from_disk": (after.ru_inblock - before.ru_inblock) * 512 / (delivered * CROP * SIDE * 3),
            "cpu_share": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds,
        }
        print(json.dumps(told), flush=True)


def requests(epoch: int, count: int, batch: int) -> Iterator[Request]:
    """An epoch's batches."""
    order = image_order(1, epoch, count)
    for start in range(0, count, batch):
        indices = order[start : start + batch]
        yield Request(indices, draw_augmentation(1, epoch, indices, SIDE - CROP + 1))


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Medians and ratios; the first round warms up and does not count."""
    shards = sorted(folder.glob("*.rgb"))
    os.sync()
    drop(shards)
    arguments = [
        sys.executable,
        __file__,
        "--read",
        str(folder),
        "--batch",
        str(options.batch),
        "--readers",
        str(options.readers),
    ]
    told: list[dict[str, float]] = []
    speeds: list[float] = []
    with (
        memory_limit(options.memory) as members,
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        members.write_text(str(process.pid))
        for number in range(options.rounds + 1):
            process.stdin.write("round\n")
            process.stdin.flush()
            round_told = json.loads(process.stdout.readline())
            drop(shards)
            speed = read_directly(shards)
            print(f"{number}: disk {speed / 1e6:,.0f} MB/s, {round_told}", file=sys.stderr)
            if number > 0:
                told.append(round_told)
                speeds.append(speed)
        process.stdin.close()
        process.wait()
    return {
        "rounds": options.rounds,
        "loader_mb_per_s": round(statistics.median(each["bytes_per_s"] for each in told) / 1e6),
        "disk_mb_per_s": round(statistics.median(speeds) / 1e6),
        "loader_vs_disk": round(
            statistics.median(each["bytes_per_s"] / speed for each, speed in zip(told, speeds, strict=True)),
            3,
        ),
        "read_per_wanted_byte": round(statistics.median(each["from_disk"] for each in told), 3),
        "cpu_share": round(statistics.median(each["cpu_share"] for each in told), 3),
    }


def main() -> None:
    """Measures, or is the limited process."""
    parser = argparse.ArgumentParser(description="Time feeding from a set larger than memory.")
    parser.add_argument("--gigabytes", type=float, default=6)
    parser.add_argument("--memory", type=int, default=1000, help="megabytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that is to be measured")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        read_crops(options.read, options.batch, options.readers)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as temporary:
        images = np.random.default_rng(0).integers(0, 256, (RANDOM_IMAGES, SIDE, SIDE, 3)).astype(np.uint8)
        count = int(options.gigabytes * 1e9) // images[0].nbytes
        folder = write_prepared(Path(temporary) / "raw", images, None, count)
        report = measure(options, folder)
    report |= {
        "images": count, "set_mb": round(count * images[0].nbytes / 1e6), "memory_mb": options.memory,
        "batch": options.batch, "readers": options.readers,
    }  # fmt: skip
    print(json.dumps(report | describe_machine("numpy", "numba", "torch")))


if __name__ == "__main__":
    main()
