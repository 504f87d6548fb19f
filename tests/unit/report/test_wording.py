"""Numbers as readers see them, written out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from alexnet.report import wording


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.percent(0.40664), "40.7 %"),
        (wording.percent(0.40664, 2), "40.66 %"),
        (wording.percent(0.0), "0.0 %"),
        (wording.points(0.0137, 2), "+1.37"),
        (wording.points(-0.0249), "−2.5"),
        (wording.points(-0.0004), "0.0"),
        (wording.points(0.0004), "0.0"),
        (wording.value(0.3758, "absolute"), "37.6 %"),
        (wording.value(-0.015, "effect"), "−1.5 points"),
        (wording.value(3.42, "ratio"), "3.4 times"),
        (wording.span(0.3552, 0.3964, "absolute"), "35.5 to 39.6"),
        (wording.span(-0.031, 0.0188, "effect"), "−3.1 to +1.9"),
        (wording.span(2.9, 4.04, "ratio"), "2.9 to 4.0"),
        (wording.p_value(0.00099), "under 0.001"),
        (wording.p_value(0.0512), "0.051"),
        (wording.count(1, "class"), "1 class"),
        (wording.count(1000, "class"), "1,000 classes"),
        (wording.duration(59.94), "59.9 s"),
        (wording.duration(61.2), "1 min 01 s"),
        (wording.duration(3599.6), "1 h 00 min"),
        (wording.duration(9000), "2 h 30 min"),
        (wording.listing([]), ""),
        (wording.listing(["a"]), "a"),
        (wording.listing(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_a_number_is_shown_as(shown: str, expected: str) -> None:
    assert shown.replace(wording.NO_BREAK, " ") == expected


def test_a_hundredth_of_a_percent_is_shown_where_it_is_an_image() -> None:
    assert [wording.decimals_for(images) for images in (9_999, 10_000, pd.NA, None)] == [1, 2, 1, 1]


def test_margins_of_errors_are_in_points_and_those_of_ratios_as_they_are() -> None:
    text = "The interval reaches from within 0.0092 of zero to beyond. All lies further than 0.01 from the paper's value."
    assert wording.reason(text, "effect") == (
        "The interval reaches from within 0.92 points of zero to beyond. "
        "All lies further than 1 point from the paper's value."
    )
    assert wording.reason(text, "ratio") == text


def test_a_sentence_ends_where_the_next_begins() -> None:
    assert wording.sentences("It holds zero and 0.5 of the effect. If so, 7,851 images. End.") == [
        "It holds zero and 0.5 of the effect.", "If so, 7,851 images.", "End.",
    ]  # fmt: skip
    assert wording.sentences("One.") == ["One."]


@pytest.mark.parametrize(
    ("differences", "decimals"),
    [((-0.004, -0.0002), 2), ((-0.004, 0.0), 1), ((0.0005,), 1), ((0.00001,), 3), ((float("nan"), 0.02), 1)],
)
def test_what_is_not_zero_does_not_look_like_it(differences: tuple[float, ...], decimals: int) -> None:
    assert wording.decimals_of(differences, 1) == decimals
