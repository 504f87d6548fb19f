"""The report: one HTML page that holds everything it shows, and needs neither a network nor JavaScript."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from alexnet.core.protocol import ProtocolParams
from alexnet.report import wording
from alexnet.report.card import FULL_PARAMETERS
from alexnet.report.comparisons import AblationLine
from alexnet.report.page_curves import CHART_SIZE, Nets, draw_chart
from alexnet.report.page_data import (
    GENERATED,
    Audit,
    DataSet,
    describe_sets,
    list_missing,
    say_unaudited,
    tabulate_prepared,
)
from alexnet.report.page_figures import Picture
from alexnet.report.page_grid import Grid
from alexnet.report.page_origin import (
    Hash,
    Net,
    StageTime,
    describe_machines,
    tabulate_hashes,
    tabulate_times,
    tabulate_trainings,
)
from alexnet.report.page_tables import (
    shorten,
    tabulate,
    tabulate_ablations,
    tabulate_gaps,
    tabulate_switches,
)
from alexnet.report.page_verdicts import list_verdicts

TEMPLATES = "templates"


@dataclass(frozen=True)
class NetSize:
    """A variant as it was built for a data set. crop: pixels a side. is_full: of the paper's width and crop."""

    variant: str
    parameters: int
    crop: int
    is_full: bool


@dataclass(frozen=True)
class PageData:
    """All that the page is written from.

    left_out: data set -> reason. num_members: nets of the tables. tables: table1, table2 and fall2009. gaps: of
    protocols to the default one. lines: of ablations. curves: of each group of nets. unrecorded: nets without a record.
    """

    profile: str
    confidence: float
    datasets: Sequence[DataSet]
    left_out: Mapping[str, str]
    num_members: int
    sizes: Sequence[NetSize]
    claims: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    ablations: pd.DataFrame
    lines: Mapping[str, AblationLine]
    gaps: pd.DataFrame
    protocols: Mapping[str, ProtocolParams]
    pictures: Sequence[Picture]
    curves: Sequence[Nets]
    audits: Sequence[Audit]
    nets: Sequence[Net]
    unrecorded: Sequence[str]
    pins: Sequence[str]
    hashes: Sequence[Hash]
    times: Sequence[StageTime]
    params_text: str


def render(data: PageData) -> str:
    """The page. Equal data gives equal text."""
    environment = Environment(
        loader=PackageLoader("alexnet.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    loader = environment.loader
    assert loader is not None
    environment.filters["words"] = mark_code
    style, script = (
        # Our own files, in elements whose text HTML does not unescape.
        Markup(loader.get_source(environment, name)[0])  # noqa: S704
        for name in ("page.css", "page.js")
    )
    return environment.get_template("page.html").render(style=style, script=script, **_views(data))


def mark_code(text: str) -> Markup:
    """A text as HTML, with what stands between backticks as code."""
    # Escaped before anything is put around it.
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def warn_of_data(datasets: Sequence[DataSet]) -> str:
    """What a reader must know of images that are not the paper's; empty if all are."""
    generated = [dataset.name for dataset in datasets if dataset.kind == GENERATED]
    others = [dataset.name for dataset in datasets if dataset.kind not in (GENERATED, "ilsvrc", "fall")]
    sentences = []
    if generated:
        are_all = len(generated) == len(datasets)
        subject = "All images of this run" if are_all else f"The images of {wording.listing(generated)}"
        sentences.append(
            f"{subject} were drawn by a program: generated data prove the pipeline, not the paper."
        )
    if others:
        sentences.append(
            f"The images of {wording.listing(others)} are not those of the paper: effects may be compared with it, "
            "errors may not."
        )
    return " ".join(sentences)


def describe_nets(data: PageData) -> str:
    """How many nets there are."""
    text = f"{wording.count(data.num_members, 'net')} for the tables"
    if data.lines:
        seeds = sum(len(line.seeds) for line in data.lines.values())
        return f"{text}, {seeds} in {wording.count(len(data.lines), 'ablation')}"
    return f"{text}; no ablations"


def describe_sizes(sizes: Sequence[NetSize]) -> str:
    """How large the nets are, each variant once, beside the paper's net."""
    if not sizes:
        return "no nets"
    by_variant: dict[str, list[int]] = {}
    for size in sizes:
        by_variant.setdefault(size.variant, []).append(size.parameters)
    parts = [
        f"{variant} {_range(sorted(set(parameters)))} parameters"
        for variant, parameters in by_variant.items()
    ]
    crops = _range(sorted({size.crop for size in sizes}))
    are_full = all(size.is_full for size in sizes)
    beside = "the paper's size" if are_full else f"the paper's net has {FULL_PARAMETERS:,}"
    return f"{'; '.join(parts)}; crops of {crops} pixels; {beside}"


def _views(data: PageData) -> dict[str, object]:
    """What the template shows."""
    verdicts = list_verdicts(data.claims)
    return {
        "title": f"AlexNet, reproduced: {data.profile}",
        "level": wording.level(data.confidence),
        "warning": warn_of_data(data.datasets),
        "about": [
            ("profile", data.profile),
            ("nets", describe_nets(data)),
            ("size", describe_sizes(data.sizes)),
            ("images", describe_sets(data.datasets)),
            *((f"no {name}", reason) for name, reason in data.left_out.items()),
        ],
        "verdicts": verdicts,
        "short": shorten(data.tables["table2"]),
        "tables": [tabulate(name, table, data.confidence) for name, table in data.tables.items()],
        "ablations": _or_sentence(
            tabulate_ablations(data.ablations, data.lines, data.confidence) if len(data.ablations) else [],
            "params.yaml has no ablations, so none was run.",
        ),
        "gaps": _or_sentence(tabulate_gaps(data.gaps), "params.yaml has no protocol but the default one."),
        "pictures": data.pictures,
        "charts": [draw_chart(nets) for nets in data.curves],
        "chart_size": CHART_SIZE,
        "prepared": tabulate_prepared(data.datasets),
        "missing": list_missing(data.datasets),
        "audits": data.audits,
        "unaudited": say_unaudited(data.datasets, data.audits),
        "switches": tabulate_switches(data.protocols),
        "machines": describe_machines(data.nets),
        "unrecorded": wording.listing(list(data.unrecorded)),
        "pins": data.pins,
        "hashes": tabulate_hashes(data.hashes),
        "times": _or_sentence(
            [tabulate_times(data.times)] if data.times else [],
            "No times of stages were kept: there is nothing in work/times.",
        ),
        "trainings": _or_sentence(
            [tabulate_trainings(data.nets)] if data.nets else [], "No net has a record."
        ),
        "params_text": data.params_text,
    }


def _or_sentence(grids: list[Grid], sentence: str) -> list[Grid]:
    """The tables, or a sentence where there are none."""
    return grids or [Grid("", (), (), notes=(sentence,))]


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"
