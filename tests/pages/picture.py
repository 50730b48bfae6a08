"""Takes the picture of the README: the output of `records preview` for a file with mistakes, and its report."""

import html
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.pages.session import ID, run_page

_WIDTH, _HEIGHT = 1480, 940
_PAGE = """
<style>
body {{ margin: 0; display: flex; background: #d8dee6; height: {height}px; }}
pre {{ box-sizing: border-box; width: 50%; margin: 14px 7px 14px 14px; padding: 16px; background: #14181d;
  color: #e6e6e6; font: 13px/1.45 'DejaVu Sans Mono', monospace; white-space: pre-wrap; border-radius: 6px; }}
pre b {{ color: #7fd1ff; }}
iframe {{ zoom: .55; width: 50%; margin: 23px 23px 23px 12px; border: 0; border-radius: 6px; background: #fff; }}
</style>
<pre><b>$ {command}</b>
{output}</pre><iframe src="{report}"></iframe>
"""


def make_picture(text: str, folder: Path, picture: Path) -> None:
    """Run a page's commands in an empty folder up to its first preview, and take a picture of that and its report."""
    command, output = run_page(text, folder, until="records preview")[-1]
    (report,) = folder.rglob("report.html")
    page = folder / "picture.html"
    page.write_text(
        _PAGE.format(
            height=_HEIGHT,
            command=html.escape(command.line),
            output=html.escape(ID.sub(report.parent.name, output)),
            report=report.as_uri(),
        ),
        "utf-8",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        view.goto(page.as_uri())
        view.screenshot(path=str(picture))
        browser.close()
