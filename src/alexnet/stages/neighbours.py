"""The training images nearest to a few test images, by features of a net and by pixels (Figure 4, §6.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from alexnet.core.figure_params import NeighbourParams
from alexnet.core.nearest import (
    Nearest,
    centre_features,
    draw_images,
    feature_distances,
    pixel_distances,
)
from alexnet.core.training import batches
from alexnet.data.loader import Loader, Request
from alexnet.data.progress import progress
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_network
from alexnet.data.whole import whole_folder
from alexnet.device import open_device
from alexnet.errors import UserError

LABELLED, SEARCHED, NEAREST = 8, 5, 6  # images with their labels; with their nearest; so many of these


def run(
    member: str, params: NeighbourParams, batch: int, data: Path, stats: Path, weights: Path, output: Path,
    *, device_name: str, threads: int, readers: int = 1,
) -> None:  # fmt: skip
    """Writes shown.npy and neighbours.json into the folder `output`, whole, in one pass over the training images.

    neighbours.json: the images drawn to be shown, from the test images, or from the validation images where test images
    have no labels; and, of those searched for, the nearest training images by features of the centre view in the last
    hidden layer after ReLU (fc7), and by pixels. shown.npy: the pixels of all these (n, side, side, 3) uint8, at the
    places that neighbours.json says.
    Memory does not grow with the number of images. Raises UserError if there is nothing to search or to search in, or
    the weights are of another number of classes than the data.
    """
    manifest, train = load_manifest(data), open_split(data, "train")
    split, asked = _open_asked(data)
    network, num_classes = read_network(weights)
    if num_classes != manifest.num_classes:
        raise UserError(
            str(weights), "the number of classes is not that of the data", found=num_classes,
            expected=manifest.num_classes, fix=f"Train {member} again.",
        )  # fmt: skip
    if not len(train):
        raise UserError(str(data), "has no training images", fix="Prepare a data set that has some.")
    device = open_device(device_name, threads)
    network = network.to(device)
    mean_image = read_colours(stats).mean_image.to(device)
    shown, searched = draw_images(len(asked), params.seed, LABELLED, SEARCHED)
    questions = torch.from_numpy(asked.read(searched)).to(device)
    points = centre_features(network, questions, mean_image)
    by_features, by_pixels = (Nearest(len(searched), NEAREST) for _ in range(2))
    requests = map(Request, batches(np.arange(len(train)), batch))
    with (
        Loader(train, requests, train.side, readers=readers, device=device) as loader,
        progress(len(train), f"neighbours {member}", "image") as advance,
    ):
        for request, images in loader:
            found = centre_features(network, images, mean_image)
            by_features.add(feature_distances(points, found), request.indices)
            by_pixels.add(pixel_distances(questions, images), request.indices)
            advance(len(request.indices))
    pictures = _Pictures()
    about = {
        "member": member,
        "data": params.data,
        "split": split,
        "seed": params.seed,
        "num_images": len(train),
        "units": points.shape[1],
        "words": [synset.words for synset in manifest.synsets],
        "labelled": [pictures.add(asked, index) for index in shown],
        "searched": [
            {
                **pictures.add(asked, index),
                "features": pictures.add_all(train, by_features.indices[row], by_features.distances[row]),
                "pixels": pictures.add_all(train, by_pixels.indices[row], by_pixels.distances[row]),
            }
            for row, index in enumerate(searched)
        ],
    }
    with whole_folder(output) as folder:
        np.save(folder / "shown.npy", np.stack(pictures.pixels))
        (folder / "neighbours.json").write_text(json.dumps(about, indent=1) + "\n")


def _open_asked(data: Path) -> tuple[str, PreparedSplit]:
    """The test images if they have labels, else the validation images. Raises UserError if these have none either."""
    for split in ("test", "val"):
        images = open_split(data, split)
        if len(images) and (images.labels >= 0).all():
            return split, images
    raise UserError(str(data), "has no labelled test or validation images", fix="Take a net of other data.")


class _Pictures:
    """Images to be shown, collected."""

    def __init__(self) -> None:
        self.pixels: list[npt.NDArray[np.uint8]] = []

    def add(self, split: PreparedSplit, index: int) -> dict[str, Any]:
        """Adds an image; returns what is to be known of it. place: where it is in shown.npy."""
        self.pixels.append(split.read([index])[0])
        return {
            "place": len(self.pixels) - 1,
            "index": int(index),
            "key": split.keys[index],
            "label": int(split.labels[index]),
        }

    def add_all(
        self, split: PreparedSplit, indices: npt.NDArray[np.int64], distances: npt.NDArray[np.float64]
    ) -> list[dict[str, Any]]:
        """Adds images with their distances."""
        return [
            {**self.add(split, int(index)), "distance": float(distance)}
            for index, distance in zip(indices, distances, strict=True)
        ]
