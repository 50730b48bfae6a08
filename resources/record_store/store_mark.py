"""The mark beside the data: their store, their newest snapshot, and the transaction that writes to them.

A catalog with the data of another store would destroy them: maintenance removes files that the catalog does not know.
So the catalog and the file `store.json` beside the data both have the id of the store. They are compared before
anything is read or written. The mark also has the number of the newest snapshot. It shows whether a catalog that was
restored from a backup is older than the data.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from resources.clock import Observation
from resources.file_storage import is_local, read, remove, sync, write_object
from schemas.errors import DamagedFile
from schemas.location import Location

MARK = "store.json"
_BYTES = 4096
"""The size of the file. One write replaces all of it in place, so that a reader never finds it empty."""


@dataclass(frozen=True)
class Writing:
    """A transaction under way: patterns of the files that it may make, and since when."""

    patterns: tuple[str, ...]
    since: datetime


@dataclass(frozen=True)
class Mark:
    """The content of a mark.

    snapshot: the newest snapshot with files among the data.
    seen: when the store was last written to.
    writing: the transaction under way, or one that a killed process left, with its files.
    accepted: the new id of the store, while a catalog that is older than the data is being accepted.
    """

    store: str
    snapshot: int
    seen: Observation
    writing: Writing | None = None
    accepted: str | None = None


class StoreMark:
    """Reads and writes the mark beside the data. Only the holder of the write lock changes it."""

    def __init__(self, data: Location) -> None:
        self.place = data / MARK

    def read(self) -> Mark | None:
        """Return the mark; None if there is none. Raises DamagedFile if it cannot be read."""
        try:
            content = json.loads(read(self.place))
        except FileNotFoundError:
            return None
        except ValueError:
            raise _damaged(self.place) from None
        try:
            return _mark(content)
        except (KeyError, TypeError, ValueError):
            raise _damaged(self.place) from None

    def create(self, mark: Mark) -> bool:
        """Write the first mark, unless there is one. Returns whether it was written."""
        if not is_local(self.place):
            if self.read() is not None:
                return False
            self.write(mark)
            return True
        made = self.place.with_name(f".{MARK}.{secrets.token_hex(4)}")
        try:
            made.write_bytes(_content(mark))
            sync(made)
            os.link(made, self.place)
            sync(self.place.parent)
        except FileExistsError:
            return False
        finally:
            remove(made)
        return True

    def write(self, mark: Mark, *, flushed: bool = True) -> None:
        """Replace the existing mark."""
        if not is_local(self.place):
            write_object(self.place, _content(mark))
            return
        file = os.open(self.place, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(file, _content(mark), 0)
            if flushed:
                os.fdatasync(file)
        finally:
            os.close(file)

    def forget(self) -> None:
        """Remove the mark, so that the data can get another one."""
        with suppress(FileNotFoundError):
            remove(self.place)


def _content(mark: Mark) -> bytes:
    return json.dumps(asdict(mark), default=lambda at: at.isoformat()).encode().ljust(_BYTES - 1) + b"\n"


def _mark(content: dict[str, Any]) -> Mark:
    writing, seen = content["writing"], content["seen"]
    return Mark(
        store=str(content["store"]),
        snapshot=int(content["snapshot"]),
        seen=Observation(datetime.fromisoformat(seen["at"]), seen["boot"], float(seen["uptime"])),
        writing=None
        if writing is None
        else Writing(tuple(writing["patterns"]), datetime.fromisoformat(writing["since"])),
        accepted=content["accepted"],
    )


def _damaged(place: Location) -> DamagedFile:
    return DamagedFile(
        f"{place} cannot be read. It must name the store of the data.",
        "Nothing was read or written. Restore it from a backup, or remove it and run: records init.",
    )
