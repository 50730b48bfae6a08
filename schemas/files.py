"""Files of the store, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredFile:
    """A file that the store has written: its path below RECORDS_DATA, its bytes and its checksum.

    `account` is whose it is, None where it is of several or of none. `batches` are those that wrote what is in it.
    A file without bytes and checksum was left behind, perhaps incomplete, by a writer that was killed.
    """

    path: str
    bytes: int | None = None
    checksum: str | None = None
    account: str | None = None
    batches: tuple[str, ...] = ()
