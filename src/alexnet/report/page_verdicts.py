"""The verdict list of the report page: a row for each claim, those that were judged first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alexnet.report import wording
from alexnet.report.verdicts import VERDICTS

# A mark beside the word, so that a reader finds a verdict at a glance; the word says it.
MARKS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?", "not run": "–"}
NOT_RUN = "not run"
# Beginnings of the sentences of a reason that a verdict should not be read without: what limits it, which is shown at
# once, and what would decide it.
LIMITS = ("It also excludes", "Its nets also differ", "Among ")
WEIGHTY = ("If it stays as it is", "The value lies on the very limit", *LIMITS)


@dataclass(frozen=True)
class ClaimRow:
    """A claim in words. caution: what no reader may miss. why: the reason. facts: what one may want to know besides."""

    id: str
    claim: str
    verdict: str
    mark: str
    ours: str
    interval: str
    paper: str
    caution: str
    why: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class VerdictList:
    """counts: verdict -> how many claims. judged, not_run: the rows, in the order of VERDICTS, then of claims.yaml."""

    counts: dict[str, int]
    judged: list[ClaimRow]
    not_run: list[ClaimRow]

    @property
    def total(self) -> int:
        """All claims."""
        return sum(self.counts.values())


def list_verdicts(claims: pd.DataFrame) -> VerdictList:
    """claims: as `claims.make_claims` makes them."""
    rows = [_row(row) for row in claims.to_dict("records")]
    by_verdict: dict[str, list[ClaimRow]] = {
        verdict: [row for row in rows if row.verdict == verdict] for verdict in VERDICTS
    }
    return VerdictList(
        {verdict: len(found) for verdict, found in by_verdict.items()},
        [row for verdict in VERDICTS if verdict != NOT_RUN for row in by_verdict[verdict]],
        by_verdict[NOT_RUN],
    )


def section_name(section: str) -> str:
    """`§3.3`, or what is no section of the paper as it is."""
    return (
        f"§{section}"
        if section[:1].isdigit() and section.replace(".", "").replace("-", "").isdigit()
        else section
    )


def _row(row: Mapping[Any, Any]) -> ClaimRow:
    kind, places = row["kind"], wording.decimals_for(row["images"])
    if kind == "effect":
        places = wording.decimals_of((row["value"], row["ci_low"], row["ci_high"]), places)
    has_value = not wording.is_missing(row["value"])
    has_interval = not wording.is_missing(row["ci_low"])
    first, *others = wording.sentences(wording.reason(row["reason"], kind))
    why = [first, *(text for text in others if text.startswith(WEIGHTY))]
    rest = [text for text in others if text not in why]
    return ClaimRow(
        row["id"],
        row["claim"],
        row["verdict"],
        MARKS[row["verdict"]],
        wording.value(row["value"], kind, places) if has_value else "",
        wording.span(row["ci_low"], row["ci_high"], kind, places) if has_interval else "",
        "" if wording.is_missing(row["paper"]) else wording.value(row["paper"], kind),
        " ".join(text for text in why if text.startswith(LIMITS)),
        " ".join(text for text in why if not text.startswith(LIMITS)),
        [(name, text) for name, text in _facts(row, " ".join(rest)) if text],
    )


def _facts(row: Mapping[Any, Any], rest: str) -> Iterator[tuple[str, str]]:
    kind = row["kind"]
    yield "more", rest
    yield "in the paper", section_name(row["section"])
    yield "measured on", "" if wording.is_missing(row["scope"]) else row["scope"]
    golden = row["golden"]
    yield "2012 runs", "" if wording.is_missing(golden) else wording.value(golden, kind, 2)
    for name in ("seeds", "images"):
        yield name, "" if wording.is_missing(row[name]) else f"{row[name]:,}"
    for column, name in (("p_value", "p"), ("p_adjusted", "p, corrected for all claims")):
        yield name, "" if wording.is_missing(row[column]) else wording.p_value(row[column])
    yield "id in claims.yaml", row["id"]
