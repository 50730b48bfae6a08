"""Delimited text, read by two parsers in step.

Arrow's parser delivers the values. The RecordFinder finds the records and their lines without Arrow. Both must read the
same texts in the same fields. If they disagree about a record, the file is refused.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from resources.file_reader.chunk import Malformed, TextChunk
from resources.file_reader.delimited import header
from resources.file_reader.delimited.by_line import TOO_LARGE
from resources.file_reader.delimited.detection import detect
from resources.file_reader.delimited.dialect import check_delimiter
from resources.file_reader.delimited.differing import differing_values
from resources.file_reader.delimited.doubts import Doubts
from resources.file_reader.delimited.encoding import Encoding, check_encoding, detect_encoding, ends_inside
from resources.file_reader.delimited.joined import are_several
from resources.file_reader.delimited.other_records import OtherRecords
from resources.file_reader.delimited.structure import BLOCK, FIELD_END, RECORD_END, RecordBlock, RecordFinder
from resources.file_reader.delimited.widths import Widths
from resources.file_reader.header_row import FIRST_ROWS, has_values
from resources.file_reader.options import BLANK_FOR_A_RECORD, ReadLimits, too_many_blank_lines
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.reading import Question, ReadOptions, ShortRows

_SAMPLE_CHARACTERS = 1 << 18
_MALFORMED_A_CHUNK = 20_000
_INCOMPLETE = ("truncated data", "unexpected end of data", "incomplete multibyte sequence")
"""What Python says of a text of which the last character is incomplete."""
_OTHER_LINE_ENDS = "\x85\u2028\u2029\x1e"
_LONGEST_LINE = 1 << 16
"""The most characters of a line that are shown to a person."""


class DelimitedFile:
    """A file of delimited text. `headers` and `understood` are known at once.

    `read` counts the records of the chunks so far, and `share_read` is their share of the file, from 0 to 1.
    """

    number_formats: None = None
    float_columns: tuple[int, ...] = ()
    text_columns: tuple[int, ...] = ()

    def __init__(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> None:
        self._path = path
        self._name = name
        self._limits = limits
        self.read = 0
        self.share_read = 0.0
        self._line = self._header_line = 1
        self._blank = 0
        self._short_rows = options.short_rows or ShortRows.REJECT
        self.encoding = self._encoding(options)
        given = None if options.delimiter is None else check_delimiter(options.delimiter)
        try:
            with self._text("replace") as text:  # the parsers report an invalid byte and its place
                for _ in range((options.header_row or 1) - 1):
                    text.readline()
                sample = text.read(_SAMPLE_CHARACTERS)
                is_whole = not text.read(1)
        except UnicodeError as error:
            raise self._not_decodable() from error
        self._check_line_ends(sample)
        beginning = detect(sample, given, name, whole=is_whole, header_row=options.header_row)
        self.dialect = beginning.dialect
        csv.field_size_limit(limits.cell_mb * 1_000_000)
        names = self._read_header(options.header_row)
        self._header = header.fitted(names, beginning.rows[1:], self.dialect.delimiter, name)
        self.headers = self._header.names
        self.notes = self._header.notes
        self.used = ReadOptions(
            self.encoding.name, self.dialect.delimiter, header_row=self._header_line, short_rows=self._short_rows
        )
        self.questions = (
            *self._ask_encoding(),
            *beginning.questions,
            *self._header.questions,
            *self._ask_joined_header(),
        )
        self._doubts = Doubts(self.headers, self.dialect)
        self.understood = [
            ("Format", "Delimited text"),
            ("Encoding", f"{self.encoding.name} ({self.encoding.sure})"),
            ("Delimiter", f"{self.dialect.delimiter_name} ({self.dialect.sure})"),
            ("Quotation mark", self._quotation_mark(sample)),
        ]
        if self.dialect.skipped_lines:
            self.understood.append(("Lines above the header, left out", f"{self.dialect.skipped_lines:,}"))
        if self.dialect.skips_space:
            self.understood.append(("Spaces after delimiters", "left out"))
        self.understood += self._header.understood

    def first_rows(self) -> list[tuple[int, list[str]]]:
        """Returns the first lines that have values, each with its number from 1 and divided at delimiters."""
        found = []
        with self._text("replace") as text:
            for number in range(1, FIRST_ROWS + 1):
                line = text.readline(_LONGEST_LINE)
                try:
                    row: list[str] = next(self.dialect.reader([line]), [])
                except csv.Error:  # a title with a quotation mark, or a part of a record
                    row = [line.strip()]
                if any(row):
                    found.append((number, row))
                if not line.endswith(("\n", "\r")):
                    break
        return found

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the file, in order, in chunks of about 8 MB. Call it once."""
        cell_bytes = self._limits.cell_mb * 1_000_000
        widths = Widths(len(self.headers))
        try:
            size = self._path.stat().st_size
            with self._below_header() as (read, position):
                others = OtherRecords(self._header, self.dialect, self._doubts, self._line)
                fills = self._short_rows == ShortRows.FILL
                finder = RecordFinder(read, self.dialect, len(self.headers), self._line, cell_bytes, fills_short=fills)
                for block in finder.blocks():
                    values = self._delivered(block)
                    self._compare(values, block)
                    self.read += block.read
                    self.share_read = position() / size  # nearly: a block may end inside a record
                    self._pass_over(block.blank)
                    self._doubts.add(block)
                    widths.add(block)
                    chunk = TextChunk(values, pa.array(block.records), pa.array(block.lines), tuple(block.malformed))
                    yield from _parts(others.rejected(chunk, blank=block.blank > 0))
            self.questions = (*self.questions, *self._doubts.questions())
            self.notes = (*self.notes, *widths.notes())
        except csv.Error as error:
            raise self._unreadable(finder.line, error) from error
        except UnicodeError as error:
            raise self._not_decodable() from error

    def _pass_over(self, blank: int) -> None:
        """Counts blank lines that are skipped. Raises UnreadableFile if there are too many."""
        self._blank += blank
        if self._blank > self._limits.blank_lines + BLANK_FOR_A_RECORD * self.read:
            raise too_many_blank_lines(self._name, self._limits.blank_lines)

    def _delivered(self, block: RecordBlock) -> pa.Table:
        """Returns the well-formed records of a block, as Arrow reads them. Raises UnreadableFile if it finds others."""
        names = [str(position) for position in range(len(self.headers))]
        known = [bad for bad in block.malformed if bad.why is Malformed.FIELD_COUNT]
        if not known and not len(block.records):  # Arrow refuses data without a record
            return pa.table(dict.fromkeys(names, pa.array([], pa.string())))
        skipped: list[int] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.actual_columns)
            return "skip"

        try:
            # Not read_csv: it starts a thread for each call, which the reading process must not do.
            # Arrow takes a byte order mark away: one more keeps that of a value.
            data = codecs.BOM_UTF8 + block.data if block.data.startswith(codecs.BOM_UTF8) else block.data
            with pyarrow.csv.open_csv(
                pa.BufferReader(data),
                pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
                pyarrow.csv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote,
                    double_quote=True,
                    escape_char=self.dialect.escape or False,
                    newlines_in_values=True,
                    invalid_row_handler=skip,
                ),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            ) as reader:
                values = reader.read_all()
        except pa.ArrowInvalid as error:
            block.data.decode()  # the likeliest reason: invalid UTF-8
            raise self._disagreement(self.read + 1, block.first_line) from error
        if skipped != [bad.fields for bad in known]:
            pairs = zip_longest([*known, None], skipped)
            bad = next(bad for bad, fields in pairs if bad is None or bad.fields != fields)
            raise self._disagreement(*((bad.record, bad.line) if bad else (self.read + 1, block.first_line)))
        return values

    def _compare(self, values: pa.Table, block: RecordBlock) -> None:
        """Compares the values with the finder's texts. Raises UnreadableFile for the first record that differs."""
        columns = [column.combine_chunks() for column in values.columns]
        columns[-1] = pc.binary_join_element_wise(columns[-1], "", RECORD_END.decode())
        joined = pc.binary_join_element_wise(*columns, FIELD_END.decode())
        _, offsets, data = joined.buffers()
        size = np.frombuffer(offsets, np.int32)[len(joined)] if len(joined) else 0
        delivered, found = np.frombuffer(data or b"", np.uint8)[:size], np.frombuffer(block.texts, np.uint8)
        if np.array_equal(delivered, found):
            return
        shared = min(len(delivered), len(found))
        differing = np.flatnonzero(delivered[:shared] != found[:shared])
        same = found[: differing[0] if len(differing) else shared]
        first = min(int(np.count_nonzero(same == RECORD_END[0])), len(block.records) - 1)
        raise self._disagreement(int(block.records[first]), int(block.lines[first]))

    def _check_line_ends(self, sample: str) -> None:
        """Raises UnreadableFile if the file begins with another character in place of each line end."""
        found = next((it for it in _OTHER_LINE_ENDS if it in sample), None)
        if found is not None and "\n" not in sample and "\r" not in sample:
            raise UnreadableFile(
                f"{self._name} has no line end, and it has U+{ord(found):04X}, which some programs write instead.",
                "Save it with ordinary line ends.",
            )

    def _encoding(self, options: ReadOptions) -> Encoding:
        if options.encoding is not None:
            return Encoding(check_encoding(options.encoding), "as you said")
        with self._path.open("rb") as file:
            return detect_encoding(file, self._name, options.likely_encoding)

    def _ask_encoding(self) -> tuple[Question, ...]:
        if not self.encoding.candidates:
            return ()
        with self._path.open("rb") as file:
            values = differing_values(file, self.encoding.candidates, self.headers, self._line, self.dialect.reader)
        found = self.encoding
        return (Question(found.sentence, "encoding", found.candidates, values, found.alike, found.contrary),)

    def _ask_joined_header(self) -> tuple[Question, ...]:
        """Returns what to ask if a stray quotation mark may have joined the header row with a record."""
        lines = list(io.StringIO(self.dialect.delimiter.join(self.headers), newline=""))
        if not are_several(lines, self.dialect, len(self.headers)):
            return ()
        return (
            Question("A name of a column may hold a record. Perhaps quotation marks are missing in the header row."),
        )

    def _text(self, errors: Literal["strict", "replace"] = "strict") -> io.TextIOWrapper:
        return self._path.open("r", encoding=self.encoding.name, errors=errors, newline="")

    def _quotation_mark(self, sample: str) -> str:
        mark = self.dialect.quote
        if self.dialect.escape:
            return f"{mark} with {self.dialect.escape} before one inside"
        if f"\\{mark}" in sample or (mark in sample and "\\\\" in sample):
            return f"{mark} (likely; a backslash is a character like any other: none clearly escapes a {mark})"
        return mark

    def _read_header(self, said: int | None) -> tuple[str, ...]:
        """Returns the first record that is not a blank line. `_line` is then the line below it.

        said: the line of the header. Raises InvalidRequest if that is blank.
        """
        above = self.dialect.skipped_lines
        with self._text() as text:
            for _ in range(above):
                text.readline()
            reader = self.dialect.reader(self._lines_of_a_record(text))
            self._line = above + 1
            try:
                for row in reader:
                    self._header_line, self._line = self._line, reader.line_num + above + 1
                    if row and has_values(row) and said in (None, self._header_line):
                        return tuple(row)
                    if said is not None:
                        break
            except csv.Error as error:
                raise self._unreadable(self._line, error) from error
            except UnicodeError as error:
                raise self._not_decodable() from error
        if said is not None:
            raise InvalidRequest(
                f"Line {said:,} of {self._name} is blank, or beyond its end.",
                "Name the line of the header (--header-row).",
            )
        raise UnreadableFile(f"{self._name} is empty.", "The first line must name the columns.")

    def _lines_of_a_record(self, text: io.TextIOWrapper) -> Iterator[str]:
        """Yields the lines of a text. Raises csv.Error if a record is longer than the finder allows."""
        most = self._limits.cell_mb * 1_000_000 + BLOCK
        size = 0
        while line := text.readline(most + 1):
            if line in ("\n", "\r", "\r\n") and not size:
                self._pass_over(1)
            size = size + len(line) if line.strip("\r\n") else 0
            if size > most:
                raise csv.Error(TOO_LARGE)
            yield line

    @contextmanager
    def _below_header(self) -> Iterator[tuple[Callable[[int], bytes], Callable[[], int]]]:
        """Yields a function that reads the next bytes below the header, as UTF-8, and one that returns the position."""
        with self._text() as text:
            above = "".join(text.readline() for _ in range(self._line - 1))
            if self.encoding.name.lower().replace("_", "-") not in ("utf-8", "utf8", "utf-8-sig", "ascii"):
                yield lambda size: text.read(size).encode(), cast(BinaryIO, text.buffer).tell
                return
        with self._path.open("rb") as file:
            mark = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 and self.encoding.name == "utf-8-sig"
            file.seek(len(codecs.BOM_UTF8) * mark + len(above.encode()))
            yield file.read, file.tell

    def _not_decodable(self) -> UnreadableFile:
        """Returns the error that names the first byte that is invalid in the encoding."""
        lines_before = 0
        where, what, encoding = "somewhere", "a character", self.encoding.name.upper()
        with self._text() as text:
            try:
                for _ in text:
                    lines_before += 1
            except UnicodeDecodeError as error:
                # All that was decoded before has been read as lines: count on from there.
                decoded = error.object[: error.start]
                line = lines_before + len((decoded + b".").splitlines())
                if error.reason in _INCOMPLETE:
                    return ends_inside(encoding, self._name, line)
                where, what = f"in line {line:,}", f"the byte 0x{error.object[error.start]:02x}"
            except UnicodeError:
                if not lines_before:
                    other = f"{codecs.lookup(self.encoding.name).name}-le"
                    return UnreadableFile(
                        f"{self._name} is not {encoding}: it has no byte order mark at its beginning.",
                        f"Name its encoding (--encoding), such as utf-8 or {other}.",
                    )
                where = f"after line {lines_before:,}"
        return UnreadableFile(
            f"{self._name} is not {encoding}: {where} {what} is invalid.",
            "Name its encoding (--encoding), or save it as UTF-8.",
        )

    def _unreadable(self, line: int, error: csv.Error) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} cannot be read: in the record that begins on line {line:,}: {_in_words(error)}.",
            "Nothing was read from it. Correct it and try again.",
        )

    def _disagreement(self, record: int, line: int) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} can be read in two ways near record {record:,} (line {line:,}).",
            "Nothing was read from it. Look for a stray quotation mark there.",
        )


def _parts(chunk: TextChunk) -> Iterator[TextChunk]:
    """Yields the chunk, or several if it has many malformed records."""
    nothing, malformed = pa.array([], pa.int64()), chunk.malformed
    for start in range(_MALFORMED_A_CHUNK, len(malformed), _MALFORMED_A_CHUNK):
        yield TextChunk(pa.table({}), nothing, nothing, malformed[start : start + _MALFORMED_A_CHUNK])
    yield replace(chunk, malformed=malformed[:_MALFORMED_A_CHUNK])


def _in_words(error: csv.Error) -> str:
    text = str(error)
    if "field larger" in text:
        return "a cell is larger than the limit, RECORDS_MAX_CELL_MB, or a quotation mark is opened and never closed"
    if "unexpected end" in text:
        return "a quotation mark is opened and never closed"
    if "expected after" in text:
        return (
            "after the quotation mark that ends a field comes another character than the delimiter. If it is a space, "
            "remove the spaces between quotation marks and delimiters"
        )
    return text
