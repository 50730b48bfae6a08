"""The web pages in a real browser: the whole story without a terminal, at two widths, and clean under axe."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import Workbook

from pipelines.web.serving import serving
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.inbox import arrive, lands
from tests.records import contact, values
from tests.serving import PATIENCE

playwright = pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

pytestmark = pytest.mark.xdist_group("servers")

SHOTS = os.environ.get("RECORDS_SCREENSHOTS")
"""A folder for pictures of each page, if somebody wants to look at them."""
STEP = re.compile(r"/(reading|columns|preview|fix|history/[br]-[^/]+)(\?.*)?$")
WIDTHS = {"narrow": 390, "wide": 1440}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RecordStore, str]]:
    """A store, and the address of its pages."""
    home = tmp_path_factory.mktemp("pages") / "home"
    settings = Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "ann"})
    with RecordStore(settings) as store, socket.socket() as listener:
        store.initialise(load_record_types())
        listener.bind(("127.0.0.1", 0))
        with serving(settings, listener):
            yield store, f"http://127.0.0.1:{listener.getsockname()[1]}"


class Reader:
    """Somebody who looks at each page, in light and dark, at both widths."""

    def __init__(self, page: Page, prefix: str = "") -> None:
        self.page = page
        self.prefix = prefix
        self.errors: list[str] = []
        self.seen = 0
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def looks(self) -> None:
        """Check the page at hand: no error of a script, nothing that axe finds, nothing wider than the window."""
        self.page.wait_for_load_state("networkidle")
        self.seen += 1
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            found = Axe().run(self.page)
            assert found.violations_count == 0, found.generate_report()
        self.page.emulate_media(color_scheme="light")
        for name, width in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": 900})
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width
            if SHOTS:
                self.page.screenshot(path=f"{SHOTS}/{self.prefix}{self.seen:02}-{name}.png", full_page=True)
        assert self.errors == []

    def settles(self) -> None:
        """Wait until the file has been read, and the next page is there."""
        self.page.wait_for_url(STEP, timeout=PATIENCE * 90_000)
        self.page.wait_for_load_state("networkidle")


def kunden(path: Path) -> Path:
    rows = ["Nr;Rufname;Zuname;E-Mail;Status;Erlös;Geboren"]
    for number in range(1, 61):
        status = "Kunde" if number % 6 == 0 else "lead"
        mail = "keine" if number in (7, 8) else f"p{number}@example.org"
        rows.append(
            f"K-{number};José;Müñoz {number};{mail};{status};1.{number:03},50;"
            f"{12 + number % 17}/{1 + number % 12:02}/1980"
        )
    path.write_bytes("\n".join(rows).encode("cp1252"))
    return path


def test_the_whole_story_without_a_terminal(browser: Browser, pages: tuple[RecordStore, str], tmp_path: Path) -> None:
    store, address = pages
    context = browser.new_context(accept_downloads=True, locale="en-GB", timezone_id="Europe/Berlin")
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 60_000)
    reader = Reader(page)
    page.goto(address)
    reader.looks()
    page.get_by_label("Its name").fill("acme")
    page.get_by_role("button", name="Open").click()
    reader.looks()

    page.get_by_label("Contacts").check()
    page.set_input_files("#file", kunden(tmp_path / "kunden.csv"))
    reader.settles()
    expect(page.get_by_text("Müñoz 1", exact=True).first).to_be_visible()
    reader.looks()
    page.get_by_role("button", name="Read it like this").click()
    page.wait_for_url("**/columns")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    for header, field in {
        "Nr": "external_id", "Rufname": "first_name", "Zuname": "last_name", "Erlös": "amount",
        "Geboren": "birthday",
    }.items():  # fmt: skip
        page.get_by_label(header, exact=True).select_option(field)
    reader.looks()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/reading")
    expect(page.get_by_text("is 13 February 1980")).to_be_visible()
    expect(page.get_by_text("one more answer is needed here")).to_be_visible()
    reader.looks()
    page.get_by_role("button", name="Read it like this").click()
    page.wait_for_url("**/preview")
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    reader.looks()

    page.get_by_role("link", name="Fix 12 rows").click()
    reader.looks()
    wrong = page.locator("input[aria-invalid=true]")
    with page.expect_navigation():
        page.get_by_role("button", name="Fix all 10 like this").click()
    expect(page.locator("#fixed")).to_contain_text("10 ready")
    for number in (7, 8):
        expect(wrong.first).to_have_value("keine")
        wrong.first.fill(f"p{number}@example.org")
        wrong.first.press("Enter")
        expect(page.locator("#fixed")).to_contain_text(f"{number + 4} ready")
        if number == 7:
            expect(wrong.first).to_be_focused()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("button", name="Save 60 records").click()
    page.wait_for_url("**/history/*")
    expect(page.get_by_text(re.compile("Saved. You can .* this until"))).to_be_visible()
    reader.looks()
    assert set(values(store, "status", account="acme").values()) == {"lead", "customer"}
    assert len(values(store, "status", account="acme")) == 60

    later = tmp_path / "later.csv"
    later.write_text("external_id,status,last_name\nK-1,churned,Müñoz 1\n", "utf-8")
    page.get_by_role("link", name="Import", exact=True).click()
    page.get_by_label("Contacts").check()
    page.set_input_files("#file", later)
    page.wait_for_url("**/preview")
    page.get_by_role("button", name="Save 1 record").click()
    page.wait_for_url("**/history/*")
    page.get_by_role("link", name="History").click()
    reader.looks()
    page.get_by_role("link", name="kunden.csv").click()
    page.get_by_role("link", name=re.compile("^Un")).click()
    expect(page.get_by_text("1 record was changed later")).to_be_visible()
    reader.looks()
    page.get_by_label("Merge").check()
    page.get_by_role("button", name=re.compile("^Un")).click()
    page.wait_for_url("**/history/r-*")
    reader.looks()
    left = values(store, "status", account="acme")
    assert left["K-1"] == "churned"
    assert set(left) == {"K-1", *(f"K-{number}" for number in (6, 7, 8, 12, 18, 24, 30, 36, 42, 48, 54, 60))}

    page.get_by_role("link", name="Export", exact=True).click()
    expect(page.locator("#estimate")).to_contain_text("13 records")
    reader.looks()
    page.get_by_role("button", name="Export", exact=True).click()
    page.wait_for_url("**/export/e-*")
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    reader.looks()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    assert downloading.value.suggested_filename.endswith(".xlsx")

    page.get_by_role("link", name="Export", exact=True).click()
    page.get_by_text("Repeat every day").click()
    page.get_by_role("button", name="Export this every day").click()
    page.wait_for_url("**/scheduled")
    expect(page.get_by_text("every day at 07:00, Europe/Berlin")).to_be_visible()
    reader.looks()
    page.get_by_role("link", name="Inbox").click()
    reader.looks()
    context.close()


def test_every_other_screen_is_clean(browser: Browser, pages: tuple[RecordStore, str], tmp_path: Path) -> None:
    store, address = pages
    store.add_account("acme", "ann")
    lands(store, "in.csv", [contact(1, email="a@example.org"), contact(2, email="no address")], "acme/contacts")
    lands(store, "wrong.csv", [{"external_id": "A", "amount": "1", "status": ""}], "acme/flights")
    arrive(store)
    (store.settings.home / "exports.yaml").write_text(
        "exports:\n  - {name: daily, account: acme, type: contacts, at: '00:00'}\n"
    )
    os.utime(store.settings.home / "exports.yaml", (0, 0))
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 60_000)
    reader = Reader(page, "other-")
    page.goto(f"{address}/a/acme/import")
    book = Workbook()
    sheet = book.worksheets[0]
    for row in (
        ["About these people"],
        ["external_id", "status", "signed_up"],
        ["B", "Kunnde", "2024-05-31T14:00:00"],
        ["B", "lead", None],
    ):
        sheet.append(row)
    book.create_sheet("Orders").append(["x"])
    book.save(tmp_path / "people.xlsx")
    page.get_by_label("Contacts").check()
    page.set_input_files("#file", tmp_path / "people.xlsx")
    reader.settles()
    page.goto(re.sub(r"/(reading|columns|preview|fix).*", "/reading", page.url))
    reader.looks()
    page.get_by_role("button", name="Row 3 names the columns").click()
    reader.settles()
    page.goto(re.sub(r"/(reading|columns|preview|fix).*", "/reading", page.url))
    page.get_by_role("button", name="Row 2 names the columns").click()
    reader.settles()
    for step in ("columns", "fix"):
        page.goto(re.sub(r"/(reading|columns|preview|fix).*", f"/{step}", page.url))
        reader.looks()
    for place in ("inbox", "scheduled", "history", "export?type=contacts&delivery=daily"):
        page.goto(f"{address}/a/acme/{place}")
        reader.looks()
    page.goto(f"{address}/a/acme/inbox")
    page.get_by_role("button", name="Look at it and save it").click()
    reader.settles()
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    reader.errors.clear()
    page.goto(f"{address}/a/acme/history/b-none")
    reader.errors.clear()  # the browser logs the status 404
    reader.looks()
    context.close()


def test_a_file_that_is_chosen_before_its_type_waits_for_it(
    browser: Browser, pages: tuple[RecordStore, str], tmp_path: Path
) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 60_000)
    reader = Reader(page, "early-")
    page.goto(f"{pages[1]}/a/early/import")
    (tmp_path / "early.csv").write_text("external_id,status\nA,lead\n", "utf-8")
    page.set_input_files("#file", tmp_path / "early.csv")
    expect(page.get_by_role("alert")).to_contain_text("Say first what is in your file. early.csv")
    reader.looks()

    page.get_by_label("Contacts").check()
    page.wait_for_url("**/preview")
    assert reader.errors == []
    context.close()


def test_a_reload_shows_the_same_page_of_the_changed_values(
    browser: Browser, pages: tuple[RecordStore, str], tmp_path: Path
) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 60_000)
    for what in ("old", "new"):
        file = tmp_path / f"{what}.csv"
        rows = "".join(f"C-{number},lead,{what} {number}\n" for number in range(120))
        file.write_text(f"external_id,status,notes\n{rows}", "utf-8")
        page.goto(f"{pages[1]}/a/many/import")
        page.get_by_label("Contacts").check()
        page.set_input_files("#file", file)
        page.wait_for_url("**/preview")
        if what == "old":
            page.get_by_role("button", name="Save 120 records").click()
            page.wait_for_url("**/history/*")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()
    page.wait_for_url("**/preview?page=2&find=")
    page.reload()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()

    page.get_by_label("Find").fill("new 77")
    expect(page.get_by_text("1 value", exact=True)).to_be_visible()
    page.wait_for_url("**/preview?page=1&find=new%2077")
    page.reload()
    expect(page.get_by_label("Find")).to_have_value("new 77")
    expect(page.get_by_text("1 value", exact=True)).to_be_visible()
    kept = page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert "htmx-history-cache" not in kept
    assert "C-77" not in kept
    context.close()


def test_an_export_that_is_done_in_another_tab_is_announced(browser: Browser, pages: tuple[RecordStore, str]) -> None:
    _, address = pages
    context = browser.new_context(locale="en-GB", permissions=["notifications"])
    page = context.new_page()
    page.add_init_script(
        "window.shown = []; window.Notification = class { constructor(text) { window.shown.push(text); } "
        "static permission = 'granted'; static requestPermission() {} };"
        "Object.defineProperty(document, 'hidden', { get: () => true });"
    )
    page.goto(f"{address}/a/acme/export")
    page.get_by_role("button", name="Export", exact=True).click()
    page.wait_for_url("**/export/e-*")
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    place = page.evaluate("location.pathname")
    page.evaluate("place => { sessionStorage.making = place; }", place)  # as the page of its progress does
    page.reload()

    assert page.evaluate("window.shown") == [page.locator("[data-done]").get_attribute("data-done")]
    context.close()


def test_the_pages_speak_german(browser: Browser, pages: tuple[RecordStore, str]) -> None:
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{pages[1]}/a/acme/import")

    expect(page.get_by_role("heading", level=1)).to_have_text("Datei importieren")
    assert page.locator("html").get_attribute("lang") == "de"
    context.close()
