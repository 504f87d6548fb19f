"""Shapes and counts of the network at the paper's size (§3.5) and of every variant."""

import pytest

from alexnet.core.layers import exchanged_values, initial_stds, input_side, join, plan_layers
from tests.unit.core.made_networks import network, protocol


def plan(variant="two_columns", classes=1000, crop=224, switches=None, **changes):
    return plan_layers(network(variant, **changes), switches or protocol(), classes, crop)


def counts(layers):
    return (
        sum(layer.num_parameters for layer in layers),
        sum(layer.num_neurons for layer in layers),
        sum(layer.num_multiply_adds for layer in layers),
    )


@pytest.mark.parametrize(
    ("variant", "classes", "parameters", "neurons", "multiply_adds"),
    [
        ("two_columns", 1000, 60_965_224, 659_272, 724_406_816),
        ("no_lrn", 1000, 60_965_224, 659_272, 724_406_816),
        ("half", 1000, 59_798_312, 355_864, 391_514_384),
        ("non_overlapping", 1000, 60_965_224, 633_416, 686_891_552),
        ("without_conv3", 1000, 59_858_920, 594_376, 537_506_336),
        ("without_conv4", 1000, 60_301_288, 594_376, 612_266_528),
        ("without_conv5", 1000, 79_396_968, 616_008, 668_520_992),
        ("no_crossing", 1000, 81_591_720, 714_120, 745_197_088),
        ("six_conv", 1000, 61_555_304, 668_488, 745_640_480),
        ("six_conv", 10_184, 99_182_152, 677_672, 783_258_144),
        ("six_conv_bottleneck", 21_843, 110_605_267, 691_379, 794_667_552),
    ],
)
def test_counts_are_the_papers_and_those_of_the_2012_code(
    variant, classes, parameters, neurons, multiply_adds
):
    assert counts(plan(variant, classes)) == (parameters, neurons, multiply_adds)


@pytest.mark.parametrize("name", ["paper", "code2012"])
def test_a_protocol_changes_no_count(name):
    assert counts(plan(switches=protocol(name))) == counts(plan())


def test_counter_agrees_on_a_network_known_elsewhere():
    """torchvision's AlexNet, by our configuration: 61,100,840 parameters."""
    widths = {"conv1": 64, "conv2": 192, "conv3": 384, "conv4": 256, "conv5": 256}
    layers = {name: {"maps": maps} for name, maps in widths.items()}
    assert counts(plan(layers=layers, columns=1))[0] == 61_100_840


def test_each_layer_has_the_papers_weights_and_multiply_adds():
    layers = {layer.name: layer for layer in plan()}
    weights = {name: layer.num_weights for name, layer in layers.items()}
    assert weights == {
        "conv1": 34_848, "conv2": 307_200, "conv3": 884_736, "conv4": 663_552, "conv5": 442_368,
        "fc6": 37_748_736, "fc7": 16_777_216, "fc8": 4_096_000,
    }  # fmt: skip
    assert layers["conv1"].num_multiply_adds == 105_415_200
    assert layers["conv2"].num_multiply_adds == 223_948_800


@pytest.mark.parametrize(
    ("variant", "sides", "pooled"),
    [
        ("two_columns", [55, 27, 13, 13, 13], [27, 13, 13, 13, 6]),
        ("non_overlapping", [55, 26, 13, 13, 11], [28, 13, 13, 13, 6]),
        ("without_conv5", [55, 27, 13, 13], [27, 13, 13, 6]),
        ("six_conv", [55, 27, 13, 13, 13, 6], [27, 13, 13, 13, 6, 6]),
    ],
)
def test_sides_are_the_papers(variant, sides, pooled):
    layers = plan(variant)
    assert [layer.side for layer in layers if layer.is_conv] == sides
    assert [layer.out_side for layer in layers if layer.is_conv] == pooled


@pytest.mark.parametrize(
    ("pad", "side", "pads"), [("right3", 224, (0, 3)), ("crop227", 227, (0, 0)), ("sym2", 224, (2, 2))]
)
def test_every_way_of_finding_conv1s_missing_pixels_gives_55(pad, side, pads):
    switches = protocol(conv1_pad=pad)
    conv1 = plan(switches=switches)[0]
    assert (conv1.pad, conv1.pad_end, conv1.side) == (*pads, 55)
    assert input_side(network(), switches, 224) == side


def test_conv1_pad_is_refused_where_it_would_do_nothing():
    size = {"conv1": {"kernel": 5, "stride": 1, "pad": 2, "pad_end": 2}}
    with pytest.raises(ValueError, match="conv1_pad is sym2, but size.conv1 says how conv1 is padded"):
        plan(crop=28, switches=protocol(conv1_pad="sym2"), size=size)


def test_ungrouped_network_has_the_known_count():
    assert counts(plan(columns=1))[0] == 62_378_344
    assert counts(plan(columns=1))[2] == 1_135_256_096


