"""The embedded data set: drawn images in ImageNet's own archives, so that ImageNet's own reader reads them.

An image is a function of (seed, data set, split, wnid, index) and `shorter_side` alone, whatever else is drawn
and in whatever order. Like the real archives these hold odd files, and fall2011 holds one val image of
ilsvrc2012.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, field_validator
from scipy.io import savemat

from alexnet.core.drawing import draw_image, draw_size
from alexnet.core.synset_tree import DATASETS, Synset, find_cost, list_ancestors, list_classes, list_devkit
from alexnet.data.progress import Advance, progress
from alexnet.errors import UserError
from alexnet.schema import Params


class GeneratedSource(Params):
    """A data set that this project draws. All data sets of one `seed` and `shorter_side` belong together."""

    kind: Literal["generated"]
    path: str  # of the code that draws, this file: a dependency as an archive is one elsewhere
    seed: int = Field(ge=0)
    shorter_side: Annotated[list[int], Field(min_length=2, max_length=2)]  # smallest and largest, in pixels
    train: int = Field(ge=1)  # images of each class; of each synset in the fall data sets
    val: int = Field(ge=0)
    test: int = Field(ge=0)

    @field_validator("shorter_side")
    @classmethod
    def _check_shorter_side(cls, value: list[int]) -> list[int]:
        if not 8 <= value[0] <= value[1]:
            raise ValueError("must be the smallest and the largest side in pixels, in that order, at least 8")
        return value


Split = Literal["train", "val", "test"]
Form = Literal["jpeg", "grey", "cmyk", "png", "gzip"]
Member = tuple[str, bytes]  # name and content


@dataclass(frozen=True)
class _Names:
    """What the archives of a contest are called."""

    train: str
    val: str
    test: str
    devkit: str
    devkit_folder: str


_NAMES: Final = {
    "ilsvrc2010": _Names(
        "ILSVRC2010_images_train.tar",
        "ILSVRC2010_images_val.tar",
        "ILSVRC2010_images_test.tar",
        "ILSVRC2010_devkit-1.0.tar.gz",
        "devkit-1.0",
    ),
    "ilsvrc2012": _Names(
        "ILSVRC2012_img_train.tar",
        "ILSVRC2012_img_val.tar",
        "ILSVRC2012_img_test.tar",
        "ILSVRC2012_devkit_t12.tar.gz",
        "ILSVRC2012_devkit_t12",
    ),
}
# The oddities of the real archives, each the first image of a class: data set, split, place of the class.
_ODD_FILES: Final[dict[tuple[str, Split, int], Form]] = {
    ("ilsvrc2012", "train", 2): "grey",
    ("ilsvrc2012", "train", 5): "cmyk",
    ("ilsvrc2012", "train", 9): "png",
    ("ilsvrc2012", "train", 14): "gzip",
    ("ilsvrc2012", "val", 7): "cmyk",
}
# The image that pre-training must leave out: the first val image of the first class of ilsvrc2012.
_PLANTED_FROM: Final = "ilsvrc2012"
_PLANTED_IN: Final = "fall2011"


def generate(dataset: str, source: GeneratedSource, folder: Path) -> None:
    """Writes the archives of `dataset` into the empty `folder`, named and laid out as the official ones.

    The same bytes every time. Raises UserError for a name that is none of the four data sets, and for val or
    test images in a Fall release, which has no splits.
    """
    if dataset not in DATASETS:
        raise UserError(
            f"params.yaml: datasets.{dataset}.source",
            "only the paper's data sets can be generated",
            found=dataset,
            expected=" or ".join(DATASETS),
        )
    write = _write_contest if dataset in _NAMES else _write_fall
    total = len(list_classes(dataset)) * (source.train + source.val + source.test)
    with progress(total, f"draw {dataset}", "image") as advance:
        write(dataset, source, folder, advance)


def _write_contest(dataset: str, source: GeneratedSource, folder: Path, advance: Advance) -> None:
    names, year = _NAMES[dataset], dataset.upper()
    _write_tar(folder / names.train, _pack_synsets(dataset, source, advance))
    truths = {}
    flat: tuple[tuple[Split, str], ...] = (("val", names.val), ("test", names.test))
    for split, archive in flat:
        order = _shuffle_labels(dataset, split, source)
        truths[split] = "".join(f"{label + 1}\n" for label, _ in order).encode()
        _write_tar(folder / archive, _draw_flat(dataset, split, source, order))
        advance(len(order))
    meta = _make_meta(dataset, source.train)
    data = f"{names.devkit_folder}/data"
    kit = [(f"{data}/meta.mat", meta), (f"{data}/{year}_validation_ground_truth.txt", truths["val"])]
    (folder / names.devkit).write_bytes(gzip.compress(_pack(kit), mtime=0))
    (folder / f"{year}_test_ground_truth.txt").write_bytes(truths["test"])


def _pack_synsets(dataset: str, source: GeneratedSource, advance: Advance) -> Iterator[Member]:
    """The inner tars of a train tar."""
    for synset in list_classes(dataset):
        yield f"{synset.wnid}.tar", _pack(_draw_synset(dataset, source, synset))
        advance(source.train)


def _write_fall(dataset: str, source: GeneratedSource, folder: Path, advance: Advance) -> None:
    for split, count in (("val", source.val), ("test", source.test)):
        if count:
            raise UserError(
                f"params.yaml: datasets.{dataset}.source.{split}",
                "a Fall release has no splits",
                found=count,
                expected=0,
                fix=f"Set {split} in the data set's `split` instead.",
            )
    planted_in = list_classes(_PLANTED_FROM)[0] if dataset == _PLANTED_IN else None
    for synset in list_classes(dataset):
        planted = [_draw_file(_PLANTED_FROM, "val", source, synset, 0)] if synset == planted_in else []
        _write_tar(folder / f"{synset.wnid}.tar", _draw_synset(dataset, source, synset, planted))
        advance(source.train)
    words = sorted(f"{synset.wnid}\t{synset.words}\n" for synset in list_classes(dataset))
    (folder / "words.txt").write_text("".join(words))


def _draw_synset(
    dataset: str, source: GeneratedSource, synset: Synset, further: Iterable[bytes] = ()
) -> Iterator[Member]:
    """The files of a synset's tar: nXXXXXXXX_Y.JPEG, where Y grows by 1 to 120, as after a clean-up."""
    rng = _make_rng(source.seed, dataset, "names", synset.wnid, 0)
    number = 0
    drawn = (_draw_file(dataset, "train", source, synset, index) for index in range(source.train))
    for files in (drawn, further):
        for content in files:
            number += 1 + int(120 * rng.random())
            yield f"{synset.wnid}_{number}.JPEG", content


