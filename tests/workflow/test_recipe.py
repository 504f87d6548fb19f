"""A recipe changes with the code and the sections it lists, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

import recipe

PARAMS: dict[str, Any] = {
    "network": {"columns": 2},
    "protocols": {"default": {"lr": 0.01}, "paper": {"lr": 1}},
}


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Composes the recipe of a training from parameters."""
    monkeypatch.setattr(recipe, "stage_modules", lambda *_: [])

    def compose(params: dict[str, Any]) -> str:
        monkeypatch.setattr(recipe.yaml, "safe_load", lambda _: params)
        return recipe.compose("train", ["network", "protocols.default"])

    return compose


def test_a_section_within_a_section_is_found_by_its_keys() -> None:
    assert recipe.find_section(PARAMS, "protocols.default") == {"lr": 0.01}
    assert recipe.find_section(PARAMS, "network") == {"columns": 2}


def test_only_the_default_protocol_is_in_the_recipe_of_a_training(composed: Any) -> None:
    before = composed(PARAMS)
    assert composed({**PARAMS, "protocols": {**PARAMS["protocols"], "paper": {"lr": 2}}}) == before
    assert composed({**PARAMS, "protocols": {**PARAMS["protocols"], "default": {"lr": 2}}}) != before
