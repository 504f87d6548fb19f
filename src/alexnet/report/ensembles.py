"""Ensembles of any members, with equal weights or with weights searched on validation as in 2012 (§5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alexnet.core.ensemble_weights import (
    STEPS,
    Optimism,
    find_rivals,
    is_wrong,
    measure_optimism,
    rank_weighted,
    search_weights,
)
from alexnet.core.intervals import interval_over_images
from alexnet.core.predictions import Predictions
from alexnet.report.paper import Ensemble, Table
from alexnet.report.scores import (
    IS_CORRECT,
    Metric,
    Score,
    check_same_images,
    score_ensemble,
    score_mean,
    why_unscored,
)
from alexnet.report.tables import DECIMALS, Read

METRICS: tuple[Metric, ...] = ("top1_error", "top5_error")
SUBSET_COLUMNS = (
    "ensemble", "weights", "dataset", "split", "metric", "value", "ci_low", "ci_high", "ci_over", "n", "reason",
)  # fmt: skip
WEIGHT_COLUMNS = ("ensemble", "member", "coefficient", "weight")
SEARCH_COLUMNS = (
    "ensemble", "images", "splits", "equal_weights", "searched_on_all", "searched_half", "held_out_half", "optimism",
    "optimism_low", "optimism_high", "gain", "gain_low", "gain_high", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Search:
    """Weights searched on the validation images. coefficients: one for each member, in twentieths.

    equal, found: top-5 errors on all of them, of equal weights and of those found.
    """

    members: tuple[str, ...]
    coefficients: tuple[int, ...]
    num_images: int
    equal: float
    found: float
    optimism: Optimism


def ensembles_of(table: Table, groups: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The table's ensembles that have all their members, by the name of their rows."""
    found: dict[str, list[str]] = {}
    for figure in table.figures:
        if isinstance(figure.source, Ensemble):
            names = [name for group, first in figure.source.firsts for name in groups[group][:first]]
            if len(names) == sum(first for _, first in figure.source.firsts):
                found[figure.model] = names
    return found


def search(val: Sequence[Predictions], splits: int, seed: int) -> Search | str:
    """Weights of these members, searched on their predictions for val, or the reason why there can be none.

    Raises UserError if the members predict different images.
    """
    if len(val) < 2:
        return "one net has no weights"
    if reason := next(filter(None, map(why_unscored, val)), None) or _why_no_probs(val):
        return reason
    check_same_images(val)
    is_labelled = val[0].labels >= 0
    if is_labelled.sum() < 4:
        return f"{int(is_labelled.sum())} labelled val images cannot be halved"
    probs = [member.ten.probs[is_labelled] for member in val if member.ten.probs is not None]
    rivals = find_rivals(probs, val[0].labels[is_labelled])
    coefficients = search_weights(rivals)
    return Search(
        tuple(member.member for member in val),
        coefficients,
        int(is_labelled.sum()),
        float(is_wrong(rivals, [STEPS] * len(val)).mean()),
        float(is_wrong(rivals, coefficients).mean()),
        measure_optimism(rivals, splits, seed),
    )


def score_subset(members: Sequence[Predictions], metric: Metric, confidence: float) -> Score:
    """The error of the members' average with equal weights, over images; of one member, its own."""
    return (score_mean(members, metric, "ten", confidence) if len(members) == 1 else
            score_ensemble(members, metric, confidence))  # fmt: skip


def score_weighted(
    members: Sequence[Predictions], coefficients: Sequence[int], confidence: float
) -> dict[Metric, Score]:
    """The errors of the members' weighted average, with intervals over images."""
    if reason := next(filter(None, map(why_unscored, members)), None) or _why_no_probs(members):
        return {metric: Score(reason=reason) for metric in METRICS}
    check_same_images(members)
    is_labelled, labels = members[0].labels >= 0, members[0].labels
    probs = [member.ten.probs[is_labelled] for member in members if member.ten.probs is not None]
    best = rank_weighted(probs, 5, coefficients)
    return {metric: _score(~IS_CORRECT[metric](labels[is_labelled], best), confidence) for metric in METRICS}


def make_subsets(
    subsets: Mapping[str, Sequence[str]], predictions: Read, searches: Mapping[str, Search | str], confidence: float
) -> pd.DataFrame:  # fmt: skip
    """A row for each ensemble, split and metric, and again with searched weights; SUBSET_COLUMNS.

    subsets: name -> members. searches: of those that were asked for.
    """
    rows = []
    for name, members in subsets.items():
        found = searches.get(name)
        for split in predictions[members[0]]:
            chosen = [predictions[member][split] for member in members]
            kinds = {"equal": {metric: score_subset(chosen, metric, confidence) for metric in METRICS}}
            if isinstance(found, Search):
                kinds["searched"] = score_weighted(chosen, found.coefficients, confidence)
            for weights, scores in kinds.items():
                for metric, score in scores.items():
                    about = (name, weights, chosen[0].dataset, split, metric)
                    rows.append(
                        (*about, score.value, score.low, score.high, score.over, score.n, score.reason)
                    )
    return _frame(rows, SUBSET_COLUMNS, ("n",))


