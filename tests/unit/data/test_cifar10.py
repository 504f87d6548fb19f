from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.cifar10 import find_cifar10, list_cifar10, list_files
from alexnet.data.images import read_image
from alexnet.data.inventory import Listing, Place, as_places, join_places
from alexnet.errors import UserError
from tests.unit.data.made_archives import CIFAR_NAMES, cifar_image, cifar_members, gzipped_tar, tar

TOP = "cifar-10-batches-bin/"


def _write(folder: Path, members: dict[str, bytes], *, packed: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    if packed:
        (folder / "cifar-10-binary.tar.gz").write_bytes(gzipped_tar(members))
        return folder / "cifar-10-binary.tar.gz"
    (folder / TOP).mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    return folder / TOP


def _list(path: Path, folder: Path) -> Listing:
    folder.mkdir(exist_ok=True)
    return list_cifar10(find_cifar10(path, path), folder, folder)


def _places(listing: Listing, split: str) -> list[Place]:
    return as_places(join_places(listing.places[split], split, ""))


@pytest.mark.parametrize("packed", [True, False])
def test_records_become_images_with_sorted_labels(tmp_path: Path, packed: bool) -> None:
    listing = _list(_write(tmp_path / "in", cifar_members(), packed=packed), tmp_path / "made")
    assert [synset.wnid for synset in listing.synsets] == sorted(CIFAR_NAMES)
    train, test = _places(listing, "train"), _places(listing, "test")
    assert len(train) == 15 and len(test) == 3
    for places, split, first in ((train, "train", 0), (test, "test", 1000)):
        for place in places:
            name, _, rest = place.key.partition("/")
            number = int(rest.removeprefix(f"{split}_"))
            assert rest == f"{split}_{number:05}" and name == CIFAR_NAMES[number % 10]
            assert place.label == sorted(CIFAR_NAMES).index(name)
            with Image.open(io.BytesIO(read_image(place)), formats=["PPM"]) as image:
                np.testing.assert_array_equal(np.asarray(image), cifar_image(first + number))
    assert listing.reasons == {"train": None, "val": "CIFAR-10 has no val images", "test": None}
    assert listing.places["val"] == []


def test_unpacked_archive_gives_the_same_file(tmp_path: Path) -> None:
    for name, packed in (("packed", True), ("unpacked", False)):
        _list(_write(tmp_path / f"in {name}", cifar_members(), packed=packed), tmp_path / name)
    first, second = ((tmp_path / name / "cifar-10.ppm").read_bytes() for name in ("packed", "unpacked"))
    assert first == second and len(first) == 18 * (13 + 3072)


def test_archive_is_found_in_its_folder_and_before_what_was_unpacked_from_it(tmp_path: Path) -> None:
    _write(tmp_path, cifar_members(), packed=False)
    unpacked = find_cifar10(tmp_path, Path("inputs/cifar"))
    assert unpacked.recorded == "inputs/cifar/cifar-10-batches-bin"
    assert {file.name for file in list_files(unpacked)} == {
        name.removeprefix(TOP) for name in cifar_members() if not name.endswith(".html")
    }
    _write(tmp_path, cifar_members())
    assert [file.name for file in list_files(find_cifar10(tmp_path, tmp_path))] == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_batch_4.bin": None}, "holds no data_batch_4.bin"),
        ({"batches.meta.txt": None}, "holds no batches.meta.txt"),
        ({"data_batch_6.bin": b""}, "data_batch_6.bin: is no batch of CIFAR-10"),
        ({"test_batch.bin": b"\0" * 3072}, "not of whole records, found 3,072 bytes, expected a multiple of 3,073"),
        ({"test_batch.bin": b""}, "not of whole records, found 0 bytes"),
        ({"data_batch_2.bin": b"\0" * 3073 * 1500 + b"\x0a" * 3073}, "data_batch_2.bin, record 1,501: .* found 10"),
        ({"batches.meta.txt": b"a\nb\n"}, "does not name the classes, found 2 names, expected 10"),
        ({"batches.meta.txt": b"a\n" * 10}, "does not name the classes, found 1 names"),
        ({"batches.meta.txt": b"a\nb\nc\nd\ne\nf\ng\nh\ni\n../j\n"}, "lies outside"),
        ({"batches.meta.txt": b"a\nb\nc\nd\ne\nf\ng\nh\ni\n\xff\n"}, "is no UTF-8"),
        ({"more/data_batch_1.bin": b"\0" * 3073}, "data_batch_1.bin: is there twice"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    members = {**cifar_members(), **{TOP + name: content for name, content in change.items()}}
    path = _write(
        tmp_path / "in", {name: content for name, content in members.items() if content is not None}
    )
    with pytest.raises(UserError, match=message):
        _list(path, tmp_path / "made")


@pytest.mark.parametrize("cut", [10_000, 20_000, 30_000])
def test_archive_that_ends_within_a_batch_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cifar.tar"
    path.write_bytes(tar(cifar_members())[:-cut])
    with pytest.raises(UserError, match="cut short"):
        _list(path, tmp_path / "made")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="cut short"):
        _list(path, tmp_path / "made")


def test_archive_cut_short_and_folder_without_a_batch_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, cifar_members())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged or cut short"):
        _list(path, tmp_path / "made")
    path.unlink()
    with pytest.raises(UserError, match="missing archive, found none of them"):
        find_cifar10(tmp_path, tmp_path)
    (_write(tmp_path, cifar_members(), packed=False) / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match="holds no data_batch_3.bin"):
        list_files(find_cifar10(tmp_path, tmp_path))
