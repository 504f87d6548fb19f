"""Shapes and counts of the network at the paper's size (§3.5)."""

import json
from pathlib import Path

import pytest
import yaml

from alexnet.core.layers import NetworkParams, initial_stds, join, plan_layers

BASE = yaml.safe_load((Path(__file__).parents[3] / "configs/base.yaml").read_text())


def network(variant="two_columns", **changes):
    joined = join(join(BASE["network"], BASE["variants"][variant]), changes)
    return NetworkParams.model_validate_json(json.dumps(joined))


@pytest.mark.parametrize(
    ("variant", "classes", "parameters", "neurons", "multiply_adds"),
    [
        ("two_columns", 1000, 60_965_224, 659_272, 724_406_816),
        ("six_conv", 1000, 61_555_304, 668_488, 745_640_480),
        ("six_conv", 10_184, 99_182_152, 677_672, 783_258_144),
    ],
)
def test_counts_are_the_papers(variant, classes, parameters, neurons, multiply_adds):
    layers = plan_layers(network(variant), classes, 224)
    assert sum(layer.num_parameters for layer in layers) == parameters
    assert sum(layer.num_neurons for layer in layers) == neurons
    assert sum(layer.num_multiply_adds for layer in layers) == multiply_adds


def test_counter_agrees_on_a_network_known_elsewhere():
    """torchvision's AlexNet, by our configuration: 61,100,840 parameters."""
    widths = {"conv1": 64, "conv2": 192, "conv3": 384, "conv4": 256, "conv5": 256}
    layers = {name: {"maps": maps} for name, maps in widths.items()}
    assert (
        sum(layer.num_parameters for layer in plan_layers(network(layers=layers, columns=1), 1000, 224))
        == 61_100_840
    )


def test_sides_are_the_papers():
    layers = plan_layers(network(), 1000, 224)
    assert [layer.side for layer in layers if layer.is_conv] == [55, 27, 13, 13, 13]
    assert [layer.out_side for layer in layers if layer.is_conv] == [27, 13, 13, 13, 6]
    assert layers[5].inputs == 9216


def test_ungrouped_network_has_the_known_count():
    layers = plan_layers(network(columns=1), 1000, 224)
    assert sum(layer.num_parameters for layer in layers) == 62_378_344
    assert sum(layer.num_multiply_adds for layer in layers) == 1_135_256_096


def test_removed_layer_is_gone():
    layers = plan_layers(network(layers={"conv3": None}), 1000, 224)
    assert sum(layer.num_parameters for layer in layers) == 59_858_920
    assert sum(layer.num_multiply_adds for layer in layers) == 537_506_336


def test_full_size_deviations_are_the_papers_with_and_without_the_gain_rule():
    for keep_gain in (False, True):
        stds = initial_stds(network(keep_gain=keep_gain), 1000, 224)
        assert set(stds.values()) == {0.01}


def test_gain_rule_keeps_the_variance_of_a_units_sum():
    """Hand-worked: conv1 sums 363 inputs at full size and 75 with a kernel of 5; 0.01 * sqrt(363 / 75) = 0.022."""
    size = {"width": 0.5, "conv1": {"kernel": 5, "stride": 1, "pad": 2, "pad_end": 2}}
    stds = initial_stds(network(size=size, keep_gain=True), 20, 28)
    assert stds["conv1"] == pytest.approx(0.022)
    assert stds["conv2"] == pytest.approx(0.01 * 2**0.5)


def test_widths_round_to_the_multiple():
    layers = plan_layers(network(size={"width": 0.2, "fc_width": 0.1, "multiple": 16}), 10, 224)
    assert [layer.outputs for layer in layers] == [16, 48, 80, 80, 48, 416, 416, 10]


@pytest.mark.parametrize(
    ("changes", "crop", "message"),
    [
        ({"columns": 5}, 224, "conv1 takes 3 maps and gives 96"),
        ({}, 3, "conv1 has a kernel of 11 but only 3 pixels come in"),
    ],
)
def test_impossible_networks_are_refused(changes, crop, message):
    with pytest.raises(ValueError, match=message):
        plan_layers(network(**changes), 10, crop)
