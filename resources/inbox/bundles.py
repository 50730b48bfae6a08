"""Files of the inbox that one run imports together, and the places where they lie, folders or an object store."""

import hashlib
import re
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from schemas.arrivals import Look, Seen, bundled, printable
from schemas.errors import InvalidRequest
from schemas.location import Location

WHY = "WHY.txt"
"""The text that lies beside a file in quarantine."""

_FILES_A_BUNDLE = 100
_BYTES_A_BUNDLE = 256_000_000
_LEVELS = 2
_BUNDLE = re.compile(r"a-\d{8}-\d{9}-[0-9a-f]{6}")


@dataclass(frozen=True)
class BundledFile:
    """A file in processing: its arrival's id, and where it lies."""

    arrival_id: str
    account: str
    record_type: str
    path: Location


class Inbox(Protocol):
    """What lies in the four places, and how it gets from one to the next."""

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """What there is in `inbox/<account>/<type>`, or lies beside such a folder; hidden files do not count."""
        ...

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Files are in processing, in bundles; what is no file, or lies in a wrong place, is in quarantine.

        Returns why others could not be moved, in sentences: nothing stops the rest.
        """
        ...

    def bundles(self) -> dict[str, list[str]]:
        """The bundles in processing, oldest first, with the folders of accounts and types that they hold files of."""
        ...

    def bundle(self, bundle: str) -> AbstractContextManager[list[BundledFile]]:
        """The files of the bundle, in the order in which they were last modified, for one process at a time.

        There are none when another process has it, or when all is done.
        """
        ...

    def opened(self, file: BundledFile) -> AbstractContextManager[Path | None]:
        """The file on this machine, for as long as it is imported. None: it is no file any more."""
        ...

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """The file lies in the archive, in a folder of its batch."""
        ...

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """The file lies in quarantine, beside a text that says why and its rejects file."""
        ...


def checked_bundle(bundle: str) -> str:
    """The name, when it can be a bundle's; InvalidRequest otherwise."""
    if not _BUNDLE.fullmatch(bundle):
        raise InvalidRequest(f"{bundle!r} is no bundle.", "Name a folder of processing/, as file_arrival does.")
    return bundle


def in_bundles(paths: Sequence[str], look: Look) -> list[list[str]]:
    """The files in their order, those together that one run imports."""
    return bundled(paths, look, _FILES_A_BUNDLE, _BYTES_A_BUNDLE)


def why_name(name: str) -> str:
    """What the text is called that says why a file of that name lies in quarantine."""
    return WHY if name != WHY else "REASON.txt"


def misplaced(path: str, accounts: Collection[str], record_types: Collection[str], kind: str) -> str | None:
    """Why what lies there cannot be imported, and what to do; None for a file in its place.

    `kind` says of what is no file, in a place where only files belong, what it is.
    """
    folders = path.split("/")[:-1]
    place = "inbox/<account>/<type>/"
    if len(folders) < _LEVELS:
        why = f"Nothing tells whose it is, and what: it lay in {printable('/'.join(['inbox', *folders]))}/."
    elif folders[0] not in accounts:
        why = f"There is no account {printable(folders[0])!r}."
        place += f", of the accounts {', '.join(accounts) or '(there is none yet)'}; make one: records accounts add"
    elif folders[1] not in record_types:
        why = f"There is no record type {printable(folders[1])!r}."
        place += f", of the types {', '.join(record_types)}"
    elif kind:
        why = f"{kind}; only files are imported."
    else:
        return None
    return f"{printable(path)} was not imported. {why}\n\nPut the file into {place}.\n"


def digest(*parts: object) -> str:
    """What tells things apart whose parts differ, in twelve hexadecimal digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
