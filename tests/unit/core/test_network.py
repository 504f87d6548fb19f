"""The module computes what §3 says, on small networks and values worked by hand."""

import pytest
import torch
from torch.nn import functional as F

from alexnet.core.draws import dropout_mask
from alexnet.core.layers import initial_stds
from alexnet.core.network import Network, initialize
from tests.unit.core.test_layers import network as params_of

NARROW = {
    "size": {
        "width": 0.1,
        "fc_width": 0.02,
        "multiple": 4,
        "conv1": {"kernel": 5, "stride": 2, "pad": 2, "pad_end": 2},
    },
    "keep_gain": True,
}


def build(variant="two_columns", classes=7, crop=32, seed=0, **changes):
    params = params_of(variant, **{**NARROW, **changes})
    made = Network(params, classes, crop)
    initialize(made, initial_stds(params, classes, crop), seed)
    return made


def images(count=3, crop=32):
    return torch.randn(count, 3, crop, crop, generator=torch.Generator().manual_seed(5)) * 60


@pytest.mark.parametrize("variant", ["two_columns", "six_conv"])
def test_parameters_are_as_planned(variant):
    made = build(variant)
    assert sum(weight.numel() for weight in made.parameters()) == sum(
        layer.num_parameters for layer in made.layers
    )
    assert made(images()).shape == (3, 7)


def test_conv1_on_224_equals_the_image_padded_to_227():
    layer = torch.nn.Conv2d(3, 4, 11, 4)
    image = torch.randn(1, 3, 224, 224)
    made = build(crop=224, size={"width": 1.0, "fc_width": 0.01, "multiple": 4, "conv1": "paper"})
    made.conv1 = layer
    conv1 = made.layers[0]
    got = made._conv(type(conv1)(**{**vars(conv1), "lrn": False, "pool": False}), image)
    padded = torch.zeros(1, 3, 227, 227)
    padded[:, :, :224, :224] = image
    torch.testing.assert_close(got, F.relu(layer(padded)))
    assert got.shape[-1] == 55


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
    masks = torch.cat([dropout_mask(0, update, 6, (100, 4), 0.5) for update in range(200)])
    torch.testing.assert_close(layer(features * masks).mean(0), layer(features * 0.5)[0], rtol=0, atol=0.02)
    assert made.layers[5].dropout == 0.5


def test_same_seed_same_weights_other_seed_others():
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_initial_weights_have_the_deviation_and_biases_of_section_5():
    params = params_of()
    made = Network(params, 10, 224)
    initialize(made, initial_stds(params, 10, 224), 3)
    assert made.fc7.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert abs(made.fc7.weight.mean().item()) < 1e-4
    biases = {layer.name: made.get_submodule(layer.name).bias.unique().tolist() for layer in made.layers}
    ones = {"conv2", "conv4", "conv5", "fc6", "fc7"}
    assert biases == {name: [1.0] if name in ones else [0.0] for name in biases}


def test_relu_and_pooling_commute_but_relu_and_lrn_do_not():
    values = torch.tensor([[[[-3.0]], [[2.0]]]])
    made = build()
    lrn = made.params.lrn
    from alexnet.core.lrn import local_response_norm

    before = F.relu(local_response_norm(values, lrn.size, 1.0, 0.75, 2.0))
    after = local_response_norm(F.relu(values), lrn.size, 1.0, 0.75, 2.0)
    assert not torch.allclose(before, after)
    many = images()
    assert torch.equal(F.max_pool2d(F.relu(many), 3, 2), F.relu(F.max_pool2d(many, 3, 2)))


def test_untrained_loss_is_a_little_above_ln_of_the_classes():
    made = build(classes=10)
    loss = F.cross_entropy(made(images(64)), torch.arange(64) % 10).item()
    assert loss + 0.05 >= 2.302585 and loss < 3.5
