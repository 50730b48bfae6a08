"""Turns SQLite's errors into ours, by their last words. DuckDB's errors quote statements and values before them."""

import re
from pathlib import Path

from resources.record_store.refusals import damaged_catalog
from schemas.errors import CommitUnknown, DiskFull, NotAccessible, StoreBusy, StoreNotReady

_WORDS = re.compile(
    r"(?:(?P<full>database or disk is full)|(?P<busy>database (?:table |schema )?is locked)|"
    r"(?P<readonly>attempt to write a readonly database)|(?P<failing>disk I/O error)|"
    r"(?P<damaged>file is not a database|database disk image is malformed)|"
    r"(?P<closed>unable to open database file))\W*\Z"
)
_NOTHING = "nothing of this was written"


def sqlite_error(error: Exception, catalog: Path, *, commits: bool = False) -> Exception:
    """Return our error for what SQLite refused; the same error if it is not SQLite's."""
    found = _WORDS.search(str(error))
    if found is None:
        return error
    if found["full"]:
        return DiskFull(
            f"There is no room in {catalog.parent}: the disk of the catalog is full; {_NOTHING}.",
            "Make room there, then try again.",
        )
    if found["busy"]:
        return StoreBusy(
            f"Another program has locked the catalog {catalog}; {_NOTHING}.",
            "Try again. If it happens often, find the program that has the file open, for example a backup.",
        )
    if found["readonly"] or found["closed"]:
        return StoreNotReady(
            f"The catalog {catalog} may not be written by this user; {_NOTHING}.",
            "Let this user read and write the file and its folder, and check that the file system is writable.",
        )
    if found["failing"]:
        if commits:
            return CommitUnknown(
                f"The disk of the catalog {catalog} failed in a commit, which was written whole, or not at all.",
                "Read the system's log and repair the disk. Then check the commit (records batches, records exports).",
            )
        return NotAccessible(
            f"The catalog {catalog} cannot be read or written: the disk fails, or is full; {_NOTHING}.",
            "Check the free space, and the system's log for disk errors. Then try again.",
        )
    return damaged_catalog(catalog, found["damaged"])
