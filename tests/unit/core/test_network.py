"""The module computes what §3 says, on small networks and values worked by hand; each switch does something."""

import pytest
import torch
from torch.nn import functional as F

from alexnet.core.draws import dropout_mask
from alexnet.core.layers import initial_stds
from alexnet.core.lrn import lrn_reference, spatial_norm_reference
from alexnet.core.network import GroupedLinear, Network, initialize
from tests.unit.core.made_networks import PROTOCOLS, VARIANTS, build, images, network, protocol


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_variant_builds_under_every_protocol_as_planned(variant, name):
    made = build(variant, switches=protocol(name))
    assert sum(weight.numel() for weight in made.parameters()) == sum(
        layer.num_parameters for layer in made.layers
    )
    assert {name: tuple(weight.shape) for name, weight in made.named_parameters()} == {
        name: made.whole_shape(name) for name in made.whole_names()
    }
    assert made(images()).shape == (3, 7)


def plain_forward(made, inputs):
    """The network written out layer by layer from its own weights, at test."""
    switches, lrn, pool = made.switches, made.params.lrn, made.params.pool
    values = inputs
    for layer in made.layers:
        weight, bias = (made.get_parameter(f"{layer.name}.{kind}") for kind in ("weight", "bias"))
        if not layer.is_conv:
            parts = values.flatten(1).chunk(layer.groups, 1)
            weights, biases = weight.chunk(layer.groups), bias.chunk(layer.groups)
            values = torch.cat([F.linear(*part) for part in zip(parts, weights, biases, strict=True)], 1)
            values = F.relu(values) if layer.relu else values
            values = values * (1 - layer.dropout)
            continue
        padded = F.pad(values, (layer.pad, layer.pad_end, layer.pad, layer.pad_end))
        values = F.conv2d(padded, weight, bias, layer.stride, groups=layer.groups)
        first = layer.name == "conv1" and layer.lrn and switches.norm1_before_relu
        values = values if first else F.relu(values)
        if layer.lrn:
            groups = layer.columns if switches.lrn_per_group else 1
            alpha = lrn.alpha / lrn.size if switches.lrn_alpha_over_n else lrn.alpha
            values = lrn_reference(values, lrn.size, alpha, lrn.beta, switches.lrn_k, groups)
        if layer.name == "conv2" and layer.lrn and switches.spatial_norm2:
            values = spatial_norm_reference(values, 5, 1e-3 / 25, 0.75, 1.0)
        values = F.relu(values) if first else values
        values = F.max_pool2d(values, pool.size, pool.stride, ceil_mode=True) if layer.pool else values
    return values


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_network_equals_itself_written_out(variant, name):
    made = build(variant, switches=protocol(name)).double()
    inputs = images().double()
    torch.testing.assert_close(made(inputs), plain_forward(made, inputs), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm1_before_relu": True}, {"spatial_norm2": True}, {"lrn_k": 1.0}, {"lrn_alpha_over_n": False},
        {"lrn_per_group": False}, {"init_std": {"conv3": 0.03}}, {"init_bias": {"fc6": 0.1}},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_a_switch_changes_what_is_computed(changes):
    assert not torch.equal(build()(images()), build(switches=protocol(**changes))(images()))


def test_normalizing_before_relu_differs_only_through_negative_sums():
    made, first = build(), build(switches=protocol(norm1_before_relu=True))
    with torch.no_grad():
        for net in (made, first):
            net.conv1.bias.fill_(1e4)  # no sum is negative, so the order cannot matter
    inputs = images()
    torch.testing.assert_close(made._conv(made.layers[0], inputs), first._conv(first.layers[0], inputs))


def test_without_lrn_there_is_no_spatial_normalization_either():
    plain, code = (
        build("no_lrn"),
        build("no_lrn", switches=protocol(spatial_norm2=True, norm1_before_relu=True)),
    )
    assert torch.equal(plain(images()), code(images()))


def full_conv1(pad):
    """A narrow network with the paper's conv1, under a value of conv1_pad, all with the same conv1."""
    size = {"width": 0.05, "fc_width": 0.01, "multiple": 4, "conv1": "paper"}
    made = build(crop=224, switches=protocol(conv1_pad=pad), size=size)
    plain = made.layers[0]
    made.layers = (type(plain)(**{**vars(plain), "lrn": False, "pool": False}), *made.layers[1:])
    return made


def conv1_of(made, image):
    return made._conv(made.layers[0], image)


def test_conv1_on_224_equals_the_image_padded_to_227():
    image = torch.randn(1, 3, 224, 224)
    made, larger = full_conv1("right3"), full_conv1("crop227")
    padded = torch.zeros(1, 3, 227, 227)
    padded[:, :, :224, :224] = image
    assert (made.side, larger.side) == (224, 227)
    got = conv1_of(made, image)
    torch.testing.assert_close(got, conv1_of(larger, padded))
    assert got.shape[-1] == 55


def test_the_three_ways_to_55_are_not_the_same_function():
    image = torch.randn(1, 3, 227, 227, generator=torch.Generator().manual_seed(1))
    crops = {"right3": image[:, :, :224, :224], "crop227": image, "sym2": image[:, :, :224, :224]}
    outputs = [conv1_of(full_conv1(pad), crop) for pad, crop in crops.items()]
    assert all(output.shape[-1] == 55 for output in outputs)
    assert not torch.allclose(outputs[0], outputs[1]) and not torch.allclose(outputs[0], outputs[2])


def test_columns_do_not_see_each_other_before_conv3():
    made = build()
    columns = {name: made.get_submodule(name) for name in ("conv1", "conv2")}
    half = columns["conv1"].out_channels // 2
    before = made._conv(made.layers[1], made._conv(made.layers[0], images()))
    with torch.no_grad():
        columns["conv1"].weight[half:].zero_()
    after = made._conv(made.layers[1], made._conv(made.layers[0], images()))
    first = before.shape[1] // 2
    assert torch.equal(before[:, :first], after[:, :first])
    assert not torch.equal(before[:, first:], after[:, first:])


def test_columns_that_never_cross_meet_in_fc8_alone():
    """With the second column's part of fc8 zero, nothing in that column matters."""
    made = build("no_crossing")
    with torch.no_grad():
        made.fc8.weight[:, made.fc8.in_features // 2 :].zero_()
        before = made(images())
        made.conv1.weight[made.conv1.out_channels // 2 :].normal_()
    assert torch.equal(made(images()), before)


def test_a_grouped_linear_layer_takes_no_images_too():
    """A process that has no image of a small last minibatch."""
    layer = GroupedLinear(6, 4, 2)
    assert layer(torch.zeros(0, 6)).shape == (0, 4)


@pytest.mark.parametrize("pads", [(0, 2), (2, 0), (1, 1), (2, 1)])
def test_pads_lie_where_they_are_said_to(pads):
    made = build(layers={"conv3": {"pad": pads[0], "pad_end": pads[1]}}).double()
    inputs = images().double()
    torch.testing.assert_close(made(inputs), plain_forward(made, inputs), rtol=1e-10, atol=1e-12)


def test_a_grouped_linear_layer_is_two_layers_side_by_side():
    layer = GroupedLinear(6, 4, 2)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    values = torch.randn(5, 6)
    left = F.linear(values[:, :3], layer.weight[:2], layer.bias[:2])
    right = F.linear(values[:, 3:], layer.weight[2:], layer.bias[2:])
    torch.testing.assert_close(layer(values), torch.cat([left, right], 1))


def test_a_bottleneck_layer_is_linear():
    """§3.4 of the 2012 notes: no ReLU and no dropout between fc7 and fc8, so negative sums pass."""
    made = build("six_conv_bottleneck")
    with torch.no_grad():
        made.fc7b.weight.fill_(-1.0)
        assert made.fc7b.bias.eq(0).all()
        outputs = made(images()) - made.fc8.bias
    features = made.run(images())[0]
    expected = -(features * 0.5).sum(1, keepdim=True).expand(-1, made.fc7b.out_features)
    torch.testing.assert_close(outputs, expected @ made.fc8.weight.T)


def test_features_are_fc7s_after_relu_before_dropout():
    made = build()
    features, logits = made.run(images())
    assert features.shape == (3, made.fc7.out_features) and (features >= 0).all()
    torch.testing.assert_close(logits, F.linear(features * 0.5, made.fc8.weight, made.fc8.bias))


def test_without_masks_hidden_outputs_are_halved():
    made = build()
    ones = {name: torch.ones(3, made.get_submodule(name).out_features) for name in ("fc6", "fc7")}
    halves = {name: mask / 2 for name, mask in ones.items()}
    torch.testing.assert_close(made(images()), made(images(), halves))
    assert not torch.allclose(made(images()), made(images(), ones))


def test_mean_over_masks_is_the_test_path_of_one_layer():
    made = build()
    features = torch.rand(1, 4)
    layer = torch.nn.Linear(4, 2)
    rows = torch.arange(100)
    masks = torch.cat([dropout_mask(0, update, 6, rows, 4, 0.5) for update in range(200)])
    torch.testing.assert_close(layer(features * masks).mean(0), layer(features * 0.5)[0], rtol=0, atol=0.02)
    assert made.layers[5].dropout == 0.5


def test_same_seed_same_weights_other_seed_others():
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


class NoExchange:
    def gather(self, values):
        return torch.cat([values, values], 1)


@pytest.mark.parametrize("variant", ["two_columns", "no_crossing", "six_conv_bottleneck"])
def test_a_column_alone_draws_just_its_rows_of_the_whole(variant):
    whole = build(variant, seed=4)
    half = whole.conv1.out_channels // 2
    assert not torch.equal(whole.conv1.weight[:half], whole.conv1.weight[half:])
    for column in (0, 1):
        part = build(variant, seed=4, column=column, exchange=NoExchange())
        rows = {layer.name: layer.rows(column) for layer in whole.layers}
        for name, parameter in part.named_parameters():
            assert torch.equal(parameter, whole.get_parameter(name)[rows[name.split(".")[0]]])
        assert ("fc8.weight" in dict(part.named_parameters())) == (column == 0)


def test_initial_weights_have_the_deviation_and_biases_of_section_5():
    params, switches = network(), protocol()
    made = Network(params, switches, 10, 224)
    initialize(made, initial_stds(params, switches, 10, 224), 3)
    assert made.fc7.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(made.fc7.weight.mean().item()) < 1e-4
    biases = {layer.name: made.get_submodule(layer.name).bias.unique().tolist() for layer in made.layers}
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert biases == {name: [1.0] if name in ones else [0.0] for name in biases}


def test_initial_weights_of_the_2012_code_are_wider_in_the_upper_convolutions():
    made = build(switches=protocol("code2012"), keep_gain=False)
    assert made.conv3.weight.std().item() == pytest.approx(0.03, rel=0.1)
    assert made.conv2.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_relu_and_pooling_commute_but_relu_and_lrn_do_not():
    values = torch.tensor([[[[-3.0]], [[2.0]]]])
    before = F.relu(lrn_reference(values, 5, 1.0, 0.75, 2.0))
    after = lrn_reference(F.relu(values), 5, 1.0, 0.75, 2.0)
    assert not torch.allclose(before, after)
    many = images()
    assert torch.equal(F.max_pool2d(F.relu(many), 3, 2), F.relu(F.max_pool2d(many, 3, 2)))


def test_channels_last_computes_the_same():
    made, inputs = build(switches=protocol("code2012")), images()
    expected = made(inputs)
    made = made.to(memory_format=torch.channels_last)
    got = made(inputs.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_untrained_loss_is_a_little_above_ln_of_the_classes():
    made = build(classes=10)
    loss = F.cross_entropy(made(images(64)), torch.arange(64) % 10).item()
    assert loss + 0.05 >= 2.302585 and loss < 3.5
