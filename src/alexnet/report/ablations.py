"""What each variant is worth, and which switch of a protocol makes how much of its difference from the default one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alexnet.report.claim_list import AblationOverSeeds, Claim, ClaimList
from alexnet.report.comparisons import (
    ABSENT,
    BASE_PROTOCOL,
    BASE_VARIANT,
    AblationLine,
    Finding,
    NotRunError,
    Run,
    changed_switches,
    compare_paired,
    find_ablation,
    is_same,
    paired_mistakes,
)
from alexnet.report.scores import Floats, Metric

METRICS: tuple[Metric, ...] = ("top1_error", "top5_error")
ABLATION_COLUMNS = (
    "name", "base", "data", "split", "metric", "seeds", "images", "value", "base_value", "difference", "ci_low",
    "ci_high", "p_value", "paper", "golden", "reason",
)  # fmt: skip
PROTOCOL_COLUMNS = (
    "protocol", "part", "switch", "default", "setting", "ablation", "data", "split", "metric", "seeds", "images",
    "difference", "ci_low", "ci_high", "p_value", "reason",
)  # fmt: skip
AS_RUN = "as_run"  # a date that only a ledger has; with other schedules a switch by itself has the date as a number
ONE_SEED = "One seed has no spread, so there is no interval."
Pairs = tuple[list[int], Floats, Floats]


def make_ablations(run: Run, claims: ClaimList) -> pd.DataFrame:
    """A row for each ablation and metric, in the order of params.yaml; ABLATION_COLUMNS.

    value, base_value: mean errors over the seeds both have; difference: the first less the second, paired by seed,
    interval over seeds and images. paper, golden: the same difference, where a claim is about this ablation. Fractions;
    what is missing is NaN or NA, with the reason. Raises UserError if predictions are missing or damaged.
    """
    claimed = _claims_of(run, claims)
    rows = [
        _ablation_row(run, name, line, metric, claimed.get((name, metric)))
        for name, line in run.ablations.items()
        for metric in METRICS
    ]
    return _frame(rows, ABLATION_COLUMNS)


def make_protocols(run: Run, protocols: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """For each protocol and metric: the whole gap to the default one, what each switch by itself makes of it, their sum
    and the rest; PROTOCOL_COLUMNS.

    protocols: as in params.yaml, every one but `default` as its differences. The whole is the ablation of that
    protocol; a switch is the ablation that changes it alone, on the same images. rest: the whole less the sum, which is
    what the switches do together beyond what each does alone, and what the missing ones do. All are differences of
    errors, paired by seed; sum and rest are over the seeds that all have. Raises UserError as make_ablations does.
    """
    rows = [
        row
        for name in protocols
        if name != BASE_PROTOCOL
        for metric in METRICS
        for row in _protocol_rows(run, name, protocols, metric)
    ]
    return _frame(rows, PROTOCOL_COLUMNS)


def _claims_of(run: Run, claims: ClaimList) -> dict[tuple[str, Metric], Claim]:
    """The first claim about each ablation and metric."""
    found: dict[tuple[str, Metric], Claim] = {}
    for claim in claims.claims.values():
        if isinstance(claim.compare, AblationOverSeeds):
            try:
                name, _ = find_ablation(run, claim.compare)
            except NotRunError:
                continue
            found.setdefault((name, claim.compare.metric), claim)
    return found


def _ablation_row(
    run: Run, name: str, line: AblationLine, metric: Metric, claim: Claim | None
) -> dict[str, Any]:
    row = {
        "name": name, "base": line.base, "data": line.data, "split": line.split, "metric": metric,
        "paper": claim.paper if claim else None, "golden": claim.golden.value if claim and claim.golden else None,
    }  # fmt: skip
    try:
        _, varied, plain, notes = paired_mistakes(run, name, metric)
    except NotRunError as error:
        return {**row, "reason": str(error)}
    finding = _compare(run, line, varied, plain, notes)
    return {
        **row, "value": float(varied.mean()), "base_value": float(plain.mean()), **_numbers(finding),
    }  # fmt: skip


def _protocol_rows(
    run: Run, name: str, protocols: Mapping[str, Mapping[str, Any]], metric: Metric
) -> list[dict[str, Any]]:
    default, switches = protocols[BASE_PROTOCOL], _switches(protocols, name)
    whole = _find_whole(run, name)
    rows, pairs = [], {}
    for switch in (None, *switches):
        row: dict[str, Any] = {"protocol": name, "part": "switch" if switch else "whole", "metric": metric}
        ablation = whole
        if switch:
            row |= {
                "switch": switch, "default": _words(default[switch]), "setting": _words(switches[switch]),
            }  # fmt: skip
            ablation = _find_switch(run, switch, switches[switch], whole)
        if ablation is None:
            rows.append({**row, "reason": _why_absent(run, name, switch, whole)})
            continue
        line = run.ablations[ablation]
        row |= {"ablation": ablation, "data": line.data, "split": line.split}
        notes: tuple[str, ...] = ()
        if switch and switches[switch] == AS_RUN:
            row["setting"] = _words(line.overrides[switch])
            notes = (
                f"The protocol has {AS_RUN}, which needs its ledger; by itself the switch has the date.",
            )
        try:
            seeds, varied, plain, more = paired_mistakes(run, ablation, metric)
        except NotRunError as error:
            rows.append({**row, "reason": str(error)})
            continue
        pairs[switch] = (seeds, varied, plain)
        rows.append({**row, **_numbers(_compare(run, line, varied, plain, (*notes, *more)))})
    return [*rows, *_sum_rows(run, name, metric, whole, list(switches), pairs)]


def _sum_rows(
    run: Run,
    name: str,
    metric: Metric,
    whole: str | None,
    switches: Sequence[str],
    pairs: Mapping[str | None, Pairs],
) -> list[dict[str, Any]]:
    """The sum of the single switches' effects, and what the whole has beyond it."""
    start = {"protocol": name, "metric": metric}
    measured = [switch for switch in switches if switch in pairs]
    missing = [switch for switch in switches if switch not in pairs]
    wanted = [pairs[None], *(pairs[switch] for switch in measured)] if None in pairs else []
    common = [seed for seed in wanted[0][0] if all(seed in seeds for seeds, _, _ in wanted)] if wanted else []
    if whole is None or not measured or not common:
        reason = "The protocol and its switches have no seed in common."
        if not measured:
            reason = "No switch has been trained by itself."
        elif not wanted:
            reason = "The protocol as a whole has not been trained."
        return [{**start, "part": part, "reason": reason} for part in ("sum", "rest")]
    line = run.ablations[whole]
    gaps = []
    for seeds, varied, plain in wanted:
        chosen = [seeds.index(seed) for seed in common]
        gaps.append(varied[chosen] - plain[chosen])
    together = np.sum(gaps[1:], axis=0)
    note = f"{len(measured)} of {len(switches)} switches; without {', '.join(missing)}." if missing else ""
    rows = []
    for part, values in (("sum", together), ("rest", gaps[0] - together)):
        finding = compare_paired(run, values, np.zeros_like(values), scope="", is_papers=False)
        finding = Finding(**{**vars(finding), "notes": (note,) if note else ()})
        rows.append({**start, "part": part, "data": line.data, "split": line.split, **_numbers(finding)})
    return rows


