"""A contest in the official layout, made of whatever image files it is given."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

ANCESTORS = {"n00001740": "entity", "n00001930": "physical entity"}


def write_contest_of(
    folder: Path,
    train: Mapping[str, Sequence[bytes]],
    val: Sequence[tuple[str, bytes]],
    test: Sequence[bytes],
    words: Mapping[str, str],
) -> dict[str, int]:
    """Writes the archives of ILSVRC-2012 (§1.2, §1.3 of the facts) into a folder; returns the devkit id of each wnid.

    train: images of each wnid, with numbers in their names that are neither consecutive nor of one width. val: (wnid,
    image) in order of the file names; in the tar they lie backwards, as their order there means nothing. Ids are drawn,
    so that they run with the sorted wnids no more than the official ones do.
    """
    folder.mkdir(parents=True)
    wnids = sorted(train)
    order = np.random.default_rng(2012).permutation(len(wnids))
    ids = {wnids[place]: number + 1 for number, place in enumerate(order)}
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as outer:
        for wnid in sorted(train, key=lambda wnid: ids[wnid]):
            names = {f"{wnid}_{7 * n * n + 3}.JPEG": content for n, content in enumerate(train[wnid])}
            _add(outer, f"{wnid}.tar", _tar(names))
    named = [(f"ILSVRC2012_val_{n + 1:08}.JPEG", content) for n, (_, content) in enumerate(val)]
    (folder / "ILSVRC2012_img_val.tar").write_bytes(_tar(dict(reversed(named))))
    with tarfile.open(folder / "ILSVRC2012_img_test.tar", "w") as archive:
        for n, content in enumerate(test):
            _add(archive, f"test/ILSVRC2012_test_{n + 1:08}.JPEG", content)
    with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        truth = "".join(f"{ids[wnid]}\n" for wnid, _ in val)
        _add(archive, "ILSVRC2012_devkit_t12/data/meta.mat", _meta(train, words, ids))
        _add(archive, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth.encode())
    return ids


def _meta(train: Mapping[str, Sequence[bytes]], words: Mapping[str, str], ids: Mapping[str, int]) -> bytes:
    """meta.mat: the classes by their ids, then the root and another ancestor."""
    rows = [
        (ids[wnid], wnid, words[wnid], 0, [], len(train[wnid]))
        for wnid in sorted(ids, key=lambda wnid: ids[wnid])
    ]
    last = len(ids) + 2
    rows.append((last - 1, "n00001740", ANCESTORS["n00001740"], 1, [last], 0))
    rows.append((last, "n00001930", ANCESTORS["n00001930"], len(ids), list(range(1, len(ids) + 1)), 0))
    fields = [
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    ]
    synsets = np.empty((len(rows), 1), [(name, object) for name in fields])
    for place, (number, wnid, text, num_children, children, num_train) in enumerate(rows):
        values: Iterable[Any] = (
            float(number), wnid, text, f"what {text} is", float(num_children), np.array([children], np.float64),
            float(bool(num_children)), float(num_train),
        )  # fmt: skip
        for name, value in zip(fields, values, strict=True):
            synsets[name][place, 0] = value
    stream: Any = io.BytesIO()
    savemat(stream, {"synsets": synsets})
    content: bytes = stream.getvalue()
    return content


def _tar(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            _add(archive, name, content)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))
