"""The net of Figure 1 against the counts of its 2012 layer file and a plain twin, and the rule that chooses rates."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from alexnet.core.cifar_net import (
    STDS,
    CifarNet,
    Trial,
    choose_rate,
    epochs_left,
    initialize,
)
from alexnet.core.epochs import epochs_to
from alexnet.core.figure_params import ReluTanhParams

PARAMS = {
    "classes": 3,
    "rates": {"relu": [0.1], "tanh": [0.1]},
    "choice_seeds": [9],
    "seeds": [1],
    "batch": 4,
    "momentum": 0.9,
    "max_epochs": 2,
    "target": 0.25,
}


def test_as_many_parameters_as_the_2012_net():
    net = CifarNet("relu", 10, 32)
    assert net.num_parameters == 89_578
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in net.named_children()}
    assert counts == {"conv1": 2_432, "conv2": 25_632, "conv3": 51_264, "fc4": 10_250}


@pytest.mark.parametrize(("side", "last"), [(8, 1), (9, 1), (28, 3), (32, 4), (64, 8), (224, 28)])
def test_any_side_works(side, last):
    net = CifarNet("tanh", 5, side)
    assert net.fc4.in_features == 64 * last**2
    assert net(torch.zeros(2, 3, side, side)).shape == (2, 5)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="three poolings leave nothing of 7 pixels"):
        CifarNet("relu", 5, 7)


def pool(values, reduce):
    """3 x 3 windows, 2 apart, cut at the border: one by one."""
    side = values.shape[-1]
    places = range(0, side - 1, 2)
    rows = [[reduce(values[..., y : y + 3, x : x + 3].flatten(2)) for x in places] for y in places]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_is_convolution_activation_pooling_three_times(activation):
    """Also that mean pooling divides by the units that are there, and that conv1's order does not matter."""
    net = CifarNet(activation, 4, 10)
    initialize(net, 3)
    net.conv1.weight.data *= 100  # else it is too faint for a mistake to show
    act = torch.relu if activation == "relu" else torch.tanh
    images = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0)) * 60
    values = images
    for name, reduce in (
        ("conv1", lambda w: w.amax(2)),
        ("conv2", lambda w: w.mean(2)),
        ("conv3", lambda w: w.mean(2)),
    ):
        layer = net.get_submodule(name)
        values = pool(act(F.conv2d(values, layer.weight, layer.bias, padding=2)), reduce)
    torch.testing.assert_close(net(images), net.fc4(values.flatten(1)))
    assert values.abs().max() > 1e-4


def test_initial_weights_are_the_2012_ones_and_a_seeds_own():
    first, again, other = (CifarNet("relu", 10, 32) for _ in range(3))
    for net, seed in ((first, 1), (again, 1), (other, 2)):
        initialize(net, seed)
    for layer, std in zip(first.children(), STDS, strict=True):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert not layer.bias.any()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv2.weight, other.conv2.weight)


@pytest.mark.parametrize(
    ("errors", "epochs"),
    [
        ([0.9, 0.5, 0.3, 0.2], 3.5),  # halfway from 0.3 to 0.2
        ([0.9, 0.25, 0.1], 2.0),
        ([0.2], 1.0),
        ([0.9, 0.2, 0.9], 1 + 0.65 / 0.7),  # the first time counts
        ([0.9, 0.26], None),
        ([], None),
    ],
)
def test_epochs_to_an_error(errors, epochs):
    assert epochs_to(errors, 0.25) == (None if epochs is None else pytest.approx(epochs))


FAST, SLOW, NEVER, NEAR = (0.9, 0.25), (0.9, 0.5, 0.25), (0.9, 0.8), (0.9, 0.4)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([Trial(0.1, (FAST, SLOW)), Trial(0.2, (FAST, FAST))], 0.2),
        ([Trial(0.2, (FAST,)), Trial(0.1, (FAST,))], 0.1),  # of equal ones the smaller
        ([Trial(0.2, (FAST, NEVER)), Trial(0.1, (SLOW, SLOW))], 0.1),  # every seed has to get there
        ([Trial(0.2, (NEVER,)), Trial(0.1, (NEAR,))], 0.1),  # the least error, where none gets there
        ([Trial(0.2, (SLOW,)), Trial(0.1, (FAST,), is_given_up=True)], 0.2),
        ([Trial(0.2, (SLOW,)), Trial(0.1, (), is_given_up=True)], 0.2),
    ],
)
def test_the_rate_with_the_fewest_epochs_is_chosen(trials, chosen):
    assert choose_rate(trials, 0.25) == chosen


def test_a_rate_is_tried_no_longer_than_it_may_win():
    best = Trial(0.1, (FAST, SLOW))  # 2 and 3 epochs
    assert epochs_left([], Trial(0.2, ()), 2, 0.25, 30) == 30
    assert epochs_left([best], Trial(0.2, ()), 2, 0.25, 30) == 5
    assert epochs_left([best], Trial(0.2, (FAST,)), 2, 0.25, 30) == 3
    assert epochs_left([best], Trial(0.2, (FAST,)), 2, 0.25, 2) == 2
    assert epochs_left([best], Trial(0.2, ((0.9,) * 4 + (0.25,),)), 2, 0.25, 30) == 0
    assert epochs_left([best], Trial(0.2, (NEVER,)), 2, 0.25, 30) == 0
    assert epochs_left([Trial(0.3, (NEVER,))], Trial(0.2, ()), 2, 0.25, 30) == 30
    assert math.isclose(best.epochs(0.25), 2.5)


def test_a_seed_that_chooses_does_not_count():
    assert ReluTanhParams(**PARAMS).seeds == [1]
    with pytest.raises(ValidationError, match="seed 1 chooses a rate and counts"):
        ReluTanhParams(**{**PARAMS, "choice_seeds": [9, 1]})