def _switches(protocols: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The switches in which a protocol differs from the default one, with its values."""
    default = protocols[BASE_PROTOCOL]
    return {
        switch: value
        for switch, value in protocols[name].items()
        if not is_same(default.get(switch, ABSENT), value)
    }


def _find_whole(run: Run, protocol: str) -> str | None:
    """The ablation that is a whole protocol, and changes nothing else; the first."""
    for name, line in run.ablations.items():
        if line.protocol == protocol and _stands_on_base(run, line) and not _changed(run, line):
            return name
    return None


def _find_switch(run: Run, switch: str, value: Any, whole: str | None) -> str | None:
    """The ablation that changes one switch alone, to a value, on the same images as the whole protocol."""
    for name, line in run.ablations.items():
        if (
            line.protocol != BASE_PROTOCOL
            or not _stands_on_base(run, line)
            or _changed(run, line) != {switch}
        ):
            continue
        if whole is not None and _place(line) != _place(run.ablations[whole]):
            continue
        found = line.overrides.get(switch, ABSENT)
        if is_same(found, value) or (value == AS_RUN and isinstance(found, float)):
            return name
    return None


def _stands_on_base(run: Run, line: AblationLine) -> bool:
    """Whether it is the base's network, and its base is trained by the default protocol."""
    bases = list(run.of_group(line.base, line.data).values())
    return (
        bool(bases)
        and line.variant == BASE_VARIANT
        and ((bases[0].variant, bases[0].protocol) == (BASE_VARIANT, BASE_PROTOCOL))
    )


def _changed(run: Run, line: AblationLine) -> set[str]:
    base = next(iter(run.of_group(line.base, line.data).values()))
    return changed_switches(line.overrides, base.overrides)


def _place(line: AblationLine) -> tuple[str, str, str]:
    return line.base, line.data, line.split


def _why_absent(run: Run, protocol: str, switch: str | None, whole: str | None) -> str:
    if switch is None:
        return f"params.yaml has no ablation of protocol {protocol} on nets of protocol {BASE_PROTOCOL}."
    where = f" on {run.ablations[whole].data} {run.ablations[whole].split}" if whole else ""
    return f"params.yaml has no ablation that changes {switch} alone{where}; the profile imagenet has."


def _compare(run: Run, line: AblationLine, varied: Floats, plain: Floats, notes: Sequence[str]) -> Finding:
    scope = run.scope(line.data, line.split)
    return compare_paired(run, varied, plain, scope=scope, is_papers=run.is_official(line.data), notes=notes)


def _numbers(finding: Finding) -> dict[str, Any]:
    low, high = finding.interval or (None, None)
    why = [ONE_SEED] if finding.seeds == 1 else ["No image is judged differently."] if low is None else []
    return {
        "difference": finding.value, "ci_low": low, "ci_high": high, "p_value": finding.p_value,
        "seeds": finding.seeds, "images": finding.images, "reason": " ".join([*why, *finding.notes]) or None,
    }  # fmt: skip


def _words(value: Any) -> str:
    """A switch's value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame([{name: row.get(name) for name in columns} for row in rows], columns=list(columns))
    numbers = {"value", "base_value", "difference", "ci_low", "ci_high", "p_value", "paper", "golden"}
    kinds: dict[str, Any] = {name: "float64" for name in columns if name in numbers}
    return frame.astype({**kinds, "seeds": "Int64", "images": "Int64"})
