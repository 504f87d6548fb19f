"""The update rule of §5 on values worked by hand."""

import pytest
import torch

from alexnet.core.sgd import update


def run(rates):
    weight, velocity = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for lr in rates:
        update([weight], [velocity], [torch.full((1,), 0.5, dtype=torch.float64)], lr, 0.9, 0.0005)
    return weight.item()


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([0.01], 0.994995),
        ([0.01] * 2, 0.985485525025),
        ([0.01] * 3, 0.971922070120),
        ([0.01, 0.01, 0.001], 0.976426504805),
    ],
)
def test_weights_follow_the_hand_worked_steps(rates, expected):
    assert run(rates) == pytest.approx(expected, abs=5e-13)


def test_a_rate_of_zero_moves_nothing():
    weight, velocity = torch.ones(3), torch.ones(3)
    update([weight], [velocity], [torch.ones(3)], 0.0, 0.9, 0.0005)
    assert torch.equal(weight, torch.ones(3))
    assert torch.equal(velocity, torch.ones(3))
