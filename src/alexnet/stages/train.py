"""Trains one member: prepared images and their statistics in, weights, record and history out (§4, §5)."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor

import alexnet.core
from alexnet.core.augment import check_spread
from alexnet.core.draws import count_offsets
from alexnet.core.layers import NetworkParams, exchanged_values, initial_stds, input_side
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import PlateauSchedule, ProtocolParams
from alexnet.core.schedule import Decision, Rates, decide, rates_of
from alexnet.core.team import ColumnExchange, Mode, Team
from alexnet.core.training import (
    Colours,
    Minibatch,
    Tally,
    Trainer,
    batches,
    centre_logits,
    copy_start,
    find_cause,
    is_stuck,
    minibatches,
    names_to_copy,
    part_of,
)
from alexnet.data.checkpoint import Checkpoints, hash_files
from alexnet.data.loader import Loader, Request
from alexnet.data.progress import progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import Entry, TensorFile, describe_network, open_tensors, write_stream
from alexnet.data.whole import write_whole
from alexnet.device import describe_device, join_group, leave_group, open_device
from alexnet.errors import UserError


@dataclass(frozen=True)
class TrainInputs:
    """Files a training reads."""

    data: Path
    stats: Path
    start: Path


@dataclass(frozen=True)
class TrainOutputs:
    """Files a training writes."""

    weights: Path
    record: Path
    history: Path


@dataclass(frozen=True)
class Setup:
    """How the machine trains: none of it is a parameter."""

    device: str
    threads: int
    mode: Mode = "none"
    is_compiled: bool = False
    is_channels_last: bool = False
    readers: int = 1


@dataclass
class Window:
    """Updates since the loss was last held against that of guessing, and the sum of their losses."""

    updates: int = 0
    loss: float = 0.0


@dataclass
class Place:
    """How far a training has come: updates done in this epoch, and the sums and rows so far."""

    epoch: int
    batch: int
    tally: Tally
    window: Window
    history: list[dict[str, float | int | None]]
    seconds: float


class Order(IntEnum):
    """What all processes do after an update, the weightier the larger."""

    GO_ON = 0
    SAVE = 1
    SAVE_AND_LEAVE = 2
    SAY_NO_NUMBER = 3
    SAY_STUCK = 4


def run(
    member: str,
    seed: int,
    network_params: NetworkParams,
    protocol: ProtocolParams,
    inputs: TrainInputs,
    outputs: TrainOutputs,
    checkpoint_folder: Path,
    setup: Setup,
) -> None:
    """Trains `member` and writes its files, going on from a checkpoint of the same configuration if there is one.

    One of several processes trains its part; the first writes. Raises UserError if the crop does not fit the
    prepared images, the start does not fit the network, the schedule needs labelled val images and there are none,
    the checkpoint is another configuration's, or the loss becomes NaN or stays at that of guessing; SystemExit, once
    a checkpoint is written, if a signal asks to stop.
    """
    manifest = load_manifest(inputs.data)
    train, val = open_split(inputs.data, "train"), open_split(inputs.data, "val")
    _check(member, network_params, protocol, manifest.resize, val)
    device = open_device(setup.device, setup.threads)
    with _team(setup.mode, device) as team:
        exchange = None
        if team.mode == "columns":
            exchange = ColumnExchange(
                team, through_cpu=device.type == "cuda" and dist.get_backend() == "gloo"
            )
        network = Network(
            network_params,
            protocol,
            manifest.num_classes,
            protocol.crop,
            column=team.column,
            exchange=exchange,
        )
        stds = initial_stds(network_params, protocol, manifest.num_classes, protocol.crop)
        initialize(network, stds, seed)
        copied = _copy_start(member, network, inputs.start, protocol.start_layers)
        trainer = Trainer(
            network.to(device), protocol, _read_colours(inputs.stats).to(device), seed, team=team,
            compiled=setup.is_compiled, channels_last=setup.is_channels_last,
        )  # fmt: skip
        about = _about(member, seed, network_params, protocol)
        checkpoints = Checkpoints(
            checkpoint_folder, member, identify(member, seed, network_params, protocol, inputs)
        )
        training = _Training(member, trainer, train, val, checkpoints, setup.readers)
        training.resume()
        training.train()

        entries, pieces = _stored(trainer, ["weight"])
        if not team.is_first:
            _send(pieces)
            return
        place = training.place
        write_whole(outputs.history, pd.DataFrame(place.history).to_csv(index=False, float_format="%.6g"))
        machine = describe_device(
            device, setup.threads, team.mode, is_compiled=setup.is_compiled, is_channels_last=setup.is_channels_last
        )  # fmt: skip
        record = {
            **about,
            "initial_stds": stds,
            "copied_from_start": copied,
            "num_images": len(train),
            "decisions": [vars(decision) for decision in training.decisions()],
            "machine": machine,
            "seconds": round(place.seconds, 1),
        }
        write_whole(outputs.record, json.dumps(record, indent=1, sort_keys=True) + "\n")
        write_stream(
            outputs.weights, entries, pieces, describe_network(network, manifest.num_classes, protocol.crop)
        )
        checkpoints.remove()


@contextlib.contextmanager
def _team(mode: Mode, device: torch.device) -> Iterator[Team]:
    """The processes that train together, joined while the block runs."""
    if mode == "none":
        yield Team()
        return
    join_group(device)
    try:
        yield Team(mode, dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))
    finally:
        leave_group()


def _check(
    member: str, network: NetworkParams, protocol: ProtocolParams, side: int, val: PreparedSplit
) -> None:
    """Finds what cannot be trained before any work starts."""
    taken = input_side(network, protocol, protocol.crop)
    if taken > side:
        raise UserError(
            "params.yaml: protocols", "crop is larger than the prepared images", found=taken,
            expected=f"at most {side}", fix="Lower crop, or raise prepare.resize.",
        )  # fmt: skip
    if isinstance(protocol.schedule, PlateauSchedule) and not (val.labels >= 0).any():
        raise UserError(
            f"member {member}", "its schedule waits for a plateau of the validation error, but its data set has no "
            "labelled val images", fix="Override schedule with kind: steps.",
        )  # fmt: skip


def identify(
    member: str, seed: int, network: NetworkParams, protocol: ProtocolParams, inputs: TrainInputs
) -> dict[str, Any]:
    """All that a net's weights depend on: its parameters and seed, and a hash of data, start and code."""
    return {**_about(member, seed, network, protocol), "inputs": hash_files(_content(inputs))}


