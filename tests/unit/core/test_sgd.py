"""The update rule of §5 against values worked by hand, and PyTorch's form where it differs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.sgd import Descent


def one_weight(rates, *, lr_in_velocity=True, decay=0.0005, gradient=0.5):
    """A weight of 1 after each step with a constant gradient."""
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    descent = Descent({"w": weight}, 0.9, lambda _: decay, lr_in_velocity=lr_in_velocity)
    seen = []
    for rate in rates:
        descent.set_rates(lambda _, rate=rate: rate)
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        descent.step()
        seen.append(weight.item())
    return seen


def test_three_steps_give_the_hand_worked_values():
    assert one_weight([0.01] * 3) == pytest.approx([0.994995, 0.985485525025, 0.971922070120], abs=1e-12)


def test_after_a_drop_the_papers_velocity_keeps_its_size_and_pytorchs_does_not():
    assert one_weight([0.01, 0.01, 0.001])[-1] == pytest.approx(0.976426504805, abs=1e-12)
    assert one_weight([0.01, 0.01, 0.001], lr_in_velocity=False)[-1] == pytest.approx(
        0.984129179534, abs=1e-12
    )


def plain(rates, gradients, momentum, decay):
    """The paper's two lines, written out."""
    weight, velocity = 1.0, 0.0
    for rate, gradient in zip(rates, gradients, strict=True):
        if rate:
            velocity = momentum * velocity - decay * rate * weight - rate * gradient
            weight += velocity
    return weight


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.01, 0.003]), st.floats(-2, 2)), min_size=1, max_size=12),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.sampled_from([0.0, 0.01]),
)
def test_equals_the_papers_two_lines_for_any_rates(steps, momentum, decay):
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    descent = Descent({"w": weight}, momentum, lambda _: decay, lr_in_velocity=True)
    for rate, gradient in steps:
        descent.clear()
        descent.set_rates(lambda _, rate=rate: rate)
        if rate:
            weight.grad = torch.tensor([gradient], dtype=torch.float64)
        descent.step()
    expected = plain(*zip(*steps, strict=True), momentum, decay)
    assert weight.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_with_rate_zero_a_weight_is_bit_identical_and_needs_no_gradient():
    """Decay and momentum stand still too, as in the 2012 code."""
    weight = torch.full((3,), 0.1, requires_grad=True)
    descent = Descent({"w": weight}, 0.9, lambda _: 0.5, lr_in_velocity=True)
    descent.set_rates(lambda _: 0.1)
    weight.grad = torch.ones(3)
    descent.step()
    before, velocity = weight.detach().clone(), descent.velocity("w").clone()
    descent.clear()
    descent.set_rates(lambda _: 0.0)
    assert not weight.requires_grad and descent.moved("w") == 0
    descent.step()
    assert torch.equal(weight, before) and torch.equal(descent.velocity("w"), velocity)


def test_parameters_have_their_own_rates_and_decays():
    parameters = {name: torch.tensor([1.0], requires_grad=True) for name in ("a", "b")}
    descent = Descent(parameters, 0.9, lambda name: 0.5 if name == "a" else 0.0, lr_in_velocity=True)
    descent.set_rates(lambda name: 0.1 if name == "a" else 0.01)
    for parameter in parameters.values():
        parameter.grad = torch.ones(1)
    descent.step()
    assert parameters["a"].item() == pytest.approx(1 - 0.1 * 1.5)
    assert parameters["b"].item() == pytest.approx(1 - 0.01)
    assert descent.moved("a") == pytest.approx(0.15)
