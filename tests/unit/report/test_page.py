"""What the report page shows of what it is given, and that text stays text."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alexnet.report import page, page_tables
from alexnet.report.ablations import PROTOCOL_COLUMNS
from alexnet.report.page_curves import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Nets, draw_chart
from alexnet.report.page_data import Audit, DataSet, say_unaudited
from alexnet.report.page_figures import describe, make_picture, to_html
from alexnet.report.page_grid import Grid, without_empty_columns
from alexnet.report.page_tables import SWITCHES, plain, shorten, tabulate_gaps, tabulate_switches
from alexnet.report.page_verdicts import list_verdicts, section_name
from alexnet.report.tables import COLUMNS as TABLE_COLUMNS
from alexnet.stages import report

from .made_page import FIGURES, GAPS, TABLE2, draw, make_lines, make_page_files
from .made_run import history


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> page.PageData:
    return report.collect(*make_page_files(tmp_path_factory.mktemp("page")))


def spaced(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


class Reader(HTMLParser):
    """Tags in order with what they hold, and what stands within each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "source", "line", "polyline", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))


def test_the_page_is_one_well_formed_file_that_names_no_other(data: page.PageData) -> None:
    reader = Reader(page.render(data))
    assert reader.open == []
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, address)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in reader.tags if tag == "a" and attributes["href"]}
    assert links <= set(ids)


def test_text_from_files_is_escaped(data: page.PageData) -> None:
    text = page.render(replace(data, params_text="<script>alert(1)</script>"))
    assert "&lt;script&gt;alert(1)" in text and text.count("<script>") == 1
    assert "Ten views are better than &lt;one&gt; &amp; cheap." in text


def test_verdicts_come_with_their_numbers_in_words(data: page.PageData) -> None:
    listed = list_verdicts(data.claims)
    assert listed.counts == {"reproduced": 2, "not reproduced": 1, "undecided": 1, "not run": 1}
    assert [row.id for row in listed.judged] == ["views.top1", "relu.epochs", "lrn.top1", "protocol.lrn"]
    views, relu, lrn, undecided = listed.judged
    assert [spaced(text) for text in (views.ours, views.interval, views.paper)] == [
        "−2.5 points",
        "−3.1 to −1.9",
        "−1.5 points",
    ]
    assert (relu.ours, relu.interval, relu.paper) == ("3.4 times", "2.9 to 4.0", "6.0 times")
    assert views.why == "The interval excludes zero on the expected side."
    assert views.caution == "It also excludes 0.5 of the expected effect."
    facts = dict(views.facts)
    assert facts["more"] == "It is of these nets alone."
    assert facts["p"] == "under 0.001" and facts["in the paper"] == "§4.1" and facts["images"] == "1,000"
    assert "2012 runs" not in facts and spaced(dict(lrn.facts)["2012 runs"]) == "+1.37 points"
    assert undecided.paper == ""
    assert undecided.why == (
        "The interval reaches from within 0.5 points of zero to beyond. If it stays as it is, 40 seeds would decide."
    )
    assert spaced(undecided.ours) == "+0.04 points"  # of 50,000 images


@pytest.mark.parametrize(
    ("section", "name"), [("3.3", "§3.3"), ("3-5", "§3-5"), ("6", "§6"), ("2012 code", "2012 code")]
)
def test_a_section_is_named(section: str, name: str) -> None:
    assert section_name(section) == name


def test_table_2_in_short_has_the_papers_column_beside_ours() -> None:
    rows = [
        *TABLE2,
        ("1 CNN*", "val", "top1_error", None, None, None, None, None, 0.39, None, "1 of 2 members: x"),
    ]
    short = shorten(pd.DataFrame(rows, columns=list(TABLE_COLUMNS)))
    assert short.columns == ["top-1, val", "top-5, val", "top-5, test"]
    shown = {model: [(pair.ours, pair.paper) for pair in pairs] for model, pairs in short.rows}
    assert shown == {
        "SIFT + FVs": [("", ""), ("", ""), ("", "26.2")],
        "1 CNN": [("37.6", "40.7"), ("0.9", "18.2"), ("", "")],
        "5 CNNs": [("", ""), ("", ""), ("0.0", "16.4")],
        "1 CNN*": [("", "39.0"), ("", ""), ("", "")],
    }
    assert short.notes == ["1 CNN*: 1 of 2 members: x."]


def test_an_ablation_stands_beside_the_papers_difference(data: page.PageData) -> None:
    grid = page_tables.tabulate_ablations(data.ablations, data.lines, 0.95)[0]
    assert dict(zip(map(spaced, grid.head), map(spaced, grid.rows[0]), strict=True)) == {
        "ablation": "no_lrn", "what is changed": "variant no_lrn", "on": "ilsvrc2012 val", "seeds": "2",
        "error with it": "34.0 %", "of the base": "37.0 %", "difference, points": "−3.0",
        "95 % interval": "−5.0 to −1.0", "p": "0.010", "paper": "+1.4", "2012 runs": "+1.37",
    }  # fmt: skip


def test_switches_that_were_not_run_are_named_in_a_sentence() -> None:
    (grid,) = tabulate_gaps(pd.DataFrame(GAPS, columns=list(PROTOCOL_COLUMNS)))
    assert [list(map(spaced, row)) for row in grid.rows] == [
        ["the whole protocol", "3", "+1.0 (−1.0 to +3.0)", "+1.0 (−1.0 to +3.0)"]
    ]
    assert grid.notes[0].startswith("Not run by itself: crop_offsets.")


