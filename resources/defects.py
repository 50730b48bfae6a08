"""Errors that nobody foresaw: what may be told of them, and where their details are kept."""

import os
import traceback
from contextlib import suppress
from pathlib import Path

from resources.clock import SystemClock, new_id

_KEPT = 20
"""Files of details that are kept; older ones are removed."""


def defect(error: BaseException) -> str:
    """The error's class and where it was raised, as `KeyError in store.py, line 12`; its text may quote records."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"


def keep_details(error: BaseException, home: Path) -> Path | None:
    """The file in the home, for its owner alone, that has the whole traceback; None when none can be written."""
    if not home.is_dir():
        return None
    file = home / "errors" / f"{new_id('e', SystemClock().now())}.txt"
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as details:
            details.writelines(traceback.format_exception(error))
        for old in sorted(file.parent.glob("e-*.txt"), key=lambda kept: (kept == file, kept))[:-_KEPT]:
            old.unlink(missing_ok=True)
        return file
    return None
