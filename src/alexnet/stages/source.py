"""Finds a data set's images: archives checked and indexed where they lie, or generated first (§2)."""

from __future__ import annotations

from pathlib import Path

from alexnet.data.access import explain_access
from alexnet.data.checksums import check_files
from alexnet.data.generated import GeneratedSource, generate
from alexnet.data.inventory import SPLITS, Inventory, SplitCount, join_places, write_inventory
from alexnet.data.sources import DatasetParams, Made, find_files, list_images, optional_files
from alexnet.data.whole import whole_folder
from alexnet.errors import UserError

ARCHIVES = "archives"


def run(dataset: str, params: DatasetParams, output: Path) -> None:
    """Writes the inventory and the index of a data set into the folder `output`, whole.

    Images are not copied, but for CIFAR-10's: the index says in which archive, and where in it, each lies. Raises
    UserError if a file is missing, damaged, not the one expected or cannot be read or written; `output` is then as it
    was.
    """
    with explain_access(str(output)), whole_folder(output) as folder:
        _fill(dataset, params, output, folder)


def _fill(dataset: str, params: DatasetParams, output: Path, folder: Path) -> None:
    """Writes into `folder` what is to become `output`."""
    source, made = params.source, Made(folder / ARCHIVES, output / ARCHIVES)
    expected: dict[str, str] = {}
    if isinstance(source, GeneratedSource):
        made.folder.mkdir()
        generate(dataset, source, made.folder)
    else:
        expected = source.md5
    files, path = find_files(dataset, params, made.folder)
    _refuse_unknown(dataset, expected, [file.name for file in files], optional_files(params))
    recorded = made.recorded if isinstance(source, GeneratedSource) else path
    listing = list_images(dataset, params, path, recorded, made)  # damage shows before hours of md5
    warn = not isinstance(source, GeneratedSource)
    checked = check_files(dataset, files, expected, str(source.path), warn=warn)
    splits = {split: join_places(listing.places[split], split, str(recorded)) for split in SPLITS}
    if not len(splits["train"]):
        raise UserError(str(recorded), "holds no training image", fix="Check that this is the right archive.")
    counts = {split: SplitCount(len(splits[split]), listing.reasons[split]) for split in SPLITS}
    write_inventory(folder, Inventory(dataset, source.kind, checked, listing.synsets, counts), splits)


def _refuse_unknown(dataset: str, expected: dict[str, str], names: list[str], optional: set[str]) -> None:
    """Every file that has an expected md5 must be among those found, or the check would say nothing of it.

    optional: files that may be missing all the same, as a contest's test images often are.
    """
    missing = sorted(set(expected) - set(names) - optional)
    if missing:
        raise UserError(
            f"params.yaml: datasets, source.md5 of {dataset}", f"names {missing[0]}, which is not there",
            found=", ".join(names[:5]), expected=missing[0], fix="Put the file there, or remove its md5.",
        )  # fmt: skip
