from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alexnet.core.resize import PrepareParams
from alexnet.data.shards import open_split
from alexnet.data.sources import IlsvrcDataset
from alexnet.errors import UserError
from alexnet.stages import prepare, rgb_pca, source
from tests.unit.data.made_archives import write_contest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pca")
    about = {"kind": "ilsvrc", "path": str(write_contest(folder / "in")), "year": 2012, "md5": {}}
    source.run("x", IlsvrcDataset.model_validate({"source": about}), folder / "source")
    params = PrepareParams(resize=16, interpolation="area", shard_images=5, seed=1)
    prepare.run(
        "x", params, folder / "source", folder / "data", held_out_output=None, excluded=None, workers=1
    )
    return folder / "data"


def test_statistics_are_those_of_the_training_images(data: Path, tmp_path: Path) -> None:
    rgb_pca.run(data, tmp_path / "stats")
    images = open_split(data, "train").load()
    pixels = images.reshape(-1, 3).astype(np.float64)
    mean_image = np.load(tmp_path / "stats/mean_image.npy")
    pca = json.loads((tmp_path / "stats/rgb_pca.json").read_text())
    assert mean_image.dtype == np.float64
    np.testing.assert_allclose(mean_image, images.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(pca["mean"], pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pca["covariance"], np.cov(pixels.T, bias=True), rtol=1e-10)
    np.testing.assert_allclose(np.square(pca["stddev"]), pca["eigenvalues"], rtol=1e-12)
    assert (pca["num_images"], pca["num_pixels"]) == (12, 12 * 256)


def test_running_again_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        rgb_pca.run(data, tmp_path / name)
    for name in ("mean_image.npy", "rgb_pca.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unprepared_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manifest is missing"):
        rgb_pca.run(tmp_path, tmp_path / "stats")
