"""Files of the store, as values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredFile:
    """A file that the store has written: its path below RECORDS_DATA, its bytes and its checksum.

    bytes, checksum: None if a killed writer left the file, which may be incomplete.
    account: the account that owns the file. None if it belongs to several accounts, or to none.
    batches: the batches that wrote its content.
    earlier: the checksums of earlier versions. A report gets a new version when its batch changes.
    """

    path: str
    bytes: int | None = None
    checksum: str | None = None
    account: str | None = None
    batches: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    @property
    def is_editable(self) -> bool:
        """Returns whether a user may edit the file: a rejects file is corrected in its place, then imported."""
        return self.path.startswith("accounts/") and self.path.split("/")[2] == "rejects"

    def has_version(self, checksum: str) -> bool:
        """Returns whether the store has written a version of the file with this checksum."""
        return checksum == self.checksum or checksum in self.earlier
