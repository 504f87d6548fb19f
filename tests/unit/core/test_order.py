from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.order import seeded_order


@given(st.integers(0, 200), st.integers(0, (1 << 63) - 1), st.text())
def test_order_holds_every_place_once(num: int, seed: int, name: str) -> None:
    assert sorted(seeded_order(num, seed, name).tolist()) == list(range(num))


def test_order_depends_on_seed_and_name_alone() -> None:
    order = seeded_order(100, 1, "a").tolist()
    assert order == seeded_order(100, 1, "a").tolist()
    assert order != seeded_order(100, 2, "a").tolist()
    assert order != seeded_order(100, 1, "b").tolist()
    assert seeded_order(100, 1, "a", "b").tolist() != seeded_order(100, 1, "ab").tolist()
