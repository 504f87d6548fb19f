"""What `alexnet describe` says: the table of layers with the paper's totals, and what two protocols differ in."""

import json

import pytest

from alexnet import cli
from alexnet.report.description import describe, find_differences, render
from tests.unit.core.made_networks import network, protocol


def test_the_table_has_the_papers_totals_and_what_columns_exchange():
    described = describe(network(), protocol(), 1000, protocol())
    assert described["totals"] == {"parameters": 60_965_224, "neurons": 659_272, "multiply_adds": 724_406_816}
    assert described["exchanged_bytes_per_image"] == 60_672 * 4
    assert described["differences"] == {} and described["input_side"] == 224
    layers = {layer["name"]: layer for layer in described["layers"]}
    assert layers["conv1"]["then"] == ["ReLU", "LRN", "pool"] and layers["conv1"]["pads"] == [0, 3]
    assert layers["fc8"]["device"] == "first, sees all" and layers["conv2"]["device"] == "each, sees its own"


def test_the_2012_codes_order_rates_and_initial_values_are_shown():
    described = describe(network(), protocol("code2012"), 1000, protocol())
    layers = {layer["name"]: layer for layer in described["layers"]}
    assert layers["conv1"]["then"] == ["LRN", "pool", "ReLU"]
    assert layers["conv2"]["then"] == ["ReLU", "LRN", "spatial norm", "pool"]
    assert layers["conv1"]["lr"] == [0.01, 0.0] and layers["conv2"]["lr"] == pytest.approx([0.01, 1e-5])
    assert layers["conv2"]["bias_lr"] == [0.02, 0.02]
    assert (layers["conv3"]["std"], layers["conv2"]["std"]) == (0.03, 0.01)


def test_a_difference_has_both_values():
    differences = find_differences(protocol("paper"), protocol("code2012"))
    assert differences["lrn_alpha_over_n"] == [False, True]
    assert differences["bias_lr"] == ["equal", 0.02]
    assert "weight_decay" not in differences


def test_the_text_is_one_aligned_line_for_each_layer():
    text = render(
        describe(network("half"), protocol("paper"), 1000, protocol()), "title", ("paper", "default")
    )
    lines = text.splitlines()
    assert lines[0] == "title"
    assert "conv1, ReLU, LRN, pool" in lines[3] and "48 of 11×11×3, stride 4, pad 0+3" in lines[3]
    assert "59,798,312" in next(line for line in lines if line.startswith("total"))
    assert "exchange" not in text  # one column
    assert any(line.split() == ["lrn_alpha_over_n", "false", "true"] for line in lines)
    assert render(describe(network(), protocol(), 10, protocol()), "t", ("a", "b")).endswith(
        "a and b do not differ.\n"
    )


def test_the_command_prints_text_or_json_at_the_papers_size(capsys):
    assert cli.main(["describe", "--full", "--protocol", "code2012"]) == 0
    text = capsys.readouterr().out
    assert "60,965,224" in text and "norm1_before_relu  true" in text and "\ncrop " not in text
    assert cli.main(["describe", "--full", "--variant", "six_conv", "--classes", "10184", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["parameters"] == 99_182_152


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "papers"], "Did you mean paper?"),
        (["--variant", "halve"], "Did you mean half?"),
        (["--against", "code"], "names what does not exist, found code"),
    ],
)
def test_a_name_that_is_not_there_is_told(arguments, message, capsys):
    assert cli.main(["describe", *arguments]) == 1
    assert message in capsys.readouterr().err
