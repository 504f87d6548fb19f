"""From predictions to the paper's tables: a row for each of its figures, ours beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from alexnet.core.predictions import Predictions
from alexnet.report.paper import Ensemble, Figure, Mean, Quoted, Table
from alexnet.report.scores import Score, score_ensemble, score_mean

COLUMNS = (
    "model", "split", "metric", "value", "ci_low", "ci_high", "ci_over", "n", "paper", "difference", "reason",
)  # fmt: skip
FRACTIONS = ("value", "ci_low", "ci_high", "paper", "difference")
DECIMALS = 6
QUOTED = "quoted from the paper"
METRIC_NAMES = {"top1_error": "top-1", "top5_error": "top-5"}

Read = Mapping[str, Mapping[str, Predictions]]


def make_table(
    table: Table,
    members: Mapping[str, str],
    predictions: Read,
    left_out: Mapping[str, str],
    confidence: float,
) -> pd.DataFrame:
    """The table, a row for each of the paper's figures, then for each that the paper does not have; COLUMNS.

    members: name -> group of the table's own members, in order. predictions: member -> split -> its predictions.
    left_out: data set -> reason. confidence: of the intervals, 0 to 1. Errors are fractions; what is missing is NaN,
    NA or None, with the reason in words. Raises UserError if members that are compared predict different images.
    """
    groups = {group: [name for name, own in members.items() if own == group] for group in table.groups}
    figures = [*table.figures, *_further_figures(table, groups)]
    rows = [
        _row(figure, _score(figure, table, groups, predictions, left_out, confidence)) for figure in figures
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({**dict.fromkeys(FRACTIONS, "float64"), "n": "Int64"})


def first_of(source: Mean | Ensemble, groups: Mapping[str, list[str]]) -> list[str]:
    """The members of a row: the first of each of its groups, as many as it wants or as there are."""
    if isinstance(source, Mean):
        return groups[source.group][: source.first]
    return [name for group, first in source.firsts for name in groups[group][:first]]


def to_csv(frame: pd.DataFrame) -> str:
    """The table as CSV: fractions rounded to six decimals, missing fields empty."""
    rounded = frame.copy()
    for name in FRACTIONS:
        rounded[name] = rounded[name].map(_round)
    return str(rounded.to_csv(index=False, lineterminator="\n"))


def to_markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown for readers, errors in percent; where we have none, the reason."""
    lines = [
        "| model | split | error | ours | interval | paper | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in frame.to_dict("records"):
        lines.append("| " + " | ".join(_cells(row)) + " |")
    return "\n".join(lines) + "\n"


def _further_figures(table: Table, groups: Mapping[str, list[str]]) -> Iterator[Figure]:
    """Rows the paper does not have, for all the members there are where these are not as many as the paper's."""
    taken = {figure.model for figure in table.figures}
    for figure in table.figures:
        source = figure.source
        if isinstance(source, Mean) and source.first is not None and len(groups[source.group]) > source.first:
            model = f"{figure.model} ({len(groups[source.group])} nets)"
            yield replace(figure, model=model, paper=None, source=replace(source, first=None))
        if isinstance(source, Ensemble):
            counts = tuple((group, len(groups[group])) for group, _ in source.firsts)
            numbers = [count for _, count in counts]
            if counts != source.firsts and min(numbers) > 0 and sum(numbers) > 1:
                model = f"{sum(numbers)} {source.noun}"
                if model in taken:  # seven, but not the paper's five and two
                    model += f" ({' + '.join(map(str, numbers))})"
                yield replace(figure, model=model, paper=None, source=replace(source, firsts=counts))


def _score(
    figure: Figure,
    table: Table,
    groups: Mapping[str, list[str]],
    predictions: Read,
    left_out: Mapping[str, str],
    confidence: float,
) -> Score:
    """Our score for a figure, or the reason why there is none."""
    source = figure.source
    if isinstance(source, Quoted):
        return Score(reason=QUOTED)
    names = first_of(source, groups)
    if reason := _why_short(source, names, table, groups, left_out):
        return Score(reason=reason)
    chosen = [predictions[name][figure.split] for name in names]
    if isinstance(source, Mean):
        return score_mean(chosen, figure.metric, source.view, confidence)
    return score_ensemble(chosen, figure.metric, confidence)


def _why_short(
    source: Mean | Ensemble,
    names: list[str],
    table: Table,
    groups: Mapping[str, list[str]],
    left_out: Mapping[str, str],
) -> str | None:
    """Why a row has too few members, or None: a mean needs one, an ensemble all that it wants."""
    wanted = ((source.group, 1),) if isinstance(source, Mean) else source.firsts
    needed = sum(first for _, first in wanted)
    if len(names) >= needed:
        return None
    short = [group for group, first in wanted if len(groups[group]) < first]
    missing = dict.fromkeys(data for group in short for data in table.groups[group] if data in left_out)
    why = "; ".join(f"{data} was left out: {left_out[data]}" for data in missing)
    if not names:
        return why or f"params.yaml has no member of group {' or '.join(short)}"
    return f"{len(names)} of {needed} members: {why or 'params.yaml has only ' + ', '.join(names)}"


def _row(figure: Figure, score: Score) -> dict[str, Any]:
    """One row of the table; the difference is ours minus the paper's."""
    known = score.value is not None and figure.paper is not None
    return {
        "model": figure.model,
        "split": figure.split,
        "metric": figure.metric,
        "value": score.value,
        "ci_low": score.low,
        "ci_high": score.high,
        "ci_over": score.over,
        "n": score.n,
        "paper": figure.paper,
        "difference": (score.value or 0.0) - (figure.paper or 0.0) if known else None,
        "reason": score.reason,
    }


def _round(value: float) -> float:
    return round(value, DECIMALS) + 0.0  # no -0.0


def _cells(row: Mapping[Any, Any]) -> list[str]:
    """A row's cells in words and percent."""
    interval = f"{_percent(row['ci_low'])}–{_percent(row['ci_high'])} over {row['n']} {row['ci_over']}"
    missing = math.isnan(row["value"])
    return [
        row["model"].replace("*", "\\*"),
        row["split"],
        METRIC_NAMES[row["metric"]],
        row["reason"] if missing else _percent(row["value"]),
        "" if missing else interval,
        _percent(row["paper"]),
        _percent(row["difference"], sign="+"),
    ]


def _percent(fraction: float, sign: str = "") -> str:
    return "" if math.isnan(fraction) else f"{100 * _round(fraction):{sign}.1f}"
