"""The column `_change` of an export of changes, in a file to import. It is never data."""

import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader import TextChunk
from resources.importing.source import Source
from schemas.exports import CHANGE_COLUMN, CHANGES, DELETED
from schemas.mapping import Mapping
from schemas.validation import Failures

_EXPECTED = "must not be deleted: an import deletes no record, and it creates none that was deleted"


class ChangeColumn:
    """Finds the records that an export of changes gives because they were deleted.

    The column is ours if the file comes from an export of ours, or if all its values are those of `CHANGES`. Another
    column of this name is ignored, as any column without a field.
    """

    def __init__(self, source: Source, mapping: Mapping) -> None:
        mapped = {column.position for column in mapping.columns if column.field is not None}
        found = [at for at, header in enumerate(source.reader.headers) if header == CHANGE_COLUMN and at not in mapped]
        self._position = next(iter(found), None)
        self._is_ours = True if source.origin is not None else None

    def failures(self, chunk: TextChunk) -> list[Failures]:
        """Returns the deleted records of a chunk as problems. The first chunk decides whether the column is ours."""
        if self._position is None:
            return []
        texts = chunk.values.column(self._position)
        if self._is_ours is None:
            self._is_ours = {*pc.unique(texts).to_pylist()} <= {"", *CHANGES}
        rows = pc.indices_nonzero(pc.equal(texts, DELETED))
        if not self._is_ours or not len(rows):
            return []
        return [Failures(CHANGE_COLUMN, "deleted", _EXPECTED, rows, pa.repeat(DELETED, len(rows)))]
