"""Every mistake in params.yaml is one clear message: where, what, found, expected, what to do."""

from pathlib import Path

import pytest
import yaml

from alexnet import params
from alexnet.errors import UserError

DEMO = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def data():
    return yaml.safe_load(DEMO.read_text())


def message(data):
    with pytest.raises(UserError) as caught:
        params.check(data)
    return str(caught.value)


def test_the_committed_parameters_are_in_order():
    loaded = params.load(DEMO)
    assert list(loaded.members)[:5] == ["cnn1", "cnn2", "cnn3", "cnn4", "cnn5"]
    assert loaded.protocol_of("finetuned1").lr == loaded.members["finetuned1"].overrides["lr"]
    assert "conv6" in loaded.network_of("pretrained1").layers
    assert "conv6" not in loaded.network_of("cnn1").layers


def test_a_mistyped_key_is_named_with_the_one_meant(data):
    data["protocols"]["default"]["momentun"] = data["protocols"]["default"].pop("momentum")
    assert message(data) == (
        "params.yaml: protocols.default.momentun: unknown key (1 more after it). Did you mean momentum?"
    )


def test_a_missing_key_is_named(data):
    del data["prepare"]["resize"]
    assert message(data).startswith("params.yaml: prepare.resize: is missing.")


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("protocols", "default", "momentum"), 9.0, "protocols.default.momentum: has a wrong value, found 9.0, expected less than 1."),
        (("protocols", "default", "epochs"), "ten", 'protocols.default.epochs: has a wrong value, found "ten", expected a valid integer.'),
        (("protocols", "default", "epochs"), 2.5, "protocols.default.epochs: has a wrong value, found 2.5, expected a valid integer"),
        (("prepare", "interpolation"), "nearest", "prepare.interpolation: has a wrong value, found \"nearest\", expected 'area', 'cubic' or 'area_cubic'."),
        (("network", "layers", "conv2", "maps"), 0, "network.layers.conv2.maps: has a wrong value, found 0, expected greater than 0."),
        (("members", "cnn1", "start"), "cnn9", "members.cnn1.start: names what does not exist, found cnn9, expected one of cnn1"),
        (("members", "cnn1", "data"), "ilsvrc2014", "members.cnn1.data: names what does not exist, found ilsvrc2014, expected one of ilsvrc2010"),
        (("members", "cnn1", "variant"), "two_column", "Did you mean two_columns?"),
        (("members", "cnn1", "overrides"), {"batch_size": 4}, "members.cnn1.overrides.batch_size: unknown key. Did you mean batch?"),
        (("protocols", "default", "crop"), 999, "member cnn1 crops more than there is, found 999, expected at most prepare.resize, 32."),
        (("ablations", "half", "base"), "cn", "ablations.half.base: names what does not exist, found cn, expected one of cnn, pretrained"),
        (("ablations", "half", "seeds"), [1, 1], "seeds must differ from each other"),
        (("ablations", "half", "overrides"), {"crop": 999}, "ablation half crops more than there is, found 999"),
        (("relu_tanh", "cifar"), {"classes": 2, "rates": {"relu": [1.0], "tanh": [1.0]}, "choice_seeds": [1], "seeds": [2], "batch": 1, "momentum": 0.0, "max_epochs": 1, "target": 0.5}, "relu_tanh.cifar: names what does not exist, found cifar"),
        (("relu_tanh", "ilsvrc2012", "choice_seeds"), [101, 3], "seed 3 chooses a rate and counts"),
        (("neighbours", "cnn9"), {"data": "ilsvrc2012", "seed": 1}, "neighbours.cnn9: names what does not exist, found cnn9"),
        (("neighbours", "cnn1", "data"), "fall2011", "neighbours.cnn1.data: is not the member's data set, found fall2011, expected ilsvrc2012"),
        (("network", "columns"), 7, "makes no network for crops of 28: conv1 takes 3 maps and gives 16; 7 columns divide both"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_expected(data, place, value, text):
    section = data
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    assert text in message(data)


def test_members_that_start_from_each_other_are_refused(data):
    data["members"]["pretrained1"]["start"] = "finetuned1"
    assert "members start from each other, found" in message(data)


def test_a_member_on_data_left_out_is_told_why(data):
    del data["datasets"]["ilsvrc"]["ilsvrc2010"]
    data["left_out"] = {"ilsvrc2010": "no --data for it"}
    assert "It was left out: no --data for it. Run `alexnet configure`" in message(data)


def test_commands_ask_for_entries_that_are_there():
    loaded = params.load(DEMO)
    assert params.relu_tanh_of(loaded, "ilsvrc2012").target == 0.25
    assert params.neighbours_of(loaded, "cnn1").data == "ilsvrc2012"
    assert params.ablation_of(loaded, "half").variant == "half"
    for ask, section in (
        (params.relu_tanh_of, "relu_tanh"),
        (params.neighbours_of, "neighbours"),
        (params.ablation_of, "ablations"),
    ):
        with pytest.raises(UserError, match=f"{section}, asked for x: names what does not exist"):
            ask(loaded, "x")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("profile: demo\nprofile: other\n")
    with pytest.raises(UserError, match="line 2: is no YAML: key profile stands twice"):
        params.load(file)


def test_broken_yaml_is_told_with_its_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("profile: demo\nprepare: {resize: 1\n")
    with pytest.raises(UserError, match="is no YAML"):
        params.load(file)


def test_a_missing_file_is_told():
    with pytest.raises(
        UserError, match="nowhere.yaml: is missing. Write it with `alexnet configure PROFILE`"
    ):
        params.load(Path("nowhere.yaml"))
