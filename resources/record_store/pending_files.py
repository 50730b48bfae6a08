"""The checksums of files whose commit comes before that of the ledger's rows about them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from resources.file_storage import FileStorage, read, remove
from schemas.files import StoredFile
from schemas.location import Location

PENDING = "store-files.json"


class PendingFiles:
    """The file beside the data that has them: written before the one commit, and gone after the other."""

    def __init__(self, data: Location, files: FileStorage) -> None:
        self._place = data / PENDING
        self._files = files

    def save(self, files: Sequence[StoredFile]) -> None:
        """Write them down, safe from a crash."""
        with self._files.making(self._place) as made:
            made.write_text(json.dumps([asdict(file) for file in files]), encoding="utf-8")

    def clear(self) -> None:
        """The ledger knows them now."""
        remove(self._place)


def pending_files(data: Location) -> dict[str, StoredFile]:
    """The files that are to be written down, by path; none where there are none."""
    with suppress(FileNotFoundError, ValueError):
        told = json.loads(read(data / PENDING))
        return {each["path"]: StoredFile(**(each | {"batches": tuple(each["batches"])})) for each in told}
    return {}
