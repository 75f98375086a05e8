"""The page in headless Chromium: everything on it that can be clicked, on a screen and on a phone, without network."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Browser, Page = playwright.Browser, playwright.Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SCREEN, PHONE = {"width": 1200, "height": 900}, {"width": 375, "height": 812}


def browser_path() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium: install it, or name it in CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Browser, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, in which nothing may go wrong or ask for anything from elsewhere."""
    context = browser.new_context(viewport=getattr(request, "param", SCREEN), color_scheme="light")
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: asked.url.startswith("data:") or wrong.append(asked.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert wrong == [page_file.as_uri()]  # the one request is for the file itself


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"{table} tbody tr td:nth-child({number})").all_inner_texts()


def test_theme(opened: Page) -> None:
    def ground() -> str:
        return opened.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    opened.click("#theme")
    assert ground() != light
    opened.click("#theme")
    assert ground() == light


def test_tables_are_sorted(opened: Page) -> None:
    for name, place in (("Class", 1), ("Objects", 2)):
        opened.click(f"#class-table th:nth-child({place}) button")
        first = column(opened, "#class-table", place)
        opened.click(f"#class-table th:nth-child({place}) button")
        assert column(opened, "#class-table", place) == first[::-1] or name == "Objects"
        values = first if name == "Class" else sorted(map(int, first), reverse=True)
        assert first == (sorted(first, key=str.casefold) if name == "Class" else list(map(str, values)))


def test_a_class_is_chosen(opened: Page) -> None:
    before = opened.locator("#recall-chart").inner_html()
    row = opened.locator("#class-table tbody tr").last
    row.click()
    name = row.locator("td").first.inner_text()
    assert opened.locator("#recall-of").inner_text() == f"Precision and recall, {name}"
    assert opened.locator("#class-table tr.picked td").first.inner_text() == name
    assert opened.locator("#recall-chart").inner_html() != before  # the class has no objects, and so no curve
    row.click()
    assert opened.locator("#recall-chart").inner_html() == before


def test_threshold(opened: Page) -> None:
    def tiles() -> list[str]:
        return opened.locator("#threshold-tiles b").all_inner_texts()

    opened.locator("#slider").evaluate("s => { s.value = s.min; s.dispatchEvent(new Event('input')); }")
    lowest = tiles()
    opened.locator("#slider").evaluate("s => { s.value = s.max; s.dispatchEvent(new Event('input')); }")
    highest = tiles()
    assert float(highest[0]) > float(lowest[0])
    assert int(lowest[4]) + int(lowest[5]) == 80  # 20 queries in each of 4 images
    assert float(highest[0]) == 0.1  # the checkpoint's own, which no detection reaches
    assert not highest[1][0].isdigit()  # the precision of nothing
    assert int(highest[4]) + int(highest[5]) == 0
    opened.click("text=Best F1")
    assert opened.locator("#threshold-tiles span").first.inner_text() == "threshold, the best F1"


def test_a_tip_tells_of_each_curve_the_nearest_point(opened: Page) -> None:
    """Curves have their own x; one whose nearest point is far is left out, and so is a guiding line."""
    opened.evaluate(
        """() => {
            const series = [
                { name: "a", x: [0.1, 0.5], y: [0.25, 0.75] }, { name: "b", x: [0.51, 0.9], y: [0.125, 0.5] },
                { name: "ideal", x: [0, 1], y: [0, 1], plain: true, guide: true },
            ];
            const axes = { x: { title: "score", low: 0, high: 1 }, y: { title: "share", low: 0, high: 1 } };
            document.body.prepend(lineChart(series, axes, { id: "own-chart" }).node);
        }"""
    )
    box = opened.locator("#own-chart svg").bounding_box()

    def tip(x: float) -> list[str]:
        opened.mouse.move(box["x"] + 44 + x * (box["width"] - 54), box["y"] + 100)
        return opened.locator("#tip").text_content().split("\n")

    assert tip(0.5) == ["score 0.5", "a: 0.75", "b: 0.125 at 0.51"]
    assert tip(0.1) == ["score 0.1", "a: 0.25"]
    assert tip(0.7) == ["score 0.51", "b: 0.125"]
    opened.locator("#reliability-chart svg").hover()
    assert "ideal" not in opened.locator("#tip").text_content()


def test_images_are_filtered_and_opened(opened: Page) -> None:
    total = opened.locator(".card").count()
    assert 0 < total <= 4
    kinds = set(re.findall(r"[a-z]{4,}", " ".join(opened.locator(".card small").all_inner_texts()))) - {"png"}
    kind = next(iter(kinds & {"background", "both", "missed"}))
    opened.select_option("#image-kind", kind)
    assert all(kind in text for text in opened.locator(".card small").all_inner_texts())
    label = opened.locator("#image-class option").nth(1).get_attribute("value")
    opened.select_option("#image-class", label)
    chosen = opened.locator("#card-count").inner_text()
    opened.select_option("#image-class", "-1")
    assert opened.locator("#card-count").inner_text() != chosen
    opened.locator(".card").first.click()
    assert opened.locator("#viewer figure img").count() == 2
    opened.locator("#error-list tbody tr").first.hover()
    assert opened.locator("#viewer .lit").count() >= 1
    opened.locator("#viewer figure rect").last.dispatch_event("click")
    assert opened.locator("#tip").is_visible()
    opened.keyboard.press("Escape")
    assert not opened.locator("#viewer").is_visible()


def test_what_outranks_what(opened: Page) -> None:
    shown = opened.locator(".outranked").count()
    assert shown > 0
    if (more := opened.locator("text=Show all")).count():
        more.click()
        assert opened.locator(".outranked").count() > shown
    assert opened.locator(".outranked img").first.evaluate("image => image.naturalWidth") > 0
    assert opened.locator("#pushed .crop").count() > 0


@pytest.mark.parametrize("opened", [PHONE], indirect=True, ids=["phone"])
def test_a_phone_needs_no_scrolling_sideways(opened: Page) -> None:
    for theme in ("light", "dark"):
        assert opened.evaluate("document.documentElement.dataset.theme") == theme
        assert opened.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        opened.click("#theme")
    opened.locator(".card").first.click()
    dialog = opened.locator("#viewer")
    assert dialog.evaluate("d => [d.scrollWidth <= d.clientWidth, d.getBoundingClientRect().right <= innerWidth]") == [
        True,
        True,
    ]
