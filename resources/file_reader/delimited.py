"""Delimited text, by two parsers in step.

Arrow's parser is fast and delivers the values; Python's, in its strict mode, is the witness: it counts the
fields of every record, knows the line each begins on, and must have read the same texts. Where the two
disagree about a record, nothing of the file is used.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from resources.file_reader.chunk import MalformedRecord, TextChunk
from resources.file_reader.dialect import Encoding, check_delimiter, check_encoding, detect_dialect, detect_encoding
from resources.file_reader.options import ReadLimits, ReadOptions
from schemas.errors import UnreadableFile

_BLOCK = 8 << 20
_SAMPLE_CHARACTERS = 1 << 18
_MALFORMED_A_CHUNK = 20_000
_UNIT = "\x1f"  # what ASCII has for the end of a field


class DelimitedFile:
    """A file of delimited text. `headers` and what was `understood` are there at once; `read` counts as chunks come."""

    def __init__(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> None:
        self._path = path
        self._name = name
        self._limits = limits
        self.read = 0
        self._line = 1
        self.encoding = self._encoding(options)
        with self._text("replace") as text:  # the parsers say where a byte does not belong
            sample = text.read(_SAMPLE_CHARACTERS)
            given = None if options.delimiter is None else check_delimiter(options.delimiter)
            self.dialect = detect_dialect(sample, given, whole=not text.read(1))
        csv.field_size_limit(limits.cell_mb * 1_000_000)
        self._rows = self._numbered_rows()
        self.headers = self._read_header()
        self.understood = [
            ("Format", "Delimited text"),
            ("Encoding", f"{self.encoding.name} ({self.encoding.sure})"),
            ("Delimiter", f"{self.dialect.delimiter_name} ({self.dialect.sure})"),
            ("Quotation mark", self.dialect.quote + (" with \\ before one inside" if self.dialect.escape else "")),
        ]
        if self.dialect.skipped_lines:
            self.understood.append(("Lines above the header, left out", f"{self.dialect.skipped_lines:,}"))

    def chunks(self) -> Iterator[TextChunk]:
        """All records of the file, in order, in chunks of some 8 MB. To be called once."""
        names = [str(position) for position in range(len(self.headers))]
        skipped: deque[int] = deque()

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.actual_columns)
            return "skip"

        try:
            with pyarrow.csv.open_csv(
                self._bytes(),
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=self._skipped_rows()
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote,
                    double_quote=self.dialect.escape is None,
                    escape_char=self.dialect.escape or False,
                    newlines_in_values=True,
                    invalid_row_handler=skip,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            ) as reader:
                header = 1  # Arrow takes the header for the first row
                for batch in reader:
                    yield from self._witnessed(batch.slice(header), skipped)
                    header = 0
        except pa.ArrowInvalid as error:
            deque(self._rows, maxlen=0)  # the witness comes upon the same place, and knows its line
            raise self._unreadable(
                f"a record after line {self._line:,} cannot be read, or is larger than {_BLOCK // 1_000_000} MB"
            ) from error
        yield from self._witnessed(None, skipped)
        if skipped:
            raise self._disagreement()

    def _encoding(self, options: ReadOptions) -> Encoding:
        if options.encoding is not None:
            return Encoding(check_encoding(options.encoding), "as you said")
        with self._path.open("rb") as file:
            return detect_encoding(file, self._name)

    def _text(self, errors: Literal["strict", "replace"] = "strict") -> io.TextIOWrapper:
        return self._path.open("r", encoding=self.encoding.name, errors=errors, newline="")

    def _skipped_rows(self) -> int:
        return self.dialect.skipped_lines if self._is_utf8 else 0

    @property
    def _is_utf8(self) -> bool:
        return self.encoding.name.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii")

    def _bytes(self) -> pa.NativeFile:
        """The file as UTF-8, for Arrow."""
        if self._is_utf8:
            return pa.OSFile(str(self._path))
        return pa.PythonFile(_Recoded(self._text(), self.dialect.skipped_lines), "r")

    def _read_header(self) -> tuple[str, ...]:
        first = next(self._rows, None)
        if first is None:
            raise UnreadableFile(f"{self._name} is empty.", "The first line must name the columns.")
        return tuple(first[1])

    def _witnessed(self, batch: pa.RecordBatch | None, skipped: deque[int]) -> Iterator[TextChunk]:
        """The batch with the witness's numbers, and the malformed records before it; None for the end of the file.

        The two parsers must agree on every record: on its number of fields and on their texts.
        """
        width = len(self.headers)
        rows = 0 if batch is None else batch.num_rows
        records: list[int] = []
        lines: list[int] = []
        texts: list[str] = []
        malformed: list[MalformedRecord] = []
        while batch is None or len(records) < rows:
            witnessed = next(self._rows, None)
            if witnessed is None:
                if batch is not None:
                    raise self._disagreement()
                break
            self.read += 1
            self._line, fields = witnessed
            if len(fields) == width:
                if batch is None:
                    raise self._disagreement()
                records.append(self.read)
                lines.append(self._line)
                texts.append(_UNIT.join(fields))
                continue
            if not skipped or skipped.popleft() != len(fields):
                raise self._disagreement()
            malformed.append(MalformedRecord(self.read, self._line, len(fields), tuple(fields)))
            if len(malformed) == _MALFORMED_A_CHUNK:
                yield _numbered(None, [], [], malformed)
                malformed = []
        if batch is not None and rows:
            joined = pc.binary_join_element_wise(*batch.columns, _UNIT).to_pylist()
            if joined != texts:
                differing = next(i for i, text in enumerate(texts) if text != joined[i])
                self.read, self._line = records[differing], lines[differing]
                raise self._disagreement()
        if rows or malformed:
            yield _numbered(batch, records, lines, malformed)

    def _numbered_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every record but blank lines, with the line it begins on."""
        above = self.dialect.skipped_lines
        with self._text() as text:
            for _ in range(above):
                text.readline()
            reader = self.dialect.reader(text)
            line = 1 + above
            while True:
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    raise self._unreadable(f"in the record that begins on line {line:,}: {_in_words(error)}") from error
                except UnicodeError as error:
                    raise self._not_decodable(error, reader.line_num + above) from error
                if row is None:
                    return
                if row:
                    yield line, row
                line = reader.line_num + 1 + above

    def _not_decodable(self, error: UnicodeError, lines_before: int) -> UnreadableFile:
        where, what = f"after line {lines_before:,}", "a character"
        if isinstance(error, UnicodeDecodeError):
            # What was decoded before has all been read as lines; a bad byte is counted from there.
            decoded = error.object[: error.start]
            line = lines_before + len((decoded + b".").splitlines())
            where, what = f"in line {line:,}", f"the byte 0x{error.object[error.start]:02x}"
        return UnreadableFile(
            f"{self._name} is not {self.encoding.name.upper()}: {where} {what} does not belong.",
            "Say what it is (--encoding), or save it as UTF-8.",
        )

    def _unreadable(self, why: str) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} cannot be read: {why}.", "Nothing was read from it; correct it and try again."
        )

    def _disagreement(self) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} can be read in two ways near record {self.read:,} (line {self._line:,}).",
            "Nothing was read from it; look for a stray quotation mark there.",
        )


def _numbered(
    batch: pa.RecordBatch | None, records: list[int], lines: list[int], malformed: list[MalformedRecord]
) -> TextChunk:
    return TextChunk(
        values=pa.table({}) if batch is None else pa.Table.from_batches([batch]),
        records=pa.array(records, pa.int64()),
        lines=pa.array(lines, pa.int64()),
        malformed=tuple(malformed),
    )


def _in_words(error: csv.Error) -> str:
    text = str(error)
    if "field larger" in text:
        return "a cell is larger than the limit, RECORDS_MAX_CELL_MB"
    if "unexpected end" in text:
        return "a quotation mark is opened and never closed"
    return text


class _Recoded(io.RawIOBase):
    """A text as UTF-8 bytes, from below its first lines."""

    def __init__(self, text: io.TextIOWrapper, skipped_lines: int) -> None:
        self._text = text
        for _ in range(skipped_lines):
            text.readline()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._ready) < size:
            text = self._text.read(1 << 20)
            if not text:
                break
            self._ready += text.encode()
        data, self._ready = (self._ready, b"") if size < 0 else (self._ready[:size], self._ready[size:])
        return data

    def close(self) -> None:
        self._text.close()
        super().close()
