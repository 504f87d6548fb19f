"""One of the paper's tables from its own members' predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from alexnet.core.intervals import TableParams
from alexnet.data.predictions import read_members
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.paper import TABLES, Ensemble, MemberLine, members_of
from alexnet.report.tables import make_table, to_csv, to_markdown


def run(
    table: str,
    members: Mapping[str, MemberLine],
    left_out: Mapping[str, str],
    params: TableParams,
    predictions: Path,
    output: Path,
) -> None:
    """Writes the table as CSV, whole. Reads no predictions but those of its own members.

    members: the lines of params.yaml, in order. left_out: data set -> reason. predictions: the folder of all.
    Raises UserError if a member's predictions are missing, damaged or of other images than another's.
    """
    known = TABLES[table]
    own = members_of(known, members)
    is_averaged = any(isinstance(figure.source, Ensemble) for figure in known.figures)
    read = read_members(
        predictions, known.dataset, own, known.splits, probs_of=("ten",) if is_averaged else ()
    )
    write_whole(output, to_csv(make_table(known, own, read, left_out, params.confidence)))


def render(table: Path) -> str:
    """A table that was written, as Markdown with errors in percent. Raises UserError if it is not there."""
    try:
        return to_markdown(pd.read_csv(table, dtype={"n": "Int64"}))
    except FileNotFoundError:
        raise UserError(str(table), "is missing", fix=f"Build it: dvc repro {table.stem}.") from None
