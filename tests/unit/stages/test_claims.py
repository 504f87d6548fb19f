"""The stage `claims`: files in, three tables out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from alexnet.core.intervals import TableParams
from alexnet.data.predictions import write_predictions
from alexnet.errors import UserError
from alexnet.stages import claims

from ..report.made_predictions import make_predictions
from ..report.made_run import Line, history
from ..report.test_ablations import PROTOCOLS
from ..report.test_claim_list import ENTRY, FILE

PARAMS = TableParams(confidence=0.95)
RATIO = {
    **ENTRY, "kind": "ratio", "paper": 6.0, "golden": None,
    "compare": {"statistic": "epochs_of_activations", "reaches": 0.25},
}  # fmt: skip
ENSEMBLE = {
    **ENTRY, "paper": -0.026, "golden": None, "expects": "lower",
    "compare": {
        "statistic": "ensemble_against_mean", "ensemble": {"cnn": 3}, "data": "ilsvrc2012", "split": "val",
        "metric": "top1_error",
    },
}  # fmt: skip
OVERFIT = {
    **ENTRY,
    "paper": None,
    "golden": None,
    "compare": {**ENTRY["compare"], "statistic": "overfit_over_seeds"},
}
LINES = claims.Lines(
    members={f"cnn{seed}": Line(seed=seed) for seed in (1, 2, 3)},
    ablations={"no_lrn": Line(variant="no_lrn")},
    protocols=PROTOCOLS,
    left_out={},
    kinds={"ilsvrc2012": "generated"},
    is_full_size=False,
)


def write_all(folder: Path) -> None:
    """Three nets and their ablation, with histories, and both activations, each at two rates."""
    entries = {"lrn": ENTRY, "relu": RATIO, "ensemble": ENSEMBLE, "overfit": OVERFIT}
    (folder / "claims.yaml").write_text(yaml.safe_dump({**FILE, "claims": entries}, sort_keys=False))
    for seed in (1, 2, 3):
        own = [10 * seed, 10 * seed + 1]
        plain = make_predictions(f"cnn{seed}", far=[0, *own], num_images=100)
        write_predictions(folder / "predictions/ilsvrc2012" / f"cnn{seed}" / "val.parquet", plain)
        varied = make_predictions(f"no_lrn-{seed}", far=[*range(6, 10), *own], num_images=100)
        write_predictions(folder / "ablations/no_lrn" / str(seed) / "val.parquet", varied)
        for place, gap in ((f"models/cnn{seed}", 0.1), (f"ablations/no_lrn/{seed}", 0.1 + seed / 100)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            history([0.9, 0.2], [0.9, 0.2 + gap]).to_csv(folder / place / "history.csv", index=False)
    rows = [
        {"activation": activation, "lr": lr, "seed": seed, "epoch": epoch, "train_top1_error": 0.25 if epoch >= at else 1.0}
        for activation, lr, at in (("relu", 0.1, 2), ("relu", 0.2, 9), ("tanh", 0.1, 4), ("tanh", 0.2, 8))
        for seed in (1, 2)
        for epoch in range(1, 10)
    ]  # fmt: skip
    (folder / "relu_tanh").mkdir()
    pd.DataFrame(rows).to_csv(folder / "relu_tanh/history.csv", index=False)
    choice = {"data": "ilsvrc2012", "relu": {"lr": 0.1}, "tanh": {"lr": 0.2}}
    (folder / "relu_tanh/choice.json").write_text(json.dumps(choice))


def run(folder: Path, lines: claims.Lines = LINES) -> dict[str, pd.DataFrame]:
    names = ("predictions", "models", "ablations", "relu_tanh")
    inputs = claims.Inputs(folder / "claims.yaml", *(folder / name for name in names))
    tables = {name: folder / f"results/{name}.csv" for name in ("claims", "ablations", "protocols")}
    claims.run(lines, PARAMS, inputs, claims.Outputs(*tables.values()))
    return {name: pd.read_csv(path) for name, path in tables.items()}


def test_three_tables_are_made_of_the_files(tmp_path: Path) -> None:
    write_all(tmp_path)
    tables = run(tmp_path)
    rows = tables["claims"].set_index("id")
    assert rows.value.tolist() == pytest.approx([0.03, 4.0, -0.02, 0.02])
    assert rows.verdict["ensemble"] == "reproduced"
    assert tables["ablations"].difference.tolist() == [0.03, 0.03]
    assert set(tables["protocols"].part) == {"whole", "switch", "sum", "rest"}
    before = (tmp_path / "results/claims.csv").read_bytes()
    run(tmp_path)
    assert (tmp_path / "results/claims.csv").read_bytes() == before


def test_nothing_is_read_but_what_is_compared(tmp_path: Path) -> None:
    write_all(tmp_path)
    others = {"pre1": Line(group="pretrained", data="fall2011"), **LINES.members}
    assert len(run(tmp_path, replace(LINES, members=others))["claims"]) == 4


def break_file(path: Path) -> None:
    path.write_text("damaged")


@pytest.mark.parametrize(
    ("place", "mend", "message"),
    [
        ("predictions/ilsvrc2012/cnn2/val.parquet", Path.unlink, "the predictions are missing. Run predict for"),
        ("ablations/no_lrn/2/val.parquet", Path.unlink, "the predictions are missing. Run `alexnet ablate no_lrn` first."),
        ("ablations/no_lrn/2/val.parquet", break_file, "the file is damaged."),
        ("ablations/no_lrn/2/history.csv", Path.unlink, "is missing or damaged. Run `alexnet ablate no_lrn` first."),
        ("models/cnn2/history.csv", break_file, "has no column epoch. Run `alexnet train cnn2` again."),
        ("relu_tanh/choice.json", break_file, "is missing or damaged. Run `alexnet relu-tanh` again."),
        ("relu_tanh/history.csv", Path.unlink, "is missing or damaged. Run `alexnet relu-tanh` first."),
        ("claims.yaml", Path.unlink, "is missing. It is kept in git: git checkout claims.yaml."),
    ],
)  # fmt: skip
def test_a_missing_or_damaged_file_is_an_error_and_leaves_the_tables_as_they_were(
    tmp_path: Path, place: str, mend: Any, message: str
) -> None:
    write_all(tmp_path)
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    mend(tmp_path / place)
    with pytest.raises(UserError) as caught:
        run(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / place}: {message}")
    assert {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()} == before


def test_an_ablations_predictions_of_something_else_are_refused(tmp_path: Path) -> None:
    write_all(tmp_path)
    place = tmp_path / "ablations/no_lrn/2/val.parquet"
    write_predictions(place, make_predictions("no_lrn-2", "test", num_images=100))
    with pytest.raises(UserError, match=r"holds the predictions of something else, found ilsvrc2012 test"):
        run(tmp_path)


def test_nets_that_saw_other_images_are_not_compared(tmp_path: Path) -> None:
    write_all(tmp_path)
    place = tmp_path / "ablations/no_lrn/2/val.parquet"
    write_predictions(place, make_predictions("no_lrn-2", num_images=99))
    with pytest.raises(
        UserError, match=r"no_lrn-1 and no_lrn-2 predict different images: 100 and 99 of them"
    ):
        run(tmp_path)


def test_without_relu_and_tanh_that_claim_is_not_run(tmp_path: Path) -> None:
    write_all(tmp_path)
    for path in (tmp_path / "relu_tanh").iterdir():
        path.unlink()
    row = run(tmp_path)["claims"].set_index("id").loc["relu"]
    assert (row.verdict, row.reason) == (
        "not run", "There is no training of ReLU and tanh; `alexnet relu-tanh` makes it."
    )  # fmt: skip


def test_written_verdicts_are_shown(tmp_path: Path) -> None:
    write_all(tmp_path)
    run(tmp_path)
    shown = claims.render(tmp_path / "results/claims.csv")
    assert "| Without it, worse. | reproduced | -2.0 | " in shown
    assert "| 4.0 times |" in shown
    with pytest.raises(UserError, match=r"none.csv: is missing. Build it: dvc repro claims."):
        claims.render(tmp_path / "none.csv")
