"""Verdicts: every branch by hand, on simulated worlds of known truth, and from nets' mistakes to rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alexnet.core.epochs import epochs_to
from alexnet.core.statistics import Effect, Seeds, image_effect, interval, mean_effect, paired_effect
from alexnet.report.claim_list import Claim, ClaimList
from alexnet.report.claims import COLUMNS, make_claims, to_csv, to_markdown
from alexnet.report.comparisons import Finding, Run, measure
from alexnet.report.verdicts import judge, what_would_decide

from .made_run import OFFICIAL, Line, MadeStore, history, make_run, some
from .test_claim_list import ENTRY

MEASURED = Effect(
    0.0, (Seeds(3, 1e-5, 0.1),), 0.1, 1000
)  # some spread, where a test needs only that there is one


def claim(**changes: Any) -> Claim:
    return Claim.model_validate({**ENTRY, **changes})


def claims(**entries: Claim) -> ClaimList:
    return ClaimList(bound=0.5, power=0.8, claims=entries)


def finding(low: float, high: float, **changes: Any) -> Finding:
    made: dict[str, Any] = {
        "scope": "ilsvrc2012 val", "value": (low + high) / 2, "interval": (low, high), "effect": MEASURED, "seeds": 3,
        "images": 1000, "is_papers": True,
    }  # fmt: skip
    return Finding(**{**made, **changes})


def verdict(claim: Claim, found: Finding) -> tuple[str, str]:
    judgement = judge(claim, found, claims(c=claim), 0.95)
    return judgement.verdict, judgement.reason


SMALLER = " It also excludes 0.5 of the expected effect: the effect is smaller here."
ABSOLUTE: dict[str, Any] = {
    "kind": "absolute", "paper": 0.4, "expects": "equal", "within": 0.01, "golden": None,
    "compare": {
        "statistic": "mean_over_seeds", "group": "cnn", "first": 5, "view": "ten", "data": "ilsvrc2012",
        "split": "val", "metric": "top1_error",
    },
}  # fmt: skip
RATIO: dict[str, Any] = {
    "kind": "ratio", "paper": 6.0, "golden": None,
    "compare": {"statistic": "epochs_of_activations", "reaches": 0.25},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "low", "high", "expected", "reason"),
    [
        ({}, 0.001, 0.02, "reproduced", "The interval excludes zero on the expected side."),
        ({}, 0.001, 0.0069, "reproduced", f"The interval excludes zero on the expected side.{SMALLER}"),
        ({}, -0.02, -0.001, "not reproduced", "The interval lies on the other side of zero than expected."),
        ({}, -0.02, 0.0069, "not reproduced", "The interval holds zero and excludes 0.5 of the expected effect."),
        ({}, -0.02, 0.0071, "undecided", "The interval holds zero and 0.5 of the expected effect."),
        ({"paper": -0.014, "expects": "lower"}, -0.02, -0.001, "reproduced", "excludes zero on the expected side"),
        ({"paper": -0.014, "expects": "lower"}, 0.001, 0.02, "not reproduced", "on the other side of zero"),
        ({"paper": -0.014, "expects": "lower"}, -0.0069, 0.02, "not reproduced", "holds zero and excludes 0.5 of"),
        ({"paper": -0.014, "expects": "lower"}, -0.0071, 0.02, "undecided", "holds zero and 0.5 of"),
        ({"paper": None}, -0.02, 0.006, "not reproduced", "excludes 0.5 of"),  # the notes' 0.0137 stands in
        ({"paper": None, "golden": None}, -0.02, 0.0001, "undecided", "The interval holds zero. If"),
        ({"paper": None, "golden": None}, 0.001, 0.002, "reproduced", "excludes zero on the expected side."),
        ({"paper": None, "golden": None}, -0.02, -0.01, "not reproduced", "on the other side of zero"),
        (ABSOLUTE, 0.391, 0.409, "reproduced", "The interval lies within 0.01 of the paper's value."),
        (ABSOLUTE, 0.411, 0.43, "not reproduced", "All of the interval lies further than 0.01 from the paper's value."),
        (ABSOLUTE, 0.37, 0.389, "not reproduced", "All of the interval lies further than"),
        (ABSOLUTE, 0.37, 0.395, "undecided", "The interval reaches from within 0.01 of the paper's value to beyond."),
        (ABSOLUTE, 0.37, 0.43, "undecided", "The interval reaches from within"),
        ({"paper": None, "golden": None, "expects": "equal", "within": 0.005}, -0.004, 0.004, "reproduced", "of zero"),
        ({"paper": None, "golden": None, "expects": "equal", "within": 0.005}, 0.006, 0.01, "not reproduced", "from zero"),
        ({"paper": None, "golden": None, "expects": "equal", "within": 0.005}, 0.001, 0.01, "undecided", "of zero to beyond"),
        (RATIO, math.log(2), math.log(9), "reproduced", "excludes zero on the expected side."),
        (RATIO, math.log(0.5), math.log(2.4), "not reproduced", "excludes 0.5 of"),  # 6 ** 0.5 = 2.449
        (RATIO, math.log(0.5), math.log(2.5), "undecided", "holds zero and 0.5 of"),
        (RATIO, math.log(0.5), math.log(0.9), "not reproduced", "on the other side of zero"),
    ],
)  # fmt: skip
def test_every_branch_of_the_rules(
    changes: dict[str, Any], low: float, high: float, expected: str, reason: str
) -> None:
    found, said = verdict(claim(**changes), finding(low, high))
    assert found == expected
    assert reason in said
    assert ("would decide" in said) == (expected == "undecided")


def test_what_would_decide_is_counted_to_the_limit_that_is_easiest_to_exclude() -> None:
    """From 0.001 zero is 0.001 away, half of the paper's effect 0.006; to its other side from 0.013 it is zero."""
    for value, distance in ((0.001, 0.006), (0.013, 0.013), (-0.002, 0.009)):
        _, reason = verdict(claim(), finding(value - 0.02, value + 0.02))
        assert reason.endswith(what_would_decide(MEASURED, distance, 0.95, 0.8))
    _, reason = verdict(claim(**ABSOLUTE), finding(0.38, 0.414))  # the middle, 0.397, is 0.007 inside
    assert reason.endswith(what_would_decide(MEASURED, 0.007, 0.95, 0.8))


