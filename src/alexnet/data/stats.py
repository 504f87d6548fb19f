"""Mean image and RGB PCA of a data set, read for training and testing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from alexnet.core.training import Colours


def read_colours(folder: Path) -> Colours:
    """Mean image (H, W, 3) and RGB PCA that the stage rgb_pca wrote into `folder`, as float32 tensors."""
    mean_image = np.load(folder / "mean_image.npy", allow_pickle=False)
    pca = json.loads((folder / "rgb_pca.json").read_text())
    return Colours(
        torch.from_numpy(mean_image).float(),
        torch.tensor(pca["stddev"], dtype=torch.float32),
        torch.tensor(pca["eigenvectors"], dtype=torch.float32),
    )
