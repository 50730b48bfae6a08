"""Writes what pages quote: the output of their commands and the pictures of the README. `make pages` runs it.

With --demo it runs the demo too, which takes half a minute or more.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pages.picture import make_picture
from tests.pages.session import PAGES, ROOT, rewritten, run_page
from tests.pages.web_picture import make_web_picture

PICTURE, WEB_PICTURE = (ROOT / "tests" / "pages" / name for name in ("preview.png", "web.png"))


def main() -> None:
    """Run the sessions of all pages, each in a store of its own."""
    for name in [name for name in os.environ if name.startswith("RECORDS_")]:
        del os.environ[name]
    for path in PAGES:
        page = path.read_text("utf-8")
        with _folder() as folder:
            outputs = run_page(page, folder, demo="--demo" in sys.argv)
        if path == ROOT / "README.md":
            with _folder() as folder:
                make_picture(page, folder, PICTURE)
            with _folder() as folder:
                make_web_picture(folder, WEB_PICTURE)
        new = rewritten(page, outputs)
        print(f"{path.relative_to(ROOT)}: {len(outputs)} commands, {'rewritten' if new != page else 'as it was'}")
        path.write_text(new, "utf-8")


@contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder, which is the home of the user."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RECORDS_ACTOR": "you", "HOME": folder, "XDG_DATA_HOME": f"{folder}/.local/share"}
        yield Path(folder)


if __name__ == "__main__":
    main()