def test_on_other_images_the_expected_effect_is_in_proportion_to_the_error() -> None:
    """The base errs half as often as the paper's, so half of the effect is 0.0035 instead of 0.007."""
    there = {"is_papers": False, "base": 0.407 / 2, "scope": "drawn"}
    assert verdict(claim(), finding(-0.02, 0.0034, **there))[0] == "not reproduced"
    assert verdict(claim(), finding(-0.02, 0.0036, **there))[0] == "undecided"
    assert "scaled to the error here" in verdict(claim(), finding(-0.02, 0.0034, **there))[1]
    assert verdict(claim(), finding(-0.02, 0.0036, base=0.2))[0] == "not reproduced"
    equal = claim(paper=None, golden=None, expects="equal", within=0.01)
    assert verdict(equal, finding(-0.0045, 0.0045, **there))[0] == "reproduced"
    assert verdict(equal, finding(-0.0055, 0.0045, **there))[0] == "undecided"


def test_an_absolute_error_is_judged_on_the_papers_images_alone() -> None:
    found, reason = verdict(
        claim(**ABSOLUTE), finding(0.391, 0.409, is_papers=False, scope="d val (generated)")
    )
    assert found == "not run"
    assert reason == (
        "An absolute error is judged only on the paper's own images by nets of its size; "
        "this one is of d val (generated)."
    )


def test_what_was_not_measured_is_not_run() -> None:
    assert verdict(claim(), Finding(missing="No nets.")) == ("not run", "No nets.")


