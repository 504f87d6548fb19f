"""Trains the four-layer net with ReLU and with tanh until it is down to a training error (Figure 1, §3.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.core.cifar_net import (
    ACTIVATIONS,
    Activation,
    CifarNet,
    Trial,
    choose_rate,
    epochs_left,
    initialize,
)
from alexnet.core.draws import image_order
from alexnet.core.epochs import epochs_to
from alexnet.core.figure_params import ReluTanhParams
from alexnet.core.training import batches
from alexnet.data.loader import Loader, Request
from alexnet.data.progress import Advance, progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.whole import whole_folder
from alexnet.device import open_device
from alexnet.errors import UserError

Train = Callable[[Activation, float, int, int], tuple[float, ...]]


def run(
    name: str, params: ReluTanhParams, data: Path, stats: Path, output: Path, *, device_name: str, threads: int,
    readers: int = 1,
) -> None:  # fmt: skip
    """Writes history.csv, choice.csv and choice.json into the folder `output`, whole.

    history.csv: the nets that count, at the chosen rates: activation, lr, seed, epoch (from 1), train_top1_error, the
    mean over the epoch's updates. choice.csv: the same of the nets by which rates were chosen. choice.json: of each
    activation the rate and epochs to the target, and how many times as many tanh takes.
    Memory does not grow with the number of images. Raises UserError if the data does not fit the parameters.
    """
    manifest, train = load_manifest(data), open_split(data, "train")
    if params.classes > manifest.num_classes:
        raise UserError(
            f"params.yaml: relu_tanh.{name}.classes", "more than there are", found=params.classes,
            expected=f"at most {manifest.num_classes}", fix="Lower it.",
        )  # fmt: skip
    chosen = np.flatnonzero((train.labels >= 0) & (train.labels < params.classes))
    if not len(chosen):
        raise UserError(
            str(data), "has no training images of these classes", fix=f"Raise relu_tanh.{name}.classes."
        )
    device = open_device(device_name, threads)
    try:
        parameters = CifarNet("relu", params.classes, train.side).num_parameters
    except ValueError as error:
        raise UserError(f"params.yaml: prepare.resize, for {name}", str(error), fix="Raise it.") from None
    mean_image = read_colours(stats).mean_image.to(device)
    rows: dict[str, list[dict[str, Any]]] = {"choice": [], "history": []}
    summary: dict[str, Any] = {
        "data": name,
        "num_images": len(chosen),
        "num_classes": params.classes,
        "side": train.side,
        "num_parameters": parameters,
        "target": params.target,
        "seeds": params.seeds,
    }
    with progress(None, "relu-tanh", "image") as advance:
        work = Work(params, train, chosen, mean_image, readers, advance)
        for activation in ACTIVATIONS:
            trials = try_rates(params, activation, work.train)
            lr = choose_rate(trials, params.target)
            final = [(seed, work.train(activation, lr, seed, params.max_epochs)) for seed in params.seeds]
            tried = [
                (trial.lr, seed, errors)
                for trial in trials
                for seed, errors in zip(params.choice_seeds, trial.errors, strict=False)
            ]
            rows["choice"] += _rows(activation, tried)
            rows["history"] += _rows(activation, [(lr, seed, errors) for seed, errors in final])
            summary[activation] = {
                "lr": lr,
                "tried": {f"{trial.lr:g}": trial.epochs(params.target) for trial in trials},
                "epochs": [epochs_to(errors, params.target) for _, errors in final],
            }
    summary["ratio"] = epoch_ratio(summary["tanh"]["epochs"], summary["relu"]["epochs"])
    with whole_folder(output) as folder:
        for name, table in rows.items():
            pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        (folder / "choice.json").write_text(json.dumps(summary, indent=1) + "\n")


def try_rates(params: ReluTanhParams, activation: Activation, train: Train) -> list[Trial]:
    """Trains each rate with each of the seeds that choose, no longer than it may still win."""
    trials: list[Trial] = []
    for lr in getattr(params.rates, activation):
        trial = Trial(lr, ())
        for seed in params.choice_seeds:
            most = epochs_left(trials, trial, len(params.choice_seeds), params.target, params.max_epochs)
            errors = train(activation, lr, seed, most) if most else ()
            if not errors:
                trial = Trial(lr, trial.errors, is_given_up=True)
                break
            missed = most < params.max_epochs and errors[-1] > params.target
            trial = Trial(lr, (*trial.errors, errors), is_given_up=missed)
            if missed:
                break
        trials.append(trial)
    return trials


def epoch_ratio(slow: list[float | None], fast: list[float | None]) -> float | None:
    """How many times as many epochs, the geometric mean over seeds; None where a net did not get there."""
    logs = [
        math.log(one / other) for one, other in zip(slow, fast, strict=True) if one is not None and other is not None
    ]  # fmt: skip
    return math.exp(sum(logs) / len(logs)) if len(logs) == len(slow) else None


class Work:
    """The images, and trainings on them."""

    def __init__(
        self, params: ReluTanhParams, images: PreparedSplit, chosen: npt.NDArray[np.int64], mean_image: Tensor,
        readers: int, advance: Advance,
    ) -> None:  # fmt: skip
        self._params, self._images, self._chosen = params, images, chosen
        self._mean = mean_image
        self._readers, self._advance = readers, advance

    def train(self, activation: Activation, lr: float, seed: int, most: int) -> tuple[float, ...]:
        """Training error of each epoch until it is down to the target, `most` epochs at the longest.

        Momentum descent on cross-entropy, every parameter at the same rate, no weight decay, no crops or mirrors.
        A loss that is no number ends it.
        """
        params, device = self._params, self._mean.device
        net = CifarNet(activation, params.classes, self._images.side)
        initialize(net, seed)
        net.to(device).to(memory_format=torch.channels_last)  # on CPUs pooling is many times as fast so
        descent = torch.optim.SGD(net.parameters(), lr=lr, momentum=params.momentum)
        errors: list[float] = []
        for epoch in range(most):
            wrong, total = 0, torch.zeros((), device=device)
            for pixels, labels in self._epoch(seed, epoch):
                logits = net((pixels.float() - self._mean).permute(0, 3, 1, 2))
                loss = F.cross_entropy(logits, labels)
                descent.zero_grad()
                torch.autograd.backward(loss)
                descent.step()
                wrong += int((logits.argmax(1) != labels).sum())
                total += loss.detach()
                self._advance(len(labels), f"{activation}, lr {lr:g}, seed {seed}, epoch {epoch + 1}")
            errors.append(wrong / len(self._chosen))
            if errors[-1] <= params.target or not total.isfinite():
                break
        return tuple(errors)

    def _epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Minibatches in an order drawn for the epoch: pixels (n, side, side, 3) uint8 and labels (n,)."""
        order = self._chosen[image_order(seed, epoch, len(self._chosen))]
        device = self._mean.device
        requests = map(Request, batches(order, self._params.batch))
        with Loader(
            self._images, requests, self._images.side, readers=self._readers, device=device
        ) as loader:
            for request, pixels in loader:
                yield pixels, torch.from_numpy(self._images.labels[request.indices]).to(device)


def _rows(activation: str, runs: list[tuple[float, int, tuple[float, ...]]]) -> list[dict[str, Any]]:
    return [
        {"activation": activation, "lr": lr, "seed": seed, "epoch": epoch, "train_top1_error": error}
        for lr, seed, errors in runs
        for epoch, error in enumerate(errors, start=1)
    ]
