"""What a source holds: its files, synsets and counts (inventory.json) and where each image lies (index.parquet)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from pydantic import TypeAdapter

from alexnet.data.access import explain
from alexnet.errors import UserError

SPLITS = ("train", "val", "test")
CHUNK = 1 << 22
SOURCE_AGAIN = "Delete it and run source again."

# Where an image lies. offset: its first byte in `file`, or that of its header if it is a `member` of a zip. label: null
# if unknown.
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
    """A class. label: index in the data set's sorted wnids (also `sorted_index`); devkit_id counts from 1.

    train_images: how many training images the development kit says it has, None where there is no kit.
    """

    label: int
    wnid: str
    words: str
    devkit_id: int | None
    sorted_index: int
    train_images: int | None = None


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
    """What a source holds. index_xxh3_128: hash of index.parquet, filled in as it is written."""

    dataset: str
    kind: str
    files: list[SourceFile]
    synsets: list[Synset]
    splits: dict[str, SplitCount]
    index_xxh3_128: str = ""


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


def number_synsets(
    words: Mapping[str, str],
    devkit_ids: Mapping[str, int] | None = None,
    train_images: Mapping[str, int | None] | None = None,
) -> list[Synset]:
    """The synsets with their labels: the index in the sorted wnids, for every kind of source (§1.4).

    words: by wnid. devkit_ids, train_images: by wnid, where there is a development kit.
    """
    ids, nums = devkit_ids or {}, train_images or {}
    return [
        Synset(label, wnid, words[wnid], ids.get(wnid), label, nums.get(wnid))
        for label, wnid in enumerate(sorted(words))
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


def set_label(table: pa.Table, label: int) -> pa.Table:
    """The rows of one class, with its label."""
    place = PLACE_SCHEMA.get_field_index("label")
    return table.set_column(place, PLACE_SCHEMA.field(place), pa.array([label] * len(table), pa.int32()))


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
    schema = PLACE_SCHEMA.insert(0, pa.field("split", pa.string()))
    index = folder / "index.parquet"
    with pq.ParquetWriter(index, schema, compression="zstd") as writer:
        for split in SPLITS:
            rows = splits[split]
            writer.write_table(
                rows.add_column(0, schema.field("split"), pa.array([split] * len(rows), pa.string()))
            )
    about = asdict(replace(inventory, index_xxh3_128=_hash_file(index)))
    (folder / "inventory.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = xxhash.xxh3_128()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@cache
def _inventory_type() -> TypeAdapter[Inventory]:
    """Checks the types of all that inventory.json holds."""
    return TypeAdapter(Inventory)


def load_inventory(folder: Path) -> Inventory:
    """What the stage `source` found. Raises UserError if it is missing or damaged."""
    path = folder / "inventory.json"
    try:
        inventory = _inventory_type().validate_json(path.read_bytes(), strict=True)
        labels = [synset.label for synset in inventory.synsets]
        if set(inventory.splits) != set(SPLITS) or labels != list(range(len(labels))):
            raise ValueError("splits or labels are not those of a source")
        return inventory
    except FileNotFoundError as error:
        raise UserError(str(path), "is missing", fix="Run source for this data set first.") from error
    except OSError as error:
        raise explain(error, str(path)) from error
    except ValueError as error:
        raise UserError(str(path), "is no inventory", fix=SOURCE_AGAIN) from error


def load_places(folder: Path, split: str) -> pa.Table:
    """The rows (PLACE_SCHEMA) of a split in index.parquet, in order of their keys.

    Raises UserError if the index is missing, damaged or not the one that the inventory speaks of.
    """
    path, inventory = folder / "index.parquet", load_inventory(folder)
    try:  # the hash first: a single wrong bit can send the reader of such files in circles
        if _hash_file(path) != inventory.index_xxh3_128:
            raise ValueError("its bytes are not those that were written")
        table = pq.read_table(path, filters=[("split", "=", split)], columns=PLACE_SCHEMA.names)
        table = table.cast(PLACE_SCHEMA)
    except FileNotFoundError as error:
        raise UserError(str(path), "is missing", fix="Run source for this data set first.") from error
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(str(path), f"cannot be read ({error})", fix=SOURCE_AGAIN) from error
    expected = inventory.splits[split].count
    if len(table) != expected:
        what = f"does not hold the {split} images of inventory.json"
        raise UserError(
            str(path), what, found=f"{len(table):,} rows", expected=f"{expected:,}", fix=SOURCE_AGAIN
        )
    return table


def as_places(rows: pa.Table) -> list[Place]:
    """The rows of PLACE_SCHEMA as objects."""
    return [Place(**row) for row in rows.to_pylist()]