def test_one_seed_decides_nothing_about_a_method() -> None:
    alone = finding(0.01, 0.02, effect=Effect(0.015, (Seeds(1, 0.0, 0.0),), 0.1, 1000), notes=("A note.",))
    assert verdict(claim(), alone) == (
        "undecided",
        "A claim about a method needs two seeds or more, of each kind of net; there is one. A note.",
    )


def test_without_spread_nothing_is_decided() -> None:
    alike = finding(0.0, 0.0, effect=paired_effect(np.ones((3, 9)), np.ones((3, 9))))
    assert verdict(claim(), alike) == (
        "undecided", "Nothing differs on any image, so there is no spread to judge by."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "distance", "expected"),
    [
        (
            Effect(0.0, (), 1.0, 50),
            0.1,
            "If it stays as it is, 787 images would decide with a chance of 80 %.",
        ),
        (Effect(0.0, (Seeds(3, 0.0, 1.0),), 0.0, 100), 0.1, " seeds on these images or "),
        (Effect(0.0, (Seeds(2, 1.0, 0.0),), 1.0, 10), 0.5, " images would decide"),
        (Effect(0.0, (Seeds(3, 1.0, 0.0),)), 1e-9, "no number of seeds or images in reach would decide."),
        (Effect(0.0, (), 1.0, 50), 0.0, "The value lies on the very limit"),
    ],
)
def test_an_undecided_claim_says_what_would_decide(effect: Effect, distance: float, expected: str) -> None:
    assert expected in what_would_decide(effect, distance, 0.95, 0.8)


def test_where_neither_alone_would_decide_both_together_are_asked_for() -> None:
    said = what_would_decide(Effect(0.0, (Seeds(2, 1.0, 0.0),), 1.0, 10), 0.5, 0.95, 0.8)
    seeds, images = (
        int(word.replace(",", "")) for word in said.split() if word[0].isdigit() and word != "80"
    )
    # se² = 1/seeds + 1/images must be (0.5 / 2.8)² = 0.032 or less: 64 and 80, say
    assert 40 <= seeds <= 80 and images in (80, 160, 320)
    assert what_would_decide(Effect(0.0, (Seeds(seeds, 1.0, 0.0),), 1.0, images), 0.5, 0.95, 0.8).startswith(
        f"If it stays as it is, {seeds} seeds"
    )


WORLDS = 400


@pytest.mark.parametrize(
    ("truth", "wrong", "at_most"),
    [
        (0.0, "reproduced", 0.04),  # 2.5 % are on the paper's side by chance
        (0.014, "not reproduced", 0.02),
        (0.007, "not reproduced", 0.04),  # the very bound
        (-0.014, "reproduced", 0.005),
    ],
)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_verdicts_on_worlds_of_known_truth_are_seldom_wrong(
    truth: float, wrong: str, at_most: float, seeds: int
) -> None:
    rng = np.random.default_rng([seeds, round(1000 * abs(truth))])
    found = []
    for _ in range(WORLDS):
        values = truth + 0.004 * rng.normal(size=(seeds, 1)) + 0.05 * rng.normal(size=300)
        effect = mean_effect(values + 0.1 * rng.normal(size=(seeds, 300)))
        ends = interval(effect, 0.95)
        assert ends is not None
        found.append(verdict(claim(), finding(*ends, effect=effect, value=effect.value))[0])
    assert found.count(wrong) / WORLDS <= at_most


def test_with_seeds_enough_the_truth_is_found() -> None:
    rng = np.random.default_rng(1)
    for truth, expected in ((0.014, "reproduced"), (0.0, "not reproduced"), (-0.014, "not reproduced")):
        found = []
        for _ in range(100):
            values = truth + 0.004 * rng.normal(size=(20, 1)) + 0.05 * rng.normal(size=3000)
            effect = mean_effect(values + 0.1 * rng.normal(size=(20, 3000)))
            ends = interval(effect, 0.95)
            assert ends is not None
            found.append(verdict(claim(), finding(*ends, effect=effect, value=effect.value))[0])
        assert found.count(expected) >= 97


# From nets to rows.

NO_LRN = Line(variant="no_lrn")


