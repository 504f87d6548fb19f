"""What is committed in results/ is the demo's, and shows what the embedded data set promises."""

import json
from pathlib import Path

import pandas as pd
import pytest

from alexnet.stages import claims

RESULTS = Path(__file__).parents[2] / "results"
COLUMNS = [
    "model",
    "split",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "ci_over",
    "n",
    "paper",
    "difference",
    "reason",
]


@pytest.fixture(scope="module")
def metrics():
    return json.loads((RESULTS / "metrics.json").read_text())


def test_the_mean_single_net_is_neither_perfect_nor_hopeless(metrics):
    assert 0.15 <= metrics["table2"]["1 CNN"]["val"]["top1_error"] <= 0.50


@pytest.mark.parametrize("effect", ["ensemble", "pretraining"])
def test_the_effect_is_better_by_more_than_two_paired_standard_errors(metrics, effect):
    measured = metrics["effects"][effect]
    assert measured["difference"] < -2 * measured["standard_error"] < 0


@pytest.mark.parametrize(("table", "rows"), [("table1", 8), ("table2", 11), ("fall2009", 4)])
def test_each_figure_of_the_papers_table_has_a_row_and_each_of_ours_a_value(table, rows):
    frame = pd.read_csv(RESULTS / f"{table}.csv")
    assert list(frame.columns) == COLUMNS
    assert len(frame) == rows
    quoted = frame["reason"] == "quoted from the paper"
    assert (
        frame.loc[~quoted, ["value", "ci_low", "ci_high", "n", "paper", "difference"]].notna().all(axis=None)
    )
    assert frame.loc[quoted, "value"].isna().all() and frame.loc[quoted, "paper"].notna().all()


def test_the_readme_shows_the_verdicts_that_were_reached():
    text = (RESULTS.parent / "README.md").read_text()
    shown = text.partition("<!-- verdicts -->\n")[2].partition("<!-- end of verdicts -->")[0]
    assert shown == claims.render(RESULTS / "claims.csv", is_brief=True)


def test_every_claim_has_a_row_and_six_ablations_have_three_seeds():
    verdicts = pd.read_csv(RESULTS / "claims.csv")
    assert list(verdicts["id"]) == list(claims.read_claims(RESULTS.parent / "claims.yaml").claims)
    assert set(verdicts["verdict"]) == {"reproduced", "not reproduced", "undecided", "not run"}
    assert verdicts["reason"].str.len().min() > 20
    ablations = pd.read_csv(RESULTS / "ablations.csv")
    assert (ablations.groupby("name")["seeds"].min() == 3).sum() >= 6
    assert ablations["difference"].notna().all()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_figure_is_drawn_from_a_run(number):
    assert "not_run" not in json.loads((RESULTS / "figures/figures.json").read_text())[f"figure{number}"]
    for name in (f"figure{number}.svg", f"figure{number}_narrow.svg", f"figure{number}.png"):
        assert (RESULTS / "figures" / name).stat().st_size > 10_000


def test_fall_2009_and_2010_learned_too(metrics):
    """Chance is 0.95 with 20 classes and 0.96 with 24."""
    assert metrics["members"]["cnn2010"]["test"]["ten_views"]["top1_error"] < 0.6
    assert metrics["members"]["cnn2009"]["test"]["ten_views"]["top1_error"] < 0.8
