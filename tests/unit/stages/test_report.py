"""The stage `report`: files in, one page out; what may be missing is said, what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.stages import report

from ..report.made_page import LEFT_OUT, make_page_files, write


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Writes the page of the small run and returns it as text."""
    lines, inputs = make_page_files(tmp_path)

    def write_page(**changes: object) -> str:
        report.run(replace(lines, **changes), inputs, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text()

    return write_page


def text_of(page: str) -> str:
    """The page without tags, with single spaces."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\N{NO-BREAK SPACE}", " ").split())


def test_equal_files_are_equal_pages_but_for_times(run: Callable[..., str], tmp_path: Path) -> None:
    first = run()
    assert run() == first
    write(tmp_path / "work/times/x.json", json.dumps({"stage": "x", "seconds": 9000, "device": "cpu"}))
    record = tmp_path / "work/models/cnn1/record.json"
    record.write_text(record.read_text().replace("55.4", "70"))
    second = run()
    without_times = [
        re.sub(r'<section id="times".*?</section>', "", page, flags=re.DOTALL) for page in (first, second)
    ]
    assert first != second and without_times[0] == without_times[1]
    assert "x 2 h 30 min" in text_of(second) and "1 min 10 s" in text_of(second)


def test_every_file_of_a_net_has_its_hash(run: Callable[..., str], tmp_path: Path) -> None:
    page = run()
    for place in (
        "work/models/cnn2/weights.safetensors", "work/predictions/ilsvrc2012/cnn2/val.parquet",
        "work/ablations/no_lrn/1/weights.safetensors", "params.yaml", "claims.yaml",
    ):  # fmt: skip
        assert hashlib.sha256((tmp_path / place).read_bytes()).hexdigest() in page, place


def test_what_was_run_and_on_what_is_said(run: Callable[..., str]) -> None:
    text = text_of(run())
    for part in (
        "All images of this run were drawn by a program: generated data prove the pipeline, not the paper.",
        "2 nets for the tables, 2 in 1 ablation", f"no ilsvrc2010 {LEFT_OUT}",
        "drawn by a program of this project, 36 × 36 pixels (ilsvrc2012: 40 train, 12 val, 6 test, 4 classes)",
        "x86_64, 1 thread, Python 3.11.7, PyTorch 2.14.1: every net.",
        "Without a record of their training: no_lrn-2.",
    ):  # fmt: skip
        assert part in text, part
    assert re.search(
        r"two_columns [\d,]+ parameters; crops of 28 pixels; the paper's net has 60,965,224",
        text.replace("&#39;", "'"),
    )


def test_a_run_on_the_papers_images_has_no_warning(run: Callable[..., str]) -> None:
    assert 'class="warning"' not in run(kinds={"ilsvrc2012": "ilsvrc"})
    page = run(kinds={"ilsvrc2012": "tiny-imagenet"})
    assert (
        "effects may be compared with it, errors may not" in page
        and "generated" not in page.partition("<main")[0]
    )


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("work/audits", "None of the data sets was audited"),
        ("work/times", "No times of stages were kept"),
        ("work/data", "(ilsvrc2012: not prepared)"),
        ("work/models", "Without a record of their training: cnn1, cnn2 and no_lrn-2."),
        ("work/ablations", "Without a record of their training: no_lrn-1 and no_lrn-2."),
        ("work/predictions", "Hashes"),
        ("requirements.txt", "Provenance"),
    ],
)
def test_what_a_run_need_not_have_may_be_missing(
    run: Callable[..., str], tmp_path: Path, place: str, sentence: str
) -> None:
    path = tmp_path / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert sentence in text_of(run())


def test_without_ablations_the_page_says_so(run: Callable[..., str], tmp_path: Path) -> None:
    for name in ("ablations", "protocols"):
        path = tmp_path / f"results/{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    text = text_of(run(ablations={}))
    assert "2 nets for the tables; no ablations" in text
    assert "params.yaml has no ablations, so none was run." in text
    assert "params.yaml has no protocol but the default one." in text


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("results/claims.csv", None, "is missing. Build it: dvc repro claims."),
        ("results/table1.csv", None, "is missing. Build it: dvc repro table1."),
        ("results/table1.csv", "model,split\n", "has no column metric. Build it again: dvc repro table1."),
        ("results/table1.csv", "", "is damaged, found EmptyDataError"),
        ("results/claims.csv", ("undecided", "perhaps"), "has a verdict that is none, found perhaps"),
        ("results/claims.csv", ('"Without it, worse."', ""), "has an empty cell where there is none"),
        ("results/table2.csv", ("top5_error", "top6_error"), "has a metric that is none, found top6_error"),
        ("results/ablations.csv", ("no_lrn", "no_more"), "is of other parameters"),
        ("results/figures/figure2_narrow.svg", None, "is missing. Build them: dvc repro figures."),
        ("results/figures/figures.json", "{}", "is damaged, found KeyError('figure1')"),
        ("work/models/cnn1/record.json", "{", "is damaged"),
        ("work/models/cnn1/record.json", "[]", "is damaged"),
        ("work/models/cnn1/record.json", ('"threads": 1', '"threads": "one"'), "is damaged, found ValueError"),
        ("work/models/cnn1/history.csv", "epoch\n1\n", "is damaged"),
        ("work/audits/ilsvrc2012/audit.json", "{}", "is damaged, found KeyError"),
        ("work/times/train cnn1.json", '{"stage": 1}', "is damaged, found KeyError('seconds'). Delete it."),
        ("work/data/ilsvrc2012/manifest.json", "{}", "this is no manifest of prepared images"),
        ("params.yaml", None, "is missing"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused_and_the_page_stays(
    run: Callable[..., str], tmp_path: Path, place: str, content: str | tuple[str, str] | None, message: str
) -> None:
    before, path = run(), tmp_path / place
    if content is None:
        path.unlink()
    else:
        path.write_text(content if isinstance(content, str) else path.read_text().replace(*content))
    with pytest.raises(UserError) as caught:
        run()
    assert str(caught.value).startswith(f"{path}: {message}")
    assert (tmp_path / "page.html").read_text() == before


def test_a_field_of_another_kind_is_damage(run: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "results/claims.csv"
    path.write_text(path.read_text().replace("0.3758", "much"))
    with pytest.raises(UserError, match=r"claims.csv: is damaged, found ValueError"):
        run()
