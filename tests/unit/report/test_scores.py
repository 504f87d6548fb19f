"""Scores counted by hand on twenty images."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.errors import UserError
from alexnet.report.scores import (
    Score,
    check_same_images,
    ensemble_effect,
    errors_of,
    group_effect,
    score_ensemble,
    score_mean,
    view_effect,
)  # fmt: skip

from .made_predictions import FIVE_WRONG, make_predictions, make_unlabelled, view

FIVE = [make_predictions(name, far=far) for name, far in FIVE_WRONG.items()]
IMAGES = st.sets(st.integers(0, 19))


def test_one_net_has_an_interval_over_images() -> None:
    score = score_mean([make_predictions("cnn1", far={0, 1}, near={2})], "top1_error", "ten", 0.95)
    assert (score.value, score.over, score.n, score.reason) == (0.15, "images", 20, None)
    assert (score.low, score.high) == pytest.approx((0.052369, 0.360419), abs=1e-6)  # Wilson of 3 in 20


def test_second_place_is_wrong_at_top1_and_right_at_top5() -> None:
    member = make_predictions("cnn1", far={0}, near={2, 3})
    assert score_mean([member], "top5_error", "ten", 0.95).value == 0.05


def test_several_nets_have_an_interval_over_seeds() -> None:
    # errors 1/20 to 5/20: mean 0.15, deviation sqrt(2.5)/20, t of four degrees 2.776445
    score = score_mean(FIVE, "top1_error", "ten", 0.95)
    assert (score.over, score.n) == ("seeds", 5)
    half = 2.776445 * math.sqrt(2.5) / 20 / math.sqrt(5)
    assert (score.value, score.low, score.high) == pytest.approx((0.15, 0.15 - half, 0.15 + half))


def test_the_centre_view_has_its_own_score() -> None:
    member = make_predictions("cnn1", far={0}, centre_far={0, 1})
    assert score_mean([member], "top1_error", "centre", 0.95).value == 0.1


def test_five_nets_that_fail_on_different_images_are_right_together() -> None:
    score = score_ensemble(FIVE, "top1_error", 0.95)
    z2 = 1.959963985**2
    assert (score.value, score.low, score.over, score.n) == (0.0, 0.0, "images", 20)
    assert score.high == pytest.approx(z2 / (20 + z2))


def test_an_ensemble_fails_where_most_do() -> None:
    # three of five wrong: label (2·0.5 + 3·0.05)/5 = 0.23 < (2·0.2 + 3·0.5)/5 = 0.38
    members = [make_predictions(f"cnn{n}", far={7} if n < 3 else ()) for n in range(5)]
    assert score_ensemble(members, "top1_error", 0.95).value == 0.05


@given(IMAGES, IMAGES)
@settings(max_examples=25, deadline=None)
def test_equal_members_score_as_one(far: set[int], near: set[int]) -> None:
    members = [make_predictions(f"cnn{n}", far=far, near=near - far) for n in range(3)]
    assert score_ensemble(members, "top1_error", 0.95) == score_mean(members[:1], "top1_error", "ten", 0.95)


@given(st.lists(IMAGES, min_size=2, max_size=5), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_members_changes_no_score(wrong: list[set[int]], random: Random) -> None:
    members = [make_predictions(f"cnn{n}", far=far) for n, far in enumerate(wrong)]
    shuffled = random.sample(members, len(members))
    assert score_ensemble(shuffled, "top1_error", 0.95) == score_ensemble(members, "top1_error", 0.95)


def test_unlabelled_images_do_not_count() -> None:
    labels = np.arange(20) % 6
    labels[:10] = -1
    score = score_mean([make_predictions("cnn1", far={0, 12}, labels=labels)], "top1_error", "ten", 0.95)
    assert (score.value, score.n) == (0.1, 10)
    assert score_ensemble([make_predictions("cnn1", far={0, 12}, labels=labels)], "top1_error", 0.95) == score


def test_a_split_without_labels_gives_its_own_reason() -> None:
    member = make_unlabelled("cnn1", "test", "labels were never public")
    for score in (
        score_mean([member], "top1_error", "ten", 0.95),
        score_ensemble([member], "top1_error", 0.95),
    ):
        assert score == Score(reason="labels were never public")


@pytest.mark.parametrize(("num_images", "missing"), [(20, "labels"), (0, "images")])
def test_without_a_reason_the_split_is_named(num_images: int, missing: str) -> None:
    member = make_predictions("cnn1", "test", num_images=num_images, labels=np.full(num_images, -1))
    assert score_mean([member], "top1_error", "ten", 0.95).reason == f"ilsvrc2012 has no {missing} for test"


def test_nets_without_all_probabilities_are_not_averaged() -> None:
    members = [make_predictions("cnn1"), make_predictions("cnn2", keep_probs=False)]
    assert score_ensemble(members, "top1_error", 0.95).reason == (
        "cnn2 has 6 classes, more than predict.store_probs_up_to: there are no probabilities to average"
    )
    assert score_mean(members, "top1_error", "ten", 0.95).value == 0.0
    assert ensemble_effect(members) is None


def test_effect_of_the_ensemble_is_paired_over_images() -> None:
    # mean of five: 0.2 wrong on 15 images, 0 on 5; the ensemble is never wrong. Differences -0.2 (15) and 0 (5):
    # mean -0.15, variance (15·0.05² + 5·0.15²)/19 = 0.15/19
    assert ensemble_effect(FIVE) == pytest.approx((-0.15, math.sqrt(0.15 / 19 / 20)))


def test_effect_of_a_group_is_paired_over_images() -> None:
    better = [make_predictions("star1", far={0}), make_predictions("star2")]
    others = [make_predictions("cnn1", far={0, 1, 2, 3})]
    # differences -0.5 (image 0), -1 (three), 0 (16): mean -0.175, squares 0.25 + 3 - 20·0.175² = 2.6375
    assert group_effect(better, others) == pytest.approx((-0.175, math.sqrt(2.6375 / 19 / 20)))


def test_effect_of_ten_views_is_paired_over_images() -> None:
    members = [make_predictions("cnn1", far={0}, centre_far={0, 1, 2})]
    # differences -1 (two) and 0 (18): mean -0.1, squares 2 - 20·0.1² = 1.8
    assert view_effect(members) == pytest.approx((-0.1, math.sqrt(1.8 / 19 / 20)))


def test_effects_that_cannot_be_said_are_none() -> None:
    member = make_predictions("cnn1")
    unlabelled = make_unlabelled("cnn2", "val", None)
    assert ensemble_effect([member]) is None
    assert ensemble_effect([unlabelled, unlabelled]) is None
    assert (
        group_effect([], [member])
        is group_effect([member], [])
        is group_effect([member], [unlabelled])
        is None
    )
    assert view_effect([]) is view_effect([unlabelled]) is None
    assert view_effect([make_predictions("cnn1", num_images=1)]) is None


def test_errors_of_a_member_are_those_of_both_views() -> None:
    member = make_predictions("cnn1", far={0}, centre_far={0, 1}, near={5})
    assert errors_of(member) == {
        "ten_views": {"top1_error": 0.1, "top5_error": 0.05},
        "centre_view": {"top1_error": pytest.approx(0.15), "top5_error": 0.1},
    }
    assert errors_of(make_unlabelled("cnn1", "test", None)) == {}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"keys": ["x"] * 20}, "cnn1 and cnn2 predict different images: row 0 is val_00000000.JPEG and x."),
        ({"labels": np.zeros(20, np.int64)}, "cnn1 and cnn2 have different labels."),
        ({"synsets_sha256": "ff"}, "cnn1 and cnn2 have different classes."),
    ],
)
def test_members_of_different_data_are_not_compared(change: dict[str, object], text: str) -> None:
    members = [make_predictions("cnn1"), replace(make_predictions("cnn2"), **change)]  # type: ignore[arg-type]
    again = "Delete the predictions of both and run predict again."
    for compare in (check_same_images, lambda both: score_ensemble(both, "top1_error", 0.95)):
        with pytest.raises(UserError) as caught:
            compare(members)
        assert str(caught.value) == f"predictions of ilsvrc2012 val: {text} {again}"


def test_ensembles_are_averaged_and_not_voted() -> None:
    # two lean to class 1, one is sure of class 0: the mean of probabilities is (0.55, 0.45), the vote says 1
    sure, leaning = np.array([[0.85, 0.15]]), np.array([[0.4, 0.6]])
    members = [
        make_predictions(name, num_images=1, num_classes=2, ten=view(probs), centre=view(probs))
        for name, probs in (("a", sure), ("b", leaning), ("c", leaning))
    ]
    assert score_ensemble(members, "top1_error", 0.95).value == 0.0
