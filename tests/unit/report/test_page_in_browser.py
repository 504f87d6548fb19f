"""The report page as a reader meets it: opened from the disk in headless Chromium, wide, narrow, by keyboard, on paper."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from alexnet.report.claims import COLUMNS
from alexnet.report.verdicts import VERDICTS
from alexnet.stages import report

from .made_page import ROOT, make_page_files, write_table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"
)

WIDTHS = (400, 1300)
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => Number(h.tagName[1]))"
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
FITS = """() => {
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('body *')].filter(each =>
        each.getBoundingClientRect().right > width + 1 && !each.closest('.scrolls') && !each.closest('thead'));
    return [document.documentElement.scrollWidth, width, wide.map(each => each.outerHTML.slice(0, 80))];
}"""
SHOWN = "rows => rows.filter(row => row.checkVisibility()).map(row => row.dataset.verdict)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with every claim of claims.yaml, each verdict in turn."""
    folder = tmp_path_factory.mktemp("browser")
    lines, inputs = make_page_files(folder)
    claims = yaml.safe_load((ROOT / "claims.yaml").read_text())["claims"]
    rows = [
        {
            "id": name, "section": claim["section"], "claim": claim["claim"], "kind": claim["kind"],
            "scope": "ilsvrc2012 val (generated)", "paper": claim["paper"], "value": 0.0123, "ci_low": -0.0123,
            "ci_high": 0.0456, "seeds": 3, "images": 1000, "p_value": 0.2, "p_adjusted": 0.9, "verdict": verdict,
            "reason": "The interval holds zero and 0.5 of the expected effect. If it stays as it is, 15 seeds would decide.",
        }
        for (name, claim), verdict in zip(claims.items(), itertools.cycle(VERDICTS), strict=False)
    ]  # fmt: skip
    write_table(folder / "results/claims.csv", rows, COLUMNS)
    report.run(lines, inputs, folder / "page.html")
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Any]:
    """Opens the page at a width, with what it says on the console and asks for noted in it."""
    contexts = []

    def open_at(width: int, *, script: bool = True) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=script, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_it_asks_for_nothing_and_complains_of_nothing(open_page: Any, address: str, width: int) -> None:
    page = open_page(width)
    page.evaluate(OPEN_ALL)
    page.mouse.wheel(0, 20_000)
    page.get_by_label("undecided").check()
    assert [url for url in page.asked if not url.startswith("data:")] == [address]
    assert page.said == []


@pytest.mark.parametrize("width", [320, *WIDTHS])
def test_it_never_scrolls_sideways(open_page: Any, width: int) -> None:
    page = open_page(width)
    for _ in range(2):
        scroll, client, wide = page.evaluate(FITS)
        assert (scroll, wide) == (client, [])
        page.evaluate(OPEN_ALL)


@pytest.mark.parametrize(("width", "drawn_px"), [(400, 360), (1300, 1100)])
def test_every_picture_is_loaded_told_in_words_and_drawn_for_the_width(
    open_page: Any, width: int, drawn_px: int
) -> None:
    page = open_page(width)
    pictures = page.eval_on_selector_all(
        "img", "all => all.map(img => [img.complete, img.naturalWidth, img.alt])"
    )
    assert len(pictures) == 4
    for complete, natural_px, alt in pictures:
        assert complete and natural_px == drawn_px and alt.strip()
    labels = page.eval_on_selector_all("svg", "all => all.map(svg => [svg.role, svg.ariaLabel])")
    assert labels and all(role == "img" and label.strip() for role, label in labels)


def test_the_keyboard_meets_the_skip_link_first_and_goes_on_from_the_verdicts(open_page: Any) -> None:
    page = open_page(1300)
    page.keyboard.press("Tab")
    link = page.evaluate(
        "() => [document.activeElement.className, document.activeElement.getBoundingClientRect().left,"
        " parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"
    )
    assert link[0] == "skip" and link[1] >= 0 and link[2] >= 2
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "show-all"


def test_headings_go_down_one_level_at_a_time(open_page: Any) -> None:
    levels = open_page(400).evaluate(HEADINGS)
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_are_tables_at_any_width_with_captions_and_scopes(open_page: Any, width: int) -> None:
    """As a screen reader is told, which stacked rows must not change."""
    page = open_page(width)
    page.evaluate(OPEN_ALL)
    tables = page.eval_on_selector_all(
        "table", "all => all.map(table => [table.caption?.textContent.trim() ?? '', table.rows.length,"
        " [...table.querySelectorAll('th')].every(th => th.scope)])",
    )  # fmt: skip
    assert len(tables) > 8
    assert all(caption and scoped for caption, _, scoped in tables)
    row = page.get_by_role("row").filter(has_text="LRN lowers").or_(page.locator("#lrn\\.top1")).first
    assert row.get_by_role("rowheader").count() == 1 and row.get_by_role("cell").count() == 4


@pytest.mark.parametrize("script", [True, False])
def test_verdicts_can_be_chosen_without_a_script(open_page: Any, script: bool) -> None:
    page = open_page(1300, script=script)
    rows = page.locator("tr[data-verdict]")
    judged = {"reproduced", "not reproduced", "undecided"}
    assert set(rows.evaluate_all(SHOWN)) == judged
    for verdict in judged:
        page.locator(f"#show-{verdict.replace(' ', '-')}").check()
        assert set(rows.evaluate_all(SHOWN)) == {verdict}
    page.locator("#show-not-run").check()
    assert set(rows.evaluate_all(SHOWN)) == ({"not run"} if script else set())
    assert page.locator(".not-run summary").first.is_visible()


@pytest.mark.parametrize("script", [True, False])
def test_on_paper_every_detail_is_there(open_page: Any, script: bool) -> None:
    page = open_page(1300, script=script)
    page.locator("#show-undecided").check()
    page.emulate_media(media="print")
    hidden = page.eval_on_selector_all(
        "details > :not(summary), tr[data-verdict]",
        "all => all.filter(each => !each.checkVisibility({contentVisibilityAuto: true}) ||"
        " each.getBoundingClientRect().height === 0).map(each => each.outerHTML.slice(0, 90))",
    )
    assert hidden == []
    scroll, client, wide = page.evaluate(FITS)
    assert (scroll, wide) == (client, [])
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 5


def test_it_can_be_read_in_the_dark(open_page: Any) -> None:
    page = open_page(1300)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) != light
