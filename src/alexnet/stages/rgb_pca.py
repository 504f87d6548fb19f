"""Mean image and RGB PCA of a data set's training images, in one pass over its shards (§2, §4.1)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from alexnet.core.rgb_pca import RgbSums, find_rgb_pca
from alexnet.data.progress import progress
from alexnet.data.shards import open_split
from alexnet.data.whole import whole_folder
from alexnet.errors import UserError


def run(data: Path, output: Path) -> None:
    """Writes mean_image.npy (side, side, 3) float64 and rgb_pca.json into the folder `output`, whole.

    Raises UserError if there are no training images.
    """
    train = open_split(data, "train")
    if not len(train):
        raise UserError(
            str(data), "has no training images", fix="Look at its manifest, and prepare it again."
        )
    sums = RgbSums.empty(train.side)
    with progress(len(train), f"rgb-pca {data.name}", "image") as advance:
        for images in train.images:
            sums.add(images)
            advance(len(images))
    pca = find_rgb_pca(sums)
    numbers = {
        name: getattr(pca, name).tolist()
        for name in ("mean", "covariance", "eigenvalues", "stddev", "eigenvectors")
    }
    numbers |= {"num_images": pca.num_images, "num_pixels": pca.num_pixels}
    with whole_folder(output) as folder:
        np.save(folder / "mean_image.npy", pca.mean_image)
        (folder / "rgb_pca.json").write_text(json.dumps(numbers, indent=1, sort_keys=True) + "\n")
