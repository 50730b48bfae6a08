"""Stores that older programs made, packed: `<commit>.tar.xz`. `python -m tests.older_stores COMMIT` makes one.

Each has the account `demo` with two imports of contacts that can be rolled back, and an export.
"""

import tarfile
from datetime import UTC, datetime
from pathlib import Path

FIRST, LATER = "7dd6d44", "c299cf1"
"""A commit before files had checksums and stores had an id, and one before value mappings. Both wrote no format."""

MADE_AT = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
"""A time after the stores were made, at which both imports can still be rolled back."""


def unpack(commit: str, home: Path) -> None:
    """Unpack the store that the program of a commit made, as a home."""
    folder = home.parent / f"unpacked-{home.name}"
    with tarfile.open(Path(__file__).parent / f"{commit}.tar.xz") as file:
        file.extractall(folder, filter="data")
    (folder / "home").rename(home)
    folder.rmdir()
