"""The tables of the report page: the paper's with ours beside it, ablations, and what makes protocols differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alexnet.core.protocol import ProtocolParams
from alexnet.report import wording
from alexnet.report.comparisons import BASE_PROTOCOL, BASE_VARIANT, AblationLine
from alexnet.report.description import find_differences
from alexnet.report.page_grid import Grid, without_empty_columns
from alexnet.report.tables import METRIC_NAMES, QUOTED

TITLES = {
    "table1": "Table 1: ILSVRC-2010, test images",
    "table2": "Table 2: ILSVRC-2012",
    "fall2009": "Fall 2009, half of the images to test",
}
METRICS = tuple(METRIC_NAMES)
PARTS = {"whole": "the whole protocol", "sum": "sum of the switches", "rest": "whole less sum"}

# What each switch is, in words; the comments of configs/base.yaml say more.
SWITCHES = {
    "crop": "side of the training crop, pixels",
    "mirror": "mirror images with chance 1/2",
    "crop_offsets": "places of the crop along a side: 33, or the 32 of the paper's count",
    "crop_chunk": "consecutive images that share a crop and a reflection",
    "mean_align": "which part of the mean image is taken off a crop",
    "colour_std": "standard deviation of the colour noise",
    "colour_basis": "what the colour noise multiplies",
    "colour_rescale": "divide by 1.1 while there is colour noise",
    "colour_off_at": "part of the epochs after which there is no colour noise",
    "fixed_order": "the same order of images in every epoch",
    "batch": "images of a minibatch",
    "epochs": "epochs",
    "lr": "learning rate at the start",
    "schedule": "when the learning rate falls",
    "bias_lr": "learning rate of the biases",
    "freeze_conv1_at": "part of the epochs after which conv1 stays as it is",
    "momentum": "momentum",
    "weight_decay": "weight decay",
    "decay_biases": "weight decay of biases too",
    "lr_in_velocity": "the learning rate within the velocity, as the paper has it",
    "start_layers": "what a net takes from the one it starts from",
    "stuck_after": "updates at the loss of guessing after which training is given up",
    "precision": "arithmetic",
    "conv1_pad": "where the three pixels come from that conv1 lacks",
    "norm1_before_relu": "normalize and pool conv1 before its ReLU",
    "lrn_k": "constant of response normalization",
    "lrn_alpha_over_n": "alpha of response normalization divided by the window's size",
    "lrn_per_group": "response normalization within each column",
    "spatial_norm2": "a second normalization after conv2, within each map",
    "init_std": "deviation of initial weights, where it is not 0.01",
    "init_bias": "initial biases, where they are not the network's",
}


@dataclass(frozen=True)
class Pair:
    """Ours and the paper's, in words; empty where there is none."""

    ours: str
    paper: str


@dataclass(frozen=True)
class ShortTable:
    """A table as the paper has it: a row for each model, ours and the paper's for each error. notes: why ours lack."""

    columns: list[str]
    rows: list[tuple[str, list[Pair]]]
    notes: list[str]


def shorten(table: pd.DataFrame) -> ShortTable:
    """table: as `tables.make_table` makes it. Errors in percent, without their sign."""
    records = table.to_dict("records")
    kinds = sorted(
        {(row["split"], row["metric"]) for row in records}, key=lambda kind: (kind[0] != "val", kind)
    )
    cells: dict[str, dict[tuple[str, str], Pair]] = {}
    for row in records:
        ours, paper = (
            "" if wording.is_missing(row[name]) else _bare(row[name]) for name in ("value", "paper")
        )
        cells.setdefault(row["model"], {})[row["split"], row["metric"]] = Pair(ours, paper)
    return ShortTable(
        [f"{METRIC_NAMES[metric]}, {split}" for split, metric in kinds],
        [(model, [own.get(kind, Pair("", "")) for kind in kinds]) for model, own in cells.items()],
        list(_reasons(table)),
    )


def tabulate(name: str, table: pd.DataFrame, confidence: float) -> Grid:
    """One of the paper's tables in full: every error with its interval, or with why there is none."""
    rows = []
    for row in table.to_dict("records"):
        places = wording.decimals_for(row["n"] if row["ci_over"] == "images" else None)
        missing = wording.is_missing(row["value"])
        rows.append(
            [
                row["model"], row["split"], METRIC_NAMES[row["metric"]],
                row["reason"] if missing else wording.percent(row["value"], places),
                _span(row, "absolute", places),
                "" if wording.is_missing(row["n"]) else _over(row["n"], row["ci_over"]),
                "" if wording.is_missing(row["paper"]) else wording.percent(row["paper"]),
                "" if wording.is_missing(row["difference"]) else wording.points(row["difference"], places),
            ]
        )  # fmt: skip
    head = (
        "model", "images", "error", "ours", f"{wording.level(confidence)} interval", "over", "paper",
        "difference, points",
    )  # fmt: skip
    return Grid(TITLES[name], head, rows, frozenset({3, 4, 6, 7}))