def lrn_run(**changes: Any) -> Run:
    """Three seeds: the base errs on images 0-9, the variant also on 20 more, of which 2 differ from seed to seed."""
    base = {seed: range(10) for seed in (1, 2, 3)}
    varied = {seed: [*range(28), 40 + seed, 50 + seed] for seed in (1, 2, 3)}
    return make_run(base, {"no_lrn": (NO_LRN, varied)}, **changes)


def row_of(run: Run, made: Claim) -> dict[str, Any]:
    frame = make_claims(claims(c=made), run)
    assert tuple(frame.columns) == COLUMNS
    return dict(frame.iloc[0])


def test_an_ablation_is_paired_with_its_base_by_seed() -> None:
    row = row_of(lrn_run(), claim())
    assert (row["value"], row["seeds"], row["images"]) == (pytest.approx(0.2), 3, 100)
    assert row["scope"] == "ilsvrc2012 val (generated)"
    varied, plain = np.zeros((3, 100)), np.zeros((3, 100))
    plain[:, :10] = 1
    varied[:, :28] = 1
    for seed in (1, 2, 3):
        varied[seed - 1, [40 + seed, 50 + seed]] = 1
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(paired_effect(varied, plain), 0.95))
    assert (row["verdict"], row["paper"], row["golden"]) == ("reproduced", 0.014, 0.0137)


def test_seeds_without_a_base_are_named_and_left_out() -> None:
    run = make_run({1: {0}, 2: {1}}, {"no_lrn": (NO_LRN, {1: {5}, 2: {6}, 3: {7}})})
    row = row_of(run, claim())
    assert row["seeds"] == 2
    assert "The base has no net of seed 3." in row["reason"]


def test_of_one_pair_mcnemars_test_speaks_in_words() -> None:
    run = make_run({1: {0}}, {"no_lrn": (Line(variant="no_lrn", seeds=(1,)), {1: {1, 2, 3, 4, 5}})})
    row = row_of(run, claim())
    assert row["verdict"] == "undecided"
    assert math.isnan(row["p_value"]) and math.isnan(row["ci_low"])
    assert "Of these two nets alone McNemar's test has p = 0.22." in row["reason"]  # 14/64


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Line(variant="no_lrn", overrides={"mirror": False}), "changes something else than this claim."),
        (Line(variant="no_lrn", protocol="paper"), "changes something else than this claim."),
        (Line(variant="half"), "changes something else than this claim."),
        (Line(variant="no_lrn", base="cnn*"), "changes something else than this claim."),
    ],
)
def test_an_ablation_is_known_by_what_it_changes(line: Line, reason: str) -> None:
    run = make_run({1: {0}, 2: {1}, 3: {2}}, {"no_lrn": (line, {1: {5}, 2: {6}, 3: {7}})})
    row = row_of(run, claim())
    assert row["verdict"] == "not run"
    assert reason in row["reason"]


def test_an_ablation_of_other_nets_than_the_papers_is_none_of_the_claim() -> None:
    six = {f"six{seed}": (Line(group="six", variant="six_conv", seed=seed), {seed}) for seed in (1, 2, 3)}
    line = Line(variant="no_lrn", base="six")
    run = make_run({}, {"no_lrn": (line, {1: {5}, 2: {6}, 3: {7}})}, members=six)
    assert row_of(run, claim())["verdict"] == "not run"


def test_the_name_of_an_ablation_does_not_matter_and_a_rate_of_its_own_is_noted() -> None:
    tuned = Line(variant="no_lrn", overrides={"lr": 0.005})
    mistakes = {1: {5, 9}, 2: {6}, 3: {7, 8}}
    row = row_of(make_run({1: {0}, 2: {1}, 3: {2}}, {"other": (tuned, mistakes)}), claim())
    assert row["value"] == pytest.approx(2 / 300)
    assert row["reason"].endswith("Its nets also differ in lr.")


