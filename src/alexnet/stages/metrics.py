"""Every number of the results in one file, nested, for `dvc metrics diff`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alexnet.core.predictions import Predictions
from alexnet.data.predictions import read_members
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.paper import CNN, CNN_STAR, FIVE, TABLE2, TABLES, MemberLine, members_of
from alexnet.report.scores import ensemble_effect, errors_of, group_effect, view_effect
from alexnet.report.tables import DECIMALS, first_of

Read = Mapping[str, Mapping[str, Predictions]]


def run(
    members: Mapping[str, MemberLine],
    predictions: Path,
    tables: Sequence[Path],
    output: Path,
) -> None:
    """Writes numbers only, as DVC drops all else: each table's values, each member's errors and the effects.

    members: the lines of params.yaml, in order. predictions: the folder of all. tables: the CSV files, each named
    for its table. What has no value is left out. Raises UserError if an input is missing or damaged.
    """
    numbers: dict[str, Any] = {path.stem: _read_values(path) for path in tables}
    numbers["members"], numbers["effects"] = {}, {}
    for table in TABLES.values():
        own = members_of(table, members)
        probs_of = ("ten",) if table is TABLE2 else ()
        read = read_members(predictions, table.dataset, own, table.splits, probs_of=probs_of)
        numbers["members"].update({name: _errors(splits) for name, splits in read.items()})
        if table is TABLE2:
            numbers["effects"] = measure_effects(own, read)
    write_whole(output, json.dumps(_tidy(numbers), indent=2, sort_keys=True, allow_nan=False) + "\n")


def measure_effects(members: Mapping[str, str], predictions: Read) -> dict[str, dict[str, float]]:
    """Differences in 2012 val top-1 error, paired over images, each with its standard error; negative is better.

    members: name -> group of Table 2's members. ensemble: the paper's five nets averaged, minus their mean error.
    pretraining: mean of `cnn*` minus mean of `cnn`. ten_views: ten views minus the centre view, mean of `cnn`.
    """
    groups = {group: [name for name, own in members.items() if own == group] for group in TABLE2.groups}
    five, plain, starred = (
        [predictions[name]["val"] for name in first_of(source, groups)] for source in (FIVE, CNN, CNN_STAR)
    )
    effects = {
        "ensemble": ensemble_effect(five),
        "pretraining": group_effect(starred, plain),
        "ten_views": view_effect(plain),
    }
    return {
        name: {"difference": effect[0], "standard_error": effect[1]}
        for name, effect in effects.items()
        if effect
    }


def _read_values(path: Path) -> dict[str, Any]:
    """A table's own values, as model -> split -> metric -> fraction."""
    if not path.is_file():
        raise UserError(str(path), "the table is missing", fix=f"Run `alexnet table {path.stem}` first.")
    values: dict[str, Any] = {}
    for row in pd.read_csv(path).dropna(subset=["value"]).to_dict("records"):
        values.setdefault(row["model"], {}).setdefault(row["split"], {})[row["metric"]] = row["value"]
    return values


def _errors(splits: Mapping[str, Predictions]) -> dict[str, Any]:
    """A member's errors, as split -> view -> metric -> fraction."""
    return {split: errors_of(predictions) for split, predictions in splits.items()}


def _tidy(numbers: Any) -> Any:
    """The same with floats rounded and empty branches gone."""
    if not isinstance(numbers, Mapping):
        return round(numbers, DECIMALS) + 0.0
    tidied = {name: _tidy(value) for name, value in numbers.items()}
    return {name: value for name, value in tidied.items() if value != {}}
