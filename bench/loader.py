"""What feeding costs: random mirrored crops out of the page cache, ours beside a plain copy of as many bytes and peers.

Run it in the project's folder: `python bench/loader.py [--shards FOLDER | --photos TAR] [--peers-python PATH]
[--rounds 9] [--images 256] [--batch 128] [--crop 224] [--threads 2]`. FOLDER is a prepared data set, TAR holds
photographs; without either, images are drawn. They are stored raw and as JPEG of quality 90 in a folder of its own.

PATH is the Python of the environment that bench/peers/requirements.txt describes. Without it FFCV is null, and the
DataLoader of PyTorch is timed instead, with crops of the same images.

A round goes several times over all images in one shuffled order, as through a larger data set, and counts the images
from the 7th batch on, as bench/peers/loaders.py does. All ways are timed in turn in each round; ratios are medians over
the rounds. "copy" is torch.index_select of rows of crop * crop * 3 bytes into memory that is used again.
Prints progress on standard error, and one JSON object of medians and ratios as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from alexnet.core.draws import count_offsets, draw_augmentation, image_order
from alexnet.core.resize import centre_square
from alexnet.data.decode import decode_rgb
from alexnet.data.loader import Loader, Request
from alexnet.data.shards import PreparedSplit, open_split
from alexnet.data.tars import scan_images
from photographs import describe_machine, find_photographs
from prepared import write_prepared

FIRST_BATCHES = 6  # not counted, as in bench/peers/loaders.py
SIDE, QUALITY = 256, 90
PASSES = {"raw": 24, "jpeg": 8}  # over all images in a round
PAUSE_S = 0.1  # after each way, until what it started has come to rest
PEERS = Path(__file__).with_name("peers") / "loaders.py"
THEIRS = {
    "raw": ("ffcv_raw", "ffcv_raw_written"),
    "jpeg": ("ffcv_jpeg", "ffcv_jpeg_written", "dali_jpeg", "webdataset_jpeg", "folder_jpeg"),
}

Images = npt.NDArray[np.uint8]
Round = Callable[[int], float]  # its number to images per second


@dataclass(frozen=True)
class Job:
    """What every way delivers."""

    images: Images
    batch: int
    crop: int
    threads: int


def read_images(options: argparse.Namespace, folder: Path) -> Images:
    """The images (N, side, side, 3) that are delivered: prepared ones, or squares of photographs, over and over."""
    if options.shards is not None:
        split = open_split(options.shards, "train")
        return split.read(np.arange(options.images) % len(split))
    tar = find_photographs(options.photos, folder)
    members = scan_images(tar)[: options.images]
    squares = []
    with tar.open("rb") as file:
        for member in members:
            file.seek(member.offset)
            squares.append(centre_square(decode_rgb(file.read(member.size)), SIDE, "area_cubic"))
    return np.stack([squares[number % len(squares)] for number in range(options.images)])


def count(batches: Iterator[Tensor | Images], batch: int) -> float:
    """Images per second of batches as they come, from the 7th on."""
    arrivals = [time.perf_counter()]
    for crops in batches:
        assert len(crops) == batch
        arrivals.append(time.perf_counter())
    return (len(arrivals) - 1 - FIRST_BATCHES) * batch / (arrivals[-1] - arrivals[FIRST_BATCHES])


def shuffle(job: Job, passes: int, number: int) -> Iterator[npt.NDArray[np.int64]]:
    """The places in a round's order, batch by batch; image n stands at n, n + N, n + 2N and so on."""
    order = image_order(1, number, len(job.images) * passes)
    for start in range(0, len(order), job.batch):
        yield order[start : start + job.batch]


def ours(job: Job, split: PreparedSplit) -> Round:
    """Our loader, with everything that is drawn for training."""
    offsets = count_offsets(split.side, job.crop, "with_last")

    def requests(number: int) -> Iterator[Request]:
        for places in shuffle(job, PASSES[split.store], number):
            yield Request(places % len(job.images), draw_augmentation(1, number, places, offsets))

    def deliver(number: int) -> Iterator[Tensor]:
        cpu = torch.device("cpu")
        with Loader(split, requests(number), job.crop, readers=job.threads, device=cpu) as loader:
            for _, crops in loader:
                yield crops

    return lambda number: count(deliver(number), job.batch)


def copy(job: Job) -> Round:
    """As many bytes, copied by PyTorch."""
    rows = torch.randint(0, 256, (len(job.images), job.crop**2 * 3), dtype=torch.uint8)
    out = torch.empty(job.batch, rows.shape[1], dtype=torch.uint8)

    def deliver(number: int) -> Iterator[Tensor]:
        for places in shuffle(job, PASSES["raw"], number):
            yield torch.index_select(rows, 0, torch.from_numpy(places % len(job.images)), out=out)

    return lambda number: count(deliver(number), job.batch)


class Crops(Dataset[Images]):
    """A crop of each image, as one writes it for PyTorch's DataLoader."""

    def __init__(self, split: PreparedSplit, crop: int) -> None:
        self.split, self.crop = split, crop

    def __getitem__(self, index: int) -> Images:
        if self.split.store == "raw":
            shard, row = (int(place[0]) for place in self.split.locate(index))
            image: Images = self.split.shards[shard][row]
        else:
            image = simplejpeg.decode_jpeg(self.split.encoded(index), "RGB")
        slack = image.shape[0] - self.crop + 1
        row, column, mirror = np.random.randint((slack, slack, 2))  # noqa: NPY002
        cut = image[row : row + self.crop, column : column + self.crop]
        return np.ascontiguousarray(cut[:, ::-1] if mirror else cut)