def _shuffle_labels(dataset: str, split: Split, source: GeneratedSource) -> list[tuple[int, int]]:
    """(place of the class in the devkit, index) of each image of a flat archive, in the order of their names."""
    count = source.val if split == "val" else source.test
    pairs = [(label, index) for label in range(len(list_classes(dataset))) for index in range(count)]
    permutation = _make_rng(source.seed, dataset, split, "labels", 0).permutation(len(pairs))
    return [pairs[place] for place in permutation]


def _draw_flat(
    dataset: str, split: Split, source: GeneratedSource, order: list[tuple[int, int]]
) -> Iterator[Member]:
    """The files of a val or test tar, which does not hold them in the order of their names."""
    classes = list_classes(dataset)
    for place in _make_rng(source.seed, dataset, split, "order", 0).permutation(len(order)):
        label, index = order[place]
        name = f"{dataset.upper()}_{split}_{place + 1:08d}.JPEG"
        yield name, _draw_file(dataset, split, source, classes[label], index)


def _make_rng(seed: int, dataset: str, split: str, wnid: str, index: int) -> np.random.Generator:
    """The chance of one image, from its own key: no image depends on another."""
    digest = hashlib.blake2b(f"{seed}/{dataset}/{split}/{wnid}/{index}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _draw_file(dataset: str, split: Split, source: GeneratedSource, synset: Synset, index: int) -> bytes:
    """One image file."""
    rng = _make_rng(source.seed, dataset, split, synset.wnid, index)
    height, width = draw_size((source.shorter_side[0], source.shorter_side[1]), rng)
    look = synset.looks[int(rng.random() * len(synset.looks))]
    pixels = draw_image(look, height, width, rng)
    return _encode(pixels, 80 + int(16 * rng.random()), _find_form(dataset, split, synset, index))


def _find_form(dataset: str, split: Split, synset: Synset, index: int) -> Form:
    if index > 0:
        return "jpeg"
    return _ODD_FILES.get((dataset, split, list_classes(dataset).index(synset)), "jpeg")


def _encode(pixels: NDArray[np.uint8], quality: int, form: Form) -> bytes:
    """An image file of (height, width, 3) RGB; only `form` tells what it holds, its name does not."""
    image, stream = Image.fromarray(pixels), io.BytesIO()
    if form == "png":
        image.save(stream, "PNG")
        return stream.getvalue()
    modes = {"grey": "L", "cmyk": "CMYK"}
    image.convert(modes.get(form, "RGB")).save(stream, "JPEG", quality=quality)
    return gzip.compress(stream.getvalue(), mtime=0) if form == "gzip" else stream.getvalue()


def _write_tar(path: Path, members: Iterable[Member]) -> None:
    """Writes a tar whose headers say nothing of when and by whom."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        _add_members(archive, members)


def _pack(members: Iterable[Member]) -> bytes:
    """The same as `_write_tar`, in memory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        _add_members(archive, members)
    return stream.getvalue()


def _add_members(archive: tarfile.TarFile, members: Iterable[Member]) -> None:
    for name, content in members:
        header = tarfile.TarInfo(name)  # time 0, owner 0, no names of owners
        header.size = len(content)
        archive.addfile(header, io.BytesIO(content))


def _make_meta(dataset: str, num_train: int) -> bytes:
    """The devkit's meta.mat: struct array `synsets` and, for 2010, `cost_matrix`. Ids count from 1."""
    classes, rows = list_classes(dataset), list_devkit(dataset)
    ids = {synset.wnid: place + 1 for place, synset in enumerate(rows)}
    children = {wnid: [ids[row.wnid] for row in rows if row.parent == wnid] for wnid in ids}
    heights = {node.wnid: above + 1 for leaf in classes for above, node in enumerate(list_ancestors(leaf))}
    fields: dict[str, list[Any]] = {
        f"{dataset.upper()}_ID": [float(ids[row.wnid]) for row in rows],
        "WNID": [row.wnid for row in rows],
        "words": [row.words for row in rows],
        "gloss": [row.gloss for row in rows],
        "num_children": [float(len(children[row.wnid])) for row in rows],
        "children": [np.array([children[row.wnid]], dtype=np.float64) for row in rows],
        "wordnet_height": [float(heights.get(row.wnid, 0)) for row in rows],
        "num_train_images": [float(num_train if row in classes else 0) for row in rows],
    }
    synsets = np.empty((len(rows), 1), dtype=[(name, object) for name in fields])
    for name, column in fields.items():
        for place, value in enumerate(column):
            synsets[name][place, 0] = value
    content: dict[str, Any] = {"synsets": synsets}
    if dataset == "ilsvrc2010":
        costs = [[find_cost(a, b) for b in classes] for a in classes]
        content["cost_matrix"] = np.array(costs, dtype=np.uint8)
    return _write_mat(content)


def _write_mat(content: dict[str, Any]) -> bytes:
    """`content` as a MATLAB 5 file with a header that does not tell the time."""
    stream = io.BytesIO()
    savemat(stream, content)  # type: ignore[arg-type]  # the stubs know no open files
    text = b"MATLAB 5.0 MAT-file"
    return text.ljust(116) + stream.getvalue()[116:]
