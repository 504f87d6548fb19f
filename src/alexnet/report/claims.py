"""From claims and a run's nets to a row for each claim: what was found, how sure it is, and the verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from alexnet.core.statistics import adjust
from alexnet.report.claim_list import Claim, ClaimList
from alexnet.report.comparisons import Finding, Run, measure, p_against
from alexnet.report.tables import DECIMALS
from alexnet.report.verdicts import VERDICTS, Judgement, judge

COLUMNS = (
    "id", "section", "claim", "kind", "scope", "paper", "golden", "value", "ci_low", "ci_high", "seeds", "images",
    "p_value", "p_adjusted", "verdict", "reason",
)  # fmt: skip
NUMBERS = ("paper", "golden", "value", "ci_low", "ci_high")
P_VALUES = ("p_value", "p_adjusted")
COUNTS = ("seeds", "images")
DIGITS_OF_P = 4
LEAST_SHOWN_P = 0.001


def make_claims(claims: ClaimList, run: Run) -> pd.DataFrame:
    """A row for each claim, in the order of the file; COLUMNS.

    value, ci_low, ci_high: an error, a difference of errors or a ratio, as `kind` says. p_value: the chance of so large
    an effect if there were none, and for an absolute error that is judged of so large a distance from the paper's.
    p_adjusted: corrected for the number of effects and ratios measured. seeds: nets of one side; of both where they are
    not paired. images: none where numbers of epochs are compared. What is missing is NaN or NA. Raises UserError if
    predictions are missing or damaged, or nets that are compared predict different images.
    """
    findings = {id_: _measure(run, claim) for id_, claim in claims.claims.items()}
    compared = [id_ for id_, claim in claims.claims.items() if claim.kind != "absolute"]
    adjusted = dict(zip(compared, adjust([findings[id_].p_value for id_ in compared]), strict=True))
    num = sum(value is not None for value in adjusted.values())
    rows = []
    for id_, claim in claims.claims.items():
        judgement = judge(claim, findings[id_], claims, run.confidence)
        judgement = _corrected(claim, judgement, adjusted.get(id_), num, 1 - run.confidence)
        rows.append(_row(id_, claim, findings[id_], adjusted.get(id_), judgement))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({**dict.fromkeys((*NUMBERS, *P_VALUES), "float64"), **dict.fromkeys(COUNTS, "Int64")})


def to_csv(frame: pd.DataFrame) -> str:
    """A table of numbers as CSV: fractions rounded to six decimals, p-values to four digits, missing fields empty."""
    rounded = frame.copy()
    for name in rounded.columns:
        if name in P_VALUES:
            rounded[name] = rounded[name].map(lambda p: float(f"{p:.{DIGITS_OF_P}g}"))
        elif rounded[name].dtype == "float64":
            rounded[name] = rounded[name].map(lambda value: round(value, DECIMALS) + 0.0)
    return str(rounded.to_csv(index=False, lineterminator="\n"))


def to_markdown(frame: pd.DataFrame) -> str:
    """The claims in Markdown for readers: how many have each verdict, then a row for each; errors in percent points."""
    counts = Counter(frame.verdict)
    lines = [
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS) + ".",
        "",
        "| claim | verdict | ours | interval | seeds | images | p, corrected | paper | on | why |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in frame.to_dict("records")]
    return "\n".join(lines) + "\n"


def to_brief_markdown(frame: pd.DataFrame) -> str:
    """The same of the claims alone that were judged, and without what it rests on."""
    lines = ["| claim | verdict | ours | paper |", "|---|---|---|---|"]
    for row in frame[frame.verdict != "not run"].to_dict("records"):
        claim, verdict, value, interval, *_ = _cells(row)
        ours = f"{value} ({interval})" if interval else value
        lines.append(f"| {claim} | {verdict} | {ours} | {_number(row['paper'], row['kind'])} |")
    return "\n".join(lines) + "\n"


def _measure(run: Run, claim: Claim) -> Finding:
    finding = measure(run, claim.compare)
    if claim.kind == "absolute" and claim.paper is not None and finding.is_papers:
        return replace(finding, p_value=p_against(finding, claim.paper))
    return finding


def _corrected(claim: Claim, judgement: Judgement, p: float | None, num: int, level: float) -> Judgement:
    """The judgement with a warning where the correction for many claims leaves little of what it rests on."""
    decided = judgement.verdict in ("reproduced", "not reproduced") and claim.expects != "equal"
    if not decided or p is None or p <= level or "excludes zero" not in judgement.reason:
        return judgement
    warning = f"Among {num} comparisons one such may be chance: corrected, p is {p:.2g}."
    return Judgement(judgement.verdict, f"{judgement.reason} {warning}")


def _row(
    id_: str, claim: Claim, finding: Finding, adjusted: float | None, judgement: Judgement
) -> dict[str, Any]:
    low, high = finding.interval or (None, None)
    value = finding.value
    if claim.kind == "ratio":
        value, low, high = (None if number is None else math.exp(number) for number in (value, low, high))
    return {
        "id": id_,
        "section": claim.section,
        "claim": claim.claim,
        "kind": claim.kind,
        "scope": finding.scope,
        "paper": claim.paper,
        "golden": claim.golden.value if claim.golden else None,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "seeds": finding.seeds,
        "images": finding.images,
        "p_value": finding.p_value,
        "p_adjusted": adjusted,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
    }


def _cells(row: Mapping[Any, Any]) -> list[str]:
    """A row's cells in words; errors in percent, differences in percent points with their sign, ratios as they are."""
    kind, p = row["kind"], row["p_adjusted"]
    interval = f"{_number(row['ci_low'], kind)} to {_number(row['ci_high'], kind)}"
    return [
        row["claim"].replace("*", "\\*"),
        row["verdict"],
        _number(row["value"], kind),
        "" if math.isnan(row["ci_low"]) else interval,
        *("" if pd.isna(row[name]) else f"{row[name]:,}" for name in COUNTS),
        "" if math.isnan(p) else f"under {LEAST_SHOWN_P}" if p < LEAST_SHOWN_P else f"{p:.3f}",
        _number(row["paper"], kind),
        "" if pd.isna(row["scope"]) else row["scope"],
        row["reason"],
    ]


def _number(value: float, kind: str) -> str:
    if math.isnan(value):
        return ""
    if kind == "ratio":
        return f"{value:.1f} times"
    return f"{100 * value:+.1f}" if kind == "effect" else f"{100 * value:.1f}"
