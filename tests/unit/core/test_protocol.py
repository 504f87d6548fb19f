"""The three presets are those of the table of disagreements, and impossible combinations are refused."""

import pytest
from pydantic import ValidationError

from tests.unit.core.made_networks import PROTOCOLS, protocol

STEPS = {"kind": "steps", "drops": [0.5]}


def values(name, *switches):
    made = protocol(name).model_dump()
    return {switch: made[switch] for switch in switches}


def test_the_presets_are_there():
    assert PROTOCOLS == ["default", "paper", "code2012"]


def test_default_follows_the_2012_code_in_lrn_and_crops_and_the_paper_elsewhere():
    assert values("default", "lrn_alpha_over_n", "lrn_k", "lrn_per_group", "norm1_before_relu", "spatial_norm2") == {
        "lrn_alpha_over_n": True, "lrn_k": 2.0, "lrn_per_group": True, "norm1_before_relu": False, "spatial_norm2": False,
    }  # fmt: skip
    assert values("default", "crop_offsets", "crop_chunk", "mean_align", "colour_basis", "colour_rescale") == {
        "crop_offsets": "with_last", "crop_chunk": 1, "mean_align": "under_crop", "colour_basis": "stddev", "colour_rescale": False,
    }  # fmt: skip
    assert values("default", "bias_lr", "decay_biases", "freeze_conv1_at", "colour_off_at", "fixed_order", "init_std") == {
        "bias_lr": "equal", "decay_biases": False, "freeze_conv1_at": None, "colour_off_at": None, "fixed_order": False, "init_std": {},
    }  # fmt: skip


def test_paper_takes_the_papers_words_where_it_has_any():
    assert values("paper", "lrn_alpha_over_n", "lrn_per_group", "colour_basis", "crop_offsets", "init_std", "conv1_pad") == {
        "lrn_alpha_over_n": False, "lrn_per_group": False, "colour_basis": "eigenvalue01",
        "crop_offsets": "without_last", "init_std": {}, "conv1_pad": "right3",
    }  # fmt: skip
    assert protocol("paper").schedule.kind == "plateau"


def test_code2012_takes_every_value_of_the_released_code():
    assert values(
        "code2012", "lrn_alpha_over_n", "lrn_per_group", "norm1_before_relu", "spatial_norm2", "crop_offsets", "crop_chunk",
        "mean_align", "colour_basis", "colour_rescale", "colour_off_at", "freeze_conv1_at", "bias_lr", "fixed_order",
        "decay_biases",
    ) == {
        "lrn_alpha_over_n": True, "lrn_per_group": True, "norm1_before_relu": True, "spatial_norm2": True,
        "crop_offsets": "with_last", "crop_chunk": 32, "mean_align": "centre", "colour_basis": "stddev",
        "colour_rescale": True, "colour_off_at": "as_run", "freeze_conv1_at": "as_run", "bias_lr": 0.02, "fixed_order": True,
        "decay_biases": False,
    }  # fmt: skip
    assert protocol("code2012").init_std == dict.fromkeys(("conv3", "conv4", "conv5", "conv6"), 0.03)
    assert protocol("code2012").schedule.run == "145"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {"kind": "steps", "drops": [0.9, 0.7]}}, "the parts of the epochs must rise"),
        (
            {"schedule": STEPS, "colour_off_at": "as_run"},
            "colour_off_at is as_run, which a schedule of kind steps does not record",
        ),
        ({"schedule": STEPS, "freeze_conv1_at": "as_run"}, "freeze_conv1_at is as_run, which"),
        ({"schedule": {"kind": "ledger", "run": "999"}}, "'145', '145-2010'"),
        ({"freeze_conv1_at": 1.5}, "less than or equal to 1"),
        ({"init_std": {"conv0": 0.1}}, "should match pattern"),
        ({"precision": "float16"}, "'float32' or 'bfloat16'"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        protocol(**changes)
