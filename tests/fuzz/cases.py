"""The kinds of case: something valid is made, damaged and read. What comes out is sound, or is refused.

A kind is a function of a generator and a `Room`; it returns how the case ended. `UserError` and `DecodeError` are what
users are to meet; anything else is a failure, and so is an archive that is accepted although a member would be dropped.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.data import cifar10, fall, folders, ilsvrc, shards, tiny_imagenet
from alexnet.data.decode import DecodeError, decode_rgb
from alexnet.data.devkit import label_by_name, read_ids, read_meta
from alexnet.data.images import read_image
from alexnet.data.inventory import (
    SPLITS,
    Inventory,
    Listing,
    SplitCount,
    Synset,
    as_places,
    join_places,
    load_inventory,
    load_places,
    make_places,
    number_synsets,
    write_inventory,
)
from alexnet.data.tars import scan_tar
from alexnet.errors import UserError
from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_tar, mutate_zip
from tests.fuzz.twins import count_zip, is_image, list_zip, walk_tar
from tests.unit.data import made_archives as made
from tests.unit.stages.made_data import make_data

VALID, REFUSED, UNDECODABLE = "valid", "refused", "undecodable"
HALF = fall.Fractions(0.0, 0.5, 1)


@dataclass(frozen=True)
class Room:
    """What cases share. folder: theirs to write in. photos: files of real photographs, if there are any."""

    folder: Path
    photos: list[bytes] = field(default_factory=list)

    def fresh(self, name: str) -> Path:
        """A folder of this name, empty."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def write(self, name: str, content: bytes) -> Path:
        """A file of this content."""
        (self.folder / name).write_bytes(content)
        return self.folder / name


Case = Callable[[np.random.Generator, Room], str]


def pick(rng: np.random.Generator, items: Any) -> Any:
    """One of the items."""
    items = list(items)
    return items[int(rng.integers(len(items)))]


def refused(read: Callable[[], object]) -> bool:
    """Whether reading ends in a UserError, of one line."""
    try:
        read()
    except UserError as error:
        check(len(str(error).splitlines()) == 1, f"the message is not one line: {str(error)!r}")
        return True
    return False


def check(holds: bool, what: str) -> None:
    """Raises AssertionError unless it holds."""
    if not holds:
        raise AssertionError(what)


def check_images(listing: Listing, known: set[str] | None = None) -> int:
    """Reads every image of a listing; returns how many there are. Images that are damaged in a zip may be."""
    num = 0
    for split in SPLITS:
        for place in as_places(join_places(listing.places[split], split, "x")):
            num += 1
            check(place.label is None or 0 <= place.label < len(listing.synsets), f"label {place.label}")
            try:
                check(len(read_image(place)) == place.size, f"{place.key} is not of its size")
            except DecodeError:
                check(place.member is not None, "an image of a tar has no checksum")
            check(known is None or place.member in known, f"{place.member} is not known")
    return num


@cache
def _tars() -> list[bytes]:
    """Tars of tars, and flat ones, in each format."""
    contents = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        inner = {
            f"n0000001{n}.tar": _pack({f"n0000001{n}_{i}.JPEG": bytes([i]) * 300 * i for i in range(3)}, form)
            for n in range(3)
        }
        long = {f"{'folder' * 12}/{'name' * 12}{n}-é.JPEG": b"\1" * 700 * n for n in range(3)}
        contents += [_pack(inner, form), _pack(long, form), _pack({**inner, **long}, form)]
    return contents


