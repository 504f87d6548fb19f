"""The paper's four figures from what other stages made, as SVG and PNG, and the numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alexnet.core.selectivity import ColumnColours, compare_columns
from alexnet.data.predictions import read_members
from alexnet.data.weight_arrays import read_array, read_plan
from alexnet.data.whole import whole_folder
from alexnet.errors import UserError
from alexnet.report.figure_architecture import ArchitectureData, draw_architecture
from alexnet.report.figure_epochs import EpochsData, draw_epochs
from alexnet.report.figure_images import ImagesData, Labelled, Searched, draw_images
from alexnet.report.figure_kernels import KernelsData, draw_kernels
from alexnet.report.figures import Draw, draw_absent, render
from alexnet.report.paper import MemberLine

GROUP = "cnn"  # whose nets Figures 2 and 3 show, if there are any
ACTIVATIONS = ("relu", "tanh")


@dataclass(frozen=True)
class Inputs:
    """Folders of the training of ReLU and tanh, of nearest images, of models and of predictions."""

    relu_tanh: Path
    neighbours: Path
    models: Path
    predictions: Path


@dataclass(frozen=True)
class Lines:
    """What params.yaml says: members in order, those of `neighbours`, and data set -> reason in `left_out`."""

    members: Mapping[str, MemberLine]
    neighbours: tuple[str, ...]
    left_out: Mapping[str, str]


Made = tuple[Draw, dict[str, Any]]


def run(lines: Lines, inputs: Inputs, output: Path) -> None:
    """Writes figure1 to figure4 (.svg, .png, and _narrow.svg for a telephone) and figures.json into `output`, whole.

    A figure whose stage was not run says so, with the reason. Raises UserError if anything it needs is damaged.
    """
    makers = (_make_epochs, _make_architecture, _make_kernels, _make_images)
    numbers: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for number, make in enumerate(makers, start=1):
        try:
            draw, about = make(lines, inputs)
        except NotRunError as absent:
            draw, about = draw_absent(number, str(absent)), {"not_run": str(absent)}
        numbers[f"figure{number}"] = about
        files |= render(draw, f"figure{number}")
    with whole_folder(output) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "figures.json").write_text(json.dumps(numbers, indent=1) + "\n")


class NotRunError(Exception):
    """Why a figure has nothing to show."""


def _make_epochs(lines: Lines, inputs: Inputs) -> Made:
    folder = inputs.relu_tanh
    if not any((folder / name).exists() for name in ("choice.json", "history.csv")):
        raise NotRunError(_with_reasons("ReLU and tanh were not trained", lines))
    choice = _read_json(folder / "choice.json", "alexnet relu-tanh")
    try:
        history = pd.read_csv(folder / "history.csv")
        errors = {
            name: [
                rows.sort_values("epoch").train_top1_error.tolist()
                for _, rows in history[history.activation == name].groupby("seed")
            ]
            for name in ACTIVATIONS
        }
        rates = {name: float(choice[name]["lr"]) for name in ACTIVATIONS}
        epochs = {name: choice[name]["epochs"] for name in ACTIVATIONS}
        target, ratio = float(choice["target"]), choice["ratio"]
        seeds = len(choice["seeds"])
        about = (
            f"{choice['data']}: {choice['num_images']:,} training images of {choice['num_classes']} classes, "
            f"{choice['side']}×{choice['side']} pixels; a net of {choice['num_parameters']:,} parameters, "
            f"{seeds} seed{'s' * (seeds != 1)}"
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            str(folder), "is damaged", found=repr(error), fix="Run `alexnet relu-tanh` again."
        ) from None
    draw = draw_epochs(EpochsData(rates, errors, epochs, target, ratio, about))
    return draw, {"data": choice["data"], "rates": rates, "target": target, "epochs": epochs, "ratio": ratio}


def _make_architecture(lines: Lines, inputs: Inputs) -> Made:
    member = _members(lines)[0]
    plan = read_plan(inputs.models / member / "weights.safetensors")
    totals = {
        "parameters": sum(layer.num_parameters for layer in plan.layers),
        "neurons": sum(layer.num_neurons for layer in plan.layers),
        "multiply_adds": sum(layer.num_multiply_adds for layer in plan.layers),
    }
    about = (
        f"{member}: {totals['parameters']:,} parameters, {totals['neurons']:,} neurons, "
        f"{totals['multiply_adds']:,} multiply-adds"
    )
    return draw_architecture(ArchitectureData(plan.layers, plan.input_side, plan.pool, about)), {
        "member": member,
        "input_side": plan.input_side,
        **totals,
    }


def _make_kernels(lines: Lines, inputs: Inputs) -> Made:
    members = _members(lines)
    nets: list[tuple[str, ColumnColours]] = []
    shown: tuple[npt.NDArray[Any], int] | None = None
    for member in members:
        path = inputs.models / member / "weights.safetensors"
        kernels, columns = read_array(path, "conv1.weight"), read_plan(path).layers[0].columns
        nets.append((member, compare_columns(kernels, columns)))
        shown = shown or (kernels, columns)
    assert shown is not None
    differing = sum(colours.differs is True for _, colours in nets)
    compared = sum(colours.differs is not None for _, colours in nets)
    about = f"conv1 of {members[0]}, {len(shown[0])} kernels of {shown[0].shape[2]}×{shown[0].shape[3]}×3. "
    about += (
        f"One column colour-agnostic, the other not: {differing} of {compared} nets."
        if compared
        else "One column: nothing to compare."
    )
    draw = draw_kernels(KernelsData(*shown, nets, about))
    return draw, {
        "member": members[0],
        "nets_compared": compared,
        "nets_that_differ": differing,
        "nets": {
            member: {
                "means": colours.means,
                "spreads": colours.spreads,
                "p_value": colours.p_value,
                "differs": colours.differs,
            }
            for member, colours in nets
        },
    }


def _make_images(lines: Lines, inputs: Inputs) -> Made:
    if not lines.neighbours:
        raise NotRunError(_with_reasons("no net is a line of `neighbours`", lines))
    member = lines.neighbours[0]
    folder = inputs.neighbours / member
    found = _read_json(folder / "neighbours.json", f"alexnet neighbours {member}")
    pixels = np.load(folder / "shown.npy", allow_pickle=False)
    data, split, words = found["data"], found["split"], found["words"]
    predictions = read_members(inputs.predictions, data, [member], [split], probs_of=())[member][split]
    places = {key: row for row, key in enumerate(predictions.keys)}

    def labelled(shown: Mapping[str, Any]) -> Labelled:
        row = places.get(shown["key"])
        if row is None:
            raise UserError(
                str(folder), f"shows an image that {member} has not predicted", found=shown["key"],
                fix=f"Run `alexnet predict {member} {split}` and `alexnet neighbours {member}` again.",
            )  # fmt: skip
        best = zip(predictions.ten.labels[row], predictions.ten.top_probs[row], strict=True)
        named = [(_first_word(words[label]), float(prob)) for label, prob in best]
        return Labelled(pixels[shown["place"]], _first_word(words[shown["label"]]), named)

    def near(one: Mapping[str, Any], kind: str) -> list[tuple[npt.NDArray[np.uint8], bool]]:
        return [(pixels[image["place"]], image["label"] == one["label"]) for image in one[kind]]

    searched = [
        Searched(
            pixels[one["place"]], _first_word(words[one["label"]]), near(one, "features"), near(one, "pixels")
        )
        for one in found["searched"]
    ]
    draw = draw_images(ImagesData([labelled(shown) for shown in found["labelled"]], searched))
    num_found = sum(len(one["features"]) for one in found["searched"])
    return draw, {
        "member": member,
        "data": data,
        "split": split,
        "seed": found["seed"],
        "num_train_images": found["num_images"],
        "nearest": num_found,
        "of_same_class": {
            kind: sum(image["label"] == one["label"] for one in found["searched"] for image in one[kind])
            for kind in ("features", "pixels")
        },
        "labelled": [
            {
                "key": shown["key"],
                "label": shown["label"],
                "best": predictions.ten.labels[places[shown["key"]]].tolist(),
                "probs": [round(float(prob), 6) for prob in predictions.ten.top_probs[places[shown["key"]]]],
            }
            for shown in found["labelled"]
        ],
        "searched": [
            {
                "key": one["key"],
                "label": one["label"],
                **{
                    kind: [[image["key"], image["label"], round(image["distance"], 3)] for image in one[kind]]
                    for kind in ("features", "pixels")
                },
            }
            for one in found["searched"]
        ],
    }


def _members(lines: Lines) -> list[str]:
    """The nets that Figures 2 and 3 show."""
    members = [name for name, line in lines.members.items() if line.group == GROUP]
    if not members:
        raise NotRunError(_with_reasons(f"no member is of group {GROUP}", lines))
    return members


def _with_reasons(what: str, lines: Lines) -> str:
    reasons = "; ".join(f"{data} was left out, {reason}" for data, reason in lines.left_out.items())
    return f"{what}{f' ({reasons})' if reasons else ''}."


def _first_word(words: str) -> str:
    """The first of a synset's synonyms."""
    return words.partition(",")[0]


def _read_json(path: Path, command: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise UserError(str(path), "is missing or damaged", fix=f"Run `{command}` again.") from None
