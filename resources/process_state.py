"""All changes to the state of a whole process. Libraries read that state, and take no parameter instead.

Each function says which library needs the change, and what happens without it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def pandas_hidden() -> Iterator[None]:
    """Hide pandas from imports until the block ends, unless it is imported already.

    DuckDB imports an installed pandas when it binds a value. A short command would wait for that import.
    """
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pandas"]


def hide_pandas() -> None:
    """Hide pandas from all imports of this process from now on.

    Arrow imports an installed pandas for its first array. That takes a quarter of a second and 40 MB, for nothing.
    Arrow treats any entry in `sys.modules` as an imported pandas, so a finder refuses it here.
    """
    sys.meta_path.insert(0, _WithoutPandas)


class _WithoutPandas:
    """A finder of modules that comes first and refuses pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise ModuleNotFoundError for pandas; leave every other module to the next finder."""
        if name == "pandas":
            raise ModuleNotFoundError("This process does not use pandas.", name=name)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Set TMPDIR to the folder until the block ends.

    rustpy-xlsxwriter writes each sheet to a temporary file first. /tmp may be too small for it.
    """
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
