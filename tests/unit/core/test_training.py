"""Updates, copying a start, and predictions, on narrow networks; each switch of a protocol does something."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from alexnet.core.schedule import rates_of
from alexnet.core.team import Team
from alexnet.core.training import (
    Minibatch,
    Tally,
    Trainer,
    batches,
    centre_logits,
    copy_start,
    epoch_draws,
    epoch_order,
    find_cause,
    is_stuck,
    names_to_copy,
    part_of,
    view_probs,
)
from tests.unit.core.made_networks import (
    CROP,
    PROTOCOLS,
    SHORT,
    SIDE,
    VARIANTS,
    build,
    colours,
    images,
    minibatch,
    protocol,
    tiny_set,
    train,
)

LEDGER = {"kind": "ledger", "run": "145"}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_tiny_set_is_learned_to_zero_error(variant, name):
    schedule = LEDGER if name == "code2012" else SHORT["schedule"]
    trainer, tally = train(variant, 300, name, schedule=schedule)
    pixels, labels = tiny_set()
    views = view_probs(trainer.network, pixels, colours().mean_image)
    assert torch.equal(views.ten.argmax(1), labels)
    assert tally.loss / tally.images < 1.0


def test_a_narrow_net_with_the_papers_deviation_does_not_learn_and_the_gain_rule_is_why():
    """ln 4 = 1.386: with 0.01 the signal dies on its way; with the full-size gain the set is learned by now."""
    lost, tally = train(updates=200, network_changes={"keep_gain": False})
    assert 1.3 < tally.loss / tally.images < 1.45
    batch = minibatch(lost.protocol, 0)
    cause = find_cause(lost.network, lost.inputs(batch.crops, batch.draws))
    assert "the images are lost on the way. Raise init_std" in cause
    kept = train(updates=200)[1]
    assert kept.loss / kept.images < 0.1


def test_units_that_died_are_named_with_the_rate_as_the_cause():
    made = build()
    with torch.no_grad():
        made.conv5.bias.fill_(-1e6)
    cause = find_cause(made, images())
    assert cause.startswith(
        "no image reaches most units of conv5 (100%) any more: updates were too large. Lower lr"
    )


def test_a_net_that_responds_leaves_only_the_rate_as_the_cause():
    assert find_cause(build(), images()).startswith(
        "units respond and images differ in every layer: lr is too low"
    )


@pytest.mark.parametrize(("loss", "stuck"), [(math.log(4), True), (1.5, True), (0.99 * math.log(4), False)])
def test_stuck_is_a_loss_at_that_of_guessing_or_above(loss, stuck):
    assert is_stuck(loss, 4) == stuck


def test_training_is_repeatable_to_the_bit():
    first, again = train(updates=5)[0], train(updates=5)[0]
    assert all(
        torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True)
    )


def weights_after(updates=2, name="default", **changes):
    return torch.cat(
        [
            weight.detach().flatten()
            for weight in train(updates=updates, name=name, **changes)[0].network.parameters()
        ]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.5}, {"weight_decay": 0.5}, {"mirror": True}, {"colour_std": 0.0}, {"colour_basis": "eigenvalue01"},
        {"colour_rescale": True}, {"colour_off_at": 0.5}, {"crop_offsets": "without_last"}, {"crop_chunk": 8},
        {"bias_lr": 0.02}, {"freeze_conv1_at": 0.5}, {"lr": 0.001}, {"precision": "bfloat16"},
        {"schedule": {"kind": "steps", "drops": [0.5]}}, {"decay_biases": True, "weight_decay": 0.1},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_a_switch_changes_what_is_learned(changes):
    assert not torch.equal(weights_after(), weights_after(**changes))


def test_pytorchs_form_differs_from_the_papers_only_once_the_rate_has_changed():
    drop = {"schedule": {"kind": "steps", "drops": [0.5]}}
    papers, pytorchs = (weights_after(2, lr_in_velocity=papers) for papers in (True, False))
    assert torch.equal(papers, pytorchs)
    papers, pytorchs = (weights_after(4, lr_in_velocity=papers, **drop) for papers in (True, False))
    assert not torch.equal(papers, pytorchs)


def test_the_mean_is_the_centres_or_that_under_the_crop():
    slope = torch.arange(SIDE).float()[:, None, None].expand(SIDE, SIDE, 3) * 5
    inputs = []
    for align in ("under_crop", "centre"):
        trained_by = protocol(**SHORT, mean_align=align)
        about = type(colours())(slope, colours().stddev, colours().eigenvectors)
        trainer = Trainer(build(classes=4, switches=trained_by), trained_by, about, 1)
        batch = minibatch(trained_by, 0)
        inputs.append(trainer.inputs(batch.crops, batch.draws))
    assert not torch.equal(*inputs)


def test_frozen_conv1_is_bit_identical_while_the_rest_moves():
    trained_by = protocol(**SHORT, freeze_conv1_at=0.5)
    trainer = Trainer(build(classes=4, switches=trained_by), trained_by, colours(), 1)
    for epoch in (0, 150):
        before = {name: weight.detach().clone() for name, weight in trainer.network.named_parameters()}
        trainer.set_rates(rates_of(trained_by, epoch))
        trainer.step(minibatch(trained_by, epoch), epoch, Tally())
        moved = {
            name
            for name, weight in trainer.network.named_parameters()
            if not torch.equal(weight, before[name])
        }
        assert ("conv1.weight" in moved, "conv1.bias" in moved) == (epoch == 0, epoch == 0)
        assert {"conv2.weight", "conv2.bias", "fc8.weight"} <= moved
    assert trainer.norms()["conv1_update_norm"] == 0 < trainer.norms()["conv2_update_norm"]


def test_biases_do_not_decay_unless_told_to():
    """One update at the same gradients: decay changes every weight and no bias."""
    with_decay, without, biases_too = (
        train(updates=1, weight_decay=decay, decay_biases=too)[0].network
        for decay, too in ((0.5, False), (0.0, False), (0.5, True))
    )
    assert not torch.equal(with_decay.conv2.weight, without.conv2.weight)
    assert torch.equal(with_decay.conv2.bias, without.conv2.bias)
    assert not torch.equal(biases_too.conv2.bias, without.conv2.bias)


def test_biases_can_learn_at_their_own_rate():
    """After one update a bias has moved by its rate times the gradient: four times as far with 0.02 as with 0.005."""
    equal, own = (train(updates=1, bias_lr=rate)[0] for rate in ("equal", 0.02))
    assert torch.equal(equal.network.conv2.weight, own.network.conv2.weight)
    moves = [(trainer.network.conv3.bias - 0.0).detach() for trainer in (equal, own)]  # conv3 starts from 0
    torch.testing.assert_close(moves[1], 4 * moves[0])


def test_bfloat16_trains_close_to_float32_and_keeps_float32_weights():
    low, full = (train(updates=3, precision=precision)[0].network for precision in ("bfloat16", "float32"))
    assert low.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(low.fc6.weight, full.fc6.weight, rtol=0.1, atol=1e-2)
    assert not torch.equal(low.fc6.weight, full.fc6.weight)


def test_norms_are_those_of_weights_and_of_the_last_update():
    trainer, _ = train(updates=3)
    before = {name: weight.detach().clone() for name, weight in trainer.network.named_parameters()}
    trainer.step(minibatch(trainer.protocol, 3), 3, Tally())
    norms = trainer.norms()
    for name in ("conv1", "conv4", "fc8"):
        weight = trainer.network.get_parameter(f"{name}.weight").detach()
        assert norms[f"{name}_weight_norm"] == pytest.approx(weight.norm().item(), rel=1e-5)
        moved = (weight - before[f"{name}.weight"]).norm().item()
        assert norms[f"{name}_update_norm"] == pytest.approx(moved, rel=1e-3)
    assert len(norms) == 2 * len(trainer.network.layers)


def test_tally_counts_images_losses_and_errors():
    trainer, tally = train(updates=1)
    assert tally.images == 16 and 0 <= tally.wrong <= 16
    before = tally.loss
    loss = trainer.step(minibatch(trainer.protocol, 1), 1, tally)
    assert tally.images == 32 and tally.loss - before == pytest.approx(16 * loss)


@pytest.mark.parametrize("setting", ["compiled", "channels_last"])
def test_a_machine_setting_changes_no_more_than_rounding(setting):
    plain = train(updates=2)[0]
    trained_by = plain.protocol
    made = build(classes=4, seed=1, switches=trained_by)
    other = Trainer(made, trained_by, colours(), seed=1, **{setting: True})
    for epoch in range(2):
        other.set_rates(rates_of(trained_by, epoch))
        other.step(minibatch(trained_by, epoch), epoch, Tally())
    for own, weight in zip(plain.network.parameters(), made.parameters(), strict=True):
        torch.testing.assert_close(own, weight.contiguous(), rtol=1e-3, atol=1e-4)


def test_a_gpu_trains_to_what_the_cpu_does():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: there is none here")
    trained_by = protocol("code2012", **{**SHORT, "schedule": LEDGER})
    trainers = [
        Trainer(
            build(classes=4, switches=trained_by).double().to(device), trained_by, colours().to(device), 1
        )
        for device in (torch.device("cpu"), torch.device("cuda"))
    ]
    for epoch in range(5):
        for trainer in trainers:
            batch = minibatch(trained_by, epoch)
            moved = Minibatch(
                batch.crops.to(trainer.device),
                batch.labels.to(trainer.device),
                *list(vars(batch).values())[2:],
            )
            trainer.set_rates(rates_of(trained_by, epoch))
            trainer.step(moved, epoch, Tally())
    for own, other in zip(*(trainer.network.parameters() for trainer in trainers), strict=True):
        torch.testing.assert_close(own, other.cpu(), rtol=1e-4, atol=1e-6)


def test_an_epoch_is_shuffled_anew_unless_its_order_is_fixed():
    shuffled = [epoch_order(protocol(), 1, epoch, 50).tolist() for epoch in (0, 1)]
    fixed = [epoch_order(protocol(fixed_order=True), 1, epoch, 50).tolist() for epoch in (0, 1)]
    assert shuffled[0] != shuffled[1] and sorted(shuffled[0]) == list(range(50))
    assert fixed == [list(range(50))] * 2


def test_a_chunk_of_images_shares_its_crop_and_flip_but_not_its_colours():
    order = epoch_order(protocol(), 1, 0, 64)
    draws = epoch_draws(protocol(crop_chunk=32), 1, 0, order, slice(0, 64), 33)
    places = list(zip(draws.rows, draws.columns, draws.mirrored, strict=True))
    assert len(set(places[:32])) == 1 and len(set(places[32:])) == 1
    assert len({tuple(alphas) for alphas in draws.alphas}) == 64
    alone = epoch_draws(protocol(), 1, 0, order, slice(0, 64), 33)
    assert len(set(zip(alone.rows, alone.columns, alone.mirrored, strict=True))) > 50


def test_what_the_protocol_leaves_out_is_not_drawn():
    order, places = np.arange(64), slice(0, 64)
    drawn = epoch_draws(protocol(), 1, 0, order, places, 33)
    fixed = epoch_draws(protocol(crop_offsets="centre", mirror=False), 1, 0, order, places, 33)
    assert (
        fixed.rows.tolist() == fixed.columns.tolist() == [16] * 64
    )  # (256 - 224) / 2, as in a test's centre view
    assert not fixed.mirrored.any() and drawn.mirrored.any()
    assert np.array_equal(fixed.alphas, drawn.alphas)


def test_no_mirror_means_no_reflection_and_changes_nothing_else():
    order = epoch_order(protocol(), 1, 0, 64)
    mirroring, plain = (
        epoch_draws(protocol(mirror=mirror), 1, 0, order, slice(0, 64), 33) for mirror in (True, False)
    )
    assert 16 < mirroring.mirrored.sum() < 48 and not plain.mirrored.any()
    for name in ("rows", "columns", "alphas"):
        assert np.array_equal(getattr(mirroring, name), getattr(plain, name))


@pytest.mark.parametrize("chunk", [1, 32])
def test_draws_do_not_depend_on_how_an_epoch_is_cut(chunk):
    order = epoch_order(protocol(), 1, 3, 100)
    whole = epoch_draws(protocol(crop_chunk=chunk), 1, 3, order, slice(0, 100), 33)
    parts = [
        epoch_draws(protocol(crop_chunk=chunk), 1, 3, order, slice(a, b), 33) for a, b in ((0, 37), (37, 100))
    ]
    for name, value in vars(whole).items():
        assert np.array_equal(value, np.concatenate([getattr(part, name) for part in parts]))


def test_parts_of_a_minibatch_cover_it_once():
    indices = np.arange(10, 21)
    parts = [part_of(indices, Team("data", rank, 3)) for rank in range(3)]
    assert [index for part in parts for index in indices[part]] == indices.tolist()
    assert part_of(indices, Team("columns", 1, 2)) == slice(0, 11)


def copied(target, start, start_layers="all_but_fc8"):
    weights = start.state_dict()
    names = names_to_copy(weights, start_layers)
    copy_start(target, {name: weights[name].shape for name in names}, lambda name, rows: weights[name][rows])
    return names


def test_a_start_gives_every_layer_but_fc8():
    start, target = build("six_conv", classes=9, seed=3), build("six_conv", classes=4, seed=4)
    fc8 = target.fc8.weight.clone()
    names = copied(target, start)
    assert "fc8.weight" not in names and "conv6.bias" in names
    assert torch.equal(target.fc7.weight, start.fc7.weight)
    assert torch.equal(target.fc8.weight, fc8)


def test_a_start_can_give_its_convolutions_alone_as_in_the_chain_of_the_2012_notes():
    start, target = build("two_columns", seed=3), build("six_conv", seed=4)
    before = {name: weight.clone() for name, weight in target.state_dict().items()}
    names = copied(target, start, "convs")
    assert {name.split(".")[0] for name in names} == {"conv1", "conv2", "conv3", "conv4", "conv5"}
    assert torch.equal(target.conv5.weight, start.conv5.weight)
    assert torch.equal(target.fc6.weight, before["fc6.weight"]) and torch.equal(
        target.conv6.weight, before["conv6.weight"]
    )


def test_a_start_can_give_everything():
    start, target = build(seed=3), build(seed=4)
    copied(target, start, "all")
    assert torch.equal(target.fc8.weight, start.fc8.weight)


def test_a_bottleneck_belongs_to_the_classes_and_is_left_behind():
    start, target = build("six_conv_bottleneck", seed=3), build("six_conv", seed=4)
    copied(target, start)
    assert torch.equal(target.fc7.weight, start.fc7.weight)


def test_empty_start_copies_nothing():
    assert names_to_copy([], "all") == []


def test_start_of_another_variant_is_refused():
    with pytest.raises(ValueError, match=r"conv6.weight is .* in the start but no such layer here"):
        copied(build(), build("six_conv"))


def test_ten_views_average_probabilities_not_logits():
    made = build(classes=4, seed=2)
    pixels, _ = tiny_set()
    views = view_probs(made, pixels[:2], colours().mean_image)
    singles = []
    for flipped in (False, True):
        for row, column in ((0, 0), (0, 4), (2, 2), (4, 0), (4, 4)):
            view = pixels[:2, row : row + CROP, column : column + CROP].float() - 120
            view = view.flip(2) if flipped else view
            singles.append(made(view.permute(0, 3, 1, 2)).softmax(1))
    torch.testing.assert_close(views.ten, torch.stack(singles).mean(0))
    torch.testing.assert_close(views.centre, singles[2])


def test_features_are_the_centre_views_in_fc7():
    made = build(classes=4, seed=2)
    pixels, _ = tiny_set()
    views = view_probs(made, pixels[:2], colours().mean_image)
    logits = centre_logits(made, pixels[:2], colours().mean_image)
    torch.testing.assert_close(F.linear(views.features * 0.5, made.fc8.weight, made.fc8.bias), logits)


def test_an_image_and_its_mirror_give_the_same_average():
    made = build(classes=4, seed=2)
    pixels, _ = tiny_set()
    views, mirrored = (
        view_probs(made, some, colours().mean_image) for some in (pixels[:2], pixels[:2].flip(2))
    )
    torch.testing.assert_close(views.ten, mirrored.ten)
    assert not torch.allclose(views.centre, mirrored.centre)


def test_minibatches_hold_every_image_once_also_when_they_do_not_divide():
    assert [list(part) for part in batches(np.arange(10), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
