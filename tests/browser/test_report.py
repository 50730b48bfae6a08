"""The report of a batch in a real browser: what it shows, what it loads, and how it looks."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.report_writer.page import Link, render
from resources.report_writer.visible import LONGEST
from schemas import load_model
from schemas.batches import BatchStatus, ChangedValue, RowProblem
from schemas.record_type import RecordType
from tests.test_report_writer import CHANGES, CONTROLS, UNDERSTOOD, asking, column, packed, realistic, write_report

playwright = pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright  # noqa: E402

pytestmark = pytest.mark.xdist_group("servers")

ROOT = Path(__file__).parent.parent.parent
CORPORA = Path(os.environ.get("RECORDS_CORPORA", ROOT.parent / "shared" / "corpora"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SEES = """
(controls) => {
  const restored = (element) => [...element.childNodes].map((node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    const shown = node.textContent;
    if (node.className !== "char") return shown;
    if (shown.startsWith("U+")) return String.fromCodePoint(parseInt(shown.slice(2), 16));
    return controls[shown];
  }).join("");
  const all = (selector) => [...document.querySelectorAll(selector)].map(restored);
  return {
    headers: all("[aria-labelledby=understood] tbody th .value"), problems: all("mark .value"),
    keys: all(".changes th .value"), old: all("del .value"), new: all("ins .value"), title: document.title,
    name: restored(document.querySelector("h1 .value")),
    text: document.body.textContent,
    scripts: document.querySelectorAll("script, iframe, img, svg, object, embed, link, form, base, a").length,
    handlers: [...document.querySelectorAll("*")].flatMap(
      (element) => element.getAttributeNames().filter((name) => name.startsWith("on") || name === "style")),
    width: document.documentElement.scrollWidth,
  };
}
"""


@pytest.fixture(scope="module")
def contacts() -> RecordType:
    return load_model("contacts").record_type()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


class Watched:
    """A page of the browser, with its requests, its errors and what else it did."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.events: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dismiss)
        self.page.on("console", lambda message: self.events.append(f"{message.type} {message.text}"))
        self.page.on("pageerror", lambda error: self.events.append(f"error {error}"))
        self.page.on("popup", lambda popup: self.events.append(f"popup {popup.url}"))
        self.page.on("download", lambda download: self.events.append(f"download {download.url}"))

    def _dismiss(self, dialog: Dialog) -> None:
        self.events.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def see(self, path: Path) -> dict[str, Any]:
        """Open the page of that file. It must request nothing but itself, and nothing else may happen."""
        self.requests.clear()
        self.page.goto(path.as_uri())
        seen: dict[str, Any] = self.page.evaluate(SEES, CONTROLS)
        assert self.requests == [path.as_uri()]
        assert self.events == []
        assert seen["scripts"] == 0
        assert seen["handlers"] == []
        return seen