def _about(member: str, seed: int, network: NetworkParams, protocol: ProtocolParams) -> dict[str, Any]:
    return {
        "member": member,
        "seed": seed,
        "network": network.model_dump(mode="json"),
        "protocol": protocol.model_dump(mode="json"),
    }


def _content(inputs: TrainInputs) -> list[Path]:
    """Files whose content a training depends on; the manifest holds a hash of every shard."""
    code = sorted(Path(alexnet.core.__file__).parent.glob("*.py"))
    stats = sorted(path for path in inputs.stats.iterdir() if path.suffix in {".npy", ".json"})
    return [inputs.data / "manifest.json", *stats, inputs.start, Path(__file__), *code]


def _read_colours(stats: Path) -> Colours:
    colours = read_colours(stats)
    try:
        check_spread(colours.stddev)
    except ValueError as error:
        raise UserError(str(stats), str(error), fix="Run rgb-pca for this data set again.") from None
    return colours


def _copy_start(member: str, network: Network, start: Path, start_layers: str) -> list[str]:
    """Names of the parameters taken over from the start."""
    with open_tensors(start) as file:
        names = names_to_copy(file.names, start_layers)
        try:
            copy_start(network, {name: file.shape(name) for name in names}, file.rows)
        except ValueError as error:
            raise UserError(
                f"params.yaml: members.{member}.start", f"does not fit its variant: {error}",
                fix="Start from a member of the same variant, or take start_layers: convs.",
            ) from None  # fmt: skip
    return names


def _stored(trainer: Trainer, kinds: list[str]) -> tuple[list[Entry], Iterator[Tensor]]:
    """What is written of a trainer, the same whatever the processes: entries of the whole network and their values.

    kinds: weight, or weight and velocity. The first process gets the values of all; the others send theirs as they go
    through the pieces.
    """
    network, descent, team = trainer.network, trainer.descent, trainer.team
    weights: dict[str, Tensor] = dict(network.named_parameters())
    own = {"weight": weights, "velocity": {name: descent.velocity(name) for name in weights}}
    dtype = next(network.parameters()).dtype
    names = [(kind, name) for kind in kinds for name in network.whole_names()]
    prefix = {kind: f"{kind}/" if len(kinds) > 1 else "" for kind in kinds}
    entries = [Entry(f"{prefix[kind]}{name}", network.whole_shape(name), dtype) for kind, name in names]

    def pieces() -> Iterator[Tensor]:
        for (kind, name), entry in zip(names, entries, strict=True):
            yield from team.collect(own[kind].get(name), _counts(trainer, name, math.prod(entry.shape)))

    return entries, pieces()


