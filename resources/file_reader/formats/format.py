"""What an import format is: one object that knows how such files are recognised, opened and written as rejects."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, ClassVar, Protocol

from resources.file_reader.archive import EMPTY_ZIP_SIGNATURE, ZIP_SIGNATURE, archive_members
from resources.file_reader.chunk import TextChunk
from resources.file_reader.options import ReadLimits
from schemas.formulas import escape_formula
from schemas.reading import Question, ReadOptions

_START_BYTES = 4096
_BLOCK = 1 << 20
_WHITE = b" \t\r\n"
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Candidate:
    """An unpacked file, to be recognised. `name` is the name under which it was sent."""

    path: Path
    name: str

    @cached_property
    def suffix(self) -> str:
        """The end of its name, in lower case and without the suffix of a packing: `.csv` of Sales.CSV.gz."""
        return PurePath(self.name.lower().removesuffix(".gz").removesuffix(".zst")).suffix

    @cached_property
    def start(self) -> bytes:
        """Its first bytes."""
        with self.path.open("rb") as file:
            return file.read(_START_BYTES)

    @cached_property
    def first_character(self) -> bytes:
        """The first byte that is neither white space nor part of a byte order mark; b"" if there is none."""
        with self.path.open("rb") as file:
            block = file.read(_BLOCK).removeprefix(_UTF8_MARK)
            while block and not block.strip(_WHITE):
                block = file.read(_BLOCK)
        return block.lstrip(_WHITE)[:1]

    @property
    def is_archive(self) -> bool:
        """Whether it is a ZIP archive, as workbooks are."""
        return self.start.startswith((ZIP_SIGNATURE, EMPTY_ZIP_SIGNATURE))

    @cached_property
    def members(self) -> tuple[str, ...] | None:
        """The names in the ZIP archive, equal ones too; None if its directory cannot be read."""
        return archive_members(self.path)


class OpenedFile(Protocol):
    """A file of some format, being read."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of its columns, in order."""

    @property
    def understood(self) -> Sequence[tuple[str, str]]:
        """What the reader found out about the file: label and value."""

    @property
    def used(self) -> ReadOptions:
        """How it is read: what was said, and what the reader found where nothing was said."""

    @property
    def questions(self) -> Sequence[Question]:
        """What a user must say, because the file can be read in several ways; complete when `chunks` has ended."""

    @property
    def read(self) -> int:
        """How many records have been read."""

    @property
    def share_read(self) -> float:
        """About how much of it has been read, from 0 to 1."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What else to know about it, in sentences; complete when `chunks` has ended."""

    @property
    def number_formats(self) -> Sequence[str] | None:
        """The codes of number formats, such as 00000, to which `formats` of a chunk refers.

        None in a format that has no number formats: then its chunks have no `formats`.
        """

    @property
    def float_columns(self) -> Sequence[int]:
        """The columns of floating-point numbers, from 0: the text of 1001.0 is 1001. A text file has none."""

    @property
    def text_columns(self) -> Sequence[int]:
        """The columns, from 0, that have only texts, in a format with numbers of its own."""

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all its records, in order. Call it once."""


class RowWriter(Protocol):
    """A file that takes rows of text."""

    def writerow(self, row: Sequence[str], /) -> Any:
        """Writes one row."""


class Format(ABC):
    """An import format. Its modules import a parser only when a file is opened.

    A subclass in a module of its own, and an instance in `FORMATS`, are a new format.
    """

    name: ClassVar[str]
    """A short, unique name."""
    suffixes: ClassVar[tuple[str, ...]]
    """How the names of such files end; the first is the suffix of a rejects file."""
    time_zone: ClassVar[str | None] = None
    """The time zone of timestamps without an offset: UTC where the format has no offsets."""
    options: ClassVar[tuple[str, ...]] = ()
    """The options, as in ReadOptions, that say something about such files, and nothing about those of other formats."""
    names_in_records: ClassVar[bool] = False
    """Whether the records name the columns, so that a file without records names none."""
    escapes_formulas: ClassVar[bool] = False
    """Whether a spreadsheet opens such files, so that a rejects file has a ' before texts that look like formulas."""

    @property
    def numbers_are_text(self) -> bool:
        """Whether the format has no numbers of its own, so that they can have any decimal sign."""
        return "decimal" in self.options

    @property
    def cell_characters(self) -> int | None:
        """The most characters of one cell in a rejects file; None if the format has no limit."""
        return None

    @abstractmethod
    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file is of this format: by its content, or by its name where the content leaves it open.

        `FORMATS` are asked in order.
        """

    @abstractmethod
    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens a file for reading; runs in the reading process.

        path: the unpacked file, as /dev/fd/7. name: what messages call it.
        Raises UnreadableFile if it is damaged or exceeds a limit, InvalidRequest if the options do not fit it.
        """

    def outline(self, opened: OpenedFile) -> str:
        """Returns what else the file could be read from, with values, for a refusal; "" in most formats."""
        return ""

    def first_rows(self, opened: OpenedFile) -> Sequence[tuple[int, Sequence[str]]]:
        """Returns the first rows of a table with their numbers from 1, also those above the header; [] without rows."""
        return []

    def alternatives(self, opened: OpenedFile) -> Mapping[str, Sequence[str]]:
        """Returns what else options could say, by their names: the sheets of a workbook; {} in most formats."""
        return {}

    def names_beside(self, opened: OpenedFile) -> Sequence[str]:
        """Returns the names of values of the file that are no part of its records; () in most formats."""
        return ()

    @abstractmethod
    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> AbstractContextManager[RowWriter]:
        """Returns a file with these headers that takes rows of text; it is complete when its context ends.

        used: how the file was read that has the records. The rejects file is written alike.
        """

    def note(self, text: str, used: ReadOptions) -> str:
        """Returns a text of ours as a rejects file can hold it, written as `write_rejects` does."""
        return text

    def escaped(self, text: str) -> str:
        """Returns the text for a cell of a rejects file.

        If it is longer than a cell once escaped, it stays as it is: a cell of text is never computed.
        """
        if not self.escapes_formulas:
            return text
        escaped = escape_formula(text)
        return text if self.cell_characters is not None and len(escaped) > self.cell_characters else escaped
