"""What preparing photographs costs: ours, decoding alone, Pillow with BOX, one core against two, and the memory.

Run it in the project's folder: `python bench/prepare.py [--photos TAR] [--rounds 9] [--images 16384] [--memory 50000]`.
TAR holds photographs, such as 200 of ImageNet; without it as many are drawn. In each round every way goes through all
of them on one core: "ours" reads each out of the tar, decodes, hashes, resizes and writes a raw shard ("ours_jpeg": one
of JPEGs); "decode" only decodes at full size into memory that it uses again ("decode_torchvision" by torchvision, where
that is installed; the faster one is the limit); "pillow_box" does all that ours does with Pillow and its BOX filter
("pillow_box_alone" neither hashes nor writes); "cv2_area" decodes as ours does and resizes with OpenCV, nothing else.
Then whole runs over --images images (the photographs again and again) by one process and by two, shards written and
synchronized; and one of --memory images by two, whose largest resident memory is read meanwhile.
Prints progress on standard error, and one JSON object of medians and ratios as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
from PIL import Image

from alexnet.core.resize import PrepareParams, resized_shape
from alexnet.data.decode import hash_pixels
from alexnet.data.images import read_image
from alexnet.data.inventory import (
    PLACE_SCHEMA,
    SPLITS,
    Inventory,
    Place,
    SplitCount,
    as_places,
    join_places,
    make_places,
    number_synsets,
    write_inventory,
)
from alexnet.data.shards import ShardWriter
from alexnet.data.tars import scan_images
from alexnet.stages import prepare
from photographs import describe_machine, find_photographs

SIDE = 256
PROCESSES = Path("/proc")


def list_photographs(tar: Path, count: int) -> pa.Table:
    """So many images of a tar (PLACE_SCHEMA), again and again from the first."""
    members = scan_images(tar)
    chosen = [members[number % len(members)] for number in range(count)]
    keys = [f"{number:08}/{member.base}" for number, member in enumerate(chosen)]
    sizes, offsets = [member.size for member in chosen], [member.offset for member in chosen]
    return make_places(str(tar), keys, 0, sizes, offsets=offsets)


def params(store: str) -> PrepareParams:
    """The full size's, with shards small enough for a few photographs."""
    return PrepareParams.model_validate(
        {"resize": SIDE, "interpolation": "area_cubic", "store": store, "quality": 90, "shard_images": 1024, "seed": 1}
    )  # fmt: skip


def prepare_all(places: list[Place], path: Path, store: str) -> None:
    """One shard of all images."""
    done = prepare.prepare_shard(prepare.Task("train", path.name, path, places, params(store), None))
    assert len(done.kept) == len(places)


def decode_all(contents: list[bytes], room: np.ndarray) -> None:
    """Full-size pixels and nothing else."""
    for content in contents:
        simplejpeg.decode_jpeg(content, "RGB", buffer=room)


def decode_all_torchvision(contents: list[bytes]) -> None:
    """The same by torchvision."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    for content in contents:
        decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


def prepare_all_pillow(contents: list[bytes], path: Path | None) -> None:
    """Squares by Pillow; hashed and written into a shard if there is a path."""
    writer = ShardWriter(path, None) if path else None
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            height, width = resized_shape(image.height, image.width, SIDE)
            colours = image.convert("RGB")
            resized = colours.resize((width, height), Image.Resampling.BOX)
        left, top = (width - SIDE) // 2, (height - SIDE) // 2
        square = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))
        if writer:
            writer.add(square, hash_pixels(np.asarray(colours)))
    if writer:
        writer.close()


def resize_all_cv2(contents: list[bytes], room: np.ndarray) -> None:
    """Squares by OpenCV's area filter."""
    for content in contents:
        image = simplejpeg.decode_jpeg(content, "RGB", buffer=room)
        height, width = resized_shape(image.shape[0], image.shape[1], SIDE)
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def run_all(tar: Path, count: int, store: str, workers: int, folder: Path) -> float:
    """Seconds of a whole run."""
    source = folder / f"source_{count}"
    if not source.exists():
        source.mkdir()
        tables = {split: join_places([PLACE_SCHEMA.empty_table()], split, "") for split in SPLITS}
        tables["train"] = join_places([list_photographs(tar, count)], "train", str(tar))
        counts = {split: SplitCount(len(table), None) for split, table in tables.items()}
        synsets = number_synsets({"n00000010": "all of them"})
        write_inventory(source, Inventory("bench", "folder", [], synsets, counts), tables)
    folders = prepare.Folders(source, folder / "data", folder / "unfinished", None, None)
    shutil.rmtree(folders.output, ignore_errors=True)  # of the run before, not to be paid for by this one
    os.sync()
    begun = time.perf_counter()
    prepare.run("bench", params(store), folders, workers=workers)
    return time.perf_counter() - begun


