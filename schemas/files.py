"""Files of the store, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredFile:
    """A file that the store has written: its path below RECORDS_DATA, its bytes and its checksum.

    `account` is whose it is, None where it is of several or of none. `batches` are those that wrote what is in it.
    A file without bytes and checksum was left behind, perhaps incomplete, by a writer that was killed. `earlier` are
    the checksums of its earlier versions: a report is written anew when its batch changes.
    """

    path: str
    bytes: int | None = None
    checksum: str | None = None
    account: str | None = None
    batches: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    def has_version(self, checksum: str) -> bool:
        """Whether the store has written a version of the file with this checksum."""
        return checksum == self.checksum or checksum in self.earlier
