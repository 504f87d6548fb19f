"""Predictions of one member for one split: ten views and the centre view of every image (§4.1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from alexnet.core.metrics import rank
from alexnet.core.network import Network
from alexnet.core.protocol import PredictParams
from alexnet.core.training import batches, view_probs
from alexnet.data.predictions import Predictions, ViewPredictions, write_predictions
from alexnet.data.progress import progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_network
from alexnet.device import open_device
from alexnet.errors import UserError

BEST = 5


def run(
    member: str,
    split: str,
    params: PredictParams,
    dataset: str,
    data: Path,
    stats: Path,
    weights: Path,
    output: Path,
    *,
    device_name: str,
    threads: int,
) -> None:
    """Writes a row for each image of the split, in stored order.

    Raises UserError if the weights are of another number of classes than the data.
    """
    manifest = load_manifest(data)
    network, num_classes, crop = read_network(weights)
    if num_classes != manifest.num_classes:
        raise UserError(
            str(weights), "the number of classes is not that of the data", found=num_classes,
            expected=manifest.num_classes, fix=f"Train {member} again.",
        )  # fmt: skip
    device = open_device(device_name, threads)
    images = open_split(data, split)
    ten, centre = _probs(
        f"predict {member} {split}",
        network.to(device),
        images,
        stats,
        crop,
        params.batch,
        device,
        num_classes,
    )
    keep_probs = num_classes <= params.store_probs_up_to
    write_predictions(
        output,
        Predictions(
            dataset=dataset,
            member=member,
            split=split,
            num_classes=num_classes,
            keys=list(images.keys),
            labels=images.labels,
            ten=_view(ten, keep_probs=keep_probs),
            centre=_view(centre, keep_probs=keep_probs),
            reason=manifest.splits[split].reason,
        ),
    )


def _probs(
    what: str,
    network: Network,
    images: PreparedSplit,
    stats: Path,
    crop: int,
    batch: int,
    device: torch.device,
    num_classes: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Probabilities (N, classes) of the ten views' mean and of the centre view, in one pass over the images."""
    mean_image = read_colours(stats).mean_image.to(device)
    ten = np.empty((len(images), num_classes), np.float32)
    centre = np.empty_like(ten)
    with progress(total=len(images), what=what, unit="image") as advance:
        for indices in batches(np.arange(len(images)), batch):
            some = torch.from_numpy(images.read(indices)).to(device)
            for probs, all_probs in zip(
                view_probs(network, some, mean_image, crop), (ten, centre), strict=True
            ):
                all_probs[indices] = probs.cpu().numpy()
            advance(len(indices))
    return ten, centre


def _view(probs: npt.NDArray[np.float32], *, keep_probs: bool) -> ViewPredictions:
    labels, top_probs = rank(probs, min(BEST, probs.shape[1]))
    return ViewPredictions(labels, top_probs, probs.astype(np.float16) if keep_probs else None)
