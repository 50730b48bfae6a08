"""The mark beside the data: which store they belong to, how new they are, and who is writing to them.

A catalog and data that do not belong together destroy each other: a second catalog would sweep away, as superfluous,
every file that it does not know. So the id of a store is kept in its catalog and in `store.json` beside its data, and
both are compared before anything is read or written. The mark also has the number of the newest snapshot, so that a
catalog that was restored from a backup, and is older than the data, is noticed.
"""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from resources.clock import Observation
from resources.file_storage import is_local, object_store_errors, read, remove, sync
from schemas.errors import DamagedFile
from schemas.location import Location

MARK = "store.json"
_BYTES = 4096
"""Of the file of a mark. It is written in place, in one go, so that no reader ever finds it without content."""


@dataclass(frozen=True)
class Writing:
    """A transaction that was begun: where in the lake it may make files, and since when."""

    patterns: tuple[str, ...]
    since: datetime


@dataclass(frozen=True)
class Mark:
    """The content of a mark.

    `snapshot` is the newest one that the data have files of, `seen` when the store was last written to. `writing` is
    the transaction under way; what it has made is left behind if its process was killed. `accepted` is the id that the
    store is getting, for its catalog is older than the data.
    """

    store: str
    snapshot: int
    seen: Observation
    writing: Writing | None = None
    accepted: str | None = None


class StoreMark:
    """The mark beside the data, which one writer at a time changes."""

    def __init__(self, data: Location) -> None:
        self.place = data / MARK

    def read(self) -> Mark | None:
        """The mark; None where there is none. Raises DamagedFile if it cannot be read."""
        try:
            told = json.loads(read(self.place))
        except FileNotFoundError:
            return None
        except ValueError:
            raise _damaged(self.place) from None
        try:
            return _mark(told)
        except (KeyError, TypeError, ValueError):
            raise _damaged(self.place) from None

    def create(self, mark: Mark) -> bool:
        """Write the first mark; returns whether there was none. Another one is left as it is."""
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
        """Change the mark, which is there."""
        if not is_local(self.place):
            with object_store_errors():
                self.place.fs.pipe_file(self.place.path, _content(mark))
            return
        file = os.open(self.place, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(file, _content(mark), 0)
            if flushed:
                os.fdatasync(file)
        finally:
            os.close(file)

    def forget(self) -> None:
        """Remove the mark, for the data to get another one."""
        with suppress(FileNotFoundError):
            remove(self.place)


def _content(mark: Mark) -> bytes:
    told = asdict(mark)
    return json.dumps(told, default=lambda at: at.isoformat()).encode().ljust(_BYTES - 1) + b"\n"


def _mark(told: dict[str, Any]) -> Mark:
    writing, seen = told["writing"], told["seen"]
    return Mark(
        store=str(told["store"]),
        snapshot=int(told["snapshot"]),
        seen=Observation(datetime.fromisoformat(seen["at"]), seen["boot"], float(seen["uptime"])),
        writing=None
        if writing is None
        else Writing(tuple(writing["patterns"]), datetime.fromisoformat(writing["since"])),
        accepted=told["accepted"],
    )


def _damaged(place: Location) -> DamagedFile:
    return DamagedFile(
        f"{place} cannot be read: it should say which store the data belong to.",
        "Nothing was read or written. Put it back from a backup, or remove it and run: records init.",
    )