@pytest.fixture
def phone(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    yield Watched(context)
    context.close()


@pytest.fixture(scope="module")
def naughty() -> list[str]:
    """Return the strings of which the page would show nothing, though they are not empty."""
    if not (CORPORA / "blns").is_dir():
        pytest.skip(f"no corpora in {CORPORA}: set RECORDS_CORPORA")
    strings = [text for text in json.loads((CORPORA / "blns" / "blns.json").read_text("utf-8")) if text]
    assert len(strings) > 500
    assert max(map(len, strings)) <= LONGEST
    return strings


def test_naughty_strings_are_shown_and_do_nothing(
    tmp_path: Path, phone: Watched, contacts: RecordType, naughty: list[str]
) -> None:
    report = replace(
        realistic(),
        columns=tuple(column(i, text, None, "ignored") for i, text in enumerate(naughty)),
        samples=tuple(RowProblem(i, i, "notes", "rule", text, text) for i, text in enumerate(naughty)),
    )
    changes = [ChangedValue(i, text, "notes", text, text) for i, text in enumerate(naughty)]
    path = tmp_path / "report.html"
    understood = [("Sheet", text) for text in naughty]
    write_report(path, report, contacts, understood=understood, changes=changes)
    seen = phone.see(path)
    for place in ("headers", "problems", "keys", "old", "new"):
        assert seen[place] == naughty, place
    for text in naughty:
        if text.isascii() and text.isprintable() and text == text.strip():
            assert text in seen["text"]
    assert seen["width"] <= 360


def test_naughty_file_names_are_shown_and_do_nothing(
    tmp_path: Path, phone: Watched, contacts: RecordType, naughty: list[str]
) -> None:
    path = tmp_path / "report.html"
    for name in list(packed(naughty))[::4]:  # tests/test_report_writer.py reads a page of each string
        report = replace(realistic(name), columns=(), samples=())
        report = replace(report, batch=replace(report.batch, problems=(), cleared={}))
        write_report(path, report, contacts, understood=[("File", name)], changes=[])
        seen = phone.see(path)
        assert seen["name"] == name
        assert seen["title"].endswith(" · preview")
        assert seen["width"] <= 360


def test_text_from_right_to_left_moves_nothing_around_it(tmp_path: Path, phone: Watched, contacts: RecordType) -> None:
    """What is drawn to the right of a value keeps its place, whatever the value is."""
    path = tmp_path / "report.html"
    changes = [ChangedValue(1, "C-1", "notes", None, "שלום \u202e123")]
    report = replace(realistic("דוח.csv"), columns=(column(0, "notes", "notes", "name"),))
    write_report(path, report, contacts, understood=[], changes=changes)
    phone.see(path)
    arrow, value = (phone.page.locator(place).bounding_box() for place in (".changes .arrow", "ins .value"))
    assert arrow is not None
    assert value is not None
    assert arrow["x"] + arrow["width"] <= value["x"]


def test_marks_piled_up_do_not_cover_other_lines(tmp_path: Path, phone: Watched, contacts: RecordType) -> None:
    path = tmp_path / "report.html"
    changes = [ChangedValue(1, "C-1", "notes", "plain", "Z" + "\u0351\u036b\u0343" * 60)]
    write_report(path, realistic(), contacts, understood=[], changes=changes)
    phone.see(path)
    plain, piled = (phone.page.locator(place).bounding_box() for place in ("del .value", "ins .value"))
    assert plain is not None
    assert piled is not None
    assert piled["height"] <= plain["height"] + 2
    assert phone.page.locator("ins .value").evaluate("(element) => getComputedStyle(element).overflow") == "clip"


@pytest.mark.parametrize("length", [LONGEST, 100_000])
def test_a_long_word_does_not_widen_a_phones_page(
    tmp_path: Path, phone: Watched, contacts: RecordType, length: int
) -> None:
    word = "W" * length
    report = replace(realistic(word), columns=(column(0, word, "notes", "name"), column(1, word, None, "ignored")))
    report = replace(report, batch=replace(report.batch, actor=word, account="a" * 63), rejects_file=Path(word))
    path = tmp_path / "report.html"
    changes = [ChangedValue(1, word, "notes", word, word)]
    write_report(path, report, contacts, understood=[("Sheet", word)], changes=changes)
    assert phone.see(path)["width"] <= 360


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_cut_off_on_a_phone(tmp_path: Path, browser: Browser, contacts: RecordType, width: int) -> None:
    """Each cell is inside the screen, and no box scrolls sideways."""
    path = tmp_path / "report.html"
    write_report(path, asking(realistic()), contacts)
    with browser.new_context(viewport={"width": width, "height": 740}, is_mobile=True) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        sides = page.locator("td:visible, th:visible, pre:visible").evaluate_all(
            "(all) => all.filter((one) => one.getClientRects().length && !one.closest('.stacked thead'))"
            ".map((one) => [one.textContent.trim(), one.getBoundingClientRect().right])"
        )
        assert len(sides) > 50
        assert [side for side in sides if side[1] > width] == []
        wide = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).length"
        assert page.locator(".scroll").evaluate_all(wide) == 0


@pytest.mark.parametrize(
    ("scheme", "width", "status"),
    [("light", 390, BatchStatus.PREVIEWED), ("dark", 1280, BatchStatus.COMMITTED)],
)
def test_axe_finds_nothing(
    tmp_path: Path, browser: Browser, contacts: RecordType, scheme: Any, width: int, status: BatchStatus
) -> None:
    """axe-core checks the rules of WCAG that a program can check, and those of good practice."""
    report, path = asking(realistic("a\u202eb.csv")), tmp_path / "report.html"
    report = replace(report, batch=replace(report.batch, status=status, understood=UNDERSTOOD), changes=CHANGES)
    links = (Link("Rejected records", "rejects_file"), Link("History of these records", "http://127.0.0.1:1/"))
    path.write_text(render(report, contacts, links), "utf-8")
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        found = Axe().run(page)
    assert len(found.response["passes"]) > 20
    assert found.response["violations"] == [], found.generate_report()