def _counts(trainer: Trainer, name: str, total: int) -> list[int]:
    """How many of a parameter's values each process sends."""
    if trainer.team.mode != "columns":
        return [total, *([0] * (trainer.team.size - 1))]
    layer = next(layer for layer in trainer.network.layers if layer.name == name.split(".")[0])
    shares = [layer.rows(column) for column in range(trainer.team.size)]
    return [total // layer.outputs * (rows.stop - rows.start) for rows in shares]


def _send(pieces: Iterator[Tensor]) -> None:
    """Sends this process's values to the first."""
    for _ in pieces:
        raise AssertionError("only the first process gets values")


class _Training:
    """A trainer with its images, its place in the epochs and its checkpoints."""

    def __init__(
        self, member: str, trainer: Trainer, train: PreparedSplit, val: PreparedSplit, checkpoints: Checkpoints,
        readers: int,
    ) -> None:  # fmt: skip
        self.member, self.trainer, self.train_images, self.val_images = member, trainer, train, val
        self.checkpoints, self.readers = checkpoints, readers
        self.protocol, self.team = trainer.protocol, trainer.team
        self.place = Place(0, 0, Tally(), Window(), [], 0.0)
        self.signal = 0  # that asked to stop
        self.waited = 0.0  # seconds of the epoch spent waiting for images, since it began here

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        with self.checkpoints.open() as stored:
            if stored is not None:
                self._load(stored)
        place = [self.place.epoch, self.place.batch]
        differs = place != [int(value) for value in self.team.agree(place)]
        if self.team.largest([differs])[0]:
            raise UserError(
                str(self.checkpoints.folder), "the processes see different checkpoints",
                fix="Let all machines see the same .ckpt folder, or delete it on each.",
            )  # fmt: skip
        if self.team.is_first:
            for line in self.checkpoints.others():
                print(f"train {self.member}: {line}", flush=True)

    def train(self) -> None:
        """Runs the epochs that are left. Raises SystemExit after a checkpoint if SIGTERM or SIGINT comes."""
        place, protocol, num_images = self.place, self.protocol, len(self.train_images)
        seen = place.epoch * num_images + place.batch * protocol.batch
        self._say_exchange()
        with (
            self._signals(),
            progress(
                total=protocol.epochs * num_images, done=seen, what=f"train {self.member}", unit="image"
            ) as advance,
        ):
            while place.epoch < protocol.epochs and not self._is_over():
                begun, images_before, self.waited = time.monotonic(), place.tally.images, 0.0
                rates = rates_of(protocol, place.epoch, self._val_errors())
                self.trainer.set_rates(rates)
                for number_of_images in self._epoch(begun):
                    loss = place.tally.loss / max(1, place.tally.images)
                    advance(
                        number_of_images,
                        note=f"epoch {place.epoch + 1} of {protocol.epochs}, loss {loss:.3f}",
                    )
                elapsed = time.monotonic() - begun
                self._add_row(rates, images_before, elapsed)
                place.seconds += time.monotonic() - begun
                place.epoch, place.batch, place.tally = place.epoch + 1, 0, Tally()
                self._say_decision()
                self._obey(Order.SAVE_AND_LEAVE if self.signal else self._is_due())

    def decisions(self) -> list[Decision]:
        """What the plateau rule decided, if the schedule is one."""
        schedule = self.protocol.schedule
        return decide(schedule, self._val_errors()) if isinstance(schedule, PlateauSchedule) else []

    def _val_errors(self) -> list[float]:
        return [
            float(row["val_top1_error"]) for row in self.place.history if row["val_top1_error"] is not None
        ]

    def _is_over(self) -> bool:
        decisions = self.decisions()
        return bool(decisions) and decisions[-1].action == "stop"

    def _say_decision(self) -> None:
        if self.team.is_first and (decisions := self.decisions()):
            last = decisions[-1]
            print(
                f"train {self.member}: after epoch {last.epoch + 1} {last.action}: {last.reason}", flush=True
            )

    def _say_exchange(self) -> None:
        if self.team.mode == "columns" and self.team.is_first:
            network = self.trainer.network
            sent = exchanged_values(network.layers) * next(network.parameters()).element_size()
            bound = "" if self.protocol.precision == "float32" else "at most "
            what = f"the columns exchange {bound}{sent:,} bytes for each image forward, and as many back"
            print(f"train {self.member}: {what}", flush=True)

    def _epoch(self, begun: float) -> Iterator[int]:
        """Runs what is left of an epoch, update by update; yields the number of images of each."""
        place, protocol, train = self.place, self.protocol, self.train_images
        num_batches = math.ceil(len(train) / protocol.batch)
        seconds_before = place.seconds
        offsets = count_offsets(train.side, self.trainer.network.side, protocol.crop_offsets)
        asked = minibatches(
            protocol, self.trainer.seed, place.epoch, len(train), offsets, self.team, place.batch
        )
        with self._loader(train, starmap(Request, asked), self.trainer.network.side) as loader:
            for number, (request, crops) in enumerate(loader, start=place.batch):
                self.waited = loader.waited
                assert request.draws is not None
                total = min(protocol.batch, len(train) - number * protocol.batch)
                labels = self._labels(train, request.indices)
                minibatch = Minibatch(crops, labels, request.indices, request.draws, total)
                update = place.epoch * num_batches + number
                loss = self.trainer.step(minibatch, update, place.tally)
                place.batch = number + 1
                place.seconds = seconds_before + time.monotonic() - begun
                self._obey(self._judge(loss), minibatch, update)
                place.seconds = seconds_before
                yield total

    def _loader(self, split: PreparedSplit, requests: Iterable[Request], side: int) -> Loader:
        # Columns read the same images at about the same time, of which the second finds them in memory.
        is_cached = True if self.team.mode == "columns" else None
        return Loader(
            split, requests, side, readers=self.readers, device=self.trainer.device, is_cached=is_cached
        )

    def _labels(self, split: PreparedSplit, indices: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(split.labels[indices]).to(self.trainer.device)

    def _judge(self, loss: float) -> Order:
        """What to do after an update, as far as this process sees."""
        window, num_classes = self.place.window, self.trainer.network.layers[-1].outputs
        if not math.isfinite(loss):
            return Order.SAY_NO_NUMBER
        window.updates, window.loss = window.updates + 1, window.loss + loss
        if window.updates >= self.protocol.stuck_after:
            self.place.window = Window()
            if is_stuck(window.loss / window.updates, num_classes):
                return Order.SAY_STUCK
        if self.signal:
            return Order.SAVE_AND_LEAVE
        return self._is_due()

    def _is_due(self) -> Order:
        """Whether it is time for a checkpoint, by the clock of the first process."""
        return Order.SAVE if self.team.is_first and self.checkpoints.is_due() else Order.GO_ON

    def _obey(self, own: Order, batch: Minibatch | None = None, update: int = -1) -> None:
        """Does the weightiest of what the processes want, all of them the same."""
        order = Order(int(self.team.largest([own])[0]))
        if order == Order.SAY_NO_NUMBER:
            self._say_no_number(update)
        if order == Order.SAY_STUCK:
            assert batch is not None
            self._say_stuck(batch, update)
        if order in (Order.SAVE, Order.SAVE_AND_LEAVE):
            self._save()
        if order == Order.SAVE_AND_LEAVE:
            number = int(self.team.largest([self.signal])[0])
            if self.team.is_first:
                place = self.place
                name, where = signal.Signals(number).name, f"epoch {place.epoch + 1}, update {place.batch}"
                print(f"train {self.member}: {name}: checkpoint written after {where}, leaving", flush=True)
            raise SystemExit(128 + number)

    def _say_no_number(self, update: int) -> None:
        self._leave_it_to_the_first()
        rates, tally = self.trainer.descent.rates, self.place.tally
        before = self.place.history[-1]["train_loss"] if self.place.history else None
        raise UserError(
            f"member {self.member}",
            f"the loss is no longer a number at update {update + 1}, after {tally.images} images of epoch "
            f"{self.place.epoch + 1} (loss of the epoch before: {before})",
            found=f"lr {max(rates.values()):g}, init_std {self.protocol.init_std or 'as in network.layers'}",
            fix="Updates were too large: lower lr (or bias_lr). If it is so from the first updates, lower init_std.",
        )  # fmt: skip

    def _say_stuck(self, batch: Minibatch, update: int) -> None:
        cause = ""
        if self.team.is_first or self.team.mode == "columns":
            columns = self.team if self.team.mode == "columns" else None
            cause = find_cause(self.trainer.network, self.trainer.inputs(batch.crops, batch.draws), columns)
        self._leave_it_to_the_first()
        num_classes = self.trainer.network.layers[-1].outputs
        raise UserError(
            f"member {self.member}",
            f"the loss stays at that of guessing, ln({num_classes}) = {math.log(num_classes):.3f}, at update "
            f"{update + 1}, for {self.protocol.stuck_after} updates (stuck_after): {cause}",
        )  # fmt: skip

    def _leave_it_to_the_first(self) -> None:
        """Ends all processes but the first, once that one has ended."""
        if not self.team.is_first:
            self.team.wait_for_end()
            raise SystemExit(1)

    def _save(self) -> None:
        """Writes a checkpoint of the whole network, the same from one process or several."""
        entries, pieces = _stored(self.trainer, ["weight", "velocity"])
        place = self.place
        sums = self.team.total([place.tally.images, place.tally.loss, place.tally.wrong])
        if not self.team.is_first:
            place.tally = Tally()  # the first counts for all from here on
            _send(pieces)
            return
        place.tally = Tally(int(sums[0]), sums[1], int(sums[2]))
        about = {
            "epoch": place.epoch,
            "batch": place.batch,
            "tally": vars(place.tally),
            "window": vars(place.window),
            "history": place.history,
            "seconds": place.seconds,
            "rates": self._whole_rates(),
        }
        self.checkpoints.write(entries, pieces, about)

    def _whole_rates(self) -> dict[str, float]:
        """The rate of each parameter of the whole network; the first process has a part of each."""
        return {name: self.trainer.descent.rates[name] for name in self.trainer.network.whole_names()}

    def _load(self, stored: TensorFile) -> None:
        about, trainer = stored.about, self.trainer
        layers = {layer.name: layer for layer in trainer.network.layers}
        with torch.no_grad():
            for name, parameter in trainer.network.named_parameters():
                rows = trainer.network.rows(layers[name.split(".")[0]])
                parameter.copy_(stored.rows(f"weight/{name}", rows))
                trainer.descent.velocity(name).copy_(stored.rows(f"velocity/{name}", rows))
                trainer.descent.rates[name] = about["rates"][name]
        tally = Tally(**about["tally"]) if self.team.is_first else Tally()
        self.place = Place(
            about["epoch"],
            about["batch"],
            tally,
            Window(**about["window"]),
            about["history"],
            about["seconds"],
        )
        if self.team.is_first:
            where = f"epoch {about['epoch'] + 1}, update {about['batch'] + 1} of it"
            print(f"train {self.member}: going on at {where}", flush=True)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """While the block runs, SIGTERM and SIGINT ask for a checkpoint after the update under way."""

        def note(number: int, _frame: object) -> None:
            self.signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _add_row(self, rates: Rates, images_before: int, seconds: float) -> None:
        """Adds a row to the history; validation errors are of the centre view, and empty without labelled images.

        waited: the share of the time that went by in waiting for images, in the mean over processes.
        """
        tally = self.place.tally
        images, loss, wrong, new, waited = self.team.total(
            [tally.images, tally.loss, tally.wrong, tally.images - images_before, self.waited]
        )
        top1, top5 = self._validate()
        images = max(1.0, images)
        self.place.history.append(
            {
                "epoch": self.place.epoch + 1,
                "lr": rates.weights,
                "train_loss": loss / images,
                "train_top1_error": wrong / images,
                "val_top1_error": top1,
                "val_top5_error": top5,
                "images_per_s": round(new / seconds, 1),
                "waited": round(waited / self.team.size / seconds, 4),
                **self.trainer.norms(),
            }
        )

    def _validate(self) -> tuple[float | None, float | None]:
        val, trainer = self.val_images, self.trainer
        labelled = np.flatnonzero(val.labels >= 0)
        if not len(labelled):
            return None, None
        wrong1 = wrong5 = 0
        requests = (
            Request(whole[part_of(whole, self.team)]) for whole in batches(labelled, self.protocol.batch)
        )
        with self._loader(val, requests, val.side) as loader:
            for request, images in loader:
                with trainer.precision():
                    logits = centre_logits(trainer.network, images, trainer.colours.mean_image)
                if self.team.mode == "columns" and not self.team.is_first:
                    continue
                labels = self._labels(val, request.indices)
                best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
                wrong1 += int((~best[:, 0]).sum())
                wrong5 += int((~best.any(1)).sum())
        wrong1, wrong5 = map(int, self.team.total([wrong1, wrong5]))
        return wrong1 / len(labelled), wrong5 / len(labelled)
