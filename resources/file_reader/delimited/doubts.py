"""What to ask about the quotation marks and backslashes of a file, once all its records are read."""

import re
from collections.abc import Sequence

import numpy as np

from resources.file_reader.chunk import Malformed, MalformedRecord
from resources.file_reader.delimited.dialect import Dialect
from resources.file_reader.delimited.structure import RecordBlock
from schemas.counts import numbered
from schemas.reading import Question


def _is_piece(bad: MalformedRecord) -> bool:
    """Returns whether a record may be the rest of a value, and is no comment."""
    return bad.why is Malformed.FIELD_COUNT and bad.fields == 1 and not bad.values[0].startswith("#")


class Doubts:
    """Collects doubts about records, a block at a time.

    `tables` are the lines of headers of other tables, and `delimited` those of records with another delimiter. `marked`
    are those of records that begin as comments do, and `comments` those of which keys never begin so.
    """

    def __init__(self, headers: Sequence[str], dialect: Dialect) -> None:
        self._width = len(headers)
        self._backslashes = Backslashes(dialect)
        marked = (f"{dialect.quote}{header}{dialect.quote}" for header in headers)
        self._backslashes.add(",".join(marked).encode(errors="replace"))
        self.tables: list[int] = []
        self.delimited: list[int] = []
        self.comments: list[int] = []
        self.marked: list[int] = []
        self._records = 0
        self._pieces: list[int] = []
        self._stray: list[int] = []
        self._joined: list[int] = []
        self._loose_escapes = 0
        self._has_malformed = False

    def add(self, block: RecordBlock) -> None:
        """Adds the doubts about the records of a block."""
        self._stray += [bad.line for bad in block.malformed if bad.why is Malformed.QUOTATION_MARK]
        self._joined += block.joined
        self._records += block.read
        self._loose_escapes += block.loose_escapes
        self._has_malformed |= bool(block.malformed)
        self._backslashes.add(block.data)
        if self._width > 1:
            pieces = np.array([bad.line for bad in block.malformed if _is_piece(bad)], np.int64)
            beside = np.isin(pieces - 1, block.lines) | np.isin(pieces + 1, block.lines)
            self._pieces += pieces[beside].tolist()

    def questions(self) -> tuple[Question, ...]:
        """Returns a question for each kind of doubt. None has anything to choose."""
        found = []
        if self._stray:
            are = "is" if len(self._stray) == 1 else "are"
            found.append(
                f"{numbered(len(self._stray), 'line')} with a quotation mark out of place {are} rejected, "
                f"from line {self._stray[0]:,} on. All others are read."
            )
        if self._pieces:
            found.append(
                f"{numbered(len(self._pieces), 'line')} with one field may belong to the record above or below, "
                f"from line {self._pieces[0]:,} on. Perhaps a value has a line end without quotation marks."
            )
        if self.tables:
            found.append(f"Line {self.tables[0]:,} looks like the header of another table.")
        if self.delimited:
            found.append(
                f"{numbered(len(self.delimited), 'record')} may have another delimiter, from line "
                f"{self.delimited[0]:,} on."
            )
        comments = self.marked if 2 * len(self.marked) <= self._records else self.comments
        if comments:
            found.append(f"{numbered(len(comments), 'record')} may be a comment, from line {comments[0]:,} on.")
        if self._joined:
            found.append(
                f"{numbered(len(self._joined), 'value')} of several lines may hold other records, "
                f"from line {self._joined[0]:,} on. Perhaps quotation marks are missing."
            )
        if self._loose_escapes:
            others = numbered(self._loose_escapes, "backslash", "backslashes")
            found.append(f"Backslashes escape quotation marks. Elsewhere they are kept as characters: {others}.")
        if self._backslashes.before_mark and (self._has_malformed or self._width == 1):
            found.append("Backslashes stand before quotation marks. They are kept, and perhaps they escape the marks.")
        if self._backslashes.are_doubled:
            found.append("Every backslash of the file is doubled. Both are kept, and perhaps two stand for one.")
        return tuple(map(Question, found))


class Backslashes:
    """Finds backslashes that may be escapes, in a dialect without escapes.

    before_mark: whether one stands before a quotation mark.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._mark = dialect.quote.encode()
        self._are_characters = self._are_escapes = dialect.escape is not None
        self._doubled = 0
        self.before_mark = False

    @property
    def are_doubled(self) -> bool:
        """Returns whether all backslashes are doubled, and no quotation mark is.

        A program that escapes with backslashes writes so, if no value has a quotation mark.
        """
        return bool(self._doubled) and not self._are_characters

    def add(self, data: bytes) -> None:
        """Add a block of records."""
        if self._are_escapes or b"\\" not in data:
            return
        self.before_mark |= b"\\" + self._mark in data
        if self._are_characters:
            return
        doubled = data.count(b"\\\\")
        self._doubled += doubled
        mark, around = re.escape(self._mark), rb"[^,;\t|\r\n]"
        self._are_characters = data.count(b"\\") != 2 * doubled or bool(
            re.search(rb"%b%b%b|%b%b%b" % (around, mark, mark, mark, mark, around), data)
        )
