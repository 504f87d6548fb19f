"""Networks and protocols from configs/base.yaml, at full size or narrow, and a tiny set of images to learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import yaml

from alexnet.core.augment import cut_crops
from alexnet.core.draws import count_offsets
from alexnet.core.layers import NetworkParams, initial_stds, join
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import rates_of
from alexnet.core.training import Colours, Minibatch, Tally, Trainer, epoch_draws, epoch_order

BASE = yaml.safe_load((Path(__file__).parents[3] / "configs/base.yaml").read_text())
VARIANTS = list(BASE["variants"])
PROTOCOLS = list(BASE["protocols"])

NARROW = {
    "size": {
        "width": 0.1,
        "fc_width": 0.02,
        "multiple": 4,
        "conv1": {"kernel": 5, "stride": 2, "pad": 2, "pad_end": 2},
    },
    "keep_gain": True,
}
SIDE, CROP = 36, 32


def network(variant="two_columns", **changes):
    """The `network` section with a variant's differences and more changes, checked."""
    joined = join(join(BASE["network"], BASE["variants"][variant]), changes)
    return NetworkParams.model_validate_json(json.dumps(joined))


def protocol(name="default", **changes):
    """A protocol with changes, checked."""
    differences = {} if name == "default" else BASE["protocols"][name]
    joined = join(join(BASE["protocols"]["default"], differences), changes)
    return ProtocolParams.model_validate_json(json.dumps(joined))


def build(
    variant="two_columns", classes=7, crop=CROP, seed=0, switches=None, column=None, exchange=None, **changes
):
    """A narrow network with initial weights."""
    params = network(variant, **{**NARROW, **changes})
    switches = switches or protocol()
    made = Network(params, switches, classes, crop, column=column, exchange=exchange)
    initialize(made, initial_stds(params, switches, classes, crop), seed)
    return made


def images(count=3, crop=CROP):
    """Inputs of a network: (count, 3, crop, crop)."""
    return torch.randn(count, 3, crop, crop, generator=torch.Generator().manual_seed(5)) * 60


def colours():
    """A plain mean image and RGB PCA for images of SIDE pixels."""
    return Colours(torch.full((SIDE, SIDE, 3), 120.0), torch.tensor([60.0, 20.0, 10.0]), torch.eye(3))


def tiny_set(classes=4, each=4):
    """A few images whose classes are plain to see: a bright bar at one of four heights."""
    pixels = np.random.default_rng(0).integers(90, 150, (classes * each, SIDE, SIDE, 3)).astype(np.uint8)
    labels = np.arange(classes * each) % classes
    for image, label in zip(pixels, labels, strict=True):
        image[4 + 7 * int(label) : 11 + 7 * int(label), 6:30] = 255
    return torch.from_numpy(pixels), torch.from_numpy(labels)


# Rates and length at which every narrow variant learns the tiny set.
SHORT = {
    "crop": CROP,
    "mirror": False,
    "batch": 16,
    "epochs": 300,
    "lr": 0.005,
    "schedule": {"kind": "steps", "drops": []},
}


def minibatch(trained_by, epoch, seed=1):
    """The whole tiny set as the minibatch of an epoch."""
    pixels, labels = tiny_set()
    order = epoch_order(trained_by, seed, epoch, len(pixels))
    offsets = count_offsets(SIDE, trained_by.crop, trained_by.crop_offsets)
    draws = epoch_draws(trained_by, seed, epoch, order, slice(0, len(order)), offsets)
    crops = cut_crops(pixels[order], draws, trained_by.crop)
    return Minibatch(crops, labels[order], order, draws, len(order))


def train(
    variant="two_columns", updates=40, name="default", network_changes=None, dtype=torch.float32, **changes
):
    """A trainer after some updates on the tiny set, an epoch each, and the tally of the last."""
    trained_by = protocol(name, **{**SHORT, "epochs": updates, **changes})
    made = build(variant, classes=4, seed=1, switches=trained_by, **(network_changes or {})).to(dtype)
    trainer = Trainer(made, trained_by, colours(), seed=1)
    tally = Tally()
    for epoch in range(updates):
        tally = Tally()
        trainer.set_rates(rates_of(trained_by, epoch))
        trainer.step(minibatch(trained_by, epoch), epoch, tally)
    return trainer, tally
