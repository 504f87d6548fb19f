"""One update of the paper's network on this CPU: ours, ours without LRN, and the same net of stock torch.nn layers.

Run it in the project's folder: `python bench/training.py [--rounds 5] [--batch 64] [--threads 2] [--settings]`. An
update is forward, backward and optimizer on inputs that are ready. Each round times every way in turn. --settings
adds the machine settings compile and channels_last and the parameter precision: bfloat16, one at a time.
Prints progress on standard error, and one JSON object of medians (milliseconds) and ratios as its last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.core.training import Tally, Trainer
from alexnet.device import open_device
from full_size import CLASSES, base_params, describe_machine, make_batch, make_trainer

Update = Callable[[], object]


def stock_network() -> nn.Sequential:
    """§3.5 from PyTorch's own layers; its normalization runs over all maps, as in the paper's formula."""
    layers: list[nn.Module] = [nn.ZeroPad2d((0, 3, 0, 3))]
    for inputs, outputs, kernel, stride, pad, groups, is_normalized, is_pooled in (
        (3, 96, 11, 4, 0, 1, True, True),
        (96, 256, 5, 1, 2, 2, True, True),
        (256, 384, 3, 1, 1, 1, False, False),
        (384, 384, 3, 1, 1, 2, False, False),
        (384, 256, 3, 1, 1, 2, False, True),
    ):
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups), nn.ReLU()]
        layers += [nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)] * is_normalized
        layers += [nn.MaxPool2d(3, 2)] * is_pooled
    layers += [nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()]
    layers += [nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, CLASSES)]
    return nn.Sequential(*layers)


def stock_update(inputs: Tensor, labels: Tensor) -> Update:
    """An update of the stock network by torch.optim.SGD as it comes."""
    network = stock_network()
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in parameters if parameter.dim() > 1], "weight_decay": 0.0005},
        {"params": [parameter for parameter in parameters if parameter.dim() == 1]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)

    def update() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(inputs), labels))
        optimizer.step()

    return update


class _Ready(Trainer):
    """A trainer whose inputs are ready."""

    ready: Tensor

    def inputs(self, *_: object) -> Tensor:
        """The same inputs whatever is asked for."""
        return self.ready


def our_update(trainer: Trainer, batch_size: int) -> Update:
    """An update of ours on inputs that are ready."""
    batch, tally = make_batch(batch_size), Tally()
    trainer.__class__ = _Ready
    assert isinstance(trainer, _Ready)
    trainer.ready = Trainer.inputs(trainer, batch.crops, batch.draws)
    return lambda: trainer.step(batch, 0, tally)


def make_ways(batch_size: int, *, settings: bool) -> dict[str, Update]:
    """Every way of an update, by name."""
    batch = make_batch(batch_size)
    protocol = base_params().protocol("default")
    ours = make_trainer()
    ways = {
        "ours": our_update(ours, batch_size),
        "no_lrn": our_update(make_trainer("no_lrn"), batch_size),
        "stock": stock_update(Trainer.inputs(ours, batch.crops, batch.draws), batch.labels),
    }
    if settings:
        low = protocol.model_copy(update={"precision": "bfloat16"})
        ways |= {
            "channels_last": our_update(make_trainer(channels_last=True), batch_size),
            "compile": our_update(make_trainer(compiled=True), batch_size),
            "bfloat16": our_update(make_trainer(protocol=low), batch_size),
        }
    return ways


def main() -> None:
    """Measures all ways in turn."""
    parser = argparse.ArgumentParser(description="Time updates of the paper's network.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", action="store_true")
    arguments = parser.parse_args()
    open_device("cpu", arguments.threads)
    ways = make_ways(arguments.batch, settings=arguments.settings)
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds + 1):  # the first warms up and does not count
        for name, update in ways.items():
            begun = time.perf_counter()
            update()
            seconds = time.perf_counter() - begun
            print(f"{turn}: {name} {1e3 * seconds:.0f} ms", file=sys.stderr)
            took[name] += [1e3 * seconds] * (turn > 0)

    def ratio(first: str, second: str) -> float:
        return round(statistics.median(a / b for a, b in zip(took[first], took[second], strict=True)), 3)

    report: dict[str, object] = {
        "batch": arguments.batch,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "median_ms": {name: round(statistics.median(times), 1) for name, times in took.items()},
        "step_vs_no_lrn": ratio("no_lrn", "ours"),
        "step_vs_stock_lrn": ratio("stock", "ours"),
        "speedup_of_settings": {
            name: ratio("ours", name) for name in ways if name not in ("ours", "no_lrn", "stock")
        },
    }
    print(json.dumps(report | describe_machine()))


if __name__ == "__main__":
    main()