def _pack(members: dict[str, bytes], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            if form == tarfile.PAX_FORMAT:
                header.mtime = 0.5  # takes an attribute
            archive.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def tar(rng: np.random.Generator, room: Room) -> str:
    """scan_tar on a tar and the tars in it: nothing that a lenient reader sees is missing."""
    data = mutate_tar(pick(rng, _tars()), rng)
    path = room.write("x.tar", data)
    found: list[Any] = []
    if refused(lambda: found.extend(scan_tar(path))):
        return REFUSED
    check([(member.offset, member.size) for member in found] == walk_tar(data), "a member was dropped")
    for member in found:
        parts = member.name.split("/")
        check(parts[0] != "" and ".." not in parts, f"{member.name!r} leads out of the archive")
        check(not any(ord(character) < 32 for character in member.name), f"{member.name!r} is not one line")
    outcome = VALID
    for inner in found:
        members: list[Any] = []
        if not inner.name.endswith(".tar"):
            continue
        if refused(lambda inner=inner, members=members: members.extend(scan_tar(path, inner))):  # type: ignore[misc]
            outcome = REFUSED
            continue
        seen = [
            (inner.offset + at, size) for at, size in walk_tar(data[inner.offset : inner.offset + inner.size])
        ]
        check([(member.offset, member.size) for member in members] == seen, "an inner member was dropped")
    return outcome


@cache
def _contest(year: int) -> dict[str, bytes]:
    """The files of a made contest."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = made.write_contest(Path(name) / "x", year)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    if year == 2010:
        files["patch_images.tar"] = made.tar({"patch_images/train/n00000010_0.JPEG": made.jpeg(8)})
    return files


def contest(rng: np.random.Generator, room: Room) -> str:
    """list_ilsvrc on a contest of which one file is damaged, gone, or that of another year."""
    year = int(pick(rng, (2010, 2012)))
    files = dict(_contest(year))
    name = pick(rng, sorted(files))
    content = files[name]
    if rng.random() < 0.1:
        del files[name]
    elif name.endswith(".gz"):
        inside = gzip.decompress(content)
        damaged = mutate_tar(inside, rng) if rng.random() < 0.8 else None
        files[name] = mutate_bytes(content, rng) if damaged is None else gzip.compress(damaged, 1)
    else:
        files[name] = mutate_tar(content, rng) if name.endswith(".tar") else mutate_bytes(content, rng)
    folder = room.fresh("contest")
    for other, data in files.items():
        (folder / other).write_bytes(data)
    listing: list[Listing] = []

    def read() -> None:
        listing.append(ilsvrc.list_ilsvrc(ilsvrc.find_archives(folder, folder, year)))
        for split in SPLITS:
            join_places(listing[0].places[split], split, str(folder))

    if refused(read):
        return REFUSED
    num = check_images(listing[0])
    check(len(listing[0].places["train"]) == len(listing[0].synsets), "classes are not trained on")
    train, val, test = made.NAMES[year]
    inner = [files[train][at : at + size] for at, size in walk_tar(files[train])]
    expected = sum(len(walk_tar(data)) for data in inner) + len(walk_tar(files[val]))
    expected += len(walk_tar(files[test])) if test in files else 0
    check(num == expected, f"{num} images are listed, {expected} are there")
    return VALID


@cache
def _synset_tars() -> dict[str, bytes]:
    return {
        f"{wnid}.tar": made.tar({f"{wnid}_{n}.JPEG": made.jpeg(n) for n in range(4)}) for wnid in made.LABELS
    }


def release(rng: np.random.Generator, room: Room) -> str:
    """list_fall on loose tars, or on one tar of them, with words."""
    folder, files = room.fresh("release"), dict(_synset_tars())
    if rng.random() < 0.5:
        files = {"fall11_whole.tar": made.tar(files)}
    files["words.txt"] = b"n00000010\tten\nn00000020\ttwenty\n"
    name = pick(rng, files)
    files[name] = mutate_tar(files[name], rng)
    for other, data in files.items():
        (folder / other).write_bytes(data)
    listing: list[Listing] = []

    def read() -> None:
        listing.append(fall.list_fall(fall.find_fall(folder, folder), HALF))
        for split in SPLITS:
            join_places(listing[0].places[split], split, str(folder))

    if refused(read):
        return REFUSED
    num = check_images(listing[0])
    tars = [data for other, data in files.items() if other.endswith(".tar")]
    if "fall11_whole.tar" in files:
        tars = [tars[0][at : at + size] for at, size in walk_tar(tars[0])]
    check(num == sum(len(walk_tar(data)) for data in tars), "an image was dropped")
    return VALID


@cache
def _zip(kind: str) -> bytes:
    """A zip of class folders, or one laid out as Tiny ImageNet's; plain or deflated."""
    import zipfile

    members = made.tiny_members()
    if kind.startswith("class"):
        members = {
            f"top/{split}/{name}/{n}.jpg": made.jpeg(n)
            for split in ("train", "val")
            for name in ("ant", "bee")
            for n in range(3)
        }
        members["top/words.txt"] = b"ant\twith six legs\n"
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if kind.endswith("deflated") else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def zipped(rng: np.random.Generator, room: Room) -> str:
    """The readers of zips: a directory that is whole gives every member, one that is not is refused."""
    kind = pick(rng, ("class", "class deflated", "tiny", "tiny deflated"))
    whole = _zip(kind)
    start = whole.index(b"PK\1\2")
    kept = whole[:start] if rng.random() < 0.3 else b""  # the directory, which is small, would seldom be met
    data = kept + mutate_zip(whole[len(kept) :], rng)
    path = room.write("x.zip", data)
    listing: list[Listing] = []

    def read() -> None:
        if kind.startswith("class"):
            listing.append(folders.list_folders(folders.find_folders(path, path), None))
        else:
            zipped = tiny_imagenet.find_zip(path, path)
            listing.append(tiny_imagenet.list_tiny_imagenet(zipped, 1.0, None, 1))
        for split in SPLITS:
            join_places(listing[0].places[split], split, str(path))

    if refused(read):
        return REFUSED
    num_refused = 0
    num = sum(len(table) for tables in listing[0].places.values() for table in tables)
    for split in SPLITS:
        for place in as_places(join_places(listing[0].places[split], split, "x")):
            try:
                num_refused += refused(lambda place=place: read_image(place))  # type: ignore[misc]
            except DecodeError as error:
                check(len(error.reason.splitlines()) == 1, "the reason is not one line")
    check(num_refused == 0, "images of a zip that was just listed are refused")
    top = "top" if kind.startswith("class") else "tiny"
    expected = [name for name in list_zip(data) if is_image(name, top)]
    check(num == len(expected), f"{num} images are listed of {expected}")
    check(len(list_zip(data)) == count_zip(data), "the directory lacks a member")
    return VALID


@cache
def _cifar() -> bytes:
    return made.tar(made.cifar_members(2))


def cifar(rng: np.random.Generator, room: Room) -> str:
    """list_cifar10 on a damaged archive, or on one that was packed from a damaged tar."""
    whole = _cifar()
    inside = mutate_tar(whole, rng) if rng.random() < 0.8 else whole
    packed = gzip.compress(inside, 1) if rng.random() < 0.9 else inside
    path = room.write("cifar.tar.gz", mutate_bytes(packed, rng) if inside is whole else packed)
    folder, listing = room.fresh("cifar"), []
    if refused(
        lambda: listing.append(cifar10.list_cifar10(cifar10.find_cifar10(path, path), folder, folder))
    ):
        return REFUSED
    num = check_images(listing[0])
    batches = [size for _, size in walk_tar(inside) if size >= 3073]
    check(num * 3073 == sum(batches), f"{num} records are listed of {sum(batches):,} bytes")
    return VALID


@cache
def _metas() -> list[bytes]:
    rows = np.empty(
        (3, 1), [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "num_children", "children")]
    )
    for place in range(3):
        rows[place, 0] = (
            place + 1,
            f"n0000000{place}",
            "größer",
            float(place > 1) * 2,
            np.arange(place * 2.0),
        )
    variables = {"cost_matrix": np.zeros((3, 3), np.uint8), "synsets": rows}
    return [made.meta(2012), made.mat(variables), made.mat(variables, compressed=True)]


