"""Tables made of hand-made predictions: the paper's rows, further rows, and reasons where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alexnet.core.predictions import Predictions
from alexnet.report.paper import TABLES
from alexnet.report.tables import COLUMNS, make_table, to_csv, to_markdown

from .made_predictions import FIVE_WRONG, make_predictions, make_unlabelled

STARS_WRONG = {"star1": {0}, "star2": {0, 1, 2}}
NEVER_PUBLIC = "labels of the test images were never public"


def both(name: str, far: Any) -> dict[str, Predictions]:
    return {"val": make_predictions(name, far=far), "test": make_predictions(name, "test", far=far)}


def make(
    cnn: int = 5,
    star: int = 2,
    left_out: Mapping[str, str] | None = None,
    changed: Mapping[str, Mapping[str, Predictions]] | None = None,
) -> pd.DataFrame:
    """Table 2 with these many members of each group; those beyond five and two are never wrong."""
    plain = {f"cnn{n}": FIVE_WRONG.get(f"cnn{n}", ()) for n in range(1, cnn + 1)}
    starred = {f"star{n}": STARS_WRONG.get(f"star{n}", ()) for n in range(1, star + 1)}
    members = {**dict.fromkeys(plain, "cnn"), **dict.fromkeys(starred, "cnn*")}
    predictions = {name: both(name, far) for name, far in {**plain, **starred}.items()}
    return make_table(TABLES["table2"], members, {**predictions, **(changed or {})}, left_out or {}, 0.95)


def row(frame: pd.DataFrame, model: str, split: str = "val", metric: str = "top1_error") -> dict[str, Any]:
    found = frame[(frame.model == model) & (frame.split == split) & (frame.metric == metric)]
    assert len(found) == 1, f"{len(found)} rows {model} {split} {metric}"
    cells = found.iloc[0].to_dict()
    return {str(name): None if pd.isna(cell) else cell for name, cell in cells.items()}


def models(frame: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(frame.model))


def test_the_paper_s_members_give_the_paper_s_rows_and_no_other() -> None:
    frame = make()
    assert tuple(frame.columns) == COLUMNS
    assert models(frame) == ["SIFT + FVs", "1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*"]
    assert len(frame) == 11


def test_quoted_rows_carry_the_paper_s_value_alone() -> None:
    assert row(make(), "SIFT + FVs", "test", "top5_error") == {
        "model": "SIFT + FVs", "split": "test", "metric": "top5_error", "value": None, "ci_low": None,
        "ci_high": None, "ci_over": None, "n": None, "paper": 0.262, "difference": None,
        "reason": "quoted from the paper",
    }  # fmt: skip


def test_one_cnn_is_the_mean_of_its_group_with_the_spread_over_seeds() -> None:
    cells = row(make(), "1 CNN")
    assert cells["value"] == pytest.approx(0.15)
    assert cells["difference"] == pytest.approx(0.15 - 0.407)
    assert (cells["ci_over"], cells["n"], cells["reason"]) == ("seeds", 5, None)
    assert (cells["ci_low"], cells["ci_high"]) == pytest.approx((0.051838, 0.248162), abs=1e-6)


def test_one_cnn_star_is_the_mean_of_its_two() -> None:
    # errors 1/20 and 3/20; t of one degree of freedom 12.706205, deviation 0.1/sqrt(2), over sqrt(2)
    cells = row(make(), "1 CNN*")
    assert (cells["value"], cells["n"]) == (pytest.approx(0.1), 2)
    assert (cells["ci_low"], cells["ci_high"]) == pytest.approx((0.1 - 0.635310, 0.1 + 0.635310), abs=1e-6)


def test_ensembles_have_an_interval_over_images() -> None:
    cells = row(make(), "5 CNNs", "test", "top5_error")
    assert (cells["value"], cells["ci_over"], cells["n"]) == (0.0, "images", 20)
    assert cells["difference"] == pytest.approx(-0.164)


def test_the_first_members_of_a_group_stand_in_the_paper_s_rows() -> None:
    five, eight = make(), make(cnn=6, star=3)
    for model in ("1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*"):
        assert row(eight, model) == row(five, model)


def test_a_sixth_member_adds_rows_without_a_value_of_the_paper() -> None:
    frame = make(cnn=6)
    assert models(frame)[5:] == ["1 CNN (6 nets)", "6 CNNs", "8 CNNs*"]
    mean = row(frame, "1 CNN (6 nets)")
    assert (mean["value"], mean["n"], mean["ci_over"]) == (pytest.approx(0.125), 6, "seeds")
    assert mean["paper"] is mean["difference"] is mean["reason"] is None
    for metric, split in (("top1_error", "val"), ("top5_error", "val"), ("top5_error", "test")):
        assert row(frame, "8 CNNs*", split, metric)["value"] == 0.0


def test_seven_nets_that_are_not_the_paper_s_have_another_name() -> None:
    frame = make(cnn=6, star=1)
    assert models(frame)[5:] == ["1 CNN (6 nets)", "6 CNNs", "7 CNNs* (6 + 1)"]
    assert (
        row(frame, "7 CNNs*")["reason"]
        == "6 of 7 members: params.yaml has only cnn1, cnn2, cnn3, cnn4, cnn5, star1"
    )


def test_three_of_five_members_leave_the_paper_s_row_empty() -> None:
    frame = make(cnn=3)
    cells = row(frame, "5 CNNs")
    assert (cells["value"], cells["n"], cells["paper"], cells["difference"]) == (None, None, 0.381, None)
    assert cells["reason"] == "3 of 5 members: params.yaml has only cnn1, cnn2, cnn3"
    assert models(frame)[5:] == ["3 CNNs", "5 CNNs*"]
    assert row(frame, "3 CNNs")["value"] == 0.0
    assert (row(frame, "1 CNN")["value"], row(frame, "1 CNN")["n"]) == (pytest.approx(0.1), 3)


def test_one_member_has_an_interval_over_images_and_no_ensemble() -> None:
    frame = make(cnn=1, star=0)
    assert (row(frame, "1 CNN")["ci_over"], row(frame, "1 CNN")["n"]) == ("images", 20)
    assert models(frame) == ["SIFT + FVs", "1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*"]


def test_ilsvrc2012_alone_leaves_the_pretrained_rows_empty() -> None:
    frame = make(star=0, left_out={"fall2011": "no archives were given", "ilsvrc2010": "nor these"})
    assert row(frame, "1 CNN*")["reason"] == "fall2011 was left out: no archives were given"
    cells = row(frame, "7 CNNs*")
    assert (cells["value"], cells["paper"]) == (None, 0.367)
    assert cells["reason"] == "5 of 7 members: fall2011 was left out: no archives were given"
    assert models(frame) == ["SIFT + FVs", "1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*"]
    assert row(frame, "5 CNNs")["value"] == 0.0


def test_a_data_set_left_out_leaves_all_our_values_empty() -> None:
    frame = make(cnn=0, star=0, left_out={"ilsvrc2012": "no archives were given"})
    assert frame.value.isna().all()
    assert set(frame.reason) == {"quoted from the paper", "ilsvrc2012 was left out: no archives were given"}
    assert frame.paper.notna().all()


def test_a_data_set_left_out_is_no_reason_where_its_members_are_there() -> None:
    frame = make(cnn=3, left_out={"fall2011": "no archives were given"})
    reason = row(frame, "7 CNNs*")["reason"]
    assert reason == "5 of 7 members: params.yaml has only cnn1, cnn2, cnn3, star1, star2"


def test_a_group_without_members_is_named() -> None:
    assert row(make(star=0), "1 CNN*")["reason"] == "params.yaml has no member of group cnn*"


def test_a_test_set_without_labels_leaves_its_rows_empty() -> None:
    changed = {
        name: {"val": make_predictions(name), "test": make_unlabelled(name, "test", NEVER_PUBLIC)}
        for name in (*FIVE_WRONG, *STARS_WRONG)
    }
    frame = make(changed=changed)
    for model in ("5 CNNs", "7 CNNs*"):
        cells = row(frame, model, "test", "top5_error")
        assert (cells["value"], cells["n"], cells["reason"]) == (None, None, NEVER_PUBLIC)
        assert row(frame, model)["value"] == 0.0


def test_too_many_classes_to_average_is_a_reason() -> None:
    frame = make(
        changed={
            "cnn2": {split: make_predictions("cnn2", split, keep_probs=False) for split in ("val", "test")}
        }
    )
    assert row(frame, "5 CNNs")["reason"] == (
        "cnn2 has 6 classes, more than predict.store_probs_up_to: there are no probabilities to average"
    )
    assert row(frame, "1 CNN")["value"] is not None


def test_table1_has_both_views_of_one_net() -> None:
    member = make_predictions("cnn2010", "test", far={0}, centre_far={0, 1}, dataset="ilsvrc2010")
    frame = make_table(TABLES["table1"], {"cnn2010": "cnn2010"}, {"cnn2010": {"test": member}}, {}, 0.95)
    ten, centre = row(frame, "CNN", "test"), row(frame, "CNN, centre view", "test")
    assert (ten["value"], centre["value"]) == (0.05, 0.1)
    assert (ten["ci_over"], ten["n"]) == ("images", 20)


def test_several_nets_of_table1_are_their_mean() -> None:
    predictions = {
        name: {"test": make_predictions(name, "test", far=far, dataset="ilsvrc2010")}
        for name, far in (("a", {0}), ("b", {1, 2, 3}))
    }
    frame = make_table(TABLES["table1"], dict.fromkeys("ab", "cnn2010"), predictions, {}, 0.95)
    cells = row(frame, "CNN", "test")
    assert (cells["value"], cells["ci_over"], cells["n"]) == (pytest.approx(0.1), "seeds", 2)
    assert len(frame) == 8


def test_csv_is_rounded_and_empty_where_nothing_is() -> None:
    predictions = {
        name: {"test": make_predictions(name, "test", far=range(wrong), num_images=7, dataset="fall2009")}
        for name, wrong in (("a", 1), ("b", 1), ("c", 2))
    }
    frame = make_table(TABLES["fall2009"], dict.fromkeys("abc", "cnn2009"), predictions, {}, 0.95)
    # errors 1/7, 1/7, 2/7: mean 4/21, error of it (1/7)/3, t of two degrees 4.302653
    assert to_csv(frame).splitlines() == [
        "model,split,metric,value,ci_low,ci_high,ci_over,n,paper,difference,reason",
        "best before,test,top1_error,,,,,,0.781,,quoted from the paper",
        "best before,test,top5_error,,,,,,0.609,,quoted from the paper",
        '"CNN, sixth conv layer",test,top1_error,0.190476,-0.014412,0.395364,seeds,3,0.674,-0.483524,',
        '"CNN, sixth conv layer",test,top5_error,0.190476,-0.014412,0.395364,seeds,3,0.409,-0.218524,',
    ]


def test_csv_has_no_negative_zero() -> None:
    frame = make()
    frame["difference"] = -1e-9
    assert "-0.0" not in to_csv(frame)


def test_equal_predictions_make_equal_bytes() -> None:
    assert to_csv(make(cnn=6)) == to_csv(make(cnn=6))


def test_the_order_of_the_images_changes_nothing() -> None:
    order = np.random.default_rng(0).permutation(20)
    changed = {
        name: {split: reorder(predictions, order) for split, predictions in both(name, far).items()}
        for name, far in {**FIVE_WRONG, **STARS_WRONG}.items()
    }
    assert to_csv(make(changed=changed)) == to_csv(make())


def reorder(predictions: Predictions, order: Any) -> Predictions:
    def views(view: Any) -> Any:
        return replace(
            view, labels=view.labels[order], top_probs=view.top_probs[order], probs=view.probs[order]
        )

    return replace(
        predictions,
        keys=[predictions.keys[place] for place in order],
        labels=predictions.labels[order],
        ten=views(predictions.ten),
        centre=views(predictions.centre),
    )


def test_markdown_is_in_percent_for_readers() -> None:
    lines = to_markdown(make(star=0, left_out={"fall2011": "no archives"})).splitlines()
    assert lines[0] == "| model | split | error | ours | interval | paper | difference |"
    assert lines[2] == "| SIFT + FVs | test | top-5 | quoted from the paper |  | 26.2 |  |"
    assert lines[3] == "| 1 CNN | val | top-1 | 15.0 | 5.2–24.8 over 5 seeds | 40.7 | -25.7 |"
    assert lines[8] == "| 1 CNN\\* | val | top-1 | fall2011 was left out: no archives |  | 39.0 |  |"