@contextlib.contextmanager
def watch_memory() -> Iterator[dict[str, float]]:
    """Largest resident memory, in MB, of this process and of any below it while the block runs."""
    peaks = {"parent": 0.0, "worker": 0.0}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for pid in [os.getpid(), *_below(os.getpid())]:
                with contextlib.suppress(OSError, StopIteration):
                    lines = (PROCESSES / str(pid) / "status").read_text().splitlines()
                    megabytes = (
                        int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1000
                    )
                    name = "parent" if pid == os.getpid() else "worker"
                    peaks[name] = max(peaks[name], megabytes)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        stop.set()
        watcher.join()


def _below(parent: int) -> list[int]:
    """All processes that one started, and those that they did."""
    children: dict[int, list[int]] = {}
    for folder in PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(status[1]), []).append(int(folder.name))
    found = [parent]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def one_core(tar: Path, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds per image of each way, round by round."""
    places = as_places(list_photographs(tar, len(scan_images(tar))))
    contents, room = [read_image(place) for place in places], np.empty(1 << 26, np.uint8)
    ways: dict[str, Callable[[], None]] = {
        "ours": lambda: prepare_all(places, folder / "shard.rgb", "raw"),
        "decode": lambda: decode_all(contents, room),
        "cv2_area": lambda: resize_all_cv2(contents, room),
        "pillow_box": lambda: prepare_all_pillow(contents, folder / "pillow.rgb"),
        "pillow_box_alone": lambda: prepare_all_pillow(contents, None),
        "ours_jpeg": lambda: prepare_all(places, folder / "shard.jpegs", "jpeg"),
    }
    if importlib.util.find_spec("torchvision"):
        ways["decode_torchvision"] = lambda: decode_all_torchvision(contents)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first warms and does not count
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            took = 1e3 * (time.perf_counter() - begun) / len(places)
            print(f"{turn}: {name}: {took:.3f} ms", file=sys.stderr)
            times[name] += [took] * (turn > 0)
    return times


def main() -> None:
    """Measures all ways in turn."""
    parser = argparse.ArgumentParser(description="Time the preparation of photographs.")
    parser.add_argument("--photos", type=Path, help="a tar of photographs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=16_384, help="of the whole runs")
    parser.add_argument(
        "--memory", type=int, default=50_000, help="images of the run whose memory is read; 0: none"
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    report: dict[str, object] = {"photos": arguments.photos.name if arguments.photos else "drawn"}
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        tar = find_photographs(arguments.photos, folder)
        times = one_core(tar, arguments.rounds, folder)
        limits = [times[way] for way in ("decode", "decode_torchvision") if way in times]
        limit = min(limits, key=statistics.median)
        for way, all_took in times.items():
            report[f"{way}_ms"] = round(statistics.median(all_took), 3)
        for ratio, theirs in (
            ("decode_limit", limit),
            ("pillow", times["pillow_box"]),
            ("cv2", times["cv2_area"]),
        ):
            # Within each round, so that what slows the machine from one to the next falls out.
            ratios = [other / ours for ours, other in zip(times["ours"], theirs, strict=True)]
            report[f"prepare_vs_{ratio}"] = round(statistics.median(ratios), 2)
        scalings: dict[str, list[float]] = {"raw": [], "jpeg": []}
        seconds: dict[str, list[float]] = {}
        for turn in range(3):
            for store, scaling in scalings.items():
                both = [run_all(tar, arguments.images, store, workers, folder) for workers in (1, 2)]
                print(f"{turn}: whole runs, {store}: {both[0]:.1f} s and {both[1]:.1f} s", file=sys.stderr)
                scaling.append(both[0] / both[1])
                for workers, took in zip((1, 2), both, strict=True):
                    seconds.setdefault(f"{store}_{workers}", []).append(took)
        report["whole_images"] = arguments.images
        report["whole_images_per_s"] = {
            way: round(arguments.images / statistics.median(all_took)) for way, all_took in seconds.items()
        }
        report["prepare_scaling_2_cores"] = round(statistics.median(scalings["raw"]), 2)
        report["prepare_jpeg_scaling_2_cores"] = round(statistics.median(scalings["jpeg"]), 2)
        if arguments.memory:
            with watch_memory() as peaks:
                run_all(tar, arguments.memory, "jpeg", 2, folder)
            report["memory_images"] = arguments.memory
            report["memory_peak_mb"] = {process: round(peak) for process, peak in peaks.items()}
    report |= describe_machine(
        "simplejpeg", "torchvision", "pillow", "opencv-python-headless", "numpy", "numba"
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
