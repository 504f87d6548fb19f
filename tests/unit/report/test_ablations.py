"""What each ablation is worth, and how a protocol's gap divides into its switches, counted by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alexnet.core.statistics import interval, mean_effect
from alexnet.report.ablations import ABLATION_COLUMNS, PROTOCOL_COLUMNS, make_ablations, make_protocols
from alexnet.report.claim_list import Claim, ClaimList

from .made_run import Line, make_run
from .test_claim_list import ENTRY

CLAIMS = ClaimList(bound=0.5, power=0.8, claims={"lrn.top1": Claim.model_validate(ENTRY)})
BASE = {seed: range(10) for seed in (1, 2, 3)}

# Mistakes beyond the base's: of each switch alone, and of both with what they do together.
CHUNK = {1: [20], 2: [20, 21], 3: [20, 21, 22]}
FROZEN = {1: [30, 31], 2: [30, 31], 3: [30]}
WHOLE = {1: [20, 30, 31, 40], 2: [20, 21, 30, 31, 40], 3: [20, 30]}
PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    "default": {"crop_chunk": 1, "freeze_conv1_at": None, "mirror": True, "schedule": {"kind": "steps", "drops": [0.5]}},
    "code2012": {"crop_chunk": 32, "freeze_conv1_at": "as_run", "mirror": True},
}  # fmt: skip


def beyond(extra: Mapping[int, list[int]]) -> dict[int, list[int]]:
    return {seed: [*range(10), *images] for seed, images in extra.items()}


def switch(**overrides: Any) -> Line:
    return Line(overrides=overrides)


def protocol_rows(ablations: Mapping[str, Any], protocols: Mapping[str, Any] = PROTOCOLS) -> pd.DataFrame:
    frame = make_protocols(make_run(BASE, ablations), protocols)
    assert tuple(frame.columns) == PROTOCOL_COLUMNS
    assert set(frame.metric) == {"top1_error", "top5_error"}
    return frame[frame.metric == "top1_error"].fillna({"switch": ""}).set_index(["part", "switch"])


ALL = {
    "code2012": (Line(protocol="code2012"), beyond(WHOLE)),
    "chunk": (switch(crop_chunk=32), beyond(CHUNK)),
    "frozen": (switch(freeze_conv1_at=0.79), beyond(FROZEN)),
}


def test_an_ablation_is_a_row_beside_the_papers_and_the_notes_value() -> None:
    varied = {1: range(30), 2: range(31), 3: range(32)}
    run = make_run(
        BASE,
        {"no_lrn": (Line(variant="no_lrn"), varied), "half": (Line(variant="half", seeds=(1,)), {1: range(12)})},
    )  # fmt: skip
    frame = make_ablations(run, CLAIMS)
    assert tuple(frame.columns) == ABLATION_COLUMNS
    assert list(zip(frame.name, frame.metric, strict=True)) == [
        ("no_lrn", "top1_error"), ("no_lrn", "top5_error"), ("half", "top1_error"), ("half", "top5_error"),
    ]  # fmt: skip
    first = frame.iloc[0]
    assert (first.value, first.base_value, first.difference) == pytest.approx((0.31, 0.1, 0.21))
    assert (first.paper, first.golden, first.seeds, first.images) == (0.014, 0.0137, 3, 100)
    differences = np.zeros((3, 100))
    for place in range(3):
        differences[place, 10 : 30 + place] = 1
    assert (first.ci_low, first.ci_high) == pytest.approx(interval(mean_effect(differences), 0.95))
    assert pd.isna(frame.iloc[1].paper)  # the claim is about top-1
    alone = frame.iloc[2]
    assert alone.difference == pytest.approx(0.02)
    assert pd.isna(alone.ci_low)
    assert alone.reason.startswith("One seed has no spread, so there is no interval.")


def test_an_ablation_without_a_base_of_its_seeds_says_so() -> None:
    run = make_run(BASE, {"no_lrn": (Line(variant="no_lrn", seeds=(7,)), {7: [0]})})
    row = make_ablations(run, CLAIMS).iloc[0]
    assert pd.isna(row.value)
    assert row.reason == "No net of group cnn on ilsvrc2012 has a seed of the ablation `no_lrn`."


def test_a_protocols_gap_is_the_sum_of_its_switches_and_the_rest() -> None:
    rows = protocol_rows(ALL)
    assert list(rows.index) == [
        ("whole", ""), ("switch", "crop_chunk"), ("switch", "freeze_conv1_at"), ("sum", ""), ("rest", ""),
    ]  # fmt: skip
    assert rows.difference.tolist() == pytest.approx([11 / 300, 6 / 300, 5 / 300, 11 / 300, 0.0])
    assert rows.loc[("switch", "crop_chunk"), ["default", "setting", "ablation"]].tolist() == [
        "1",
        "32",
        "chunk",
    ]
    rest = np.zeros((3, 100))
    for place, seed in enumerate((1, 2, 3)):
        for sign, extra in ((1, WHOLE), (-1, CHUNK), (-1, FROZEN)):
            rest[place, extra[seed]] += sign
    ends = interval(mean_effect(rest), 0.95)
    assert (rows.loc[("rest", ""), "ci_low"], rows.loc[("rest", ""), "ci_high"]) == pytest.approx(ends)


def test_a_date_that_only_a_ledger_has_stands_as_a_number_and_is_explained() -> None:
    row = protocol_rows(ALL).loc[("switch", "freeze_conv1_at")]
    assert (row.default, row.setting) == ("null", "0.79")
    assert row.reason == (
        "The protocol has as_run, which needs its ledger; by itself the switch has the date."
    )  # fmt: skip


def test_a_switch_that_was_not_trained_alone_is_named() -> None:
    rows = protocol_rows({name: ALL[name] for name in ("code2012", "chunk")})
    assert rows.loc[("switch", "freeze_conv1_at"), "reason"] == (
        "params.yaml has no ablation that changes freeze_conv1_at alone on ilsvrc2012 val; the profile imagenet has."
    )
    assert rows.loc[("sum", ""), "reason"] == "1 of 2 switches; without freeze_conv1_at."
    assert rows.loc[("rest", ""), "difference"] == pytest.approx(5 / 300)


@pytest.mark.parametrize(
    "line",
    [
        switch(crop_chunk=16),
        switch(crop_chunk=32, mirror=False),
        Line(variant="half", overrides={"crop_chunk": 32}),
        Line(protocol="code2012", overrides={"crop_chunk": 32}),
    ],
)
def test_only_an_ablation_with_exactly_that_override_is_the_switch(line: Line) -> None:
    rows = protocol_rows({"code2012": ALL["code2012"], "chunk": (line, beyond(CHUNK))})
    assert pd.isna(rows.loc[("switch", "crop_chunk"), "difference"])


def test_without_the_whole_protocol_there_is_no_rest() -> None:
    rows = protocol_rows({"chunk": ALL["chunk"]})
    assert rows.loc[("switch", "crop_chunk"), "difference"] == pytest.approx(0.02)
    assert rows.loc[("whole", ""), "reason"] == (
        "params.yaml has no ablation of protocol code2012 on nets of protocol default."
    )
    assert set(rows.loc[["sum", "rest"], "reason"]) == {"The protocol as a whole has not been trained."}
    alone = protocol_rows({"code2012": ALL["code2012"]})
    assert set(alone.loc[["sum", "rest"], "reason"]) == {"No switch has been trained by itself."}


def test_sum_and_rest_are_over_the_seeds_that_all_have() -> None:
    line = Line(overrides={"crop_chunk": 32}, seeds=(2, 3))
    made = {**ALL, "chunk": (line, {seed: beyond(CHUNK)[seed] for seed in (2, 3)})}
    rows = protocol_rows(made)
    assert rows.seeds.tolist() == [3, 2, 3, 2, 2]
    assert rows.loc[("sum", ""), "difference"] == pytest.approx((2 + 3 + 2 + 1) / 200)
