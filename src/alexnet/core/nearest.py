"""Which training images are nearest to others: by features of the last hidden layer, or by pixels (§6.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.core.augment import CENTRE_VIEW, view_batch, view_places
from alexnet.core.network import Network
from alexnet.core.order import seeded_order


def draw_images(num_images: int, seed: int, num_labelled: int, num_searched: int) -> list[list[int]]:
    """Images to show: some with their labels, and others, with their nearest. Drawn by the seed alone, none picked.

    All different; fewer where there are not so many, the first ones first.
    """
    order = seeded_order(num_images, seed, "shown images")[: num_labelled + num_searched].tolist()
    return [order[:num_labelled], order[num_labelled:]]


@torch.no_grad()
def centre_features(network: Network, images: Tensor, mean_image: Tensor) -> Tensor:
    """Features (N, units) of the centre view in the last hidden layer after ReLU; images (N, H, W, 3) uint8.

    In float32 whatever the network computes in.
    """
    place = view_places(images.shape[1], network.side)[CENTRE_VIEW]
    views = view_batch(images, mean_image, place, network.side, mean_align=network.switches.mean_align)
    features, _ = network.run(views.to(next(network.parameters()).dtype))
    return features.float()


def feature_distances(searched: Tensor, features: Tensor) -> npt.NDArray[np.float64]:
    """Squared Euclidean distances (Q, N) between features (Q, units) and (N, units), summed in float64."""
    others = features.double()
    rows = [(others - one).square().sum(1) for one in searched.double()]
    return torch.stack(rows).cpu().numpy()


def pixel_distances(searched: Tensor, images: Tensor) -> npt.NDArray[np.int64]:
    """Squared Euclidean distances (Q, N) between images (Q, H, W, 3) and (N, H, W, 3) uint8, exact."""
    others = images.flatten(1).to(torch.int32)
    rows = [(others - one).square().sum(1) for one in searched.flatten(1).to(torch.int32)]
    return torch.stack(rows).cpu().numpy()


class Nearest:
    """The nearest of what has been seen so far to each of Q, in memory that does not grow."""

    def __init__(self, num_searched: int, num_nearest: int) -> None:
        self._most = num_nearest
        self.indices: npt.NDArray[np.int64] = np.empty((num_searched, 0), np.int64)
        self.squares: npt.NDArray[np.float64] = np.empty((num_searched, 0))

    def add(self, squares: npt.NDArray[Any], indices: npt.NDArray[np.int64]) -> None:
        """Squared distances (Q, N) to N more, whose indices (N,) are given; of equally near ones the first stays."""
        every = np.concatenate([self.squares, squares], axis=1)
        names = np.concatenate([self.indices, np.broadcast_to(indices, squares.shape)], axis=1)
        best = np.lexsort((names, every), axis=1)[:, : self._most]
        self.squares = np.take_along_axis(every, best, 1)
        self.indices = np.take_along_axis(names, best, 1)

    @property
    def distances(self) -> npt.NDArray[np.float64]:
        """(Q, at most as many as are wanted), nearest first."""
        return np.sqrt(self.squares)
