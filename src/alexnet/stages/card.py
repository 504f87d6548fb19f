"""The card of a trained net, written from the files of its run."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.core.protocol import ProtocolParams
from alexnet.data.predictions import read_members
from alexnet.data.shards import load_manifest
from alexnet.data.tensor_names import hash_file, list_tensors
from alexnet.data.whole import write_whole
from alexnet.errors import UserError
from alexnet.report.card import CardFacts, count_parameters, render

SPLITS = ("val", "test")


@dataclass(frozen=True)
class CardInputs:
    """Files of a run. predictions: the folder of all. data: of the prepared data set."""

    weights: Path
    record: Path
    history: Path
    predictions: Path
    data: Path


@dataclass(frozen=True)
class Line:
    """What params.yaml says of a member. kind: of its data set's source. start: another member, or None."""

    group: str
    data: str
    kind: str
    variant: str
    protocol: str
    start: str | None


def run(
    member: str, line: Line, paper: ProtocolParams, confidence: float, inputs: CardInputs, output: Path
) -> None:
    """Writes the card, whole. paper: the protocol of the paper. confidence: of intervals.

    Raises UserError if a file is missing or damaged, or is of another member or data set.
    """
    record = _read_record(inputs.record, member)
    manifest, tensors = load_manifest(inputs.data), list_tensors(inputs.weights)
    values, described = sum(each.size for each in tensors), count_parameters(record, manifest.num_classes)
    if values != described:
        raise UserError(
            str(inputs.weights), f"is not of the network that {inputs.record} describes", found=f"{values:,} values",
            expected=f"{described:,}", fix=f"Train {member} again.",
        )  # fmt: skip
    read = read_members(inputs.predictions, line.data, [member], SPLITS, probs_of=())
    facts = CardFacts(
        member=member,
        group=line.group,
        variant=line.variant,
        protocol=line.protocol,
        start=line.start,
        kind=line.kind,
        record=record,
        manifest=manifest,
        paper=paper,
        predictions=read[member],
        history=_read_last_row(inputs.history),
        tensors=tensors,
        sha256=hash_file(inputs.weights),
        confidence=confidence,
    )
    write_whole(output, render(facts))


def _read_record(path: Path, member: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        found = record["member"]
    except FileNotFoundError:
        raise UserError(str(path), "is missing", fix=f"Run `alexnet train {member}` first.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(str(path), f"is no record of a training: {error}", fix="Train it again.") from None
    if found != member:
        raise UserError(str(path), "is the record of another member", found=found, expected=member)
    return record


def _read_last_row(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}", fix="Train it again.") from None
    if not rows or not {"epoch", "train_top1_error"} <= rows[-1].keys():
        raise UserError(str(path), "has no epoch", fix="Train it again.")
    return rows[-1]
