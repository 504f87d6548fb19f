"""claims.yaml: every claim of the paper is there, agrees with the notes, and mistakes in it are told."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from alexnet.errors import UserError
from alexnet.report.claim_list import AblationOverSeeds, ClaimList, Varied, parse_claims
from alexnet.report.paper import TABLES, Ensemble, Mean, Quoted

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT.parent / "shared/data/golden_2012.csv"

ENTRY: dict[str, Any] = {
    "section": "3.3", "claim": "Without it, worse.", "kind": "effect", "paper": 0.014, "paper_base": 0.407,
    "golden": {"value": 0.0137, "runs": ["148", "145"]}, "expects": "higher", "within": None,
    "compare": {
        "statistic": "ablation_over_seeds", "ablation": "no_lrn", "variant": "no_lrn", "protocol": "default",
        "overrides": {}, "data": "ilsvrc2012", "split": "val", "metric": "top1_error",
    },
}  # fmt: skip
FILE: dict[str, Any] = {"bound": 0.5, "power": 0.8, "claims": {"lrn.top1": ENTRY}}


@pytest.fixture(scope="module")
def claims() -> ClaimList:
    return parse_claims((ROOT / "claims.yaml").read_text())


def changed(**changes: Any) -> str:
    return yaml.safe_dump({**FILE, "claims": {"lrn.top1": {**ENTRY, **changes}}})


def test_every_figure_of_the_papers_tables_is_a_claim(claims: ClaimList) -> None:
    statistics: dict[type, str] = {
        Quoted: "quoted", Mean: "mean_over_seeds", Ensemble: "ensemble_over_images"
    }  # fmt: skip
    for table in TABLES.values():
        expected = sorted(
            (figure.paper, figure.split, figure.metric, statistics[type(figure.source)])
            for figure in table.figures
        )
        found = sorted(
            (claim.paper, claim.compare.split, claim.compare.metric, claim.compare.statistic)
            for id_, claim in claims.claims.items()
            if id_.startswith(f"{table.name}.") and hasattr(claim.compare, "data")
            and claim.compare.data == table.dataset
        )  # fmt: skip
        assert found == expected, table.name


@pytest.mark.real
def test_golden_values_are_those_of_the_notes(claims: ClaimList) -> None:
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} is not there")
    rows = list(csv.DictReader(GOLDEN.read_text().splitlines()))
    checked = 0
    for id_, claim in claims.claims.items():
        if claim.golden is None:
            continue
        place = f"{claim.compare.data}-{claim.compare.split}"
        views = ["10"] * len(claim.golden.runs)
        if claim.compare.statistic == "views_over_seeds":
            views = ["10", "1"]
        elif getattr(claim.compare, "view", "ten") == "centre":
            views = ["1"]
        values = [
            float(row[claim.compare.metric])
            for run, view in zip(claim.golden.runs, views, strict=True)
            for row in rows
            if (row["run"], row["eval_set"], row["views"]) == (run, place, view)
        ]
        expected = values[0] - values[1] if len(values) == 2 else values[0]
        assert claim.golden.value == pytest.approx(expected, abs=5e-7), id_
        if claim.paper is not None:  # rounded from the notes' value; a difference, from two
            assert abs(claim.golden.value - claim.paper) < 0.00051 * len(values), id_
        checked += 1
    assert checked == 20


def test_every_ablation_claimed_about_is_an_entry_of_the_profile_imagenet(claims: ClaimList) -> None:
    entries = yaml.safe_load((ROOT / "configs/imagenet.yaml").read_text())["ablations"]
    about = [claim.compare for claim in claims.claims.values() if isinstance(claim.compare, Varied)]
    assert len(about) > 30
    for compare in about:
        entry = entries[compare.ablation]
        assert {key: entry[key] for key in ("variant", "protocol", "overrides")} == compare.model_dump(
            include={"variant", "protocol", "overrides"}
        ), compare.ablation
        if isinstance(compare, AblationOverSeeds):
            assert (entry["data"], entry["split"]) == (compare.data, compare.split), compare.ablation


def test_every_switch_of_the_protocols_is_a_claim(claims: ClaimList) -> None:
    protocols = yaml.safe_load((ROOT / "configs/base.yaml").read_text())["protocols"]
    expected = {
        f"protocol.{name}.{switch}"
        for name in ("paper", "code2012")
        for switch, value in protocols[name].items()
        if protocols["default"][switch] != value
    }
    found = {id_ for id_ in claims.claims if id_.startswith("protocol.") and id_.count(".") == 2}
    assert found == expected
    assert {"protocol.paper", "protocol.code2012"} <= set(claims.claims)


def test_a_file_without_mistakes_is_read() -> None:
    claim = parse_claims(yaml.safe_dump(FILE)).claims["lrn.top1"]
    assert claim.size == 0.014
    assert parse_claims(changed(paper=None)).claims["lrn.top1"].size == 0.0137


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: {a: 1, a: 2}", "claims.yaml, line 1: is no YAML: key a stands twice. Mend that line."),
        (
            changed(expcts="lower"),
            "claims.yaml: claims.lrn.top1.expcts: unknown key. Did you mean expects?",
        ),
        (
            yaml.safe_dump({"bound": 0.5, "claims": {"lrn.top1": ENTRY}}),
            "claims.yaml: power: is missing. Add it, as in the other claims.",
        ),
        (
            changed(compare={**ENTRY["compare"], "split": "train"}),
            "claims.yaml: claims.lrn.top1.compare.split: has a wrong value, found \"train\", expected 'val' or 'test'. "
            "Correct it.",
        ),
        (
            changed(kind="ratio"),
            "claims.yaml: claims.lrn.top1: ablation_over_seeds is no statistic for a claim of kind ratio. Correct it.",
        ),
        (
            changed(expects="lower"),
            "claims.yaml: claims.lrn.top1: the paper's effect, 0.014, is higher, not lower. Correct it.",
        ),
        (
            changed(expects="equal"),
            "claims.yaml: claims.lrn.top1: `within` is for what expects `equal`, and only that. Correct it.",
        ),
        (
            changed(
                kind="absolute",
                paper=None,
                expects="equal",
                within=0.01,
                compare={"statistic": "quoted", "data": "d", "split": "val", "metric": "top1_error"},
            ),
            "claims.yaml: claims.lrn.top1: an absolute claim has the paper's value, and expects `equal`. Correct it.",
        ),
        (
            changed(
                kind="ratio", paper=-1.0, compare={"statistic": "epochs_of_activations", "reaches": 0.25}
            ),
            "claims.yaml: claims.lrn.top1: a ratio is above 0, and expects `lower` or `higher`. Correct it.",
        ),
    ],
)
def test_a_mistake_is_told(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_claims(text)
    assert str(caught.value) == message


def test_a_claim_with_an_unknown_statistic_is_told_which_there_are() -> None:
    with pytest.raises(
        UserError, match=r"claims.lrn.top1.compare: .*'ablation_over_seed'.*'views_over_seeds'"
    ):
        parse_claims(changed(compare={**ENTRY["compare"], "statistic": "ablation_over_seed"}))
