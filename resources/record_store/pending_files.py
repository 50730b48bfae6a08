"""The checksums of files that are committed before the ledger's rows about them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from resources.file_storage import FileStorage, read, remove
from schemas.files import StoredFile
from schemas.location import Location

PENDING = "store-files.json"


class PendingFiles:
    """The file of these checksums, beside the data. It exists from before the first commit until after the second."""

    def __init__(self, data: Location, files: FileStorage) -> None:
        self._place = data / PENDING
        self._files = files

    def save(self, files: Sequence[StoredFile]) -> None:
        """Write the checksums, flushed to the disk."""
        with self._files.making(self._place) as made:
            made.write_text(json.dumps([asdict(file) for file in files]), encoding="utf-8")

    def clear(self) -> None:
        """Remove the checksums, which the ledger has now."""
        remove(self._place)


def pending_files(data: Location) -> dict[str, StoredFile]:
    """Return the files that the ledger does not have yet, by path."""
    with suppress(FileNotFoundError, ValueError):
        saved = json.loads(read(data / PENDING))
        return {each["path"]: StoredFile(**(each | {"batches": tuple(each["batches"])})) for each in saved}
    return {}
