"""The kinds of source a data set can have: their parameters, and the reader of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from alexnet.data import cifar10, fall, folders, ilsvrc, tiny_imagenet
from alexnet.data.access import explain_access
from alexnet.data.checksums import FileToCheck
from alexnet.data.generated import GeneratedSource
from alexnet.data.inventory import Listing
from alexnet.schema import Params

BRINGS_SPLIT = {"tiny-imagenet": "Tiny ImageNet's zip", "cifar10": "CIFAR-10"}

Md5 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
Part = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class ArchivedSource(Params):
    """Files that lie at `path` and are read there; md5: what each should sum to, by name."""

    path: str
    md5: dict[str, Md5]


class IlsvrcSource(ArchivedSource):
    """The official archives of a contest."""

    kind: Literal["ilsvrc"]
    year: Literal[2010, 2012]


class FallSource(ArchivedSource):
    """A release: one tar per synset, or one tar of them."""

    kind: Literal["fall"]


class ClassChoice(Params):
    """Which of the zip's classes: a part of them, at most so many (null: no bound), in a seeded order."""

    fraction: Annotated[float, Field(gt=0, le=1)]
    at_most: Annotated[int, Field(gt=0)] | None
    seed: Seed


class TinyImagenetSource(ArchivedSource):
    """Tiny ImageNet's zip."""

    kind: Literal["tiny-imagenet"]
    classes: ClassChoice


class FolderSource(ArchivedSource):
    """A folder per class, perhaps within train, val and test, on the disk or in a zip."""

    kind: Literal["folder"]


class Cifar10Source(ArchivedSource):
    """CIFAR-10's binary archive, or what it holds."""

    kind: Literal["cifar10"]


IlsvrcKind = Annotated[
    GeneratedSource | IlsvrcSource | TinyImagenetSource | FolderSource | Cifar10Source,
    Field(discriminator="kind"),
]
FallKind = Annotated[
    GeneratedSource | FallSource | TinyImagenetSource | FolderSource | Cifar10Source,
    Field(discriminator="kind"),
]


class Fractions(Params):
    """A declared split: these parts of each class go to val and test, the rest to train."""

    val: Part
    test: Part
    seed: Seed

    @model_validator(mode="after")
    def _check_rest(self) -> Fractions:
        if self.val + self.test >= 1:
            raise ValueError("val and test together must be below 1, to leave something to train")
        return self


def _tag_split(value: Any) -> str:
    return "as_archived" if isinstance(value, str) else "fractions"


# Told apart before they are read, so that a mistyped key gives one message and not one for each.
Split = Annotated[
    Annotated[Literal["as_archived"], Tag("as_archived")] | Annotated[Fractions, Tag("fractions")],
    Discriminator(_tag_split),
]


class IlsvrcDataset(Params):
    """A data set with splits of its own."""

    source: IlsvrcKind


class FallDataset(Params):
    """A data set whose split is declared, or `as_archived` where the source brings one."""

    source: FallKind
    split: Split

    @model_validator(mode="after")
    def _check_split(self) -> FallDataset:
        archived = self.split == "as_archived"
        if self.source.kind in BRINGS_SPLIT and not archived:
            raise ValueError(f"split must be as_archived, as {BRINGS_SPLIT[self.source.kind]} brings its own")
        if self.source.kind in ("fall", "generated") and archived:
            raise ValueError("split must be {val, test, seed}, as a Fall release brings none")
        return self


DatasetParams = IlsvrcDataset | FallDataset


@dataclass(frozen=True)
class Made:
    """The folder that a source's own files go into, generated archives or rewritten images.

    recorded: its path as the index shall have it.
    """

    folder: Path
    recorded: Path


def find_files(dataset: str, params: DatasetParams, archives: Path | None) -> tuple[list[FileToCheck], Path]:
    """The files of a source, and the folder or file they lie in; archives: where generated ones are.

    Raises UserError if one is missing or cannot be read.
    """
    path = Path(params.source.path)
    if isinstance(params.source, GeneratedSource):
        assert archives is not None
        path = archives
    with explain_access(str(path)):
        match _reader_of(params):
            case "ilsvrc":
                return ilsvrc.list_files(ilsvrc.find_archives(path, path, _year(dataset, params))), path
            case "fall":
                return fall.list_files(fall.find_fall(path, path)), path
            case "tiny-imagenet":
                return tiny_imagenet.list_files(tiny_imagenet.find_zip(path, path)), path
            case "cifar10":
                return cifar10.list_files(cifar10.find_cifar10(path, path)), path
            case _:
                return folders.list_files(folders.find_folders(path, path)), path


def list_images(dataset: str, params: DatasetParams, path: Path, recorded: Path, made: Made) -> Listing:
    """Every image of the source at `path`, which the index is to call `recorded`.

    Images that cannot be read where they lie are first written into `made`. Raises UserError if the source is odd.
    """
    split = _declared_split(params)
    match _reader_of(params):
        case "ilsvrc":
            return ilsvrc.list_ilsvrc(ilsvrc.find_archives(path, recorded, _year(dataset, params)))
        case "fall":
            assert split is not None  # FallDataset has made sure of it
            return fall.list_fall(fall.find_fall(path, recorded), split)
        case "tiny-imagenet":
            assert isinstance(params.source, TinyImagenetSource)
            choice = params.source.classes
            zipped = tiny_imagenet.find_zip(path, recorded)
            return tiny_imagenet.list_tiny_imagenet(zipped, choice.fraction, choice.at_most, choice.seed)
        case "cifar10":
            made.folder.mkdir(exist_ok=True)
            return cifar10.list_cifar10(cifar10.find_cifar10(path, recorded), made.folder, made.recorded)
        case _:
            return folders.list_folders(folders.find_folders(path, recorded), split)


def optional_files(params: DatasetParams) -> set[str]:
    """Files that need not be there even if params.yaml has their md5."""
    return (
        set(ilsvrc.NAMES[params.source.year].optional()) if isinstance(params.source, IlsvrcSource) else set()
    )


def _reader_of(params: DatasetParams) -> str:
    """Which reader: a generated source is laid out as the archives of the data set it stands for."""
    if isinstance(params.source, GeneratedSource):
        return "fall" if isinstance(params, FallDataset) else "ilsvrc"
    return params.source.kind


def _year(dataset: str, params: DatasetParams) -> int:
    """The contest's year, that its archives are named for."""
    return (
        params.source.year if isinstance(params.source, IlsvrcSource) else int(dataset.removeprefix("ilsvrc"))
    )


def _declared_split(params: DatasetParams) -> fall.Fractions | None:
    if isinstance(params, IlsvrcDataset) or params.split == "as_archived":
        return None
    return fall.Fractions(params.split.val, params.split.test, params.split.seed)
