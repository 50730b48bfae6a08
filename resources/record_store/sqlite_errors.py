"""What SQLite's refusals mean, by its last words: DuckDB's errors quote the statement and its values before them."""

import re
from pathlib import Path

from schemas.errors import CommitUnknown, DiskFull, NotAccessible, StoreBusy, StoreNotReady

_WORDS = re.compile(
    r"(?:(?P<full>database or disk is full)|(?P<busy>database (?:table |schema )?is locked)|"
    r"(?P<readonly>attempt to write a readonly database)|(?P<failing>disk I/O error)|"
    r"(?P<damaged>file is not a database|database disk image is malformed)|"
    r"(?P<closed>unable to open database file))\W*\Z"
)
_NOTHING = "nothing of this was written"


def sqlite_error(error: Exception, catalog: Path, *, commits: bool = False) -> Exception:
    """The error of ours that says what SQLite refused; the error itself where it is none of SQLite's."""
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
            f"Another program keeps the catalog {catalog} locked; {_NOTHING}.",
            "Try again. When it happens often, see who has the file open, such as a backup or a browser of databases.",
        )
    if found["readonly"] or found["closed"]:
        return StoreNotReady(
            f"The catalog {catalog} may not be written by this user; {_NOTHING}.",
            "Let this user read and write the file and its folder, and see that the file system is writable.",
        )
    if found["failing"]:
        if commits:
            return CommitUnknown(
                f"The disk of the catalog {catalog} failed in a commit: it is whole, or nothing of it is there.",
                "See the system's log and mend the disk. See which it is (records batches, records exports).",
            )
        return NotAccessible(
            f"The catalog {catalog} cannot be read or written: the disk fails, or is full; {_NOTHING}.",
            "See that there is room and the system's log of disk errors, then try again.",
        )
    return StoreNotReady(
        f"The catalog {catalog} is damaged, or is no file of SQLite.",
        "Restore it from a backup; do not run records init over it.",
    )
