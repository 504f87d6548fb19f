"""The data sets of the report page: what was prepared of each, and what its audit found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.data.inventory import SPLITS
from alexnet.data.shards import Manifest
from alexnet.report import wording
from alexnet.report.page_grid import Grid

SOURCES = {
    "ilsvrc": "the contest's official archives",
    "fall": "a release of ImageNet, an archive for each synset",
    "tiny-imagenet": "Tiny ImageNet's zip",
    "folder": "a folder for each class",
    "cifar10": "CIFAR-10's binary archive",
    "generated": "drawn by a program of this project",
}
GENERATED = "generated"
LISTED = 20  # images by name; the manifest and the audit have all


@dataclass(frozen=True)
class DataSet:
    """A data set of params.yaml. kind: of its source. manifest: of what was prepared, None if nothing was."""

    name: str
    kind: str
    manifest: Manifest | None


@dataclass(frozen=True)
class Listing:
    """Names under a heading, as many as LISTED. total: how many there are."""

    title: str
    total: int
    entries: list[str]


@dataclass(frozen=True)
class Audit:
    """What an audit found, in words."""

    dataset: str
    attention: list[str]
    grids: list[Grid]
    notes: list[str]
    refused: Listing | None


def describe_source(dataset: DataSet) -> str:
    """Where the images come from."""
    return SOURCES.get(dataset.kind, f"a source of kind {dataset.kind}")


def describe_sets(datasets: Sequence[DataSet]) -> str:
    """Where the images come from and how many there are, data sets of one source and size together."""
    sources: dict[str, dict[str, list[str]]] = {}
    for dataset in datasets:
        manifest = dataset.manifest
        side = f", {manifest.resize} × {manifest.resize} pixels" if manifest else ""
        counts = _count_images(manifest) if manifest else "not prepared"
        own = sources.setdefault(f"{describe_source(dataset)}{side}", {})
        own.setdefault(counts, []).append(dataset.name)
    parts = []
    for source, sets in sources.items():
        listed = "; ".join(f"{wording.listing(names)}: {counts}" for counts, names in sets.items())
        parts.append(f"{source} ({listed})")
    return "; ".join(parts)


def _count_images(manifest: Manifest) -> str:
    counts = [f"{counts.count:,} {split}" for split, counts in _splits(manifest) if counts.count]
    return f"{', '.join(counts)}, {wording.count(manifest.num_classes, 'class')}"


def tabulate_prepared(datasets: Sequence[DataSet]) -> Grid:
    """What prepared data holds and what was left out of it, a row for each split."""
    head = (
        "data set", "split", "images", "shards", "do not decode", "held out of it", "note",
    )  # fmt: skip
    rows = [
        [
            dataset.name, split, f"{counts.count:,}", f"{len(counts.shards):,}", f"{len(counts.broken):,}",
            f"{len(counts.held_out):,}", counts.reason or "",
        ]
        for dataset in datasets if dataset.manifest
        for split, counts in _splits(dataset.manifest)
    ]  # fmt: skip
    notes = list(_notes(datasets))
    if any(row[5] != "0" for row in rows):
        notes.insert(0, "Held out: an image of the contests' val or test splits has the same pixels.")
    return Grid("Prepared images", head, rows, frozenset({2, 3, 4, 5}), notes)


def list_missing(datasets: Sequence[DataSet]) -> list[Listing]:
    """Images that prepared data lacks, by name and with the reason."""
    found = []
    for dataset in datasets:
        for split, counts in _splits(dataset.manifest) if dataset.manifest else ():
            for what, images, word in (
                ("do not decode", counts.broken, "reason"), ("were held out", counts.held_out, "of"),
            ):  # fmt: skip
                if images:
                    items = [f"{image['key']}: {image[word]}" for image in images[:LISTED]]
                    found.append(Listing(f"{dataset.name} {split}: images that {what}", len(images), items))
    return found


def read_audit(summary: Mapping[str, Any]) -> Audit:
    """summary: audit.json. Raises KeyError, TypeError, AttributeError or ValueError if it is none."""
    same, classes = summary["same_pixels"], summary["classes"]
    grids = [_tabulate_splits(summary), _tabulate_kinds(summary), _tabulate_same(same)]
    refused = summary["unreadable"]
    total = sum(counts["unreadable"] for counts in summary["splits"].values())
    items = [f"{image['split']} {image['key']}: {image['reason']}" for image in refused["first"][:LISTED]]
    compared = wording.listing(list(same["compared_with"]))
    notes = []
    if not same["found"]:
        notes.append("No two images have the same pixels.")
    notes.append(
        f"Pixels were compared with those of {compared}." if compared
        else "Pixels were compared within the data set alone, as no other was audited then."
    )  # fmt: skip
    if not classes["devkit_knows_train_counts"]:
        notes.append("There is no development kit to hold the counts of classes against.")
    elif not classes["differing_from_devkit"]:
        notes.append("Each class has as many training images as the development kit says.")
    return Audit(
        str(summary["dataset"]),
        [str(line) for line in summary["attention"]],
        [grid for grid in grids if grid.rows],
        notes,
        Listing("Images that do not decode", total, items) if total else None,
    )


def say_unaudited(datasets: Sequence[DataSet], audits: Sequence[Audit]) -> str:
    """Which data sets were not audited, and how they would be; empty if all were."""
    audited = {audit.dataset for audit in audits}
    missing = [dataset.name for dataset in datasets if dataset.name not in audited]
    if not missing:
        return ""
    command = f"`alexnet audit {missing[0]}` does it."
    if len(missing) == len(datasets):
        return f"None of the data sets was audited for odd, damaged or repeated images; {command}"
    return f"Not audited for odd, damaged or repeated images: {wording.listing(missing)}; {command}"


def _splits(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    return ((split, manifest.splits[split]) for split in SPLITS if split in manifest.splits)


def _notes(datasets: Sequence[DataSet]) -> Iterator[str]:
    """How images were prepared, once for all sets that agree; and what was not prepared."""
    ways: dict[str, list[str]] = {}
    for dataset in datasets:
        manifest = dataset.manifest
        if manifest is None:
            ways.setdefault("not prepared here", []).append(dataset.name)
            continue
        store = "raw pixels" if manifest.store == "raw" else f"JPEGs of quality {manifest.quality}"
        decoder = ", ".join(f"{name} {version}" for name, version in sorted(manifest.decoder.items()))
        way = (
            f"shorter side {manifest.resize} pixels ({manifest.interpolation}), central square, kept as {store}; "
            f"decoded by {decoder or 'what the manifest does not name'}"
        )
        ways.setdefault(way, []).append(dataset.name)
    for way, names in ways.items():
        yield f"{wording.listing(names)}: {way}."


def _tabulate_splits(summary: Mapping[str, Any]) -> Grid:
    names = {
        "images": "images", "labelled": "labelled", "unreadable": "do not decode", "odd": "odd",
        "grey_pixels": "grey throughout",
    }  # fmt: skip
    small = next(
        (name for name in next(iter(summary["splits"].values())) if name.startswith("shorter_side_below_")),
        None,
    )
    if small:
        names[small] = f"shorter side below {small.rpartition('_')[2]} px"
    rows = [
        [split, *(f"{counts[name]:,}" for name in names), counts["reason"] or ""]
        for split, counts in summary["splits"].items()
    ]
    return Grid(
        f"Audit of {summary['dataset']}: splits",
        ("split", *names.values(), "note"),
        rows,
        frozenset(range(1, 7)),
    )


def _tabulate_kinds(summary: Mapping[str, Any]) -> Grid:
    rows = [
        [kind.replace("_", " "), found["meaning"], *(f"{found[split]:,}" for split in SPLITS)]
        for kind, found in summary["kinds"].items()
    ]
    head = ("kind", "what becomes of it", *SPLITS)
    return Grid(f"Audit of {summary['dataset']}: odd kinds of files", head, rows, frozenset({2, 3, 4}))


def _tabulate_same(same: Mapping[str, Any]) -> Grid:
    rows = []
    for found in same["found"]:
        first, second = found["places"]
        where = f"{first} twice or more" if first == second else f"{first} and {second}"
        rows.append([where, *(f"{found[name]:,}" for name in ("pixels", "images", "labels_disagree"))])
    head = ("same pixels in", "pictures", "images", "labels disagree")
    return Grid("Images with the same pixels", head, rows, frozenset({1, 2, 3}))
