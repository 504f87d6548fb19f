"""The files of a small run, written by hand, that a report page is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from alexnet import params
from alexnet.report.ablations import ABLATION_COLUMNS, PROTOCOL_COLUMNS
from alexnet.report.claims import COLUMNS as CLAIM_COLUMNS
from alexnet.report.tables import COLUMNS as TABLE_COLUMNS
from alexnet.stages import report

from ..stages.made_data import make_data
from .made_run import Line, history
from .test_audit import FIRST, SECOND, _summary, _tally

ROOT = Path(__file__).parents[3]
LEFT_OUT = "no source was given (--data ilsvrc2010=PATH)"
MACHINE = {
    "backend": None, "channels_last": False, "compile": False, "device": "x86_64", "mode": "none", "processes": 1,
    "python": "3.11.7", "threads": 1, "torch": "2.14.1",
}  # fmt: skip

CLAIMS: list[dict[str, Any]] = [
    {
        "id": "table2.cnn.val.top1", "section": "6", "claim": "Top-1 error of one net.", "kind": "absolute",
        "scope": "ilsvrc2012 val (generated)", "paper": 0.407, "golden": 0.40664, "value": 0.3758, "ci_low": 0.3552,
        "ci_high": 0.3964, "seeds": 5, "images": 1000, "verdict": "not run",
        "reason": "An absolute error is judged only on the paper's own images; this one is not.",
    },
    {
        "id": "views.top1", "section": "4.1", "claim": "Ten views are better than <one> & cheap.", "kind": "effect",
        "scope": "ilsvrc2012 val (generated)", "paper": -0.015, "value": -0.0249, "ci_low": -0.031, "ci_high": -0.0188,
        "seeds": 5, "images": 1000, "p_value": 0.00012, "p_adjusted": 0.0009, "verdict": "reproduced",
        "reason": "The interval excludes zero on the expected side. It also excludes 0.5 of the expected effect. "
        "It is of these nets alone.",
    },
    {
        "id": "relu.epochs", "section": "3.1", "claim": "tanh takes more epochs.", "kind": "ratio", "paper": 6.0,
        "scope": "ilsvrc2012", "value": 3.42, "ci_low": 2.9, "ci_high": 4.04, "seeds": 3, "p_value": 0.004,
        "p_adjusted": 0.02, "verdict": "reproduced", "reason": "The interval excludes zero on the expected side.",
    },
    {
        "id": "protocol.lrn", "section": "2012 code", "claim": "It does not matter.", "kind": "effect",
        "scope": "ilsvrc2012 val (generated)", "value": 0.0004, "ci_low": -0.02, "ci_high": 0.021, "seeds": 3,
        "images": 50000, "p_value": 0.9, "p_adjusted": 1.0, "verdict": "undecided",
        "reason": "The interval reaches from within 0.005 of zero to beyond. If it stays as it is, 40 seeds would decide.",
    },
    {
        "id": "lrn.top1", "section": "3.3", "claim": "Without it, worse.", "kind": "effect", "paper": 0.014,
        "golden": 0.0137, "scope": "ilsvrc2012 val (generated)", "value": -0.03, "ci_low": -0.05, "ci_high": -0.01,
        "seeds": 2, "images": 1000, "p_value": 0.01, "p_adjusted": 0.05, "verdict": "not reproduced",
        "reason": "The interval lies on the other side of zero than expected.",
    },
]  # fmt: skip
TABLE2 = [
    ("SIFT + FVs", "test", "top5_error", None, None, None, None, None, 0.262, None, "quoted from the paper"),
    ("1 CNN", "val", "top1_error", 0.3758, 0.355164, 0.396436, "seeds", 5, 0.407, -0.0312, None),
    ("1 CNN", "val", "top5_error", 0.009, 0.005173, 0.012827, "seeds", 5, 0.182, -0.173, None),
    ("5 CNNs", "test", "top5_error", 0.0, 0.0, 0.007624, "images", 50000, 0.164, -0.164, None),
]
TABLE1 = [
    (
        "CNN",
        "test",
        "top1_error",
        None,
        None,
        None,
        None,
        None,
        0.375,
        None,
        f"ilsvrc2010 was left out: {LEFT_OUT}",
    )
]
ABLATION = {
    "name": "no_lrn", "base": "cnn", "data": "ilsvrc2012", "split": "val", "metric": "top1_error", "seeds": 2,
    "images": 1000, "value": 0.34, "base_value": 0.37, "difference": -0.03, "ci_low": -0.05, "ci_high": -0.01,
    "p_value": 0.01, "paper": 0.014, "golden": 0.0137,
}  # fmt: skip
GAPS = [
    {"protocol": "paper", "part": "whole", "metric": metric, "difference": 0.01, "ci_low": -0.01, "ci_high": 0.03,
     "seeds": 3, "images": 1000} for metric in ("top1_error", "top5_error")
] + [
    {"protocol": "paper", "part": "switch", "switch": "crop_offsets", "default": "with_last", "setting": "without_last",
     "metric": metric, "reason": "params.yaml has no ablation that changes crop_offsets alone."}
    for metric in ("top1_error", "top5_error")
]  # fmt: skip
FIGURES: dict[str, Any] = {
    "figure1": {"not_run": "ReLU and tanh were not trained."},
    "figure2": {"member": "cnn1", "input_side": 28, "parameters": 432884, "neurons": 31428, "multiply_adds": 6118784},
    "figure3": {
        "member": "cnn1", "nets_compared": 1, "nets_that_differ": 0,
        "nets": {"cnn1": {"means": [0.6, 0.57], "spreads": [0.4, 0.3], "p_value": 0.9, "differs": False}},
    },
    "figure4": {
        "member": "cnn1", "data": "ilsvrc2012", "split": "test", "seed": 1, "num_train_images": 4000, "nearest": 30,
        "of_same_class": {"features": 20, "pixels": 9},
        "labelled": [{"key": "a", "label": 3, "best": [3, 1, 2, 0, 4], "probs": []}, {"key": "b", "label": 1, "best": [3, 1, 2, 0, 4], "probs": []},
                     {"key": "c", "label": 5, "best": [3, 1, 2, 0, 4], "probs": []}],
        "searched": [{"key": "d", "label": 1}] * 5,
    },
}  # fmt: skip


def make_page_files(folder: Path) -> tuple[report.Lines, report.Inputs]:
    """Writes two nets, an ablation of them with one of its two nets, an audit and a time; what to call the stage with."""
    write_table(folder / "results/claims.csv", CLAIMS, CLAIM_COLUMNS)
    write_table(folder / "results/table2.csv", TABLE2, TABLE_COLUMNS)
    write_table(folder / "results/table1.csv", TABLE1, TABLE_COLUMNS)
    write_table(folder / "results/fall2009.csv", [], TABLE_COLUMNS)
    write_table(
        folder / "results/ablations.csv", [ABLATION, {**ABLATION, "metric": "top5_error"}], ABLATION_COLUMNS
    )
    write_table(folder / "results/protocols.csv", GAPS, PROTOCOL_COLUMNS)
    for number in (1, 2, 3, 4):
        for end, width in (("", 1100), ("_narrow", 360)):
            write(folder / f"results/figures/figure{number}{end}.svg", draw(width))
    write(folder / "results/figures/figures.json", json.dumps(FIGURES))
    make_data(folder / "work/data/ilsvrc2012")
    for seed in (1, 2):
        write_net(folder / f"work/models/cnn{seed}", f"cnn{seed}", seed)
        write(folder / f"work/predictions/ilsvrc2012/cnn{seed}/val.parquet", f"predictions {seed}")
    write_net(folder / "work/ablations/no_lrn/1", "no_lrn-1", 1)
    write(
        folder / "work/audits/ilsvrc2012/audit.json",
        json.dumps(_summary(_tally(FIRST, SECOND))).replace('"own"', '"ilsvrc2012"'),
    )
    write(
        folder / "work/times/train cnn1.json",
        json.dumps({"stage": "train cnn1", "seconds": 61.2, "device": "cpu"}),
    )
    for name in ("params.yaml", "claims.yaml", "requirements.txt"):
        write(folder / name, (ROOT / name).read_text())
    return make_lines(), make_inputs(folder)


def make_inputs(folder: Path) -> report.Inputs:
    """The places of these files."""
    work = {
        name: folder / "work" / name
        for name in ("data", "models", "ablations", "predictions", "audits", "times")
    }
    return report.Inputs(
        results=folder / "results", figures=folder / "results/figures", captions=ROOT / "workflow/report",
        params=folder / "params.yaml", claims=folder / "claims.yaml", pins=folder / "requirements.txt", **work,
    )  # fmt: skip


def make_lines() -> report.Lines:
    """What params.yaml would say of them."""
    loaded = params.load(ROOT / "params.yaml")
    net = loaded.variant("two_columns"), loaded.protocol("default")
    return report.Lines(
        profile="small",
        confidence=0.95,
        members={f"cnn{seed}": Line(seed=seed) for seed in (1, 2)},
        ablations={"no_lrn": Line(variant="no_lrn", seeds=(1, 2))},
        kinds={"ilsvrc2012": "generated"},
        left_out={"ilsvrc2010": LEFT_OUT},
        networks={"cnn1": net, "cnn2": net},
        protocols={name: loaded.protocol(name) for name in loaded.protocols},
    )


def write_net(folder: Path, name: str, seed: int) -> None:
    """A net's record, history and weights."""
    record = {"member": name, "seed": seed, "seconds": 55.4, "num_images": 40, "machine": MACHINE}
    write(folder / "record.json", json.dumps(record))
    write(folder / "weights.safetensors", f"weights {name}")
    errors = history([0.9, 0.5, 0.3 + seed / 100], [0.8, 0.45, 0.35 + seed / 100])
    errors.assign(lr=0.01).to_csv(folder / "history.csv", index=False)


def write_table(path: Path, rows: Any, columns: Any) -> None:
    """A CSV file of a stage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)


def write(path: Path, text: str) -> None:
    """A file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def draw(width: int) -> str:
    """A picture."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="200"><rect width="50" height="50"/></svg>'
