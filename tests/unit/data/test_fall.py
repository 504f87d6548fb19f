from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.fall import Fractions, split_class

PARTS = st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)).filter(lambda parts: sum(parts) < 1)


@given(st.integers(1, 300), PARTS, st.integers(0, 99))
def test_every_image_is_in_one_split_and_train_has_some(
    num: int, parts: tuple[float, float], seed: int
) -> None:
    split = split_class("n00000010", num, Fractions(*parts, seed))
    assert sorted([*split["train"], *split["val"], *split["test"]]) == list(range(num))
    assert len(split["train"]) >= 1


@pytest.mark.parametrize(
    ("num", "val", "test", "expected"),
    [
        (100, 0.01, 0.0, (99, 1, 0)),
        (101, 0.0, 0.5, (50, 0, 51)),
        (1, 0.0, 0.5, (1, 0, 0)),
        (40, 0.01, 0.0, (40, 0, 0)),
    ],
)
def test_fractions_round_to_whole_images(
    num: int, val: float, test: float, expected: tuple[int, int, int]
) -> None:
    split = split_class("n00000010", num, Fractions(val, test, 1))
    assert (len(split["train"]), len(split["val"]), len(split["test"])) == expected


def test_draw_differs_between_classes_and_seeds() -> None:
    draws = {
        tuple(split_class(wnid, 100, Fractions(0.0, 0.5, seed))["test"].tolist())
        for wnid in ("n00000010", "n00000020")
        for seed in (1, 2)
    }
    assert len(draws) == 4
