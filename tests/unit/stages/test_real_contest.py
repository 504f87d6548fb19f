"""Real photographs in the official layout of ILSVRC-2012, all the way from archives to batches."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from alexnet.core.augment import network_input
from alexnet.core.draws import draw_augmentation, image_order
from alexnet.core.resize import PrepareParams, centre_square
from alexnet.data.decode import decode_rgb
from alexnet.data.loader import Loader, Request
from alexnet.data.shards import PreparedSplit, load_manifest, open_split
from alexnet.data.sources import IlsvrcDataset
from alexnet.data.stats import read_colours
from alexnet.stages import audit, prepare, rgb_pca, source
from tests.unit.stages.real_contest import write_contest_of

DATA = Path(__file__).parents[3] / "../shared/data"
PHOTOS, TINY = DATA / "imagenet-photos-200.tar", DATA / "tiny-imagenet-40.zip"

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Contest:
    """What went into the archives, and the folders of what came out of them."""

    train: Mapping[str, Sequence[bytes]]
    val: Sequence[tuple[str, bytes]]
    test: Sequence[bytes]
    words: Mapping[str, str]
    ids: Mapping[str, int]
    folder: Path
    side: int

    def open(self, split: str) -> PreparedSplit:
        return open_split(self.folder / "data", split)


def _again(content: bytes, change: Callable[[Image.Image], Image.Image]) -> bytes:
    """A photograph changed and encoded again."""
    stream = io.BytesIO()
    change(Image.open(io.BytesIO(content)).convert("RGB")).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _read_photographs() -> tuple[dict[str, list[bytes]], dict[str, str]]:
    """200 photographs, one of each class."""
    train, words = {}, {}
    with tarfile.open(PHOTOS) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                wnid, _, name = Path(member.name).stem.partition("_")
                train[wnid], words[wnid] = [file.read()], name
    return train, words


def _read_tiny() -> tuple[dict[str, list[bytes]], dict[str, str], list[tuple[str, bytes]]]:
    """50 training images of each class, and its val images."""
    with zipfile.ZipFile(TINY) as archive:
        (top,) = {name.split("/")[0] for name in archive.namelist()}
        wnids = archive.read(f"{top}/wnids.txt").decode().split()
        lines = archive.read(f"{top}/words.txt").decode().splitlines()
        words = dict(line.split("\t", 1) for line in lines)
        train = {
            wnid: [archive.read(f"{top}/train/{wnid}/images/{wnid}_{n}.JPEG") for n in range(50)]
            for wnid in wnids
        }
        lines = archive.read(f"{top}/val/val_annotations.txt").decode().splitlines()
        val = [
            (line.split("\t")[1], archive.read(f"{top}/val/images/{line.split(chr(9))[0]}")) for line in lines
        ]
    return train, {wnid: words[wnid] for wnid in wnids}, val


@pytest.fixture(scope="module", params=["photographs", "tiny"])
def contest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Contest:
    """The whole way: archives, source, audit, prepare, rgb_pca."""
    folder = tmp_path_factory.mktemp("contest")
    is_tiny = request.param == "tiny"
    path = TINY if is_tiny else PHOTOS
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {DATA}")
    if is_tiny:
        train, words, val = _read_tiny()
        test = [content for _, content in val[:100]][::-1]
    else:
        train, words = _read_photographs()
        wnids = sorted(train, key=lambda wnid: words[wnid])
        val = [(wnid, _again(train[wnid][0], lambda image: image.rotate(180))) for wnid in wnids]
        test = [_again(train[wnid][0], lambda image: image.resize((300, 260))) for wnid in wnids[:50]]
    ids = write_contest_of(folder / "archives", train, val, test, words)
    about = {"kind": "ilsvrc", "path": str(folder / "archives"), "year": 2012, "md5": {}}
    source.run("ilsvrc2012", IlsvrcDataset.model_validate({"source": about}), folder / "source")
    audit.run(
        "ilsvrc2012", audit.Folders(folder / "source", folder / "audits", folder / "audit_parts"), workers=2
    )
    side = 64 if is_tiny else 256
    params = PrepareParams(
        resize=side, interpolation="area_cubic", store="jpeg" if is_tiny else "raw", quality=90, shard_images=96, seed=1
    )  # fmt: skip
    folders = prepare.Folders(folder / "source", folder / "data", folder / "parts", None, None)
    prepare.run("ilsvrc2012", params, folders, workers=2)
    rgb_pca.run(folder / "data", folder / "stats", threads=2)
    return Contest(train, val, test, words, ids, folder, side)


def test_audit_agrees_with_the_kit_and_finds_every_image_sound(contest: Contest) -> None:
    classes = pd.read_csv(contest.folder / "audits/ilsvrc2012/classes.csv")
    assert dict(zip(classes.wnid, classes.devkit_id, strict=True)) == contest.ids
    assert dict(zip(classes.wnid, classes.words, strict=True)) == contest.words
    assert (classes.train == [len(contest.train[wnid]) for wnid in classes.wnid]).all()
    images = pd.read_parquet(contest.folder / "audits/ilsvrc2012/images.parquet")
    assert Counter(images.split) == {
        "train": sum(map(len, contest.train.values())), "val": len(contest.val), "test": len(contest.test),
    }  # fmt: skip
    assert images.reason.isna().all()
    summary = json.loads((contest.folder / "audits/ilsvrc2012/audit.json").read_text())
    assert summary["unreadable"]["by_reason"] == {}


def test_every_image_is_prepared_once_with_its_label(contest: Contest) -> None:
    manifest = load_manifest(contest.folder / "data")
    assert [(synset.wnid, synset.devkit_id) for synset in manifest.synsets] == sorted(contest.ids.items())
    labels = {synset.wnid: synset.label for synset in manifest.synsets}
    val = contest.open("val")
    assert val.labels.tolist() == [labels[wnid] for wnid, _ in contest.val]
    train = contest.open("train")
    assert len(set(train.keys)) == len(train) == sum(map(len, contest.train.values()))
    assert all(
        label == labels[key.split("/")[0]] for key, label in zip(train.keys, train.labels, strict=True)
    )
    assert contest.open("test").labels.tolist() == [-1] * len(contest.test)
    for place in (0, 7, len(val) - 1):
        square = centre_square(decode_rgb(contest.val[place][1]), contest.side)
        difference = np.abs(val.read([place])[0].astype(int) - square)
        assert difference.max() == 0 if val.store == "raw" else difference.mean() < 4


def test_mean_colour_is_that_of_imagenet(contest: Contest) -> None:
    colours = read_colours(contest.folder / "stats")
    mean = colours.mean_image.mean((0, 1))
    # ImageNet's, and its deviations along the principal colours, to what so few photographs can tell.
    torch.testing.assert_close(mean, torch.tensor([127.3, 119.7, 104.9]), atol=12, rtol=0)
    torch.testing.assert_close(colours.stddev, torch.tensor([121.8, 37.1, 19.7]), atol=12, rtol=0)


def test_epoch_brings_each_image_once_as_drawn(contest: Contest) -> None:
    train, crop, batch = contest.open("train"), contest.side * 7 // 8, 128
    order = image_order(3, 1, len(train))
    offsets = contest.side - crop + 1
    requests = [
        Request(order[start : start + batch], draw_augmentation(3, 1, order[start : start + batch], offsets))
        for start in range(0, len(train), batch)
    ]
    colours, seen = read_colours(contest.folder / "stats"), []
    with Loader(train, requests, crop, readers=2, device=torch.device("cpu")) as loader:
        for request, crops in loader:
            draws = request.draws
            assert draws is not None
            seen += request.indices.tolist()
            whole = train.read(request.indices)
            for n, image in enumerate(whole):
                row, column = draws.rows[n], draws.columns[n]
                expected = image[row : row + crop, column : column + crop]
                expected = expected[:, ::-1] if draws.mirrored[n] else expected
                assert (crops[n].numpy() == expected).all()
            inputs = network_input(
                crops, draws, colours.mean_image, None, mean_align="under_crop", rescale=False
            )
            assert inputs.shape == (len(whole), 3, crop, crop) and inputs.mean().abs() < 20
    assert sorted(seen) == list(range(len(train)))
