"""The rates of each epoch follow lists written by hand, and the changes of the 2012 runs as noted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.protocol import PlateauSchedule
from alexnet.core.schedule import LEDGERS, decide, rates_of, scale
from tests.unit.core.made_networks import protocol


def weights(made, epochs, errors=()):
    return [rates_of(made, epoch, errors[:epoch]).weights for epoch in epochs]


def test_steps_divide_the_rate_by_ten_three_times():
    rates = weights(protocol(), (0, 22, 23, 49, 50, 77, 78, 89))
    assert rates == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_no_drops_keep_the_rate():
    made = protocol(schedule={"kind": "steps", "drops": []}, epochs=5)
    assert set(weights(made, range(5))) == {0.01}


def test_one_rate_for_all_unless_biases_have_their_own():
    rates = rates_of(protocol(), 30)
    assert rates.weights == rates.biases == rates.conv1_weights == rates.conv1_biases == pytest.approx(1e-3)
    rates = rates_of(protocol(bias_lr=0.02), 30)
    assert (rates.of("conv2.weight"), rates.of("conv2.bias")) == (pytest.approx(1e-3), 0.02)
    assert (rates.of("conv1.weight"), rates.of("conv1.bias")) == (pytest.approx(1e-3), 0.02)


def test_conv1_freezes_and_noise_ends_where_they_are_told_to():
    made = protocol(epochs=10, freeze_conv1_at=0.8, colour_off_at=0.5)
    assert [rates_of(made, epoch).conv1_weights > 0 for epoch in (7, 8)] == [True, False]
    assert [rates_of(made, epoch).of("conv1.bias") > 0 for epoch in (7, 8)] == [True, False]
    assert rates_of(made, 8).of("conv2.weight") > 0
    assert [rates_of(made, epoch).has_colour_noise for epoch in (4, 5)] == [True, False]
    assert not rates_of(protocol(colour_std=0.0), 0).has_colour_noise


def test_the_run_behind_table_2_is_replayed_as_noted():
    """145: 1e-3 at 25, 1e-4 at 51, conv1 to 1e-5 and no noise at 67, conv1 to 0 at 72, 1e-5 at 79, end at 91."""
    made = protocol("code2012", epochs=91)
    seen = {epoch: rates_of(made, epoch) for epoch in (24, 25, 50, 51, 66, 67, 71, 72, 78, 79, 90)}
    assert [rates.weights for rates in seen.values()] == pytest.approx(
        [1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5]
    )
    assert [rates.conv1_weights for rates in seen.values()] == pytest.approx(
        [1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 0, 0, 0, 0]
    )
    assert [rates.has_colour_noise for rates in seen.values()] == [True] * 5 + [False] * 6
    assert {rates.biases for rates in seen.values()} == {0.02}
    assert [rates.conv1_biases for rates in seen.values()] == [0.02] * 7 + [0] * 4


def test_a_ledger_is_scaled_to_the_number_of_epochs():
    """Thirteen epochs for 91: a seventh of each place, 25 / 7 = 3.6 and 79 / 7 = 11.3."""
    made = protocol("code2012", epochs=13)
    rates = weights(made, range(13))
    assert [rates.index(pytest.approx(rate)) for rate in (1e-2, 1e-3, 1e-4, 1e-5)] == [0, 4, 7, 11]
    assert [rates_of(made, epoch).conv1_weights for epoch in (9, 10)] == pytest.approx([1e-4, 0])


def test_a_ledger_can_be_followed_in_its_rates_alone():
    made = protocol("code2012", epochs=91, freeze_conv1_at=None, colour_off_at=None)
    rates = rates_of(made, 70)  # the run itself had conv1 at 1e-5 by then
    assert rates.conv1_weights == rates.weights == pytest.approx(1e-4)
    assert rates.has_colour_noise


def test_what_was_not_noted_does_not_happen():
    rates = rates_of(protocol("code2012", schedule={"kind": "ledger", "run": "147"}, epochs=90), 89)
    assert rates.has_colour_noise and rates.conv1_weights == 0
    assert rates_of(
        protocol("code2012", schedule={"kind": "ledger", "run": "145-half"}, epochs=96), 95
    ).weights == pytest.approx(1e-4)


def test_the_continued_run_begins_at_its_own_epoch():
    made = protocol("code2012", schedule={"kind": "ledger", "run": "145-continued"}, epochs=44)
    assert weights(made, (0, 15, 16, 32, 33, 43)) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert rates_of(made, 0).conv1_weights == 0
    assert [rates_of(made, epoch).has_colour_noise for epoch in (0, 32, 33)] == [True, True, False]


@given(epochs=st.integers(1, 200), run=st.sampled_from(sorted(LEDGERS)))
def test_scaled_changes_keep_their_order(epochs, run):
    ledger = LEDGERS[run]
    places = [scale(ledger, epoch, epochs) for epoch, _ in ledger.drops]
    assert places == sorted(places) and places[-1] <= epochs


PLATEAU = {"kind": "plateau", "patience": 2, "least_gain": 0.01, "drops": 3}
ERRORS = [0.9, 0.8, 0.795, 0.80, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_a_plateau_divides_the_rate_and_the_last_one_ends_the_training():
    decisions = decide(PlateauSchedule(**PLATEAU), ERRORS)
    assert [decision.action for decision in decisions] == [
        "keep", "keep", "keep", "drop", "keep", "keep", "drop", "keep", "drop", "keep", "stop",
    ]  # fmt: skip
    made = protocol(schedule=PLATEAU)
    assert weights(made, range(11), ERRORS) == pytest.approx(
        [1e-2, 1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    )


def test_a_decision_says_why():
    decisions = decide(PlateauSchedule(**PLATEAU), ERRORS)
    assert decisions[1].reason == "validation error 0.8000 is the best so far"
    assert decisions[3].reason == (
        "validation error 0.8000 is not better than 0.8000 of epoch 2 by 0.01, epoch 2 of 2 in a row: "
        "lr divided by 10, 1 of 3 times"
    )
    assert decisions[-1].reason.endswith("after all 3 reductions")


@given(st.lists(st.floats(0, 1), max_size=30))
def test_later_epochs_never_change_an_earlier_decision(errors):
    schedule = PlateauSchedule(**PLATEAU)
    whole = decide(schedule, errors)
    assert all(decide(schedule, errors[:count]) == whole[:count] for count in range(len(errors)))
