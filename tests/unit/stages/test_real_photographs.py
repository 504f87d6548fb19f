from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.core.resize import PrepareParams, centre_square
from alexnet.data.decode import decode_rgb
from alexnet.data.inventory import load_inventory
from alexnet.data.shards import load_manifest, open_split
from alexnet.data.sources import FallDataset, IlsvrcDataset
from alexnet.stages import prepare, source

DATA = Path(__file__).parents[3] / "../shared/data"
PHOTOS, TINY = DATA / "imagenet-photos-200.tar", DATA / "tiny-imagenet-40.zip"

pytestmark = pytest.mark.real


def _need(path: Path) -> Path:
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {DATA}")
    return path


def test_all_200_photographs_become_squares_of_256() -> None:
    with tarfile.open(_need(PHOTOS)) as archive:
        files = [archive.extractfile(member) for member in archive if member.isfile()]
        squares = [centre_square(decode_rgb(file.read()), 256) for file in files if file is not None]
    assert len(squares) == 200 and {square.shape for square in squares} == {(256, 256, 3)}
    means = np.array([square.mean(axis=(0, 1)) for square in squares]).mean(axis=0)
    # The mean colour of ImageNet, 127.3, 119.7, 104.9 (§2), to what 200 photographs can tell.
    np.testing.assert_allclose(means, [127.3, 119.7, 104.9], atol=8)


def _tiny(classes: dict[str, Any]) -> dict[str, Any]:
    return {"source": {"kind": "tiny-imagenet", "path": str(_need(TINY)), "md5": {}, "classes": classes}}


def test_whole_zip_has_40_classes_and_22_000_images(tmp_path: Path) -> None:
    about = _tiny({"fraction": 1.0, "at_most": None, "seed": 1})
    source.run("fall2011", FallDataset.model_validate({**about, "split": "as_archived"}), tmp_path / "source")
    params = PrepareParams(
        resize=8, interpolation="area_cubic", store="raw", quality=90, shard_images=4096, seed=1
    )
    folders = prepare.Folders(tmp_path / "source", tmp_path / "data", tmp_path / "unfinished", None, None)
    prepare.run("fall2011", params, folders, workers=2)
    manifest = load_manifest(tmp_path / "data")
    assert manifest.num_classes == 40
    assert [manifest.splits[split].count for split in ("train", "val", "test")] == [20_000, 2_000, 0]
    assert all(not counts.broken for counts in manifest.splits.values())
    assert np.bincount(open_split(tmp_path / "data", "train").labels).tolist() == [500] * 40
    assert np.bincount(open_split(tmp_path / "data", "val").labels).tolist() == [50] * 40


def test_half_of_the_zip_has_20_classes(tmp_path: Path) -> None:
    about = _tiny({"fraction": 0.5, "at_most": 20, "seed": 1})
    source.run("ilsvrc2012", IlsvrcDataset.model_validate(about), tmp_path / "source")
    inventory = load_inventory(tmp_path / "source")
    assert len(inventory.synsets) == 20
    assert [inventory.splits[split].count for split in ("train", "val", "test")] == [10_000, 1_000, 0]