def tabulate_ablations(
    frame: pd.DataFrame, lines: Mapping[str, AblationLine], confidence: float
) -> list[Grid]:
    """A table for each metric: what each change is worth, beside the paper's and the 2012 runs' difference."""
    head = (
        "ablation", "what is changed", "on", "seeds", "error with it", "of the base", "difference, points",
        f"{wording.level(confidence)} interval", "p", "paper", "2012 runs", "note",
    )  # fmt: skip
    grids = []
    for metric in METRICS:
        rows = []
        for row in frame[frame.metric == metric].to_dict("records"):
            places = _places(row)
            shown = {
                name: "" if wording.is_missing(row[name]) else show(row[name], decimals)
                for name, show, decimals in (
                    ("value", wording.percent, places), ("base_value", wording.percent, places),
                    ("difference", wording.points, places), ("paper", wording.points, 1), ("golden", wording.points, 2),
                )
            }  # fmt: skip
            rows.append(
                [
                    row["name"], describe_change(lines[row["name"]]), f"{row['data']} {row['split']}",
                    _count(row["seeds"]),
                    shown["value"], shown["base_value"], shown["difference"],
                    _span(row, "effect", places),
                    "" if wording.is_missing(row["p_value"]) else wording.p_value(row["p_value"]),
                    shown["paper"], shown["golden"], _text(row["reason"]),
                ]
            )  # fmt: skip
        grid = Grid(
            f"Ablations, {METRIC_NAMES[metric]} error", head, rows, frozenset({3, 4, 5, 6, 7, 8, 9, 10})
        )
        grids.append(without_empty_columns(grid))
    return grids


def describe_change(line: AblationLine) -> str:
    """In what an ablation's nets differ from those of its base."""
    parts = [f"variant {line.variant}"] if line.variant != BASE_VARIANT else []
    parts += [f"protocol {line.protocol}"] if line.protocol != BASE_PROTOCOL else []
    parts += [f"{name} {plain(value)}" for name, value in line.overrides.items()]
    return ", ".join(parts) or "nothing"


def tabulate_gaps(frame: pd.DataFrame) -> list[Grid]:
    """For each protocol: its difference from the default one, and what single switches make of it where they were run.

    frame: as `ablations.make_protocols` makes it.
    """
    head = (
        "part",
        "default",
        "here",
        "seeds",
        *(f"{METRIC_NAMES[metric]}, points" for metric in METRICS),
        "note",
    )
    grids = []
    for protocol, rows in frame.groupby("protocol", sort=False):
        parts: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows.to_dict("records"):
            parts.setdefault((row["part"], _text(row["switch"])), {})[row["metric"]] = row
        shown, absent = [], []
        for (part, switch), by_metric in parts.items():
            first = by_metric[METRICS[0]]
            if part == "switch" and all(wording.is_missing(row["difference"]) for row in by_metric.values()):
                absent.append(switch)
                continue
            shown.append(
                [
                    switch or PARTS[part], _text(first["default"]), _text(first["setting"]),
                    _count(first["seeds"]),
                    *(_gap(by_metric[metric]) if metric in by_metric else "" for metric in METRICS),
                    wording.reason(_text(first["reason"]), "effect"),
                ]
            )  # fmt: skip
        notes = []
        if absent:
            notes.append(
                f"Not run by {'itself' if len(absent) == 1 else 'themselves'}: {wording.listing(absent)}. "
                "Each would be an entry under “ablations” in params.yaml; the profile imagenet has them."
            )
        grid = Grid(f"Protocol {protocol} against default", head, shown, frozenset({3, 4, 5}), notes)
        grids.append(without_empty_columns(grid))
    return grids


def tabulate_switches(protocols: Mapping[str, ProtocolParams]) -> list[Grid]:
    """For each protocol but the default one, the switches in which it differs."""
    grids = []
    for name, protocol in protocols.items():
        if name == BASE_PROTOCOL:
            continue
        differences = find_differences(protocol, protocols[BASE_PROTOCOL])
        rows = [
            [switch, SWITCHES.get(switch, ""), plain(there), plain(here)]
            for switch, (here, there) in differences.items()
        ]
        notes = () if rows else (f"{name} does not differ from default.",)
        grids.append(
            Grid(f"Switches of protocol {name}", ("switch", "what it is", "default", name), rows, notes=notes)
        )
    return grids


def plain(value: Any) -> str:
    """A value as params.yaml has it, without quotes and brackets."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(plain, value))
    return "never" if value is None else value if isinstance(value, str) else json.dumps(value)


def _places(row: Mapping[Any, Any]) -> int:
    """Decimals of an effect."""
    effect = (row["difference"], row["ci_low"], row["ci_high"])
    return wording.decimals_of(effect, wording.decimals_for(row["images"]))


def _span(row: Mapping[Any, Any], kind: str, places: int) -> str:
    """A row's interval, if it has one."""
    return (
        "" if wording.is_missing(row["ci_low"]) else wording.span(row["ci_low"], row["ci_high"], kind, places)
    )


def _gap(row: Mapping[Any, Any]) -> str:
    places = _places(row)
    if wording.is_missing(row["difference"]):
        return ""
    text = wording.points(row["difference"], places)
    interval = _span(row, "effect", places)
    return f"{text} ({interval})" if interval else text


def _reasons(table: pd.DataFrame) -> list[str]:
    """Why rows of ours are empty, models with the same reason together; what is quoted needs none."""
    models: dict[str, list[str]] = {}
    for row in table.to_dict("records"):
        if wording.is_missing(row["value"]) and row["reason"] != QUOTED:
            names = models.setdefault(row["reason"], [])
            names += [row["model"]] * (row["model"] not in names)
    return [f"{wording.listing(names)}: {reason}." for reason, names in models.items()]


def _count(number: Any) -> str:
    return "" if wording.is_missing(number) else f"{int(number):,}"


def _over(number: int, over: str) -> str:
    return wording.count(int(number), over.removesuffix("s"))


def _bare(fraction: float) -> str:
    return wording.percent(fraction).removesuffix(f"{wording.NO_BREAK}%")


def _text(value: Any) -> str:
    return "" if wording.is_missing(value) else str(value)
