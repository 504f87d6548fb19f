"""Errors of nets and of their ensembles, each with its interval or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from alexnet.core.ensemble import check_same_keys, rank_average
from alexnet.core.intervals import interval_over_images, interval_over_seeds, paired_difference
from alexnet.core.metrics import is_top1_correct, is_top5_correct
from alexnet.core.predictions import Predictions
from alexnet.errors import UserError

View = Literal["ten", "centre"]
Metric = Literal["top1_error", "top5_error"]
Floats = npt.NDArray[np.float64]

IS_CORRECT = {"top1_error": is_top1_correct, "top5_error": is_top5_correct}


@dataclass(frozen=True)
class Score:
    """An error as a fraction, the interval about it, and what that is over: n images or n seeds; or the reason why
    there is no error."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    over: Literal["images", "seeds"] | None = None
    n: int | None = None
    reason: str | None = None


def score_mean(members: Sequence[Predictions], metric: Metric, view: View, confidence: float) -> Score:
    """The mean of the members' errors with its interval over seeds; of one member, its error and that over images."""
    if reason := _first_reason(members):
        return Score(reason=reason)
    check_same_images(members)
    wrong = [mistakes(member, metric, view) for member in members]
    if len(wrong) == 1:
        return _score_over_images(wrong[0], confidence)
    errors = [float(each.mean()) for each in wrong]
    interval = interval_over_seeds(errors, confidence)
    assert interval is not None, "two members or more have a spread"
    return Score(sum(errors) / len(errors), *interval, "seeds", len(errors))


def score_ensemble(members: Sequence[Predictions], metric: Metric, confidence: float) -> Score:
    """The error of the average of the members' ten-view probabilities, with its interval over images."""
    if reason := _first_reason(members) or _why_not_averaged(members):
        return Score(reason=reason)
    return _score_over_images(ensemble_mistakes(members, metric), confidence)


def ensemble_effect(members: Sequence[Predictions]) -> tuple[float, float] | None:
    """Top-1 error of the members' ensemble minus their mean error, and its paired standard error over images.

    Negative where the ensemble is better. None where it cannot be said.
    """
    if len(members) < 2 or _first_reason(members) or _why_not_averaged(members):
        return None
    return _difference(ensemble_mistakes(members, "top1_error"), _mean_mistakes(members, "ten"))


def group_effect(members: Sequence[Predictions], others: Sequence[Predictions]) -> tuple[float, float] | None:
    """Mean top-1 error of `members` minus that of `others`, and its paired standard error over images.

    Negative where `members` are better. None where it cannot be said.
    """
    if not members or not others or _first_reason([*members, *others]):
        return None
    check_same_images([*members, *others])
    return _difference(_mean_mistakes(members, "ten"), _mean_mistakes(others, "ten"))


def view_effect(members: Sequence[Predictions]) -> tuple[float, float] | None:
    """Members' mean top-1 error from ten views minus that from the centre view, and its paired standard error.

    Negative where ten views are better. None where it cannot be said.
    """
    if not members or _first_reason(members):
        return None
    check_same_images(members)
    return _difference(_mean_mistakes(members, "ten"), _mean_mistakes(members, "centre"))


def mistakes(member: Predictions, metric: Metric, view: View) -> Floats:
    """1 for each labelled image that the member gets wrong, 0 for each it gets right: (labelled,) float64."""
    best = (member.ten if view == "ten" else member.centre).labels
    return _mistakes(member, best, metric)


def ensemble_mistakes(members: Sequence[Predictions], metric: Metric) -> Floats:
    """1 for each labelled image that the average of the members' ten-view probs gets wrong, else 0: (labelled,).

    Raises UserError if the members' images or classes differ.
    """
    check_same_images(members)
    probs = [member.ten.probs for member in members if member.ten.probs is not None]
    assert len(probs) == len(members), "asked only where all probabilities are stored"
    return _mistakes(members[0], rank_average(probs, 5), metric)


def check_same_images(members: Sequence[Predictions]) -> None:
    """Raises UserError, naming both, unless all members predict the same images, labels and classes, in one order."""
    first = members[0]
    again = "Delete the predictions of both and run predict again."
    where = f"predictions of {first.dataset} {first.split}"
    try:
        check_same_keys({member.member: member.keys for member in members})
    except ValueError as error:
        raise UserError(where, str(error), fix=again) from None
    for other in members[1:]:
        names = f"{first.member} and {other.member}"
        if (other.num_classes, other.synsets_sha256) != (first.num_classes, first.synsets_sha256):
            raise UserError(where, f"{names} have different classes", fix=again)
        if not np.array_equal(other.labels, first.labels):
            raise UserError(where, f"{names} have different labels", fix=again)


def why_unscored(member: Predictions) -> str | None:
    """Why the member has no error on this split: no images, no labels; None where it has one."""
    if (member.labels >= 0).any():
        return None
    missing = "labels" if member.keys else "images"
    return member.reason or f"{member.dataset} has no {missing} for {member.split}"


def errors_of(member: Predictions) -> Mapping[str, Mapping[str, float]]:
    """A member's errors on one split, as view -> metric -> fraction; empty where it has none."""
    if why_unscored(member):
        return {}
    views: dict[str, View] = {"ten_views": "ten", "centre_view": "centre"}
    metrics: tuple[Metric, ...] = ("top1_error", "top5_error")
    return {
        name: {metric: float(mistakes(member, metric, view).mean()) for metric in metrics}
        for name, view in views.items()
    }


def _first_reason(members: Sequence[Predictions]) -> str | None:
    return next(filter(None, map(why_unscored, members)), None)


def _why_not_averaged(members: Sequence[Predictions]) -> str | None:
    """Why the members have no average, naming the first whose probabilities are not all stored."""
    for member in members:
        if member.ten.probs is None:
            return (
                f"{member.member} has {member.num_classes} classes, more than predict.store_probs_up_to: "
                "there are no probabilities to average"
            )
    return None


def _mistakes(member: Predictions, best: npt.NDArray[np.int32], metric: Metric) -> Floats:
    """1 for each labelled image whose label is not among the best, else 0."""
    is_labelled = member.labels >= 0
    is_wrong = ~IS_CORRECT[metric](member.labels[is_labelled], best[is_labelled])
    return is_wrong.astype(np.float64)


def _mean_mistakes(members: Sequence[Predictions], view: View) -> Floats:
    """For each labelled image the part of the members that get it wrong at top-1."""
    wrong = np.stack([mistakes(member, "top1_error", view) for member in members])
    return np.asarray(wrong.mean(axis=0))


def _difference(first: Floats, second: Floats) -> tuple[float, float] | None:
    return paired_difference(first, second) if len(first) > 1 else None


def _score_over_images(wrong: Floats, confidence: float) -> Score:
    num_wrong, num_images = round(float(wrong.sum())), len(wrong)
    low, high = interval_over_images(num_wrong, num_images, confidence)
    return Score(num_wrong / num_images, low, high, "images", num_images)
