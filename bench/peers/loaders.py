"""The loaders ours is compared with: FFCV, DALI, WebDataset and torchvision, each at its best, told by lines.

Run by the Python of the environment that `requirements.txt` beside this file describes; knows nothing of alexnet:
`python bench/peers/loaders.py PEER IMAGES.npy FOLDER [--batch 128] [--crop 224] [--threads 2] [--passes 4]
[--quality 90]`. IMAGES.npy holds uint8 squares (N, side, side, 3). The peer writes them into FOLDER in its own format,
delivers everything once and has it checked, and then prints `{"ready": true, ...}`. For each line `round` on standard
input it delivers all images again and prints `{"images": n, "seconds": s, ...}`; `end`, or the input's end, stops it.
Standard output holds one JSON object a line and nothing else; a peer that cannot run says why in
`{"ready": false, "reason": ...}` and exits with status 1.

What is delivered: batches of shuffled random crops, half of them mirrored, uint8, in the main thread's memory. A round
goes `passes` times over all images in one shuffled order, as through a larger data set, so that what a loader does once
for each epoch (FFCV and DALI allocate their buffers then) weighs as little as it does over ImageNet. "images" and
"seconds" leave out the first batches for the same reason; "all_images" and "all_seconds" hold them.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import shutil
import sys
import tarfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

Images = npt.NDArray[np.uint8]
Batch = tuple[
    Images, npt.NDArray[np.int64]
]  # crops, channels first or last, and the number of each one's image

FIRST_BATCHES = 6  # not timed: FFCV fills five buffers for the first time
PACKAGES = (
    "ffcv",
    "nvidia-dali-cuda130",
    "webdataset",
    "torchvision",
    "torch",
    "numba",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
)
FAR = 7.0  # grey levels in the mean: two decoders of the same JPEG lie nearer to each other; other images, farther
CHECKED = 16  # images of the first batches whose crop is searched for


@dataclass(frozen=True)
class Job:
    """What is to be delivered, and how."""

    images: Images
    folder: Path
    batch: int
    crop: int
    threads: int
    passes: int
    quality: int

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The number of each image, as often as a round delivers it."""
        return np.tile(np.arange(len(self.images)), self.passes)

    @property
    def slack(self) -> int:
        """Pixels by which an image is larger than its crop."""
        return int(self.images.shape[1]) - self.crop


Round = Callable[[], Iterator[Batch]]