def add_searched(
    frame: pd.DataFrame, table: Table, searches: Mapping[str, Search | str], predictions: Read, confidence: float
) -> pd.DataFrame:  # fmt: skip
    """The table with a row more for each of its ensembles' figures: the same with searched weights."""
    rows = []
    scores: dict[tuple[str, str], dict[Metric, Score]] = {}
    for figure in table.figures:
        found = searches.get(figure.model)
        if not isinstance(figure.source, Ensemble) or not isinstance(found, Search):
            continue
        place = (figure.model, figure.split)
        if place not in scores:
            chosen = [predictions[member][figure.split] for member in found.members]
            scores[place] = score_weighted(chosen, found.coefficients, confidence)
        score = scores[place][figure.metric]
        assert figure.paper is not None
        rows.append(
            {
                "model": f"{figure.model}, searched weights", "split": figure.split, "metric": figure.metric,
                "value": score.value, "ci_low": score.low, "ci_high": score.high, "ci_over": score.over, "n": score.n,
                "paper": figure.paper, "difference": None if score.value is None else score.value - figure.paper,
                "reason": score.reason,
            }
        )  # fmt: skip
    if not rows:
        return frame
    further = pd.DataFrame(rows, columns=list(frame.columns)).astype(frame.dtypes.to_dict())
    return pd.concat([frame, further], ignore_index=True)


def list_weights(searches: Mapping[str, Search | str]) -> pd.DataFrame:
    """The weights that were found; WEIGHT_COLUMNS. Weights sum to 1 over an ensemble, coefficients go from 0 to 1."""
    rows = [
        (name, member, coefficient / STEPS, round(coefficient / sum(found.coefficients), DECIMALS))
        for name, found in searches.items()
        if isinstance(found, Search)
        for member, coefficient in zip(found.members, found.coefficients, strict=True)
    ]
    return _frame(rows, WEIGHT_COLUMNS, ())


def list_searches(searches: Mapping[str, Search | str], confidence: float) -> pd.DataFrame:
    """What searching promises and what it keeps on held-out halves, top-5 errors; SEARCH_COLUMNS.

    optimism: error on the held-out half less that on the searched half. gain: error on the held-out half less that of
    equal weights on it, below 0 where searching is worth it. Intervals are Student's, paired over images.
    """
    rows: list[tuple[Any, ...]] = []
    for name, found in searches.items():
        if isinstance(found, str):
            rows.append((name, *[None] * (len(SEARCH_COLUMNS) - 2), found))
            continue
        own = found.optimism
        half = _half_width(found.num_images, confidence)
        errors = (found.equal, found.found, own.searched, own.held_out)
        optimism = _interval(own.difference, own.difference_error * half)
        gain = _interval(own.gain, own.gain_error * half)
        rows.append((name, found.num_images, own.splits, *errors, *optimism, *gain, None))
    return _frame(rows, SEARCH_COLUMNS, ("images", "splits"))


def to_text(frame: pd.DataFrame) -> str:
    """A table of this module in Markdown; errors and their differences in percent."""
    lines = [
        "| " + " | ".join(name.replace("_", " ") for name in frame.columns) + " |",
        "|" + "---|" * len(frame.columns),
    ]
    for row in frame.itertuples(index=False):
        cells = [_cell(name, value) for name, value in zip(frame.columns, row, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(column: str, value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value).replace("*", "\\*")
    return f"{value:.3f}" if column in ("coefficient", "weight") else f"{100 * value:.2f}"


def _frame(rows: Sequence[tuple[Any, ...]], columns: Sequence[str], counts: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns)).astype(dict.fromkeys(counts, "Int64"))
    for name in frame.columns:
        if frame[name].dtype == np.float64:
            frame[name] = frame[name].round(DECIMALS) + 0.0
    return frame


def _interval(value: float, half: float) -> tuple[float, float, float]:
    return value, value - half, value + half


def _half_width(num_images: int, confidence: float) -> float:
    """Of an interval, in standard errors."""
    from scipy.stats import t

    return float(t.ppf((1 + confidence) / 2, num_images - 1))


def _score(is_wrong_at: npt.NDArray[np.bool_], confidence: float) -> Score:
    num_wrong, num_images = int(is_wrong_at.sum()), len(is_wrong_at)
    low, high = interval_over_images(num_wrong, num_images, confidence)
    return Score(num_wrong / num_images, low, high, "images", num_images)


def _why_no_probs(members: Sequence[Predictions]) -> str | None:
    """Why the members have no average, naming the first whose probabilities are not all stored."""
    for member in members:
        if member.ten.probs is None:
            return f"{member.member} has {member.num_classes} classes, of which only the best are stored"
    return None
