"""The training images nearest to an image, by the features of a net's last hidden layer (§6)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.core.nearest import Nearest, centre_features, feature_distances
from alexnet.core.training import batches
from alexnet.data.kept_features import Features, grow, open_kept
from alexnet.data.loader import Loader
from alexnet.data.nets import Net, NetFiles, open_net
from alexnet.data.photographs import read_squares
from alexnet.data.progress import progress
from alexnet.data.reading import Request
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.whole import whole_file
from alexnet.device import open_device
from alexnet.errors import UserError
from alexnet.report.guesses import shorten
from alexnet.report.sheet import Picture, draw_sheet, shrink

ROWS_AT_ONCE = 2048  # 67 MB of 4,096 features in float64


@dataclass(frozen=True)
class Neighbour:
    """A training image. distance: Euclidean, of the features."""

    key: str
    wnid: str
    words: str
    distance: float


@dataclass(frozen=True)
class Kept:
    """Where the features of all training images are kept, and the key of what they belong to."""

    path: Path
    key: str


def run(
    image: Path,
    net: NetFiles,
    data: Path,
    kept: Kept,
    count: int,
    sheet: Path | None,
    *,
    batch: int,
    device_name: str,
    threads: int,
    readers: int,
) -> list[Neighbour]:
    """The training images nearest to `image`, nearest first, no more than there are.

    Computes and keeps the features of all training images, of their centre view, unless that was done before; memory
    does not grow with their number. sheet: where to write a PNG of them.
    Raises UserError if the image cannot be read, or files are missing or do not fit each other.
    """
    manifest = load_manifest(data)
    square = read_squares([image], manifest)
    device = open_device(device_name, threads)
    opened, train = open_net(net, manifest, device), open_split(data, "train")
    if not len(train):
        raise UserError(str(data), "has no training images", fix="Prepare it again.")
    features = open_kept(kept.path, kept.key)
    if features is None:
        features = _compute(opened, train, kept, batch, readers)
    query = centre_features(opened.network, torch.from_numpy(square).to(device), opened.mean_image).cpu()
    nearest = find_nearest(features, query, count)
    rows = nearest.indices[0]
    neighbours = [
        Neighbour(train.keys[row], synset.wnid, synset.words, float(distance))
        for row, distance in zip(rows, nearest.distances[0], strict=True)
        for synset in [manifest.synsets[train.labels[row]]]
    ]
    if sheet is not None:
        _draw(sheet, image, net.name, square[0], train.read(rows), neighbours)
    return neighbours


def render(neighbours: list[Neighbour]) -> str:
    """The neighbours as text, a line each."""
    keys = max(len(each.key) for each in neighbours)
    return "".join(
        f"{each.distance:10.3f}  {each.key:{keys}}  {each.wnid}  {each.words}\n" for each in neighbours
    )


def find_nearest(features: Features, query: Tensor, count: int) -> Nearest:
    """The rows of `features` (N, units) nearest to one of them (1, units), read from the disk block by block."""
    nearest = Nearest(1, count)
    for start in range(0, len(features), ROWS_AT_ONCE):
        block = torch.from_numpy(np.array(features[start : start + ROWS_AT_ONCE]))
        nearest.add(feature_distances(query, block), np.arange(start, start + len(block)))
    return nearest


def _compute(net: Net, train: PreparedSplit, kept: Kept, batch: int, readers: int) -> Features:
    """The features of all training images, kept for the next time."""
    units = [layer.outputs for layer in net.network.layers if layer.relu and not layer.is_conv][-1]
    with grow(kept.path, kept.key, (len(train), units)) as growing:
        if growing.done:
            print(f"similar: going on after {growing.done:,} images", file=sys.stderr)
        requests = map(Request, batches(np.arange(growing.done, len(train)), batch))
        with (
            Loader(train, requests, train.side, readers=readers, device=net.mean_image.device) as loader,
            progress(len(train), f"features of {net.name}", "image", done=growing.done) as advance,
        ):
            for request, pixels in loader:
                growing.add(centre_features(net.network, pixels, net.mean_image).cpu().numpy())
                advance(len(request.indices))
    features = open_kept(kept.path, kept.key)
    assert features is not None
    return features


def _draw(
    path: Path,
    image: Path,
    member: str,
    square: npt.NDArray[np.uint8],
    pictures: npt.NDArray[np.uint8],
    neighbours: list[Neighbour],
) -> None:
    """Writes the image and its neighbours as one PNG, whole."""
    cells = [Picture(shrink(square), shorten(image.name, 28), ["the image asked about"])]
    for picture, near in zip(pictures, neighbours, strict=True):
        cells.append(Picture(shrink(picture), f"{near.distance:.3f}", [near.words or near.wnid, near.key]))
    drawn = draw_sheet(f"Training images nearest in the features of {member}", cells)
    with whole_file(path) as temporary:
        drawn.save(temporary, format="PNG")
