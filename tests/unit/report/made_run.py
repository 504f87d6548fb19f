"""A run of the workflow in memory: nets whose mistakes are listed, so that every number can be counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alexnet.core.predictions import Predictions
from alexnet.report.comparisons import Run

from .made_predictions import make_predictions

GENERATED = {"ilsvrc2012": "generated", "ilsvrc2010": "generated"}
OFFICIAL = {"ilsvrc2012": "ilsvrc", "ilsvrc2010": "ilsvrc"}


@dataclass(frozen=True)
class Line:
    """A member or an ablation, whichever is asked for."""

    group: str = "cnn"
    data: str = "ilsvrc2012"
    variant: str = "two_columns"
    protocol: str = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    base: str = "cnn"
    split: str = "val"
    seeds: Sequence[int] = (1, 2, 3)


@dataclass
class MadeStore:
    """Mistakes by (member, split) and (ablation, seed): the images of which the label comes last."""

    mistakes: dict[Any, Predictions]
    histories: dict[Any, pd.DataFrame] = field(default_factory=dict)
    trained: tuple[pd.DataFrame, str] | None = None
    asked_for_probs: list[str] = field(default_factory=list)

    def predictions(self, member: str, split: str, *, with_probs: bool = False) -> Predictions:
        if with_probs:
            self.asked_for_probs.append(member)
        return self.mistakes[member, split]

    def ablation_predictions(self, ablation: str, seed: int) -> Predictions:
        return self.mistakes[ablation, seed]

    def history(self, member: str) -> pd.DataFrame:
        return self.histories[member]

    def ablation_history(self, ablation: str, seed: int) -> pd.DataFrame:
        return self.histories[ablation, seed]

    def activations(self) -> tuple[pd.DataFrame, str] | None:
        return self.trained


def history(train: Sequence[float], val: Sequence[float]) -> pd.DataFrame:
    epochs = range(1, len(train) + 1)
    return pd.DataFrame({"epoch": epochs, "train_top1_error": train, "val_top1_error": val})


def some(rng: np.random.Generator, part: float, num_images: int) -> set[int]:
    """Images drawn at random."""
    return set(np.flatnonzero(rng.random(num_images) < part).tolist())


def make_run(
    base: Mapping[int, Collection[int]],
    ablations: Mapping[str, tuple[Line, Mapping[int, Collection[int]]]] | None = None,
    *,
    num_images: int = 100,
    kinds: Mapping[str, str] = GENERATED,
    left_out: Mapping[str, str] | None = None,
    is_full_size: bool = False,
    members: Mapping[str, tuple[Line, Collection[int]]] | None = None,
) -> Run:
    """A run with nets cnn1, cnn2 .. of these seeds and mistakes (at top-1 and top-5 alike), other members, ablations."""
    lines = {f"cnn{seed}": Line(seed=seed) for seed in base}
    made: dict[Any, Predictions] = {
        (f"cnn{seed}", "val"): make_predictions(f"cnn{seed}", far=far, num_images=num_images)
        for seed, far in base.items()
    }
    for name, (line, far) in (members or {}).items():
        lines[name] = line
        made[name, line.split] = make_predictions(
            name, line.split, far=far, num_images=num_images, dataset=line.data
        )
    for name, (line, by_seed) in (ablations or {}).items():
        for seed, far in by_seed.items():
            made[name, seed] = make_predictions(
                f"{name}-{seed}", line.split, far=far, num_images=num_images, dataset=line.data
            )
    return Run(
        lines, {name: line for name, (line, _) in (ablations or {}).items()}, left_out or {}, kinds, is_full_size,
        0.95, MadeStore(made),
    )  # fmt: skip