class Shuffled(Sampler[list[int]]):
    """Batches of a round."""

    def __init__(self, job: Job, passes: int) -> None:
        self.job, self.passes, self.number = job, passes, 0

    def __iter__(self) -> Iterator[list[int]]:
        for places in shuffle(self.job, self.passes, self.number):
            yield (places % len(self.job.images)).tolist()


def dataloader(job: Job, split: PreparedSplit) -> Round:
    """PyTorch's DataLoader with as many processes."""
    batches = Shuffled(job, PASSES[split.store])
    loader: Any = DataLoader(
        Crops(split, job.crop), batch_sampler=batches, num_workers=job.threads, persistent_workers=True
    )

    def deliver(number: int) -> Iterator[Tensor]:
        batches.number = number
        yield from loader

    return lambda number: count(deliver(number), job.batch)


class Peer:
    """A peer in a process of its own, which delivers a round when told to."""

    def __init__(self, python: Path, name: str, images: Path, folder: Path, job: Job, passes: int) -> None:
        arguments = [
            str(python), str(PEERS), name, str(images), str(folder), "--batch", str(job.batch), "--crop", str(job.crop),
            "--threads", str(job.threads), "--passes", str(passes), "--quality", str(QUALITY),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.name = name
        ready = self._answer()
        self.reason = None if ready.get("ready") else str(ready.get("reason"))
        self.versions: dict[str, str] = ready.get("versions", {})

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"ready": False, "reason": f"it ended with status {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def deliver(self, _: int) -> float:
        """Images per second of a round. Raises RuntimeError if it fails."""
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        answer = self._answer()
        if "seconds" not in answer:
            raise RuntimeError(f"{self.name}: {answer.get('reason')}")
        return float(answer["images"]) / float(answer["seconds"])

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("end\n")
            self._process.stdin.close()
        self._process.wait()


def start_peers(
    options: argparse.Namespace, job: Job, folder: Path, stack: contextlib.ExitStack
) -> tuple[dict[str, Round], dict[str, str], dict[str, str]]:
    """Those that run, why others do not, and versions."""
    ways: dict[str, Round] = {}
    reasons: dict[str, str] = {}
    versions: dict[str, str] = {}
    path = folder / "images.npy"
    np.save(path, job.images)
    for store, names in THEIRS.items():
        for name in names:
            peer = Peer(options.peers_python, name, path, folder / name, job, PASSES[store])
            stack.callback(peer.close)
            if peer.reason is None:
                ways[name] = peer.deliver
                versions |= peer.versions
            else:
                reasons[name] = peer.reason
            print(f"{name}: {peer.reason or 'ready'}", file=sys.stderr)
    return ways, reasons, versions


def main() -> None:
    """Measures all ways in turn."""
    parser = argparse.ArgumentParser(description="Time loaders of random crops.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--shards", type=Path)
    source.add_argument("--photos", type=Path)
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        job = Job(read_images(options, folder), options.batch, options.crop, options.threads)
        splits = {}
        for store, quality in (("raw", None), ("jpeg", QUALITY)):
            splits[store] = open_split(write_prepared(folder / store, job.images, quality), "train")
        ways: dict[str, Round] = {
            "raw": ours(job, splits["raw"]),
            "copy": copy(job),
            "jpeg": ours(job, splits["jpeg"]),
        }
        reasons = dict.fromkeys(("ffcv_raw", "ffcv_jpeg"), "no --peers-python")
        versions: dict[str, str] = {}
        if options.peers_python is None:
            ways |= {f"dataloader_{store}": dataloader(job, split) for store, split in splits.items()}
        else:
            theirs, reasons, versions = start_peers(options, job, folder, stack)
            ways |= theirs
        report = measure(ways, options.rounds, reasons)
        stored = splits["jpeg"].sizes.mean()
    report |= {
        "images": len(job.images),
        "image_source": str(options.shards or options.photos or "drawn"),
        "jpeg_bytes": round(float(stored)),
        "batch": job.batch,
        "crop": job.crop,
        "threads": job.threads,
        "peer_versions": versions,
    }
    print(json.dumps(report | describe_machine("numpy", "numba", "torch", "simplejpeg")))


def measure(ways: dict[str, Round], rounds: int, reasons: dict[str, str]) -> dict[str, Any]:
    """Medians and ratios; the first round warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, deliver in ways.items():
            rate = deliver(number)
            print(f"{number}: {name} {rate:,.0f} images/s", file=sys.stderr)
            rates[name] += [rate] * (number > 0)
            time.sleep(PAUSE_S)

    def ratio(first: str, second: str) -> float | None:
        if second not in rates:
            return None
        return round(statistics.median(a / b for a, b in zip(rates[first], rates[second], strict=True)), 3)

    others = [name for name in ways if name not in ("raw", "copy", "jpeg", "ffcv_raw", "ffcv_jpeg")]
    return {
        "rounds": rounds,
        "images_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "loader_raw_vs_ffcv": ratio("raw", "ffcv_raw"),
        "loader_raw_vs_copy": ratio("raw", "copy"),
        "loader_jpeg_vs_ffcv": ratio("jpeg", "ffcv_jpeg"),
        "loader_vs_others": {name: ratio("raw" if "raw" in name else "jpeg", name) for name in others},
        "reasons": reasons,
    }


if __name__ == "__main__":
    main()
