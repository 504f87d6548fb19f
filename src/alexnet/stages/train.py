"""Trains one member: prepared images and their statistics in, weights, record and history out (§4, §5)."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import alexnet.core
from alexnet.core.draws import draw_augmentation, image_order, initial_seed
from alexnet.core.layers import NetworkParams, initial_stds
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import ProtocolParams, learning_rate
from alexnet.core.training import Tally, Trainer, batches, centre_logits, copy_start
from alexnet.data.checkpoint import Checkpoints, fingerprint
from alexnet.data.progress import progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_tensors, write_weights
from alexnet.data.whole import write_whole
from alexnet.device import describe_device, open_device
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


@dataclass
class Place:
    """How far a training has come: updates done in this epoch, and the sums and rows so far."""

    epoch: int
    batch: int
    tally: Tally
    history: list[dict[str, float | int | None]]
    seconds: float


def run(
    member: str,
    seed: int,
    network_params: NetworkParams,
    protocol: ProtocolParams,
    inputs: TrainInputs,
    outputs: TrainOutputs,
    checkpoint_folder: Path,
    *,
    device_name: str,
    threads: int,
) -> None:
    """Trains `member` and writes its files, going on from a checkpoint of the same configuration if there is one.

    Raises UserError if the crop does not fit the prepared images, the start does not fit the network, or
    the loss becomes NaN.
    """
    manifest = load_manifest(inputs.data)
    train, val = open_split(inputs.data, "train"), open_split(inputs.data, "val")
    if protocol.crop > manifest.resize:
        raise UserError(
            "params.yaml: protocols", "crop is larger than the prepared images", found=protocol.crop,
            expected=f"at most {manifest.resize}", fix="Lower crop, or raise prepare.resize.",
        )  # fmt: skip
    device = open_device(device_name, threads)
    network = Network(network_params, manifest.num_classes, protocol.crop)
    stds = initial_stds(network_params, manifest.num_classes, protocol.crop)
    initialize(network, stds, initial_seed(seed))
    copied = _copy_start(member, network, inputs.start)
    trainer = Trainer(network.to(device), protocol, read_colours(inputs.stats).to(device), seed)

    about = _about(member, seed, network_params, protocol)
    checkpoints = Checkpoints(checkpoint_folder, member, fingerprint(about, _content(inputs)))
    place = _resume(member, trainer, checkpoints)
    _train(member, trainer, train, val, place, checkpoints)

    write_whole(outputs.history, pd.DataFrame(place.history).to_csv(index=False, float_format="%.6f"))
    record = {**about, "initial_stds": stds, "copied_from_start": copied, "num_images": len(train)}
    record |= {"machine": describe_device(device, threads), "seconds": round(place.seconds, 1)}
    write_whole(outputs.record, json.dumps(record, indent=1, sort_keys=True) + "\n")
    write_weights(outputs.weights, network, manifest.num_classes, protocol.crop)
    checkpoints.remove()


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


def _copy_start(member: str, network: Network, start: Path) -> list[str]:
    try:
        return copy_start(network, read_tensors(start).tensors)
    except ValueError as error:
        raise UserError(
            f"params.yaml: members.{member}.start", f"does not fit its variant: {error}",
            fix="Start from a member of the same variant.",
        ) from None  # fmt: skip


def _resume(member: str, trainer: Trainer, checkpoints: Checkpoints) -> Place:
    """The place to go on from, the trainer's state set to it."""
    stored = checkpoints.read()
    if stored is None:
        return Place(0, 0, Tally(), [], 0.0)
    state = {name.removeprefix("weight/"): value for name, value in stored.tensors.items() if name[0] == "w"}
    trainer.network.load_state_dict(state)
    for name, velocity in trainer.velocities.items():
        velocity.copy_(stored.tensors[f"velocity/{name}"])
    about = stored.about
    print(
        f"train {member}: going on at epoch {about['epoch'] + 1}, update {about['batch'] + 1} of it",
        flush=True,
    )
    return Place(about["epoch"], about["batch"], Tally(**about["tally"]), about["history"], about["seconds"])