def test_protocols_are_shown_by_their_switches() -> None:
    protocols = make_lines().protocols
    paper, code = tabulate_switches(protocols)
    assert ["crop_offsets", SWITCHES["crop_offsets"], "with_last", "without_last"] in paper.rows
    assert len(paper.rows) == 5  # as many as params.yaml lists
    assert {row[0]: row[2:] for row in code.rows}["freeze_conv1_at"] == ["never", "as_run"]
    assert set(SWITCHES) == set(protocols["default"].model_dump())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "never"),
        (True, "true"),
        ({"kind": "steps", "drops": [0.5, 1]}, "kind steps, drops 0.5 1"),
        ({}, "none"),
    ],
)
def test_a_switch_is_shown_as_in_params_yaml(value: Any, text: str) -> None:
    assert plain(value) == text


def test_empty_columns_are_left_out() -> None:
    grid = without_empty_columns(
        Grid("x", ("a", "b", "c"), [["1", "", "2"], ["", "", ""]], frozenset({1, 2}))
    )
    assert (grid.head, grid.rows, grid.numeric) == (["a", "c"], [["1", "2"], ["", ""]], {1})


def test_a_curve_goes_through_its_errors() -> None:
    """Three epochs: the first at the left, the last at the right; 0 % at the foot, and 100 % at the top here."""
    nets = Nets(
        "cnn on x",
        "cnn1.",
        {"cnn1": history([1.0, 0.5, 0.25], [0.9, np.nan, 0.2])},
        {"cnn2": history([1, 1], [1.0, 0.0])},
    )
    chart = draw_chart(nets)
    foot, height, across = HEIGHT - 34, HEIGHT - 34 - TOP, WIDTH - LEFT - RIGHT
    points = dict(chart.lines)
    assert [kind for kind, _ in chart.lines] == ["base", "train", "val"]
    assert (
        points["train"]
        == f"{LEFT:.1f},{TOP:.1f} {LEFT + across / 2:.1f},{foot - height / 2:.1f} {WIDTH - RIGHT:.1f},{foot - height / 4:.1f}"
    )
    assert points["val"].count(",") == 2  # an epoch without an error has no point
    assert [tick.label for tick in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]
    assert spaced(chart.summary) == (
        "1 net, 3 epochs; last validation error 20.0 %; last training error 25.0 %; that of the base 0.0 %."
    )


@pytest.mark.parametrize(
    ("epochs", "labels"),
    [(1, [1]), (13, [1, 4, 6, 8, 10, 13]), (90, [1, 20, 40, 60, 90])],
)  # fmt: skip
def test_epochs_are_marked_at_round_numbers(epochs: int, labels: list[int]) -> None:
    nets = Nets("x", "", {"cnn1": history([0.5] * epochs, [0.5] * epochs)}, {})
    assert [int(tick.label) for tick in draw_chart(nets).x_ticks] == labels


def test_a_caption_has_paragraphs_and_bold_words() -> None:
    assert (
        to_html("**A & b.** one\ntwo\n\nthree <x>\n")
        == "<p><strong>A &amp; b.</strong> one two</p><p>three &lt;x&gt;</p>"
    )


def test_a_figure_is_told_in_words() -> None:
    assert describe("figure1", FIGURES["figure1"]) == "Figure 1 was not run: ReLU and tanh were not trained."
    epochs = {
        "data": "x",
        "rates": {"relu": 0.002, "tanh": 0.01},
        "target": 0.25,
        "epochs": {"relu": [1.94, 2.0], "tanh": [6.5, None]},
        "ratio": None,
    }
    assert spaced(describe("figure1", epochs)) == (
        "Training error against epoch on x, down to 25 %: ReLU at a rate of 0.002 after 1.9 and 2.0 epochs, tanh at a rate of "
        "0.01 after 6.5 and not in as many as there were epochs; one of the nets did not get there."
    )
    assert "Mean colour selectivity of each column: cnn1 0.60 and 0.57. In 0 of 1 nets" in describe(
        "figure3", FIGURES["figure3"]
    )
    words = spaced(describe("figure4", FIGURES["figure4"]))
    assert "the true one is the first for 1 and among the five for 2." in words
    assert "of 30, 20 are of the same class by features and 9 by pixels." in words


def test_a_figure_holds_both_its_drawings() -> None:
    picture = make_picture("figure2", FIGURES, "x", draw(1100).encode(), draw(360).encode())
    assert b'width="360"' in base64.b64decode(picture.narrow.partition("base64,")[2])
    assert b'width="1100"' in base64.b64decode(picture.wide.partition("base64,")[2])


def test_what_was_not_audited_is_named() -> None:
    sets = [DataSet(name, "ilsvrc", None) for name in ("a", "b", "c")]
    audits = [Audit("b", [], [], [], None)]
    assert say_unaudited(sets, audits).startswith("Not audited for odd, damaged or repeated images: a and c;")
    assert say_unaudited(sets[1:2], audits) == ""
    assert say_unaudited(sets, []).startswith("None of the data sets was audited")


def test_colours_are_told_apart_from_paper_and_meet_aa() -> None:
    """WCAG 2's contrast of text, by its formula: 4.5 and more, in light and in dark."""
    style = (Path(page.__file__).parent / "templates/page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme))
        for name in ("ink", "soft", "link", "good", "bad", "open", "val", "train", "base"):
            for ground in ("paper", "tint"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["ink"], colours["warn"]) >= 4.5


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