def test_of_two_ablations_that_of_the_papers_images_is_taken() -> None:
    there = Line(variant="no_lrn", data="ilsvrc2010", split="test")
    run = make_run(
        {1: {0}, 2: {1}, 3: {2}},
        {"first": (there, {1: {5}, 2: {5}, 3: {5}}), "second": (NO_LRN, {1: range(9), 2: range(9), 3: range(9)})},
        members={"other": (Line(data="ilsvrc2010", split="test"), {0})},
    )  # fmt: skip
    assert row_of(run, claim())["scope"] == "ilsvrc2012 val (generated)"
    elsewhere = ENTRY["compare"] | {"data": "ilsvrc2010", "split": "test"}
    assert row_of(run, claim(compare=elsewhere))["scope"] == "ilsvrc2010 test (generated)"


def test_an_ablation_that_is_missing_says_why() -> None:
    row = row_of(make_run({1: {0}}), claim())
    assert row["reason"] == "params.yaml has no ablation `no_lrn`; it is an entry of the profile imagenet."
    row = row_of(make_run({1: {0}}, left_out={"ilsvrc2012": "no archives"}), claim())
    assert row["reason"] == "Needs ilsvrc2012, which was left out: no archives."


def test_an_absolute_error_is_shown_everywhere_and_judged_on_official_images() -> None:
    base = {seed: range(38 + seed) for seed in (1, 2, 3)}
    row = row_of(make_run(base), claim(**ABSOLUTE))
    assert (row["value"], row["verdict"]) == (pytest.approx(0.4), "not run")
    assert math.isnan(row["p_value"])
    row = row_of(make_run(base, kinds=OFFICIAL, is_full_size=True), claim(**ABSOLUTE))
    assert (row["scope"], row["verdict"]) == ("ilsvrc2012 val", "undecided")
    assert row["p_value"] == 1.0  # the mean is the paper's value
    assert math.isnan(row["p_adjusted"])
    assert row_of(make_run(base, kinds=OFFICIAL), claim(**ABSOLUTE))["verdict"] == "not run"


def test_groups_that_share_no_seeds_are_compared_unpaired() -> None:
    starred = {
        f"star{seed}": (Line(group="cnn*", variant="six_conv", seed=seed), range(seed)) for seed in (8, 9)
    }
    made = claim(
        paper=-0.017, golden=None, expects="lower",
        compare={
            "statistic": "groups_over_seeds", "group": "cnn*", "against": "cnn", "data": "ilsvrc2012",
            "split": "val", "metric": "top1_error",
        },
    )  # fmt: skip
    base = {seed: range(20 + seed) for seed in (1, 2, 3)}
    row = row_of(make_run(base, members=starred), made)
    assert (row["value"], row["seeds"]) == (pytest.approx(0.085 - 0.22), 5)
    assert row["verdict"] == "reproduced"
    row = row_of(make_run(base, left_out={"fall2011": "no archives"}), made)
    assert row["reason"] == "Needs fall2011, which was left out: no archives."
    assert row_of(make_run(base), made)["reason"] == "params.yaml has no member of group cnn* on ilsvrc2012."


def test_ten_views_are_taken_from_the_group_that_has_seeds() -> None:
    made = claim(
        paper=-0.015, golden=None, expects="lower",
        compare={
            "statistic": "views_over_seeds", "groups": ["cnn2010", "cnn"], "data": "ilsvrc2010", "split": "test",
            "metric": "top1_error",
        },
    )  # fmt: skip
    one = {"old": (Line(group="cnn2010", data="ilsvrc2010", split="test"), {1})}
    two = {**one, "new": (Line(group="cnn2010", data="ilsvrc2010", split="test", seed=2), {1})}
    base = {1: {0}, 2: {0}, 3: {0}}
    assert row_of(make_run(base, members=one), made)["scope"] == "ilsvrc2012 val (generated)"
    assert row_of(make_run(base, members=two), made)["scope"] == "ilsvrc2010 test (generated)"
    assert row_of(make_run({}, members=one), made)["verdict"] == "undecided"


def ensemble_claim(**compare: Any) -> Claim:
    where = {"data": "ilsvrc2012", "split": "val", "metric": "top1_error"}
    return claim(paper=-0.026, golden=None, expects="lower", compare={**where, **compare})


