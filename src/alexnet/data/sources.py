"""The kinds of source a data set can have: their parameters, and the reader of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from alexnet.data import fall, folders, ilsvrc, tiny_imagenet
from alexnet.data.checksums import FileToCheck
from alexnet.data.generated import GeneratedSource
from alexnet.data.inventory import Listing
from alexnet.schema import Params

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
    """A folder per class, perhaps within train, val and test."""

    kind: Literal["folder"]


IlsvrcKind = Annotated[
    GeneratedSource | IlsvrcSource | TinyImagenetSource | FolderSource, Field(discriminator="kind")
]
FallKind = Annotated[
    GeneratedSource | FallSource | TinyImagenetSource | FolderSource, Field(discriminator="kind")
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
        if self.source.kind == "tiny-imagenet" and not archived:
            raise ValueError("split must be as_archived, as Tiny ImageNet's zip brings its own")
        if self.source.kind in ("fall", "generated") and archived:
            raise ValueError("split must be {val, test, seed}, as a Fall release brings none")
        return self


DatasetParams = IlsvrcDataset | FallDataset


def find_files(dataset: str, params: DatasetParams, archives: Path | None) -> tuple[list[FileToCheck], Path]:
    """The files of a source, and the folder or file they lie in; archives: where generated ones are.

    Raises UserError if one is missing.
    """
    source, path = params.source, Path(params.source.path)
    if isinstance(source, GeneratedSource):
        assert archives is not None
        path = archives
    reader = _reader_of(params)
    if reader == "ilsvrc":
        return ilsvrc.list_files(ilsvrc.find_archives(path, path, _year(dataset, params))), path
    if reader == "fall":
        return fall.list_files(fall.find_fall(path, path)), path
    if reader == "tiny-imagenet":
        return tiny_imagenet.list_files(tiny_imagenet.find_zip(path, path)), path
    return folders.list_files(folders.find_folders(path, path)), path


def list_images(dataset: str, params: DatasetParams, path: Path, recorded: Path) -> Listing:
    """Every image of the source at `path`, which the index is to call `recorded`. Raises UserError if it is odd."""
    reader = _reader_of(params)
    split = _declared_split(params)
    if reader == "ilsvrc":
        return ilsvrc.list_ilsvrc(ilsvrc.find_archives(path, recorded, _year(dataset, params)))
    if reader == "fall":
        assert split is not None  # FallDataset has made sure of it
        return fall.list_fall(fall.find_fall(path, recorded), split)
    if reader == "tiny-imagenet":
        assert isinstance(params.source, TinyImagenetSource)
        choice = params.source.classes
        zipped = tiny_imagenet.find_zip(path, recorded)
        return tiny_imagenet.list_tiny_imagenet(zipped, choice.fraction, choice.at_most, choice.seed)
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
