"""Finds out whether a member's training waits for images or for the device; reads, and writes nothing."""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import torch

from alexnet.core.draws import count_offsets
from alexnet.core.layers import NetworkParams, initial_stds, input_side
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import rates_of
from alexnet.core.team import Team
from alexnet.core.training import Minibatch, Tally, Trainer, minibatches
from alexnet.data.loader import Loader
from alexnet.data.memory import available_memory
from alexnet.data.reading import Request, Source, open_source
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.device import open_device
from alexnet.errors import UserError
from alexnet.report.diagnosis import Diagnosis, Machine, Rate

BLOCK = 512  # bytes in which the kernel counts what comes from a disk
WARM_UP = 2  # updates that do not count
LEAST = 3  # batches of a measurement, however long they take


@dataclass(frozen=True)
class Setup:
    """What the machine gives to a training."""

    device: str
    threads: int
    readers: int
    is_compiled: bool = False
    is_channels_last: bool = False


def run(
    member: str, dataset: str, seed: int, network: NetworkParams, protocol: ProtocolParams, data: Path, stats: Path,
    setup: Setup, seconds: float,
) -> Diagnosis:  # fmt: skip
    """Measures for about so many seconds each: images alone, the same again, updates alone, and both together.

    One process does it with the whole network. Raises UserError if the member cannot be trained on the data.
    """
    manifest, train = load_manifest(data), open_split(data, "train")
    side = input_side(network, protocol, protocol.crop)
    if side > train.side or not len(train):
        raise UserError(
            str(data), f"{member} cannot be trained on it", found=f"{len(train):,} images of {train.side} pixels",
            expected=f"images of {side} pixels or more", fix="Lower crop, or raise prepare.resize.",
        )  # fmt: skip
    device = open_device(setup.device, setup.threads)
    made = Network(network, protocol, manifest.num_classes, protocol.crop)
    initialize(made, initial_stds(network, protocol, manifest.num_classes, protocol.crop), seed)
    trainer = Trainer(
        made.to(device), protocol, read_colours(stats).to(device), seed,
        compiled=setup.is_compiled, channels_last=setup.is_channels_last,
    )  # fmt: skip
    trainer.set_rates(rates_of(protocol, 0))
    doctor = _Doctor(trainer, train, setup.readers, seconds)
    memory = available_memory()
    first, read, ahead = doctor.load(0)
    again, _, _ = doctor.load(0, most=read)
    update = doctor.update()
    together = doctor.train(read + ahead)  # images that come from where they lay
    return Diagnosis(
        member, dataset, len(train), int(train.sizes.sum()), train.side, train.store, doctor.source.is_cached,
        protocol.batch, Machine(device.type, _count_cores(), setup.threads, setup.readers, memory),
        first, again, update, together,
    )  # fmt: skip


def _count_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Doctor:
    """A trainer with images, measured for so many seconds at a time."""

    def __init__(self, trainer: Trainer, train: PreparedSplit, readers: int, seconds: float) -> None:
        self._trainer, self._train, self._readers, self._seconds = trainer, train, readers, seconds
        self._side = trainer.network.side
        self.source: Source = open_source(train, self._side, max(1, readers))

    def _requests(self, first: int) -> Iterator[Request]:
        """Minibatches from the `first` on, epoch after epoch."""
        protocol, train = self._trainer.protocol, self._train
        offsets = count_offsets(train.side, self._side, protocol.crop_offsets)
        epochs, begin = divmod(first, math.ceil(len(train) / protocol.batch))
        for epoch in count(epochs):
            pairs = minibatches(protocol, self._trainer.seed, epoch, len(train), offsets, Team(), begin)
            for indices, draws in pairs:
                yield Request(indices, draws)
            begin = 0

    def _loader(self, first: int, most: int | None) -> Loader:
        requests = islice(self._requests(first), most)
        return Loader(self._train, requests, self._side, readers=self._readers, device=self._trainer.device)

    def load(self, first: int, most: int | None = None) -> tuple[Rate, int, int]:
        """How fast batches come that nothing is done with, how many came, and how many more may have been read.

        most: no more than so many.
        """
        clock = _Clock(self._seconds if most is None else math.inf)
        with self._loader(first, most) as loader:
            for request, _ in loader:
                clock.count(request, self.source)
                if clock.is_over and clock.batches >= LEAST:
                    break
        return clock.rate(), clock.batches, loader.most_ahead

    def update(self) -> Rate:
        """How fast updates are on a batch that is ready."""
        with self._loader(0, 1) as loader:
            request, crops = next(loader)
            batch = self._minibatch(request, crops.clone())
        update = self._counted(batch)
        for _ in range(WARM_UP):
            update()
        clock = _Clock(self._seconds)
        while not clock.is_over or clock.batches < LEAST:
            update()
            clock.count(request, self.source)
        return replace(clock.rate(), bytes_per_s=0.0, from_disk=0.0)

    def train(self, first: int) -> Rate:
        """How fast batches come that the network is trained with."""
        with self._loader(first, None) as loader:
            for _, (request, crops) in zip(range(WARM_UP), loader, strict=False):
                self._counted(self._minibatch(request, crops))()
            clock, before = _Clock(self._seconds), loader.waited
            for request, crops in loader:
                self._counted(self._minibatch(request, crops))()
                clock.count(request, self.source)
                if clock.is_over and clock.batches >= LEAST:
                    break
            return replace(clock.rate(), waited=(loader.waited - before) / clock.seconds)

    def _minibatch(self, request: Request, crops: torch.Tensor) -> Minibatch:
        assert request.draws is not None
        labels = torch.from_numpy(self._train.labels[request.indices]).to(crops.device)
        return Minibatch(crops, labels, request.indices, request.draws, len(request.indices))

    def _counted(self, batch: Minibatch) -> Callable[[], float]:
        return lambda: self._trainer.step(batch, 0, Tally())


class _Clock:
    """Counts images, bytes and reads from the disk, as long as it runs."""

    def __init__(self, limit: float) -> None:
        self._limit, self._begun = limit, time.perf_counter()
        self._blocks = resource.getrusage(resource.RUSAGE_SELF).ru_inblock
        self.batches = self._images = self._bytes = 0
        self.seconds = 0.0
        self._read = 0

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.seconds >= self._limit

    def count(self, request: Request, source: Source) -> None:
        """Counts a batch, up to now."""
        self.batches += 1
        self._images += len(request.indices)
        self._bytes += source.plan(request).bytes
        self.seconds = time.perf_counter() - self._begun
        self._read = (resource.getrusage(resource.RUSAGE_SELF).ru_inblock - self._blocks) * BLOCK

    def rate(self) -> Rate:
        """What it counted, by the second."""
        from_disk = min(1.0, self._read / self._bytes)
        return Rate(self._images / self.seconds, self._bytes / self.seconds, from_disk)