def test_an_ensemble_is_compared_over_images_with_the_mean_of_its_members() -> None:
    """Each of three errs on 9 images of its own and 4 of all, so the average errs on those 4."""
    base = {seed: [*range(4), *range(10 * seed, 10 * seed + 9)] for seed in (1, 2, 3)}
    run = make_run(base)
    made = ensemble_claim(statistic="ensemble_against_mean", ensemble={"cnn": 3})
    row = row_of(run, made)
    assert row["value"] == pytest.approx(-0.09)
    differences = np.zeros(100)
    differences[[place for seed in (1, 2, 3) for place in range(10 * seed, 10 * seed + 9)]] = -1 / 3
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(image_effect(differences), 0.95))
    assert row["verdict"] == "reproduced"
    assert row["reason"].endswith("It is of these nets alone, over images.")
    store = run.store
    assert isinstance(store, MadeStore) and store.asked_for_probs == ["cnn1", "cnn2", "cnn3"]
    more = ensemble_claim(statistic="ensemble_against_mean", ensemble={"cnn": 4})
    assert row_of(run, more)["reason"] == "params.yaml has 3 members of group cnn; 4 are needed."


def test_two_ensembles_are_held_against_each_other_by_mcnemar() -> None:
    base = {seed: range(20, 26) for seed in (1, 2, 3)}
    others = {f"star{seed}": (Line(group="cnn*", seed=seed), {0}) for seed in (4, 5, 6, 7, 8)}
    made = ensemble_claim(
        statistic="ensemble_against_ensemble", ensemble={"cnn": 3, "cnn*": 5}, against={"cnn": 3}
    )
    row = row_of(make_run(base, members=others), made)
    assert row["value"] == pytest.approx((1 - 6) / 100)
    assert row["p_value"] == pytest.approx(2 * 8 / 2**7)  # one against six


def histories(run: Run, varied: list[Any], base: list[Any]) -> Run:
    store = run.store
    assert isinstance(store, MadeStore)
    for seed, (one, other) in enumerate(zip(varied, base, strict=True), start=1):
        store.histories["no_lrn", seed], store.histories[f"cnn{seed}"] = one, other
    return run


def test_overfitting_is_the_last_gap_beyond_that_of_the_base() -> None:
    made = claim(paper=None, golden=None, compare={**ENTRY["compare"], "statistic": "overfit_over_seeds"})
    varied = [history([0.9, 0.1], [0.9, 0.4 + 0.01 * seed]) for seed in range(3)]
    base = [history([0.9, 0.3], [0.9, 0.35])] * 3
    row = row_of(histories(lrn_run(), varied, base), made)
    assert row["value"] == pytest.approx(0.31 - 0.05)
    assert (row["verdict"], pd.isna(row["images"])) == ("reproduced", True)


def test_epochs_are_counted_to_the_part() -> None:
    assert epochs_to([0.9, 0.7, 0.5], 0.6) == pytest.approx(2.5)
    assert epochs_to([0.9, 0.7, 0.5], 0.7) == pytest.approx(2.0)
    assert epochs_to([0.5, 0.4], 0.6) == 1.0
    assert epochs_to([0.9, 0.7], 0.6) is None


def test_a_ratio_of_epochs_is_a_geometric_mean_over_seeds() -> None:
    compare = {**ENTRY["compare"], "statistic": "epochs_of_ablation", "reaches": 0.65}
    made = claim(kind="ratio", paper=2.0, golden=None, compare=compare)
    base = [history([0.9] * 5, [1.0] * epochs + [0.65] * (5 - epochs)) for epochs in (3, 1, 3)]
    varied = [history([0.9] * 5, [1.0, 0.65, 0.6, 0.6, 0.6])] * 3
    row = row_of(histories(lrn_run(), varied, base), made)
    assert row["value"] == pytest.approx((2 * 1 * 2) ** (1 / 3))  # 4, 2 and 4 epochs over 2
    assert row["ci_low"] * row["ci_high"] == pytest.approx(row["value"] ** 2)
    never = [history([0.9], [0.9])] * 3
    row = row_of(histories(lrn_run(), never, base), made)
    assert row["reason"] == (
        "The net of seed 1 of `no_lrn` does not get down to a validation error of 0.65."
    )  # fmt: skip


