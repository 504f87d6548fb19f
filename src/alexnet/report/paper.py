"""The paper's tables as data: each figure, and which of our members stand beside it. Errors are fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from alexnet.errors import UserError
from alexnet.report.scores import Metric, View


@dataclass(frozen=True)
class Quoted:
    """Someone else's result, which the paper quotes and we do not make."""


@dataclass(frozen=True)
class Mean:
    """The mean over the first members of a group (over all of them if `first` is None), each by itself."""

    group: str
    first: int | None = None
    view: View = "ten"


@dataclass(frozen=True)
class Ensemble:
    """The average of the first members of each group; `noun` is what follows their number in the row's name."""

    noun: str
    firsts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Figure:
    """One number of a table; `paper` is None in rows of ours that the paper does not have."""

    model: str
    split: Literal["val", "test"]
    metric: Metric
    paper: float | None
    source: Quoted | Mean | Ensemble


@dataclass(frozen=True)
class Table:
    """A table of one data set. groups: group -> the data sets without which it has no member."""

    name: str
    dataset: str
    splits: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    figures: tuple[Figure, ...]


class MemberLine(Protocol):
    """What a table wants to know of a line of `members`."""

    @property
    def group(self) -> str:
        """Which row it belongs to."""

    @property
    def data(self) -> str:
        """The data set it is trained on and predicts."""


def members_of(table: Table, members: Mapping[str, MemberLine]) -> dict[str, str]:
    """The table's own members, name -> group, in the order of `members`.

    Raises UserError if one is trained on another data set than the table's.
    """
    own = {name: line for name, line in members.items() if line.group in table.groups}
    for name, line in own.items():
        if line.data != table.dataset:
            raise UserError(
                f"params.yaml: members.{name}.data", f"is no data set for group {line.group} of {table.name}",
                found=line.data, expected=table.dataset, fix="Give the member another group, or this data set.",
            )  # fmt: skip
    return {name: line.group for name, line in own.items()}


def _both(
    model: str, split: Literal["val", "test"], top1: float, top5: float, source: Quoted | Mean
) -> tuple[Figure, Figure]:
    return Figure(model, split, "top1_error", top1, source), Figure(model, split, "top5_error", top5, source)


CNN, CNN_STAR = Mean("cnn", 5), Mean("cnn*", 2)
FIVE, SEVEN = Ensemble("CNNs", (("cnn", 5),)), Ensemble("CNNs*", (("cnn", 5), ("cnn*", 2)))

TABLE1 = Table(  # paper §6, Table 1 and its text: ILSVRC-2010
    name="table1",
    dataset="ilsvrc2010",
    splits=("test",),
    groups={"cnn2010": ("ilsvrc2010",)},
    figures=(
        *_both("sparse coding", "test", 0.471, 0.282, Quoted()),
        *_both("SIFT + FVs", "test", 0.457, 0.257, Quoted()),
        *_both("CNN", "test", 0.375, 0.170, Mean("cnn2010")),
        *_both("CNN, centre view", "test", 0.390, 0.183, Mean("cnn2010", view="centre")),
    ),
)

TABLE2 = Table(  # paper §6, Table 2: ILSVRC-2012
    name="table2",
    dataset="ilsvrc2012",
    splits=("val", "test"),
    groups={"cnn": ("ilsvrc2012",), "cnn*": ("ilsvrc2012", "fall2011")},
    figures=(
        Figure("SIFT + FVs", "test", "top5_error", 0.262, Quoted()),
        *_both("1 CNN", "val", 0.407, 0.182, CNN),
        Figure("5 CNNs", "val", "top1_error", 0.381, FIVE),
        Figure("5 CNNs", "val", "top5_error", 0.164, FIVE),
        Figure("5 CNNs", "test", "top5_error", 0.164, FIVE),
        *_both("1 CNN*", "val", 0.390, 0.166, CNN_STAR),
        Figure("7 CNNs*", "val", "top1_error", 0.367, SEVEN),
        Figure("7 CNNs*", "val", "top5_error", 0.154, SEVEN),
        Figure("7 CNNs*", "test", "top5_error", 0.153, SEVEN),
    ),
)

FALL2009 = Table(  # paper §6, last paragraph: 10,184 classes, half of the images to test
    name="fall2009",
    dataset="fall2009",
    splits=("test",),
    groups={"cnn2009": ("fall2009",)},
    figures=(
        *_both("best before", "test", 0.781, 0.609, Quoted()),
        *_both("CNN, sixth conv layer", "test", 0.674, 0.409, Mean("cnn2009")),
    ),
)

TABLES = {table.name: table for table in (TABLE1, TABLE2, FALL2009)}
