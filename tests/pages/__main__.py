"""Writes what pages quote: the output of their commands and the picture of the README. `make pages` runs it."""

import os
import tempfile
from pathlib import Path

from tests.pages.picture import make_picture
from tests.pages.session import rewritten, run_page

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "tests" / "pages" / "preview.png"


def main() -> None:
    """Run the sessions of all pages, each in a store of its own."""
    for name in [name for name in os.environ if name.startswith("RECORDS_")]:
        del os.environ[name]
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/README.md")]):
        page = path.read_text("utf-8")
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"RECORDS_ACTOR": "you", "RECORDS_HOME": f"{folder}/.records"}
            outputs = run_page(page, Path(folder))
            if path == ROOT / "README.md":
                make_picture(outputs, Path(folder), PICTURE)
        new = rewritten(page, outputs)
        print(f"{path.relative_to(ROOT)}: {len(outputs)} commands, {'rewritten' if new != page else 'as it was'}")
        path.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
