"""A trained net with what it needs to look at an image: the classes of its data set and the mean image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, device

from alexnet.core.network import Network
from alexnet.data.shards import Manifest
from alexnet.data.stats import read_colours
from alexnet.data.weights import read_network
from alexnet.errors import UserError


@dataclass(frozen=True)
class NetFiles:
    """Where a net is read. weights: a file; stats: the folder that rgb-pca wrote for its data set."""

    name: str
    weights: Path
    stats: Path


@dataclass(frozen=True)
class Net:
    """A network on a device, for testing, with the mean image of its training images (side, side, 3)."""

    name: str
    network: Network
    mean_image: Tensor


def open_net(files: NetFiles, manifest: Manifest, where: device) -> Net:
    """Reads a net. manifest: of its data set.

    Raises UserError if the weights are missing or damaged, of another number of classes or made for larger images than
    the data set has, or if the mean image is missing or of another size.
    """
    network, num_classes = read_network(files.weights)
    if num_classes != manifest.num_classes:
        raise UserError(
            str(files.weights), f"the number of classes is not that of {manifest.dataset}", found=num_classes,
            expected=manifest.num_classes, fix="Name the data set the net was trained on.",
        )  # fmt: skip
    if network.side > manifest.resize:
        raise UserError(
            str(files.weights), f"wants larger images than {manifest.dataset} has", found=f"{manifest.resize} pixels",
            expected=f"{network.side} or more", fix="Name the data set the net was trained on.",
        )  # fmt: skip
    if not (files.stats / "mean_image.npy").is_file():
        raise UserError(
            str(files.stats), "the mean image is missing", fix="Run rgb-pca for this data set first."
        )
    mean_image = read_colours(files.stats).mean_image
    if mean_image.shape != (manifest.resize, manifest.resize, 3):
        raise UserError(
            str(files.stats), "the mean image is of another size than the images", found=tuple(mean_image.shape),
            expected=(manifest.resize, manifest.resize, 3), fix="Run rgb-pca for this data set again.",
        )  # fmt: skip
    return Net(files.name, network.to(where), mean_image.to(where))