def activations(epochs: dict[tuple[str, int], int]) -> pd.DataFrame:
    rows = [
        {"activation": activation, "seed": seed, "epoch": epoch, "train_top1_error": 1.0 if epoch < at else 0.25}
        for (activation, seed), at in epochs.items()
        for epoch in range(1, 31)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_relu_and_tanh_are_paired_by_seed() -> None:
    run = make_run({})
    assert row_of(run, claim(**RATIO))["reason"] == (
        "There is no training of ReLU and tanh; `alexnet relu-tanh` makes it."
    )
    store = run.store
    assert isinstance(store, MadeStore)
    frame = activations({("relu", 1): 3, ("relu", 2): 4, ("tanh", 1): 18, ("tanh", 2): 20, ("tanh", 3): 5})
    store.trained = (frame, "ilsvrc2012")
    row = row_of(run, claim(**RATIO))
    assert (row["value"], row["seeds"]) == (pytest.approx(math.sqrt(6 * 5)), 2)
    assert row["scope"] == "ilsvrc2012 (generated)"
    store.trained = (frame[frame.epoch < 19], "ilsvrc2012")
    assert row_of(run, claim(**RATIO))["reason"] == (
        "The net of seed 2 with tanh does not get down to a training error of 0.25."
    )


def test_images_without_labels_are_not_run() -> None:
    unlabelled = make_run({1: {0}})
    store = unlabelled.store
    assert isinstance(store, MadeStore)
    made = store.mistakes["cnn1", "val"]
    store.mistakes["cnn1", "val"] = type(made)(
        **{**vars(made), "labels": np.full(100, -1), "reason": "labels were never published"}
    )
    assert measure(unlabelled, claim(**ABSOLUTE).compare).missing == "Labels were never published."


def test_many_claims_are_corrected_and_told_where_little_is_left() -> None:
    """One effect at p = 0.03 among 41, of which the others are nothing."""
    rng = np.random.default_rng(42)
    base = {seed: some(rng, 0.3, 400) for seed in (1, 2, 3)}
    extra = {seed: {*base[seed], *some(rng, 0.02, 400)} for seed in (1, 2, 3)}
    nothing = {
        seed: base[seed]
        ^ set(sorted(base[seed])[seed : seed + 3])
        ^ set(sorted(set(range(400)) - base[seed])[:3])
        for seed in (1, 2, 3)
    }  # three mended, three spoilt
    run = make_run(base, {"no_lrn": (NO_LRN, extra), "half": (Line(variant="half"), nothing)}, num_images=400)
    other = claim(compare={**ENTRY["compare"], "ablation": "half", "variant": "half"})
    frame = make_claims(claims(c=claim(), **{f"n{place}": other for place in range(40)}), run).set_index("id")
    first = frame.loc["c"]
    assert first.p_value < 0.05 < first.p_adjusted
    assert first.verdict == "reproduced"
    assert (
        f"Among 41 comparisons one such may be chance: corrected, p is {first.p_adjusted:.2g}."
        in first.reason
    )


def test_a_row_is_written_in_fractions_and_shown_in_points() -> None:
    frame = make_claims(claims(c=claim(), a=claim(**ABSOLUTE)), lrn_run())
    lines = to_csv(frame).splitlines()
    assert lines[1].startswith(
        'c,3.3,"Without it, worse.",effect,ilsvrc2012 val (generated),0.014,0.0137,0.2,0.1'
    )
    shown = to_markdown(frame)
    assert shown.startswith("1 reproduced, 0 not reproduced, 0 undecided, 1 not run.\n")
    assert "| Without it, worse. | reproduced | +20.0 | +12." in shown
    assert "| not run | 10.0 | " in shown
