"""Bundles: files of the inbox that one run imports together. `Inbox` is in folders or in an object store."""

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
"""The name of the text beside a file in quarantine."""

_FILES_A_BUNDLE = 100
_BYTES_A_BUNDLE = 256_000_000
_LEVELS = 2
_BUNDLE = re.compile(r"a-\d{8}-\d{9}-[0-9a-f]{6}")


@dataclass(frozen=True)
class BundledFile:
    """A file in processing: the id of its arrival, and its location."""

    arrival_id: str
    account: str
    record_type: str
    path: Location


class Inbox(Protocol):
    """The four places that files move through: inbox, processing, archive and quarantine."""

    def look(self, accounts: Collection[str], record_types: Collection[str]) -> dict[str, Seen]:
        """Return the state of each file in `inbox/<account>/<type>` or beside such a folder, except hidden files."""
        ...

    def take(
        self, paths: Sequence[str], look: Look, accounts: Collection[str], record_types: Collection[str], now: datetime
    ) -> list[str]:
        """Move files into processing, in bundles. Returns a sentence for each file that could not be moved.

        Things that are not files, and files in a wrong place, go into quarantine. One failure does not stop the others.
        """
        ...

    def bundles(self) -> dict[str, list[str]]:
        """Return the bundles in processing, oldest first, each with its folders `<account>/<type>`."""
        ...

    def bundle(self, bundle: str, folder: str = "") -> AbstractContextManager[list[BundledFile]]:
        """Lock the bundle for this process and yield its files, oldest modification first.

        folder: lock and yield those of one `<account>/<type>` only, so that several processes share the bundle.
        Yields no files if another process has the lock, or if all files are done.
        """
        ...

    def opened(self, file: BundledFile) -> AbstractContextManager[Path | None]:
        """Yield the file on this machine for its import; None if it is no longer a file."""
        ...

    def archive(self, file: BundledFile, batch_id: str) -> None:
        """Move the file into the archive, in a folder named for its batch."""
        ...

    def quarantine(self, file: BundledFile, why: str, rejects: Location | None = None) -> None:
        """Move the file into quarantine, beside a text with the reason and its rejects file."""
        ...


def checked_bundle(bundle: str) -> str:
    """Return the name if it can be a bundle's. Raises InvalidRequest otherwise."""
    if not _BUNDLE.fullmatch(bundle):
        raise InvalidRequest(f"{bundle!r} is not a bundle.", "Name a folder of processing/, as file_arrival does.")
    return bundle


def in_bundles(paths: Sequence[str], look: Look) -> list[list[str]]:
    """Return the files in their order, divided into bundles: one run imports one bundle."""
    return bundled(paths, look, _FILES_A_BUNDLE, _BYTES_A_BUNDLE)


def why_name(name: str) -> str:
    """Return the name of the text that says why a file with this name is in quarantine."""
    return WHY if name != WHY else "REASON.txt"


def rejects_name(name: str, rejects: str) -> str:
    """Return the name in quarantine of a rejects file beside a file with this name: always another one."""
    return rejects if rejects != name else f"REJECTS.{rejects}"


def misplaced(path: str, accounts: Collection[str], record_types: Collection[str], kind: str) -> str | None:
    """Return why the path cannot be imported, and what to do; None for a file in the right place.

    kind: a sentence about a thing that is not a file, for example `It is a link`; empty for a file.
    """
    folders = path.split("/")[:-1]
    place = "inbox/<account>/<type>/"
    if len(folders) < _LEVELS:
        why = f"It was in {printable('/'.join(['inbox', *folders]))}/, which names no account and no record type."
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
    """Return an id for these parts, in twelve hexadecimal digits. Other parts give another id."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