SCROLLED = """
async (element) => {
  for (const start = Date.now(); element.scrollLeft === 0 && Date.now() - start < 5000;)
    await new Promise(requestAnimationFrame);
  return element.scrollLeft > 0;
}
"""


def test_wide_tables_scroll_in_their_own_box_and_by_keyboard(
    tmp_path: Path, phone: Watched, contacts: RecordType
) -> None:
    path = tmp_path / "report.html"
    key = "W" * 200
    changes = [ChangedValue(1, key, "W" * 63, key, key)]
    phone.page.set_viewport_size({"width": 700, "height": 740})
    write_report(path, realistic(), contacts, understood=UNDERSTOOD, changes=changes)
    assert phone.see(path)["width"] <= 700
    box = phone.page.locator(".scroll").filter(has=phone.page.locator(".changes"))
    assert box.evaluate("(element) => element.scrollWidth > element.clientWidth")
    box.focus()
    phone.page.keyboard.press("ArrowRight")
    assert box.evaluate(SCROLLED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(tmp_path: Path, browser: Browser, contacts: RecordType, scheme: Any) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for bars (1.4.3 and 1.4.11)."""
    path = tmp_path / "report.html"
    write_report(path, realistic("a\u202eb.csv"), contacts, understood=UNDERSTOOD, changes=CHANGES)
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [found for found in contrasts if found["ratio"] < found["least"]] == []


CONTRASTS = """
() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const part = c[i] / 255;
    return sum + weight * (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [dark, bright] = [light(a), light(b)].sort((x, y) => x - y);
    return (bright + 0.05) / (dark + 0.05);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    if ([...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
      found.push({what: element.outerHTML.slice(0, 80), least: 4.5,
        ratio: ratio(rgb(getComputedStyle(element).color), behind(element))});
    if (element.matches(".bar i"))
      found.push({what: element.closest("tr").id, least: 3,
        ratio: ratio(behind(element), behind(element.parentElement))});
  }
  return found;
}
"""


def test_every_table_has_a_caption_and_headings_go_in_order(
    tmp_path: Path, phone: Watched, contacts: RecordType
) -> None:
    path = tmp_path / "report.html"
    write_report(path, realistic(), contacts, understood=UNDERSTOOD, changes=CHANGES)
    phone.see(path)
    page = phone.page
    assert page.locator("table").count() == page.locator("table > caption").count() == 6
    assert page.locator("h1").count() == 1
    assert page.get_by_role("heading").evaluate_all("(all) => all.map((one) => one.tagName)") == ["H1", *["H2"] * 6]
    assert page.get_by_role("region", name="What to do next").is_visible()
    assert page.get_by_role("row", name="Rejected they break a rule 121 1.0%").is_visible()


def test_it_prints(tmp_path: Path, browser: Browser, contacts: RecordType) -> None:
    path, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    write_report(path, realistic(), contacts, understood=UNDERSTOOD, changes=CHANGES)
    with browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(path.as_uri())
        page.pdf(path=pdf, format="A4")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 680, "height": 900})
        page.screenshot(path=tmp_path / "print.png", full_page=True)
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 36, 48)", "dark text on white paper"
        assert page.evaluate("document.documentElement.scrollWidth") <= 680
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_it_looks_like_this(tmp_path: Path, browser: Browser, contacts: RecordType, scheme: Any, size: str) -> None:
    """Save a picture for people to look at. The tests only check that everything is on it."""
    path, picture = tmp_path / "report.html", tmp_path / f"{size}-{scheme}.png"
    write_report(path, realistic("kontakte\u202e märz.csv"), contacts, understood=UNDERSTOOD, changes=CHANGES)
    with browser.new_context(color_scheme=scheme, device_scale_factor=2 if size == "phone" else 1) as context:
        page = context.new_page()
        page.set_viewport_size({"width": 360, "height": 740} if size == "phone" else {"width": 1280, "height": 900})
        page.goto(path.as_uri())
        page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 30_000
