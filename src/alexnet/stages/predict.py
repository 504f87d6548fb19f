"""Predictions of one member for one split: ten views and the centre view of every image (§4.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from alexnet.core.metrics import rank
from alexnet.core.network import Network
from alexnet.core.predictions import hash_classes
from alexnet.core.protocol import PredictParams
from alexnet.core.training import batches, view_probs
from alexnet.data.loader import Loader, Request
from alexnet.data.predictions import Predictions, ViewPredictions, write_predictions
from alexnet.data.progress import progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_network
from alexnet.data.whole import whole_file
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
    readers: int = 1,
    features: Path | None = None,
) -> None:
    """Writes a row for each image of the split, in stored order, in one pass over them.

    features: where to write the features of each image's centre view too, if asked for: an array (N, units) float32 of
    the last hidden layer after ReLU (fc7), in the same order. readers: threads that read images ahead. Memory does not
    grow with the number of images, but for what is written of each. Raises UserError if the weights are of another
    number of classes than the data.
    """
    manifest = load_manifest(data)
    network, num_classes = read_network(weights)
    if num_classes != manifest.num_classes:
        raise UserError(
            str(weights), "the number of classes is not that of the data", found=num_classes,
            expected=manifest.num_classes, fix=f"Train {member} again.",
        )  # fmt: skip
    device = open_device(device_name, threads)
    images = open_split(data, split)
    mean_image = read_colours(stats).mean_image.to(device)
    keep_probs = num_classes <= params.store_probs_up_to
    what = f"predict {member} {split}"
    with _room_for_features(features, len(images), network) as room:
        ten, centre = _predict_views(
            what, network.to(device), images, mean_image, params.batch, room, readers, keep_probs=keep_probs
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
            synsets_sha256=hash_classes(synset.wnid for synset in manifest.synsets),
        ),
    )


@contextlib.contextmanager
def _room_for_features(
    path: Path | None, num_images: int, network: Network
) -> Iterator[npt.NDArray[np.float32] | None]:
    """An array on disk, which becomes the file `path` when the block ends well; None if there is no path."""
    if path is None:
        yield None
        return
    units = [layer.outputs for layer in network.layers if layer.relu and not layer.is_conv][-1]
    with whole_file(path) as temporary:
        room = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(num_images, units))
        yield room
        room.flush()


def _predict_views(
    what: str,
    network: Network,
    images: PreparedSplit,
    mean_image: Tensor,
    batch: int,
    features: npt.NDArray[np.float32] | None,
    readers: int,
    *,
    keep_probs: bool,
) -> tuple[ViewPredictions, ViewPredictions]:
    """Predictions of the ten views' mean and of the centre view, in one pass over the images.

    Of more classes than are kept only the best of each batch stay in memory: all would be hundreds of gigabytes.
    """
    num_classes = network.layers[-1].outputs
    ten, centre = (_no_predictions(len(images), num_classes, keep_probs=keep_probs) for _ in range(2))
    requests = map(Request, batches(np.arange(len(images)), batch))
    with (
        Loader(images, requests, images.side, readers=readers, device=mean_image.device) as loader,
        progress(total=len(images), what=what, unit="image") as advance,
    ):
        for request, whole in loader:
            indices, views = request.indices, view_probs(network, whole, mean_image)
            for view, tensor in ((ten, views.ten), (centre, views.centre)):
                probs = tensor.cpu().numpy()
                view.labels[indices], view.top_probs[indices] = rank(probs, BEST)
                if view.probs is not None:
                    view.probs[indices] = probs
            if features is not None:
                features[indices] = views.features.cpu().numpy()
            advance(len(indices))
    return ten, centre


def _no_predictions(num_images: int, num_classes: int, *, keep_probs: bool) -> ViewPredictions:
    """Room for the predictions of one view."""
    best = min(BEST, num_classes)
    return ViewPredictions(
        np.empty((num_images, best), np.int32),
        np.empty((num_images, best), np.float32),
        np.empty((num_images, num_classes), np.float16) if keep_probs else None,
    )
