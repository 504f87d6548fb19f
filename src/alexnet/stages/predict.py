"""Predictions of one member for one split: ten views and the centre view of every image (§4.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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
    mean_image = read_colours(stats).mean_image.to(device)
    keep_probs = num_classes <= params.store_probs_up_to
    ten, centre = _predict_views(
        f"predict {member} {split}",
        network.to(device),
        images,
        mean_image,
        crop,
        params.batch,
        keep_probs=keep_probs,
    )
    write_predictions(
        output,
        Predictions(
            dataset=dataset,
            member=member,
            split=split,
            num_classes=num_classes,
            keys=list(images.keys),
            labels=images.labels,
            ten=ten,
            centre=centre,
            reason=images.reason,
            synsets_sha256=_hash_classes([synset.wnid for synset in manifest.synsets]),
        ),
    )


def _predict_views(
    what: str,
    network: Network,
    images: PreparedSplit,
    mean_image: Tensor,
    crop: int,
    batch: int,
    *,
    keep_probs: bool,
) -> tuple[ViewPredictions, ViewPredictions]:
    """Predictions of the ten views' mean and of the centre view, in one pass over the images.

    Of more classes than are kept only the best of each batch stay in memory: all would be hundreds of gigabytes.
    """
    num_classes = network.layers[-1].outputs
    views = [_no_predictions(len(images), num_classes, keep_probs=keep_probs) for _ in range(2)]
    with progress(total=len(images), what=what, unit="image") as advance:
        for indices in batches(np.arange(len(images)), batch):
            some = torch.from_numpy(images.read(indices)).to(mean_image.device)
            for view, tensor in zip(views, view_probs(network, some, mean_image, crop), strict=True):
                probs = tensor.cpu().numpy()
                view.labels[indices], view.top_probs[indices] = rank(probs, BEST)
                if view.probs is not None:
                    view.probs[indices] = probs
            advance(len(indices))
    return views[0], views[1]


def _no_predictions(num_images: int, num_classes: int, *, keep_probs: bool) -> ViewPredictions:
    """Room for the predictions of one view."""
    best = min(BEST, num_classes)
    return ViewPredictions(
        np.empty((num_images, best), np.int32),
        np.empty((num_images, best), np.float32),
        np.empty((num_images, num_classes), np.float16) if keep_probs else None,
    )


def _hash_classes(wnids: list[str]) -> str:
    """A hash of the classes in the order of their labels: nets that are averaged must agree in it."""
    return hashlib.sha256("\n".join(wnids).encode()).hexdigest()
