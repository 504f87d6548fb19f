from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.shards import open_split
from alexnet.errors import UserError
from alexnet.stages import rgb_pca
from tests.unit.stages.made_data import SIDE, make_data

FILES = ("mean_image.npy", "rgb_pca.json")


@pytest.fixture(scope="module", params=[None, 80], ids=["raw", "jpeg"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("pca") / "data", train=40, quality=request.param)


def test_statistics_are_those_of_the_training_images(data: Path, tmp_path: Path) -> None:
    rgb_pca.run(data, tmp_path / "stats")
    images = open_split(data, "train").read(np.arange(40))
    pixels = images.reshape(-1, 3).astype(np.float64)
    mean_image = np.load(tmp_path / "stats/mean_image.npy")
    pca = json.loads((tmp_path / "stats/rgb_pca.json").read_text())
    assert mean_image.dtype == np.float64
    np.testing.assert_allclose(mean_image, images.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(pca["mean"], pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pca["covariance"], np.cov(pixels.T, bias=True), rtol=1e-10)
    np.testing.assert_allclose(np.square(pca["stddev"]), pca["eigenvalues"], rtol=1e-12)
    assert (pca["num_images"], pca["num_pixels"]) == (40, 40 * SIDE**2)


def test_neither_threads_nor_pieces_change_a_byte(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb_pca.run(data, tmp_path / "1")
    monkeypatch.setattr(rgb_pca, "PIECE_BYTES", 5 * SIDE**2 * 3)
    rgb_pca.run(data, tmp_path / "3", threads=3)
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_damaged_jpeg_ends_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    data = make_data(tmp_path / "data", train=40, quality=80)
    shard = data / "train-00001.jpegs"
    shard.write_bytes(bytes(100) + shard.read_bytes()[100:])
    monkeypatch.setattr(rgb_pca, "PIECE_BYTES", SIDE**2 * 3)
    with pytest.raises(UserError, match="image 0 of train shard 1"):
        rgb_pca.run(data, tmp_path / "stats", threads=threads)
    assert not (tmp_path / "stats").exists()


def test_unprepared_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="manifest is missing"):
        rgb_pca.run(tmp_path, tmp_path / "stats")


def test_data_set_without_training_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no training images"):
        rgb_pca.run(make_data(tmp_path / "data", train=0), tmp_path / "stats")