def meta(rng: np.random.Generator, room: Room) -> str:
    """read_meta on a damaged file, or on one whose variables were damaged before they were compressed."""
    data = pick(rng, _metas())
    if rng.random() < 0.5:
        data = mutate_bytes(data, rng)
    else:
        variable = mutate_bytes(made.meta(2012)[128:], rng)
        packed = zlib.compress(variable, 1)
        data = data[:128] + (15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed
    synsets: list[Synset] = []
    if refused(lambda: synsets.extend(read_meta(data, 2012, "meta.mat"))):
        return REFUSED
    check([synset.label for synset in synsets] == list(range(len(synsets))), "labels do not count")
    check({synset.devkit_id for synset in synsets} == set(range(1, len(synsets) + 1)), "ids do not count")
    check(synsets == sorted(synsets, key=lambda synset: synset.wnid) != [], "wnids are not sorted")
    json.dumps([synset.words for synset in synsets]).encode()
    return VALID


def truth(rng: np.random.Generator, room: Room) -> str:
    """read_ids and label_by_name on a damaged list of ids: as many as names, each of a class."""
    num = int(rng.integers(1, 30))
    ids = rng.integers(1, 8, num)
    data = "".join(f"{number}{pick(rng, (chr(10), chr(13) + chr(10)))}" for number in ids).encode()
    data = mutate_bytes(data, rng) if rng.random() < 0.9 else data
    names = [f"{place:03}" for place in rng.permutation(num)]
    synsets = number_synsets(
        {f"n{8 - number:08}": "" for number in range(1, 8)}, {f"n{8 - n:08}": n for n in range(1, 8)}
    )
    labels: dict[str, int] = {}
    if refused(lambda: labels.update(label_by_name(names, read_ids(data, "truth"), synsets, "truth"))):
        return REFUSED
    expected = [7 - int(line) for line in data.decode().split()]
    check([labels[name] for name in sorted(names)] == expected, "labels are not those of the lines")
    return VALID


def _encode(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@cache
def _drawn(form: str) -> list[bytes]:
    """Image files of a format, in its modes."""
    noise = np.random.default_rng(5).integers(0, 256, (7, 9, 3), np.uint8)
    image = Image.fromarray(noise).resize((45, 37))
    grey, cmyk, palette, thin = (
        image.convert("L"),
        image.convert("CMYK"),
        image.convert("P"),
        image.resize((1, 60)),
    )
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    if form == "jpeg":
        options: list[dict[str, Any]] = [
            {},
            {"progressive": True},
            {"subsampling": 0},
            {"restart_marker_blocks": 2},
            {"exif": exif},
        ]
        return [_encode(one, "JPEG", **option) for one in (image, grey, cmyk, thin) for option in options]
    if form == "png":
        modes = (image, grey, palette, deep, thin, image.convert("RGBA"), image.convert("1"))
        return [_encode(one, "PNG") for one in modes]
    if form == "gzip":
        return [gzip.compress(_encode(image, kind)) for kind in ("JPEG", "PNG")]
    return [_encode(image, kind) for kind in ("GIF", "BMP", "WEBP", "PPM")] + [_encode(palette, "BMP")]


def _decode(data: bytes) -> str:
    """decode_rgb gives pixels, or a reason that is the same each time."""
    reasons = []
    for _ in range(2):
        try:
            pixels = decode_rgb(data)
        except DecodeError as error:
            reasons.append(error.reason)
            continue
        check(
            pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0,
            "no image",
        )
        check(not reasons, "it decodes the second time")
        return VALID
    check(reasons[0] == reasons[1], f"the reasons differ: {reasons}")
    check(len(reasons[0].splitlines()) == 1, f"the reason is not one line: {reasons[0]!r}")
    return UNDECODABLE


def jpeg(rng: np.random.Generator, room: Room) -> str:
    """decode_rgb on a damaged JPEG."""
    return _decode(mutate_bytes(pick(rng, _drawn("jpeg")), rng, pick(rng, _drawn("jpeg"))))


def png(rng: np.random.Generator, room: Room) -> str:
    """decode_rgb on a damaged PNG; in half of them the checksums of the parts are right again."""
    data = mutate_bytes(pick(rng, _drawn("png")), rng)
    return _decode(_mend_png(data) if rng.random() < 0.5 else data)


def _mend_png(data: bytes) -> bytes:
    """A PNG with the checksum of each part as it should be."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        size = int.from_bytes(mended[at : at + 4], "big")
        end = at + 8 + size
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


def gzipped(rng: np.random.Generator, room: Room) -> str:
    """decode_rgb on a damaged gzip, or a gzip of a damaged image."""
    data = pick(rng, _drawn("gzip"))
    if rng.random() < 0.5:
        return _decode(mutate_bytes(data, rng))
    return _decode(gzip.compress(mutate_bytes(gzip.decompress(data), rng), 1))


def other_image(rng: np.random.Generator, room: Room) -> str:
    """decode_rgb on a damaged GIF, BMP, WebP or PPM."""
    return _decode(mutate_bytes(pick(rng, _drawn("other")), rng))


def photo(rng: np.random.Generator, room: Room) -> str:
    """decode_rgb on a damaged photograph."""
    return _decode(mutate_bytes(pick(rng, room.photos), rng, pick(rng, room.photos)))


@cache
def _prepared(store: str) -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = make_data(Path(name) / "x", train=20, val=5, test=3, quality=80 if store == "jpeg" else None)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def manifest(rng: np.random.Generator, room: Room) -> str:
    """load_manifest, open_split and reading on a prepared data set of which one file is damaged."""
    files = dict(_prepared(pick(rng, ("raw", "jpeg"))))
    name = "manifest.json" if rng.random() < 0.6 else pick(rng, sorted(files))
    if name == "manifest.json" and rng.random() < 0.7:
        files[name] = json.dumps(mutate_json(json.loads(files[name]), rng)).encode()
    else:
        files[name] = mutate_bytes(files[name], rng)
    folder = room.fresh("prepared")
    for other, data in files.items():
        (folder / other).write_bytes(data)

    def read() -> None:
        about = shards.load_manifest(folder)
        for split in SPLITS:
            opened = shards.open_split(folder, split)
            check(len(opened) == about.splits[split].count == len(opened.keys), "numbers of images differ")
            images = opened.read(np.arange(len(opened)))
            check(images.shape == (len(opened), about.resize, about.resize, 3), f"images {images.shape}")

    return REFUSED if refused(read) else VALID


@cache
def _indexed() -> tuple[bytes, dict[str, bytes]]:
    """A tar of images, and the inventory and index of it; its path is x.tar."""
    import tempfile

    names = [f"{n}.JPEG" for n in range(6)]
    content = made.tar({name: made.jpeg(n) for n, name in enumerate(names)})
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.tar"
        path.write_bytes(content)
        members = list(scan_tar(path))
        rows = make_places(
            "x.tar",
            names,
            0,
            [member.size for member in members],
            offsets=[member.offset for member in members],
        )
        tables = {"train": rows.slice(0, 3), "val": rows.slice(3, 1), "test": rows.slice(4)}
        counts = {split: SplitCount(len(table), None) for split, table in tables.items()}
        write_inventory(
            Path(name), Inventory("x", "fall", [], number_synsets({"n00000001": "one"}), counts), tables
        )
        return content, {
            file: (Path(name) / file).read_bytes() for file in ("inventory.json", "index.parquet")
        }


def inventory(rng: np.random.Generator, room: Room) -> str:
    """load_inventory, load_places and read_image on an inventory, index or archive that is damaged."""
    content, files = _indexed()[0], dict(_indexed()[1])
    match int(rng.integers(0, 4)):
        case 0:
            files["inventory.json"] = json.dumps(
                mutate_json(json.loads(files["inventory.json"]), rng)
            ).encode()
        case 1:
            files["inventory.json"] = mutate_bytes(files["inventory.json"], rng)
        case 2:
            files["index.parquet"] = mutate_bytes(files["index.parquet"], rng)
        case _:
            content = mutate_bytes(content, rng)
    folder = room.fresh("indexed")
    for name, data in {"x.tar": content, **files}.items():
        (folder / name).write_bytes(data)

    def read() -> None:
        about = load_inventory(folder)
        for split in SPLITS:
            places = as_places(load_places(folder, split))
            check(len(places) == about.splits[split].count, "numbers of images differ")
            for place in places:
                here = type(place)(**{**place.__dict__, "file": str(folder / place.file)})
                check(len(read_image(here)) == place.size, "an image is not of its size")

    return REFUSED if refused(read) else VALID


# How often each kind comes, in a round of all.
KINDS: dict[str, tuple[Case, int]] = {
    "tar": (tar, 3), "contest": (contest, 3), "release": (release, 2), "zip": (zipped, 3), "cifar": (cifar, 1),
    "meta": (meta, 2), "truth": (truth, 1), "jpeg": (jpeg, 4), "png": (png, 2), "gzip": (gzipped, 1),
    "other": (other_image, 2), "photo": (photo, 4), "manifest": (manifest, 2), "inventory": (inventory, 2),
}  # fmt: skip


def schedule(with_photos: bool) -> list[str]:
    """The kinds of a round, each as often as it comes, mixed."""
    rounds = [(place / often, kind) for kind, (_, often) in KINDS.items() for place in range(often)]
    return [kind for _, kind in sorted(rounds) if with_photos or kind != "photo"]
