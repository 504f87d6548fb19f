"""What a source holds: its files, synsets and counts (inventory.json) and where each image lies (index.parquet)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alexnet.errors import UserError

SPLITS = ("train", "val", "test")

# Where an image lies. offset: its first byte in `file`, null if `member` of a zip. label: null if unknown.
PLACE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int32()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("member", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Synset:
    """A class. label: index in the data set's sorted wnids (also `sorted_index`); devkit_id counts from 1."""

    label: int
    wnid: str
    words: str
    devkit_id: int | None
    sorted_index: int


@dataclass(frozen=True)
class SourceFile:
    """An archive, or a folder of images, with the MD5 of its bytes and the one that was expected."""

    name: str
    bytes: int
    md5: str
    expected_md5: str | None


@dataclass(frozen=True)
class SplitCount:
    """How many images a split has; reason: why it is empty or unlabelled."""

    count: int
    reason: str | None


@dataclass(frozen=True)
class Inventory:
    """What a source holds."""

    dataset: str
    kind: str
    files: list[SourceFile]
    synsets: list[Synset]
    splits: dict[str, SplitCount]


@dataclass(frozen=True)
class Listing:
    """What the reader of one kind of source found. places: tables of PLACE_SCHEMA for each split."""

    synsets: list[Synset]
    places: dict[str, list[pa.Table]]
    reasons: dict[str, str | None]


@dataclass(frozen=True)
class Place:
    """Where one image lies."""

    key: str
    label: int | None
    file: str
    member: str | None
    offset: int | None
    size: int


def number_synsets(words: dict[str, str], devkit_ids: dict[str, int] | None = None) -> list[Synset]:
    """The synsets with their labels: the index in the sorted wnids, for every kind of source (§1.4).

    words: by wnid. devkit_ids: by wnid, where there is a development kit.
    """
    ids = devkit_ids or {}
    return [
        Synset(label, wnid, words[wnid], ids.get(wnid), label) for label, wnid in enumerate(sorted(words))
    ]


def make_places(
    file: str | Sequence[str],
    keys: Sequence[str],
    labels: int | Sequence[int | None] | None,
    sizes: Sequence[int],
    *,
    offsets: Sequence[int] | None = None,
    members: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of PLACE_SCHEMA; a single file or label holds for all images."""
    num = len(keys)
    each = [labels] * num if labels is None or isinstance(labels, int) else labels
    columns = [
        pa.array(keys, pa.string()),
        pa.array(each, pa.int32()),
        pa.array([file] * num if isinstance(file, str) else file, pa.string()).dictionary_encode(),
        pa.nulls(num, pa.string()) if members is None else pa.array(members, pa.string()),
        pa.nulls(num, pa.int64()) if offsets is None else pa.array(offsets, pa.int64()),
        pa.array(sizes, pa.int64()),
    ]
    return pa.table(columns, schema=PLACE_SCHEMA)


def join_places(tables: list[pa.Table], split: str, where: str) -> pa.Table:
    """The rows of a split, sorted by key. Raises UserError if two images have the same key."""
    table = pa.concat_tables([PLACE_SCHEMA.empty_table(), *tables]).unify_dictionaries().sort_by("key")
    keys = table["key"].combine_chunks()
    repeated = keys[1:].filter(pc.equal(keys[1:], keys[:-1]))
    if len(repeated):
        raise UserError(where, f"{split} image {repeated[0]} is there twice", fix="Remove one of the two.")
    return table


def write_inventory(folder: Path, inventory: Inventory, splits: dict[str, pa.Table]) -> None:
    """Writes inventory.json and index.parquet into `folder`; equal content gives equal bytes."""
    (folder / "inventory.json").write_text(json.dumps(asdict(inventory), indent=1, sort_keys=True) + "\n")
    schema = PLACE_SCHEMA.insert(0, pa.field("split", pa.string()))
    with pq.ParquetWriter(folder / "index.parquet", schema, compression="zstd") as writer:
        for split in SPLITS:
            rows = splits[split]
            writer.write_table(
                rows.add_column(0, schema.field("split"), pa.array([split] * len(rows), pa.string()))
            )


def load_inventory(folder: Path) -> Inventory:
    """What the stage `source` found. Raises UserError if it is missing or damaged."""
    path = folder / "inventory.json"
    try:
        about = json.loads(path.read_text())
        return Inventory(
            about["dataset"],
            about["kind"],
            [SourceFile(**file) for file in about["files"]],
            [Synset(**synset) for synset in about["synsets"]],
            {split: SplitCount(**count) for split, count in about["splits"].items()},
        )
    except FileNotFoundError as error:
        raise UserError(str(path), "is missing", fix="Run source for this data set first.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(str(path), "is no inventory", fix="Delete it and run source again.") from error


def load_places(folder: Path, split: str) -> pa.Table:
    """The rows (PLACE_SCHEMA) of a split in index.parquet, in order of their keys."""
    path = folder / "index.parquet"
    try:
        return pq.read_table(path, filters=[("split", "=", split)], columns=PLACE_SCHEMA.names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(str(path), "cannot be read", fix="Delete it and run source again.") from error


def count_bytes(folder: Path) -> int:
    """Bytes of all image files of a source."""
    return int(pc.sum(pq.read_table(folder / "index.parquet", columns=["size"])["size"]).as_py() or 0)


def as_places(rows: pa.Table) -> list[Place]:
    """The rows of PLACE_SCHEMA as objects."""
    return [Place(**row) for row in rows.to_pylist()]
