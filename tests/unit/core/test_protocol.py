"""The learning rate follows a list written by hand."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from alexnet.core.protocol import ProtocolParams, learning_rate

BASE = yaml.safe_load((Path(__file__).parents[3] / "configs/base.yaml").read_text())["protocols"]["default"]


def protocol(**changes):
    return ProtocolParams.model_validate_json(json.dumps({**BASE, **changes}))


def test_rate_is_divided_by_ten_three_times():
    rates = [learning_rate(protocol(), epoch) for epoch in (0, 22, 23, 49, 50, 77, 78, 89)]
    assert rates == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_no_drops_keep_the_rate():
    assert {learning_rate(protocol(drops=[], epochs=5), epoch) for epoch in range(5)} == {0.01}


def test_falling_drops_are_refused():
    with pytest.raises(ValidationError, match="must rise"):
        protocol(drops=[0.9, 0.7])
