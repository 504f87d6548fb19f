"""The paper's network at full size with random images, for the benchmarks beside this file."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet import params
from alexnet.configure import BASE
from alexnet.core.draws import draw_augmentation
from alexnet.core.layers import initial_stds
from alexnet.core.network import Network, initialize
from alexnet.core.protocol import ProtocolParams
from alexnet.core.schedule import rates_of
from alexnet.core.team import ColumnExchange, Team
from alexnet.core.training import Colours, Minibatch, Trainer

CLASSES, SIDE, CROP = 1000, 256, 224


def base_params() -> params.AllParams:
    """The parameters at full size: those of configs/base.yaml."""
    return params.load(Path(BASE))


def make_trainer(
    variant: str = "two_columns",
    protocol: ProtocolParams | None = None,
    *,
    team: Team | None = None,
    **machine: bool,
) -> Trainer:
    """A trainer with initial weights; with a team of columns, of this process's."""
    base = base_params()
    trained_by = protocol or base.protocol("default")
    network_params = base.variant(variant)
    is_column = team is not None and team.mode == "columns"
    network = Network(
        network_params, trained_by, CLASSES, trained_by.crop,
        column=team.rank if is_column and team else None,
        exchange=ColumnExchange(team, through_cpu=False) if is_column and team else None,
    )  # fmt: skip
    initialize(network, initial_stds(network_params, trained_by, CLASSES, trained_by.crop), 1)
    colours = Colours(torch.full((SIDE, SIDE, 3), 118.0), torch.tensor([121.8, 37.1, 19.7]), torch.eye(3))
    trainer = Trainer(network, trained_by, colours, 1, team=team, **machine)
    trainer.set_rates(rates_of(trained_by, 0))
    return trainer


def make_batch(size: int) -> Minibatch:
    """Random crops with random labels."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (size, CROP, CROP, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (size,), generator=generator)
    indices = np.arange(size)
    return Minibatch(crops, labels, indices, draw_augmentation(1, 0, indices, 33), size)


def held_bytes(trainer: Trainer) -> int:
    """Bytes of parameters and velocities."""
    names: list[tuple[str, Tensor]] = list(trainer.network.named_parameters())
    return sum(parameter.nbytes + trainer.descent.velocity(name).nbytes for name, parameter in names)


def describe_machine() -> dict[str, Any]:
    """Processor and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