def test_columns_hold_halves_and_the_first_holds_fc8():
    layers = {layer.name: layer for layer in plan()}
    assert [layers["conv3"].rows(column) for column in (0, 1)] == [slice(0, 192), slice(192, 384)]
    assert [layers["fc8"].rows(column) for column in (0, 1)] == [slice(0, 1000), slice(0, 0)]
    held = [
        sum(layer.num_parameters // layer.outputs * (rows.stop - rows.start) for layer in layers.values() for rows in [layer.rows(column)])
        for column in (0, 1)
    ]  # fmt: skip
    assert sum(held) == 60_965_224
    assert held[0] / 60_965_224 == pytest.approx(0.534, abs=0.001)


def test_columns_meet_where_the_paper_says():
    assert [layer.name for layer in plan() if layer.meets] == ["conv3", "fc6", "fc7", "fc8"]
    assert [layer.name for layer in plan("without_conv3") if layer.meets] == ["fc6", "fc7", "fc8"]
    assert [layer.name for layer in plan("no_crossing") if layer.meets] == ["fc8"]
    assert not any(layer.meets for layer in plan("half"))


def test_what_columns_exchange_matches_a_count_by_hand():
    """pool2's 13·13·256, pool5's 6·6·256 and the outputs of fc6 and fc7; one LRN for all needs 55·55·96 and 27·27·256."""
    assert exchanged_values(plan()) == 13 * 13 * 256 + 6 * 6 * 256 + 4096 + 4096 == 60_672
    joint = exchanged_values(plan(switches=protocol("paper")))
    assert joint == 60_672 + 55 * 55 * 96 + 27 * 27 * 256
    assert exchanged_values(plan("no_crossing")) == 8192
    assert exchanged_values(plan("half")) == 0


def test_full_size_deviations_are_the_papers_with_and_without_the_gain_rule():
    for keep_gain in (False, True):
        stds = initial_stds(network(keep_gain=keep_gain), protocol(), 1000, 224)
        assert set(stds.values()) == {0.01}


def test_the_2012_codes_deviations_are_larger_in_the_upper_convolutions():
    stds = initial_stds(network("six_conv"), protocol("code2012"), 1000, 224)
    large = {"conv3", "conv4", "conv5", "conv6"}
    assert stds == {name: 0.03 if name in large else 0.01 for name in stds}


def test_initial_biases_can_be_switched():
    biases = {
        layer.name: layer.bias for layer in plan(switches=protocol(init_bias={"conv4": 0.1, "fc8": -7.0}))
    }
    ones = {"conv2", "conv5", "fc6", "fc7"}
    assert biases == {name: 1.0 if name in ones else 0.0 for name in biases} | {"conv4": 0.1, "fc8": -7.0}


def test_gain_rule_keeps_the_variance_of_a_units_sum():
    """Hand-worked: conv1 sums 363 inputs at full size and 75 with a kernel of 5; 0.01 * sqrt(363 / 75) = 0.022."""
    size = {"width": 0.5, "conv1": {"kernel": 5, "stride": 1, "pad": 2, "pad_end": 2}}
    stds = initial_stds(network(size=size, keep_gain=True), protocol(), 20, 28)
    assert stds["conv1"] == pytest.approx(0.022)
    assert stds["conv2"] == pytest.approx(0.01 * 2**0.5)


def test_widths_round_to_the_multiple():
    layers = plan(classes=10, size={"width": 0.2, "fc_width": 0.1, "multiple": 16})
    assert [layer.outputs for layer in layers] == [16, 48, 80, 80, 48, 416, 416, 10]


def test_joining_goes_key_by_key_and_null_removes_a_layer():
    base = {"layers": {"a": {"x": 1, "y": 2}, "b": {"x": 3}}, "off_at": 0.5}
    changes = {"layers": {"a": {"x": 9}, "b": None}, "off_at": None}
    assert join(base, changes) == {"layers": {"a": {"x": 9, "y": 2}}, "off_at": None}
    assert base["layers"]["a"]["x"] == 1


def test_joining_replaces_what_has_a_kind_as_a_whole():
    base = {"schedule": {"kind": "steps", "drops": [0.5]}}
    assert join(base, {"schedule": {"kind": "ledger", "run": "145"}}) == {
        "schedule": {"kind": "ledger", "run": "145"}
    }


@pytest.mark.parametrize(
    ("changes", "crop", "message"),
    [
        ({"columns": 5}, 224, "conv1 takes 3 maps and gives 96"),
        ({}, 3, "conv1 has a kernel of 11 but only 3 pixels come in"),
        (
            {"layers": {"fc6": {"units": 4097}}},
            224,
            "fc6 takes 9216 units and gives 4097; 2 columns divide both",
        ),
    ],
)
def test_impossible_networks_are_refused(changes, crop, message):
    with pytest.raises(ValueError, match=message):
        plan(classes=10, crop=crop, **changes)


@pytest.mark.parametrize("section", ["lrn", "spatial_norm"])
def test_a_window_of_even_size_is_refused(section):
    with pytest.raises(ValueError, match="a window is around its middle, so its size is odd"):
        network(**{section: {"size": 4}})