def _write_checkpoint(trainer: Trainer, place: Place, checkpoints: Checkpoints) -> None:
    tensors: dict[str, Tensor] = {
        f"weight/{name}": value for name, value in trainer.network.state_dict().items()
    }
    tensors |= {f"velocity/{name}": value for name, value in trainer.velocities.items()}
    about = {
        "epoch": place.epoch,
        "batch": place.batch,
        "tally": vars(place.tally),
        "history": place.history,
        "seconds": place.seconds,
    }
    checkpoints.write(tensors, about)


def _train(
    member: str,
    trainer: Trainer,
    train: PreparedSplit,
    val: PreparedSplit,
    place: Place,
    checkpoints: Checkpoints,
) -> None:
    """Runs the epochs that are left; `place` is kept up to date."""
    protocol = trainer.protocol
    done = place.epoch * len(train) + place.tally.images
    with progress(
        total=protocol.epochs * len(train), done=done, what=f"train {member}", unit="image"
    ) as advance:
        for epoch in range(place.epoch, protocol.epochs):
            begun = time.monotonic()
            images_before = place.tally.images
            for number_of_images in _epoch(member, trainer, train, place, checkpoints, begun):
                loss = place.tally.loss / place.tally.images
                advance(number_of_images, note=f"epoch {epoch + 1} of {protocol.epochs}, loss {loss:.3f}")
            elapsed = time.monotonic() - begun
            row = _row(epoch, trainer, place.tally, val)
            row["images_per_s"] = round((place.tally.images - images_before) / elapsed, 1)
            place.history.append(row)
            place.seconds += time.monotonic() - begun
            place.epoch, place.batch, place.tally = epoch + 1, 0, Tally()
            if checkpoints.is_due():
                _write_checkpoint(trainer, place, checkpoints)


def _epoch(
    member: str, trainer: Trainer, train: PreparedSplit, place: Place, checkpoints: Checkpoints, begun: float
) -> Any:
    """Runs what is left of an epoch, update by update; yields the number of images of each."""
    protocol, device = trainer.protocol, trainer.colours.stddev.device
    order = image_order(trainer.seed, place.epoch, len(train))
    offsets = train.side - protocol.crop + 1
    draws = draw_augmentation(trainer.seed, place.epoch, len(train), offsets)
    minibatches = batches(order, protocol.batch)
    lr = learning_rate(protocol, place.epoch)
    seconds_before = place.seconds
    for number in range(place.batch, len(minibatches)):
        indices = minibatches[number]
        images = torch.from_numpy(train.read(indices)).to(device)
        labels = torch.from_numpy(train.labels[indices]).to(device)
        update = place.epoch * len(minibatches) + number
        trainer.step(images, labels, draws.take(indices), update, lr, place.tally)
        if not math.isfinite(place.tally.loss):
            raise UserError(
                f"member {member}", f"the loss is no longer a number at update {update + 1}",
                found=f"lr {lr:g}", fix="Lower lr, or look at the initial std and biases.",
            )  # fmt: skip
        place.batch = number + 1
        if checkpoints.is_due():
            place.seconds = seconds_before + time.monotonic() - begun
            _write_checkpoint(trainer, place, checkpoints)
            place.seconds = seconds_before
        yield len(indices)


def _row(epoch: int, trainer: Trainer, tally: Tally, val: PreparedSplit) -> dict[str, float | int | None]:
    """A row of the history; the validation errors are of the centre view, and empty without labelled images."""
    top1, top5 = _validate(trainer, val)
    return {
        "epoch": epoch + 1,
        "lr": learning_rate(trainer.protocol, epoch),
        "train_loss": tally.loss / tally.images,
        "train_top1_error": tally.wrong / tally.images,
        "val_top1_error": top1,
        "val_top5_error": top5,
    }


def _validate(trainer: Trainer, val: PreparedSplit) -> tuple[float | None, float | None]:
    labelled = np.flatnonzero(val.labels >= 0)
    if not len(labelled):
        return None, None
    device, wrong1, wrong5 = trainer.colours.stddev.device, 0, 0
    for indices in batches(labelled, trainer.protocol.batch):
        images = torch.from_numpy(val.read(indices)).to(device)
        labels = torch.from_numpy(val.labels[indices]).to(device)
        logits = centre_logits(trainer.network, images, trainer.colours.mean_image, trainer.protocol.crop)
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        wrong1 += int((~best[:, 0]).sum())
        wrong5 += int((~best.any(1)).sum())
    return wrong1 / len(labelled), wrong5 / len(labelled)
