"""Takes the picture of the web pages in the README: three of them, side by side, after an upload in a real browser."""

import re
import shutil
import socket
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from pipelines.web.serving import serving
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types

_WIDTH, _HEIGHT, _SHOWN = 760, 900, 490
_ROWS = (
    "K-1;José;jose@example.org;lead;1.234,50;13/11/1980",
    "K-2;Zoë;zoe@example.org;lead;7.961,39;14/11/1980",
    "K-3;Jürgen;juergen@example;lead;310,00;15/11/1980",
    "K-4;Ada;ada@example.org;Kunnde;12,00;16/11/1980",
)
_FIELDS = {
    "Nr": "external_id", "Rufname": "first_name", "E-Mail": "email", "Status": "status", "Erlös": "amount",
    "Geboren": "birthday",
}  # fmt: skip
_PAGE = (
    "<body style='margin:0;background:#d8dee6;display:flex;gap:12px;padding:12px'>{pictures}</body>"
    "<style>img {{ width: {width}px; border-radius: 6px }}</style>"
)


def make_web_picture(folder: Path, picture: Path) -> None:
    """Serve the pages of a new store in a folder, import a file in a browser, and take a picture of three steps."""
    settings = Settings.from_environment({"RECORDS_HOME": str(folder / ".records"), "RECORDS_ACTOR": "you"})
    file = folder / "kunden.csv"
    file.write_bytes("\n".join([";".join(_FIELDS), *_ROWS]).encode("cp1252"))
    with RecordStore(settings) as store, socket.socket() as listener, sync_playwright() as playwright:
        store.initialise(load_record_types())
        listener.bind(("127.0.0.1", 0))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with serving(settings, listener):
            page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, locale="en-GB")
            shots = _steps(page, f"http://127.0.0.1:{listener.getsockname()[1]}/a/acme/import", file, folder)
        whole = folder / "pages.html"
        pictures = "".join(f"<img src='{shot.as_uri()}'>" for shot in shots)
        whole.write_text(_PAGE.format(pictures=pictures, width=_SHOWN), "utf-8")
        view = browser.new_page(viewport={"width": 3 * (_SHOWN + 12) + 12, "height": 24 + _HEIGHT * _SHOWN // _WIDTH})
        view.goto(whole.as_uri())
        view.screenshot(path=str(picture))
        browser.close()


def _steps(page: Page, address: str, file: Path, folder: Path) -> list[Path]:
    """Import the file up to its corrections, and take a picture of each step that the README shows."""
    shots: list[Path] = []

    def shot(name: str) -> None:
        page.wait_for_load_state("networkidle")
        shots.append(folder / f"{name}.png")
        page.screenshot(path=str(shots[-1]))

    page.goto(address)
    page.get_by_label("Contacts").check()
    page.set_input_files("#file", file)
    page.wait_for_url("**/reading")
    page.get_by_role("button", name="Read it like this").click()
    page.wait_for_url("**/columns")
    for header, field in _FIELDS.items():
        page.get_by_label(header, exact=True).select_option(field)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/reading")
    shot("reading")
    page.get_by_role("button", name="Read it like this").click()
    page.wait_for_url(re.compile("/preview$"))
    shot("preview")
    page.get_by_role("link", name=re.compile("^Fix ")).first.click()
    page.wait_for_url(re.compile("/fix$"))
    shot("fix")
    return shots
