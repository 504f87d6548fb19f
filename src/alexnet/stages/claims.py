"""Which claims of the paper hold in this run, what each variant is worth, and what makes the protocols differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from alexnet.core.intervals import TableParams
from alexnet.data.predictions import Predictions, read_members, read_predictions
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.ablations import make_ablations, make_protocols
from alexnet.report.claim_list import ClaimList, parse_claims
from alexnet.report.claims import make_claims, to_brief_markdown, to_csv, to_markdown
from alexnet.report.comparisons import AblationLine, NetLine, Run

TYPES: Any = {"seeds": "Int64", "images": "Int64", "section": str}  # of what pandas would guess otherwise
HISTORY = ("epoch", "train_top1_error", "val_top1_error")


@dataclass(frozen=True)
class Inputs:
    """Folders of predictions, models, ablations and of the training of ReLU and tanh, and the file of claims."""

    claims: Path
    predictions: Path
    models: Path
    ablations: Path
    relu_tanh: Path


@dataclass(frozen=True)
class Outputs:
    """The three tables."""

    claims: Path
    ablations: Path
    protocols: Path


@dataclass(frozen=True)
class Lines:
    """What params.yaml says. kinds: data set -> kind of its source. is_full_size: nets and crops are the paper's."""

    members: Mapping[str, NetLine]
    ablations: Mapping[str, AblationLine]
    protocols: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]
    kinds: Mapping[str, str]
    is_full_size: bool


def run(lines: Lines, params: TableParams, inputs: Inputs, outputs: Outputs) -> None:
    """Writes the three tables as CSV, each whole; none, if anything they need is missing or damaged (UserError)."""
    claims = read_claims(inputs.claims)
    files = Files(inputs, {name: line.data for name, line in lines.members.items()}, lines.ablations)
    result = Run(
        lines.members,
        lines.ablations,
        lines.left_out,
        lines.kinds,
        lines.is_full_size,
        params.confidence,
        files,
    )
    made = {
        outputs.claims: make_claims(claims, result),
        outputs.ablations: make_ablations(result, claims),
        outputs.protocols: make_protocols(result, lines.protocols),
    }
    for path, frame in made.items():
        write_whole(path, to_csv(frame))


def render(table: Path, *, is_brief: bool = False) -> str:
    """The verdicts that were written, as Markdown; those alone that were judged, briefly, if `is_brief`.

    Raises UserError if they are not there.
    """
    try:
        frame = pd.read_csv(table, dtype=TYPES)
        return to_brief_markdown(frame) if is_brief else to_markdown(frame)
    except FileNotFoundError:
        raise UserError(str(table), "is missing", fix="Build it: dvc repro claims.") from None


def read_claims(path: Path) -> ClaimList:
    """The claims in a file. Raises UserError if it is missing or has a mistake."""
    try:
        return parse_claims(path.read_text(), str(path))
    except FileNotFoundError:
        raise UserError(str(path), "is missing", fix="It is kept in git: git checkout claims.yaml.") from None


@dataclass(frozen=True)
class Files:
    """What stages wrote, read when asked for and kept, all but probabilities: those are gigabytes at full size."""

    inputs: Inputs
    data: Mapping[str, str]
    ablations: Mapping[str, AblationLine]
    _kept: dict[Path, Predictions] = field(default_factory=dict, repr=False)

    def predictions(self, member: str, split: str, *, with_probs: bool = False) -> Predictions:
        """Those of a member, as Store asks."""
        data, folder = self.data[member], self.inputs.predictions
        path = folder / data / member / f"{split}.parquet"
        if with_probs:
            return read_members(folder, data, [member], [split], probs_of=("ten",))[member][split]
        if path not in self._kept:
            self._kept[path] = read_members(folder, data, [member], [split], probs_of=())[member][split]
        return self._kept[path]

    def ablation_predictions(self, ablation: str, seed: int) -> Predictions:
        """Those of an ablation's net, as Store asks."""
        line = self.ablations[ablation]
        path = self.inputs.ablations / ablation / str(seed) / f"{line.split}.parquet"
        if path not in self._kept:
            if not path.is_file():
                raise UserError(
                    str(path), "the predictions are missing", fix=f"Run `alexnet ablate {ablation}` first."
                )
            read = read_predictions(path, probs_of=())
            found, expected = (read.dataset, read.split), (line.data, line.split)
            if found != expected:
                raise UserError(
                    str(path), "holds the predictions of something else", found=" ".join(found),
                    expected=" ".join(expected), fix=f"Run `alexnet ablate {ablation}` again.",
                )  # fmt: skip
            self._kept[path] = read
        return self._kept[path]

    def history(self, member: str) -> pd.DataFrame:
        """A member's training, as Store asks."""
        return _read_history(self.inputs.models / member / "history.csv", f"alexnet train {member}", HISTORY)

    def ablation_history(self, ablation: str, seed: int) -> pd.DataFrame:
        """The training of an ablation's net, as Store asks."""
        path = self.inputs.ablations / ablation / str(seed) / "history.csv"
        return _read_history(path, f"alexnet ablate {ablation}", HISTORY)

    def activations(self) -> tuple[pd.DataFrame, str] | None:
        """ReLU and tanh at the rates chosen for them, as Store asks; None if they were not trained."""
        history, choice = self.inputs.relu_tanh / "history.csv", self.inputs.relu_tanh / "choice.json"
        if not history.exists() and not choice.exists():
            return None
        names = ("activation", "lr", "seed", "epoch", "train_top1_error")
        frame = _read_history(history, "alexnet relu-tanh", names)
        try:
            chosen = json.loads(choice.read_text())
            rates = {name: float(chosen[name]["lr"]) for name in ("relu", "tanh")}
            data = str(chosen["data"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                str(choice), "is missing or damaged", fix="Run `alexnet relu-tanh` again."
            ) from None
        return frame[frame.lr == frame.activation.map(rates)], data


def _read_history(path: Path, command: str, names: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError):
        raise UserError(str(path), "is missing or damaged", fix=f"Run `{command}` first.") from None
    if missing := [name for name in names if name not in frame]:
        raise UserError(str(path), f"has no column {missing[0]}", fix=f"Run `{command}` again.")
    return frame
