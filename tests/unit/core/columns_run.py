"""What one of two processes finds out about training together; run by test_team.py, it writes what it found as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from alexnet.core.layers import exchanged_values, initial_stds
from alexnet.core.network import Network, initialize
from alexnet.core.schedule import rates_of
from alexnet.core.team import ColumnExchange, Team
from alexnet.core.training import Minibatch, Tally, Trainer, part_of
from alexnet.device import join_group, leave_group, open_device
from tests.unit.core.made_networks import NARROW, SHORT, colours, minibatch, network, protocol

CASES = [
    ("two_columns", "default"), ("two_columns", "paper"), ("two_columns", "code2012"), ("no_crossing", "default"),
    ("without_conv3", "default"), ("six_conv_bottleneck", "code2012"),
]  # fmt: skip
FULL = {"size": {"width": 1.0, "fc_width": 1.0, "multiple": 1, "conv1": "paper"}, "keep_gain": False}


DEVICE = torch.device("cpu")  # set by main


def make(variant, switches, classes, crop, team, dtype, changes):
    """The whole network, and this process's column of it with the same initial weights."""
    params = network(variant, **changes)
    stds = initial_stds(params, switches, classes, crop)
    shares_gpu = DEVICE.type == "cuda" and torch.distributed.get_backend() == "gloo"
    exchange = ColumnExchange(team, through_cpu=shares_gpu)
    whole = Network(params, switches, classes, crop)
    part = Network(params, switches, classes, crop, column=team.rank, exchange=exchange)
    for net in (whole, part):
        initialize(net, stds, 7)
        net.to(DEVICE, dtype)
    return whole, part, exchange


def rows_of(part, name):
    layers = {layer.name: layer for layer in part.layers}
    return part.rows(layers[name.split(".")[0]])


def worst(pairs):
    """The largest difference relative to the size of what it is in."""
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1e-300)).item() for a, b in pairs)


def compare_gradients(variant, switches, team, *, dtype, classes=7, crop=32, count=3, changes=NARROW):
    """How far the column's logits, gradients and exchanged bytes are from the whole network's."""
    whole, part, exchange = make(variant, switches, classes, crop, team, dtype, changes)
    generator = torch.Generator().manual_seed(3)
    inputs = (torch.randn(count, 3, crop, crop, generator=generator) * 60).to(DEVICE, dtype)
    labels = torch.arange(count, device=DEVICE) % classes
    masks, own_masks = {}, {}
    for layer in whole.layers:
        if layer.dropout:
            mask = (torch.rand(count, layer.outputs, generator=generator) > 0.5).to(DEVICE, dtype)
            masks[layer.name], own_masks[layer.name] = mask, mask[:, layer.rows(team.rank)]
    logits = whole(inputs, masks)
    F.cross_entropy(logits, labels).backward()
    values = part(inputs, own_masks)
    found = {"bytes": exchange.bytes_sent / count}
    found["hand_bytes"] = exchanged_values(part.layers) // 2 * inputs.element_size()
    if team.is_first:
        found["logits"] = worst([(values, logits)])
        F.cross_entropy(values, labels).backward()
    else:
        torch.autograd.backward(values, torch.zeros_like(values))
    found["gradients"] = worst(
        (parameter.grad, whole.get_parameter(name).grad[rows_of(part, name)])
        for name, parameter in part.named_parameters()
    )
    held = [sum(weight.numel() for weight in net.parameters()) for net in (part, whole)]
    found["held"] = held[0] / held[1]
    return found


def compare_training(variant, name, team, updates):
    """How far the weights are apart after some updates in float64, and the losses of both."""
    switches = protocol(
        name, **{**SHORT, "epochs": updates, "schedule": {"kind": "steps", "drops": [0.5]}, **FREE}
    )
    whole, part, _ = make(variant, switches, 4, 32, team, torch.float64, NARROW)
    trainers = [Trainer(whole, switches, colours(), 1), Trainer(part, switches, colours(), 1, team=team)]
    losses = []
    for epoch in range(updates):
        tallies = [Tally(), Tally()]
        for trainer, tally in zip(trainers, tallies, strict=True):
            trainer.set_rates(rates_of(switches, epoch))
            trainer.step(minibatch(switches, epoch), epoch, tally)
        losses.append([tally.loss for tally in tallies])
    norms = [trainer.norms() for trainer in trainers]
    return {
        "weights": worst(
            (own, whole.get_parameter(name)[rows_of(part, name)]) for name, own in part.named_parameters()
        ),
        "velocities": worst(
            (trainers[1].descent.velocity(name), trainers[0].descent.velocity(name)[rows_of(part, name)])
            for name, _ in part.named_parameters()
        ),
        "losses": losses,
        "norms": norms,
    }


