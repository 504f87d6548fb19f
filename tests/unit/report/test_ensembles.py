"""Ensembles of any members, and weights searched for them, on predictions made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alexnet.core.ensemble_weights import STEPS
from alexnet.report.ensembles import (
    Search,
    add_searched,
    ensembles_of,
    list_searches,
    list_weights,
    make_subsets,
    score_weighted,
    search,
    to_text,
)
from alexnet.report.paper import TABLE2
from alexnet.report.tables import make_table, to_csv

from .made_predictions import FIVE_WRONG, NUM_CLASSES, make_predictions, make_unlabelled, view

FIVE = {name: make_predictions(name, far=far) for name, far in FIVE_WRONG.items()}
READ = {
    name: {"val": val, "test": make_predictions(name, "test", far=FIVE_WRONG[name])}
    for name, val in FIVE.items()
}


def always_wrong(member="bad", strength=1.0):
    """A net that is sure of all classes but the right one."""
    labels = np.arange(20) % NUM_CLASSES
    probs = np.full((20, NUM_CLASSES), 0.2 * strength)
    probs[np.arange(20), labels] = 0
    return make_predictions(member, ten=view(probs))


def test_a_subset_is_scored_alone_and_averaged():
    subsets = {"cnn4": ["cnn4"], "cnn4 + cnn5": ["cnn4", "cnn5"]}
    frame = make_subsets(subsets, READ, {}, 0.95)
    rows = frame.set_index(["ensemble", "split", "metric"])
    assert len(frame) == 8 and set(frame.weights) == {"equal"} and frame.reason.isna().all()
    assert rows.value["cnn4", "val", "top1_error"] == 4 / 20
    # Each is wrong with 0.2 for the label's rival behind: averaged, the label keeps (0.5 + 0.05) / 2 against 0.35.
    assert rows.value["cnn4 + cnn5", "val", "top1_error"] == 9 / 20
    assert rows.value["cnn4 + cnn5", "val", "top5_error"] == 0
    assert rows.n["cnn4 + cnn5", "test", "top1_error"] == 20
    assert rows.ci_over["cnn4", "val", "top1_error"] == "images"


def test_searched_weights_leave_a_bad_net_out_and_are_kept_for_the_test_images():
    val = [FIVE["cnn1"], always_wrong(strength=3)]
    found = search(val, splits=2, seed=1)
    assert isinstance(found, Search)
    assert found.members == ("cnn1", "bad") and found.coefficients[0] == STEPS > found.coefficients[1]
    assert (found.num_images, found.found) == (20, 0.05) and found.equal > 0.5
    scores = score_weighted(val, (STEPS, 0), 0.95)
    assert (scores["top1_error"].value, scores["top5_error"].value, scores["top1_error"].n) == (
        0.05,
        0.05,
        20,
    )
    assert score_weighted([FIVE["cnn1"], FIVE["cnn5"]], (0, 7), 0.95)["top1_error"].value == 0.25


def test_a_subset_with_searched_weights_stands_twice():
    read = {
        "cnn1": {"val": make_predictions("cnn1", far=FIVE_WRONG["cnn1"], centre_far=range(20))},
        "bad": {"val": always_wrong(strength=3)},
    }
    found = search([read["cnn1"]["val"], read["bad"]["val"]], 2, 1)
    frame = make_subsets({"both": ["cnn1", "bad"], "cnn1": ["cnn1"]}, read, {"both": found}, 0.95)
    rows = frame.set_index(["ensemble", "weights", "metric"]).value
    assert rows["both", "searched", "top5_error"] == 0.05 < rows["both", "equal", "top5_error"]
    assert rows["cnn1", "equal", "top1_error"] == 0.05 and len(frame) == 6


@pytest.mark.parametrize(
    ("val", "reason"),
    [
        ([FIVE["cnn1"]], "one net has no weights"),
        ([make_unlabelled("a", "val", "none were given")] * 2, "none were given"),
        ([FIVE["cnn1"], make_predictions("b", keep_probs=False)], "b has 6 classes, of which only the best are stored"),
        ([make_predictions(name, num_images=3) for name in "ab"], "3 labelled val images cannot be halved"),
    ],
)  # fmt: skip
def test_where_nothing_can_be_searched_the_reason_is_said(val, reason):
    assert search(val, 2, 1) == reason


def test_unlabelled_images_do_not_count_in_a_search():
    labels = np.where(np.arange(20) < 6, -1, np.arange(20) % NUM_CLASSES)
    val = [replace(member, labels=labels) for member in (FIVE["cnn1"], FIVE["cnn2"])]
    found = search(val, 2, 1)
    assert isinstance(found, Search) and found.num_images == 14 and found.equal == 0
    assert score_weighted(val, (STEPS, STEPS), 0.95)["top1_error"].n == 14


def test_unlabelled_test_images_give_a_reason_and_no_error():
    members = [make_unlabelled(name, "test", "kept back by the contest") for name in "ab"]
    for score in score_weighted(members, (1, 1), 0.95).values():
        assert (score.value, score.reason) == (None, "kept back by the contest")


def test_the_table_gains_a_row_for_each_figure_of_an_ensemble():
    groups = dict.fromkeys(FIVE, "cnn")
    frame = make_table(TABLE2, groups, READ, {}, 0.95)
    assert ensembles_of(TABLE2, {"cnn": list(FIVE), "cnn*": ["x"]}) == {"5 CNNs": list(FIVE)}
    found = search([member["val"] for member in READ.values()], 2, 1)
    longer = add_searched(frame, TABLE2, {"5 CNNs": found, "7 CNNs*": "no"}, READ, 0.95)
    assert to_csv(longer).startswith(to_csv(frame))
    added = longer.iloc[len(frame) :]
    assert added.model.unique().tolist() == ["5 CNNs, searched weights"]
    assert list(zip(added.split, added.metric, added.paper, strict=True)) == [
        ("val", "top1_error", 0.381), ("val", "top5_error", 0.164), ("test", "top5_error", 0.164),
    ]  # fmt: skip
    assert added.value.tolist() == [0, 0, 0] and added.difference.tolist() == [-0.381, -0.164, -0.164]
    assert add_searched(frame, TABLE2, {}, READ, 0.95) is frame


def test_weights_and_promises_are_listed():
    found = search([FIVE["cnn1"], always_wrong(strength=3)], 4, 1)
    assert isinstance(found, Search)
    searches = {"cnn1 + bad": found, "cnn2": "one net has no weights"}
    weights = list_weights(searches)
    assert weights.member.tolist() == ["cnn1", "bad"] and weights.weight.sum() == pytest.approx(1, abs=1e-6)
    assert weights.coefficient.tolist() == [1, found.coefficients[1] / 20]
    listed = list_searches(searches, 0.95)
    row, own = listed.iloc[0], found.optimism
    assert (row["images"], row["splits"], row["searched_on_all"]) == (20, 4, 0.05)
    assert row["optimism"] == pytest.approx(own.held_out - own.searched, abs=1e-6)
    half = 2.093024 * own.gain_error  # Student's t of 19 degrees of freedom
    assert row["gain_high"] - row["gain_low"] == pytest.approx(2 * half, abs=2e-6)
    assert listed.iloc[1]["reason"] == "one net has no weights" and listed.iloc[1].isna()["images"]
    text = to_text(listed)
    assert "| cnn1 + bad | 20 | 4 |" in text and text.count("\n") == 4
    last = weights.iloc[1]
    assert to_text(weights).endswith(f"| cnn1 + bad | bad | {last.coefficient:.3f} | {last.weight:.3f} |\n")
