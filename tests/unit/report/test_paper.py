"""The paper's tables, figure by figure, and which members stand in them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from alexnet.errors import UserError
from alexnet.report.paper import TABLES, Table, members_of


@dataclass
class Line:
    group: str
    data: str


def figures(table: str) -> list[tuple[str, str, str, float | None]]:
    return [(figure.model, figure.split, figure.metric, figure.paper) for figure in TABLES[table].figures]


def test_table1_has_the_papers_figures() -> None:
    assert figures("table1") == [
        ("sparse coding", "test", "top1_error", 0.471), ("sparse coding", "test", "top5_error", 0.282),
        ("SIFT + FVs", "test", "top1_error", 0.457), ("SIFT + FVs", "test", "top5_error", 0.257),
        ("CNN", "test", "top1_error", 0.375), ("CNN", "test", "top5_error", 0.170),
        ("CNN, centre view", "test", "top1_error", 0.390), ("CNN, centre view", "test", "top5_error", 0.183),
    ]  # fmt: skip


def test_table2_has_the_papers_figures() -> None:
    assert figures("table2") == [
        ("SIFT + FVs", "test", "top5_error", 0.262),
        ("1 CNN", "val", "top1_error", 0.407), ("1 CNN", "val", "top5_error", 0.182),
        ("5 CNNs", "val", "top1_error", 0.381), ("5 CNNs", "val", "top5_error", 0.164),
        ("5 CNNs", "test", "top5_error", 0.164),
        ("1 CNN*", "val", "top1_error", 0.390), ("1 CNN*", "val", "top5_error", 0.166),
        ("7 CNNs*", "val", "top1_error", 0.367), ("7 CNNs*", "val", "top5_error", 0.154),
        ("7 CNNs*", "test", "top5_error", 0.153),
    ]  # fmt: skip


def test_fall2009_has_the_papers_figures() -> None:
    assert figures("fall2009") == [
        ("best before", "test", "top1_error", 0.781), ("best before", "test", "top5_error", 0.609),
        ("CNN, sixth conv layer", "test", "top1_error", 0.674), ("CNN, sixth conv layer", "test", "top5_error", 0.409),
    ]  # fmt: skip


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_figures_lie_in_the_tables_splits(table: Table) -> None:
    assert {figure.split for figure in table.figures} == set(table.splits)


def test_a_table_takes_the_members_of_its_groups_in_their_order() -> None:
    lines = {
        "b": Line("cnn", "ilsvrc2012"), "p": Line("pretrained", "fall2011"), "c": Line("cnn*", "ilsvrc2012"),
        "a": Line("cnn", "ilsvrc2012"), "d": Line("cnn2010", "ilsvrc2010"),
    }  # fmt: skip
    assert list(members_of(TABLES["table2"], lines).items()) == [("b", "cnn"), ("c", "cnn*"), ("a", "cnn")]


def test_a_member_on_other_data_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        members_of(TABLES["table2"], {"cnn9": Line("cnn", "fall2011")})
    assert str(caught.value) == (
        "params.yaml: members.cnn9.data: is no data set for group cnn of table2, found fall2011, expected ilsvrc2012. "
        "Give the member another group, or this data set."
    )
