"""What a net, or the average of several, says of image files: ten views each, as in the test (§4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from alexnet.core.ensemble import average
from alexnet.core.metrics import rank
from alexnet.core.training import batches, view_probs
from alexnet.data.nets import Net, NetFiles, open_net
from alexnet.data.photographs import read_squares
from alexnet.data.shards import load_manifest
from alexnet.device import open_device
from alexnet.report.guesses import Guess, Label

BEST = 5


def run(
    images: Sequence[Path],
    nets: Sequence[NetFiles],
    data: Path,
    batch: int,
    *,
    device_name: str,
    threads: int,
) -> list[Guess]:
    """The five best labels of each image by the average of the nets' probabilities.

    data: of the prepared data set that all nets were trained on. batch: images at once.
    Raises UserError if an image cannot be read or a net's files are missing or do not fit the data set.
    """
    manifest = load_manifest(data)
    squares = read_squares(images, manifest)
    device = open_device(device_name, threads)
    opened = [open_net(files, manifest, device) for files in nets]
    by = " + ".join(files.name for files in nets)
    guesses = []
    for indices in batches(np.arange(len(images)), batch):
        pixels = torch.from_numpy(squares[indices]).to(device)
        probs = average([_probs(net, pixels) for net in opened])
        for index, labels, best in zip(indices, *rank(probs, BEST), strict=True):
            synsets = [manifest.synsets[label] for label in labels]
            named = [
                Label(synset.wnid, synset.words, float(prob))
                for synset, prob in zip(synsets, best, strict=True)
            ]
            guesses.append(Guess(str(images[index]), by, named))
    return guesses


def _probs(net: Net, pixels: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probabilities (N, classes), the mean over ten views."""
    probs: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
        view_probs(net.network, pixels, net.mean_image).ten.cpu().numpy()
    )
    return probs
