"""Unexpected errors: the safe part to show, and a file in the home for the details."""

import os
import traceback
from contextlib import suppress
from pathlib import Path

from resources.clock import SystemClock, new_id

_KEPT = 20
"""How many files of details are kept. Older ones are removed."""


def defect(error: BaseException) -> str:
    """Return the error's class and place, as `KeyError in store.py, line 12`.

    Its text is left out, because it can quote records.
    """
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"


def keep_details(error: BaseException, home: Path) -> Path | None:
    """Write the whole traceback to a file in the home, which only its owner can read.

    Returns the file; None if it cannot be written.
    """
    if not home.is_dir():
        return None
    file = home / "errors" / f"{new_id('e', SystemClock().now())}.txt"
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as details:
            details.writelines(traceback.format_exception(error))
        for old in sorted(file.parent.glob("e-*.txt"), key=lambda path: (path == file, path))[:-_KEPT]:
            old.unlink(missing_ok=True)
        return file
    return None