def main() -> int:
    """Prepare a peer, check it, and deliver a round for each line."""
    options = _read_options()
    answers, sys.stdout = sys.stdout, sys.stderr  # what a peer prints must not get among the answers

    def answer(content: dict[str, object]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    def give_up(error: BaseException) -> int:
        traceback.print_exception(error)
        answer({"ready": False, "reason": f"{type(error).__name__}: {error}"})
        return 1

    # FFCV works in a thread, and its main thread would wait for ever for one that has died.
    threading.excepthook = lambda told: os._exit(give_up(told.exc_value or RuntimeError("a thread died")))
    try:
        job = _read_job(options)
        deliver = PEERS[options.peer](job)
        _check(job, deliver, exact=options.peer.startswith("ffcv_raw"))
        answer({"ready": True, "peer": options.peer, "versions": _versions()})
        for line in sys.stdin:
            if line.strip() != "round":
                break
            answer(_time_round(job, deliver))
    except Exception as error:
        return give_up(error)
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Delivers images by another loader than ours.")
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("images", type=Path, help="uint8 squares (N, side, side, 3), .npy")
    parser.add_argument("folder", type=Path, help="where the peer writes them in its own format")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passes", type=int, default=4, help="how often a round delivers each image")
    parser.add_argument("--quality", type=int, default=90, help="of JPEG")
    return parser.parse_args()


def _read_job(options: argparse.Namespace) -> Job:
    images = np.load(options.images, mmap_mode="r")
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != (images.shape[1],) * 2 + (3,):
        raise ValueError(
            f"{options.images}: {images.dtype} {images.shape} instead of uint8 (N, side, side, 3)"
        )
    if len(images) % (options.batch * options.threads):
        raise ValueError(f"{len(images)} images are not whole batches of {options.batch} for each thread")
    if len(images) // options.batch * options.passes < 2 * FIRST_BATCHES:
        raise ValueError(f"{options.passes} passes have fewer than {2 * FIRST_BATCHES} batches")
    options.folder.mkdir(parents=True, exist_ok=True)
    return Job(
        images,
        options.folder,
        options.batch,
        options.crop,
        options.threads,
        options.passes,
        options.quality,
    )


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if "numba" in sys.modules:
        versions["numba_threads"] = importlib.import_module("numba").threading_layer()
    return versions


def _time_round(job: Job, deliver: Round) -> dict[str, object]:
    arrivals, delivered, touched = [time.perf_counter()], [], 0
    for crops, numbers in deliver():
        arrivals.append(time.perf_counter())
        delivered.append(numbers.copy())
        touched += int(crops[0, 0, 0, 0])
    _check_counts(job, np.concatenate(delivered))
    return {
        "images": (len(arrivals) - 1 - FIRST_BATCHES) * job.batch,
        "seconds": arrivals[-1] - arrivals[FIRST_BATCHES],
        "all_images": (len(arrivals) - 1) * job.batch,
        "all_seconds": arrivals[-1] - arrivals[0],
        "checksum": touched,  # of the batches' first pixels
    }


# What is delivered is what was asked for


def _check_counts(job: Job, numbers: npt.NDArray[np.int64]) -> None:
    counts = np.bincount(numbers, minlength=len(job.images))
    if not np.array_equal(counts, np.full(len(job.images), job.passes)):
        raise ValueError(f"images came {counts.min()} to {counts.max()} times, not {job.passes} times")


def _check(job: Job, deliver: Round, *, exact: bool) -> None:
    """Refuse a peer whose batches have another shape, miss images, or hold other pixels than random crops of them."""
    places: list[tuple[int, int, bool]] = []
    delivered = []
    for crops, numbers in deliver():
        shapes = ((job.batch, job.crop, job.crop, 3), (job.batch, 3, job.crop, job.crop))
        if crops.shape not in shapes or crops.dtype != np.uint8:
            raise ValueError(f"a batch is {crops.dtype} {crops.shape}")
        delivered.append(numbers.copy())
        if len(places) < CHECKED:
            last = crops if crops.shape == shapes[0] else crops.transpose(0, 2, 3, 1)
            for crop, number in list(zip(last, numbers, strict=True))[: CHECKED // 4]:
                image = job.images[number] if exact else simplejpeg.decode_jpeg(_encode(job, number), "RGB")
                places.append(_find_crop(image, crop, 0.0 if exact else FAR))
    _check_counts(job, np.concatenate(delivered))
    if any(
        np.array_equal(batches, np.sort(batches)) for batches in (np.concatenate(delivered), delivered[0])
    ):
        raise ValueError("the images came in order")
    mirrored = sum(place[2] for place in places)
    if not 0 < mirrored < len(places) or len({place[:2] for place in places}) < len(places) // 2:
        raise ValueError(f"crops are not random or not mirrored at random: {places}")


def _find_crop(image: Images, crop: Images, tolerance: float) -> tuple[int, int, bool]:
    """The crop's top and left in its image, and whether it is mirrored; ValueError if it is none of its crops."""
    slack, side = image.shape[0] - crop.shape[0], crop.shape[0]
    best = (np.inf, (0, 0, False))
    for mirrored in (False, True):
        sought = crop[:, ::-1][::8, ::8] if mirrored else crop[::8, ::8]
        for top in range(slack + 1):
            for left in range(slack + 1):
                there = image[top : top + side : 8, left : left + side : 8]
                distance = float(np.abs(there.astype(np.int16) - sought).mean())
                best = min(best, (distance, (top, left, mirrored)))
    distance, (top, left, mirrored) = best
    there = image[top : top + side, left : left + side]
    distance = float(np.abs(there.astype(np.int16) - (crop[:, ::-1] if mirrored else crop)).mean())
    if distance > tolerance:
        raise ValueError(f"a crop is {distance:.2f} grey levels from the nearest of its image")
    return top, left, mirrored


# FFCV


def _prepare_ffcv(job: Job, *, mode: str, mirror: str) -> Round:
    """FFCV from its own file, raw or JPEG; mirrored by its own operation, or by a faster one written for it.

    RandomResizedCropRGBImageDecoder with a fixed area and ratio cuts a crop and copies it: resizing to the same size
    is a copy. RandomTranslate cannot make a crop of a larger image. RANDOM and QUASI_RANDOM are equally fast from the
    page cache, and only RANDOM is a shuffle of everything.
    """
    fields = importlib.import_module("ffcv.fields")
    decoders = importlib.import_module("ffcv.fields.decoders")
    loaders = importlib.import_module("ffcv.loader")
    transforms = importlib.import_module("ffcv.transforms")
    writer = importlib.import_module("ffcv.writer")
    path = job.folder / f"{mode}.beton"
    writer.DatasetWriter(
        str(path),
        {
            "image": fields.RGBImageField(write_mode=mode, jpeg_quality=job.quality),
            "number": fields.IntField(),
        },
        num_workers=job.threads,
    ).from_indexed_dataset(_Indexed(job.images))
    area = (job.crop / job.images.shape[1]) ** 2
    cut = decoders.RandomResizedCropRGBImageDecoder((job.crop, job.crop), scale=(area, area), ratio=(1, 1))
    turn = transforms.RandomHorizontalFlip() if mirror == "own" else _write_mirror()
    loader = loaders.Loader(
        str(path),
        batch_size=job.batch,
        num_workers=job.threads,
        order=loaders.OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        indices=job.numbers,
        pipelines={
            "image": [cut, turn, transforms.ToTensor(), transforms.ToTorchImage()],
            "number": [decoders.IntDecoder(), transforms.ToTensor()],
        },
    )

    def deliver() -> Iterator[Batch]:
        for crops, numbers in loader:
            yield crops.numpy(), numbers.numpy().ravel()

    return deliver


@dataclass(frozen=True)
class _Indexed:
    """The images as FFCV's writer reads them."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Images, int]:
        return np.asarray(self.images[number]), number


def _write_mirror() -> Any:
    """An operation for FFCV that mirrors in place.

    FFCV's RandomHorizontalFlip copies by a reversed slice, which costs several times all else over raw images.
    """
    compiler = importlib.import_module("ffcv.pipeline.compiler").Compiler
    operation = importlib.import_module("ffcv.pipeline.operation").Operation

    class MirrorInPlace(operation):  # type: ignore[misc, valid-type]
        def declare_state_and_memory(self, state: Any) -> tuple[Any, None]:
            return replace(state, jit_mode=True), None

        def generate_code(self) -> Callable[..., Any]:
            each = compiler.get_iterator()

            def mirror(crops: Any, _: Any) -> Any:
                side = crops.shape[2]
                for place in each(crops.shape[0]):
                    if np.random.rand() < 0.5:  # noqa: NPY002
                        for row in range(side):
                            for column in range(side // 2):
                                for channel in range(3):
                                    left = crops[place, row, column, channel]
                                    crops[place, row, column, channel] = crops[
                                        place, row, side - 1 - column, channel
                                    ]
                                    crops[place, row, side - 1 - column, channel] = left
                return crops

            mirror.is_parallel = True  # type: ignore[attr-defined]
            return mirror

    return MirrorInPlace()


# DALI, WebDataset and torchvision, from JPEG


def _prepare_dali(job: Job) -> Round:
    """DALI on the CPU from a folder of JPEG files; only the crop is decoded to pixels."""
    dali = importlib.import_module("nvidia.dali")
    fn, types = dali.fn, dali.types
    files = _write_files(job)

    @dali.pipeline_def(batch_size=job.batch, num_threads=job.threads, device_id=None)  # type: ignore[untyped-decorator]
    def build() -> tuple[Any, Any]:
        numbers = [int(number) for number in job.numbers]
        jpeg, number = fn.readers.file(
            files=[str(files[number]) for number in numbers],
            labels=numbers,
            shuffle_after_epoch=True,
            name="files",
        )
        cut = fn.decoders.image_crop(
            jpeg,
            crop=(job.crop, job.crop),
            crop_pos_x=fn.random.uniform(range=(0.0, 1.0)),
            crop_pos_y=fn.random.uniform(range=(0.0, 1.0)),
        )
        mirror = fn.random.coin_flip(probability=0.5)
        return fn.crop_mirror_normalize(cut, dtype=types.UINT8, output_layout="HWC", mirror=mirror), number

    pipeline = build()
    pipeline.build()

    def deliver() -> Iterator[Batch]:
        for _ in range(len(job.numbers) // job.batch):
            crops, numbers = pipeline.run()
            yield np.asarray(crops.as_tensor()), np.asarray(numbers.as_tensor()).ravel()

    return deliver


def _prepare_webdataset(job: Job) -> Round:
    """WebDataset from tars of JPEG, read by as many processes; it leaves the decoder open, so the fastest is taken."""
    data = importlib.import_module("torch.utils.data")
    webdataset = importlib.import_module("webdataset")
    shards = _write_tars(job)
    samples = webdataset.WebDataset(shards * job.passes, shardshuffle=len(shards) * job.passes)
    samples = samples.shuffle(1000).to_tuple("jpg", "cls").map(_Cutter(job.crop, job.slack))
    batches = samples.batched(job.batch, partial=False, collation_fn=_stack)
    loader = data.DataLoader(batches, batch_size=None, num_workers=job.threads, persistent_workers=True)

    def deliver() -> Iterator[Batch]:
        for crops, numbers in loader:
            yield np.asarray(crops), np.asarray(numbers)

    return deliver


@dataclass(frozen=True)
class _Cutter:
    """Decodes a sample of WebDataset, and cuts and mirrors it."""

    side: int
    slack: int

    def __call__(self, sample: tuple[bytes, bytes]) -> tuple[Images, int]:
        top, left, mirror = np.random.randint((self.slack + 1, self.slack + 1, 2))  # noqa: NPY002
        image = simplejpeg.decode_jpeg(sample[0], "RGB", fastdct=True)
        cut = image[top : top + self.side, left : left + self.side]
        return (cut[:, ::-1] if mirror else cut), int(sample[1])


def _stack(samples: list[tuple[Images, int]]) -> tuple[Any, Any]:
    torch = importlib.import_module("torch")
    crops, numbers = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(crops)), torch.tensor(numbers)


def _prepare_folder(job: Job) -> Round:
    """torchvision's ImageFolder and transforms over PyTorch's DataLoader, decoding to tensors."""
    torch = importlib.import_module("torch")
    data = importlib.import_module("torch.utils.data")
    torchvision = importlib.import_module("torchvision")
    transforms = importlib.import_module("torchvision.transforms.v2")
    importlib.import_module("torchvision.io")
    _write_files(job)
    cut = transforms.Compose([transforms.RandomCrop(job.crop), transforms.RandomHorizontalFlip()])
    images = torchvision.datasets.ImageFolder(
        str(job.folder / "jpeg"), transform=cut, loader=torchvision.io.decode_image
    )
    assert len(images) == len(job.images)
    loader = data.DataLoader(
        images,
        batch_size=job.batch,
        sampler=_Shuffled(job.numbers),
        num_workers=job.threads,
        persistent_workers=True,
        worker_init_fn=functools.partial(_set_threads, torch),
    )

    def deliver() -> Iterator[Batch]:
        for crops, numbers in loader:  # a class a file, in order of their numbers
            yield crops.numpy(), numbers.numpy()

    return deliver


def _set_threads(torch: Any, _: int) -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class _Shuffled:
    """The numbers in another order each time."""

    numbers: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng().permutation(self.numbers).tolist())


def _encode(job: Job, number: int) -> bytes:
    """An image as JPEG, by what FFCV writes with too."""
    image = np.ascontiguousarray(job.images[number][:, :, ::-1])
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, job.quality])[1].tobytes()


def _write_files(job: Job) -> list[Path]:
    """Each image as a JPEG file in a folder, a class, of its own, whose name is its number."""
    root = job.folder / "jpeg"
    shutil.rmtree(root, ignore_errors=True)
    paths = [root / f"{number:06}" / "image.jpg" for number in range(len(job.images))]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(_encode(job, number))
    return paths


def _write_tars(job: Job) -> list[str]:
    """The images as tars of one batch each."""
    paths = []
    for start in range(0, len(job.images), job.batch):
        path = job.folder / f"shard_{start:06}.tar"
        paths.append(str(path))
        with tarfile.open(path, "w") as archive:
            for number in range(start, start + job.batch):
                for kind, content in (("jpg", _encode(job, number)), ("cls", str(number).encode())):
                    header = tarfile.TarInfo(f"{number:06}.{kind}")
                    header.size = len(content)
                    archive.addfile(header, BytesIO(content))
    return paths


PEERS: dict[str, Callable[[Job], Round]] = {
    "ffcv_raw": functools.partial(_prepare_ffcv, mode="raw", mirror="own"),
    "ffcv_raw_written": functools.partial(_prepare_ffcv, mode="raw", mirror="written"),
    "ffcv_jpeg": functools.partial(_prepare_ffcv, mode="jpg", mirror="own"),
    "ffcv_jpeg_written": functools.partial(_prepare_ffcv, mode="jpg", mirror="written"),
    "dali_jpeg": _prepare_dali,
    "webdataset_jpeg": _prepare_webdataset,
    "folder_jpeg": _prepare_folder,
}

if __name__ == "__main__":
    sys.exit(main())