FREE = {"colour_off_at": 0.5, "freeze_conv1_at": 0.75}


def compare_data_parallel(team, updates, batch):
    """How far the weights are from those of one process after some updates on parts of each minibatch."""
    switches = protocol(**{**SHORT, "epochs": updates, **FREE})
    params = network(**NARROW)
    stds = initial_stds(params, switches, 4, 32)
    networks = [Network(params, switches, 4, 32) for _ in range(2)]
    for net in networks:
        initialize(net, stds, 7)
    shared = Team("data", team.rank, team.size, team.control)
    trainers = [
        Trainer(networks[0], switches, colours(), 1), Trainer(networks[1], switches, colours(), 1, team=shared)
    ]  # fmt: skip
    tally = Tally()
    for epoch in range(updates):
        whole = minibatch(switches, epoch)
        whole = take(whole, slice(0, batch), batch)
        for trainer, own in zip(
            trainers, (whole, take(whole, part_of(whole.indices, shared), batch)), strict=True
        ):
            trainer.set_rates(rates_of(switches, epoch))
            trainer.step(own, epoch, tally if trainer is trainers[1] else Tally())
    return {
        "weights": worst(
            (own, networks[0].get_parameter(name)) for name, own in networks[1].named_parameters()
        ),
        "images": tally.images,
    }


def take(whole, places, total):
    """Some images of a minibatch."""
    draws = type(whole.draws)(**{name: value[places] for name, value in vars(whole.draws).items()})
    return Minibatch(whole.crops[places], whole.labels[places], whole.indices[places], draws, total)


def check_collected(team):
    """What the first process gets of both parts, in pieces."""
    own = torch.arange(3.0) + 10 * team.rank
    return [piece.tolist() for piece in team.collect(own, [3, 3])]


def find_everything(team):
    """All that is checked on CPUs."""
    return {
        "cases": {
            f"{variant} {name}": compare_gradients(variant, protocol(name), team, dtype=torch.float64)
            for variant, name in CASES
        },
        "full": compare_gradients(
            "two_columns",
            protocol(),
            team,
            dtype=torch.float32,
            classes=1000,
            crop=224,
            count=2,
            changes=FULL,
        ),
        "training": {
            name: compare_training("two_columns", name, team, 50) for name in ("default", "code2012")
        },
        "data": {batch: compare_data_parallel(team, 8, batch) for batch in (16, 5, 1)},
        "collected": check_collected(team),
        "agreed": team.agree([team.rank + 1.5]),
        "total": team.total([team.rank + 1.5]),
        "largest": team.largest([team.rank + 1.5]),
    }


def find_on_gpus(team):
    """What is checked on GPUs: the exchange, and the pieces of a checkpoint."""
    cases = {}
    for variant, name in CASES[:3]:
        cases[f"{variant} {name}"] = compare_gradients(variant, protocol(name), team, dtype=torch.float64)
    own = torch.arange(3.0, device=DEVICE) + 10 * team.rank
    collected = [piece.tolist() for piece in team.collect(own, [3, 3])]
    return {"cases": cases, "collected": collected, "backend": torch.distributed.get_backend()}


def main(folder, kind):
    global DEVICE
    DEVICE = open_device(kind, 1)
    join_group(DEVICE)
    control = torch.distributed.new_group(backend="gloo")
    team = Team("columns", torch.distributed.get_rank(), 2, control)
    found = find_everything(team) if kind == "cpu" else find_on_gpus(team)
    Path(folder, f"{team.rank}.json").write_text(json.dumps(found))
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
