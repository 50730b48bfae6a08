"""Untrusted bytes to numbered text records: CSV as RFC 4180 describes it, in UTF-8.

Two parsers read the same bytes in step. Arrow's is fast and delivers the values; Python's, in its strict
mode, is the witness: it counts the fields of every record and knows the line each begins on. Where the
two disagree about a record, nothing of the file is used.
"""

import csv
import hashlib
import io
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
from typing_extensions import Buffer

from resources.file_reader.chunk import MalformedRecord, TextChunk
from schemas.errors import NotFound, UnreadableFile

_BLOCK = 8 << 20


class FileReader:
    """One file, open for reading. A context manager.

    `headers` are there at once; after `chunks` has come to its end, `sha256` is that of the bytes that
    were read, and `read` is how many records there were. Raises NotFound when there is no such file and
    UnreadableFile when it is not CSV in UTF-8, or has no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self.sha256 = ""
        self._line = 1
        try:
            self._bytes = _Hashing(path.open("rb", buffering=0))
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(f"There is no file {str(path)!r}.", "Name a CSV file.") from None
        except PermissionError:
            raise UnreadableFile(f"{path.name} may not be read by this user.", "Change its permissions.") from None
        self._witness = io.TextIOWrapper(io.BufferedReader(self._bytes, 1 << 20), "utf-8-sig", "strict", newline="")
        csv.field_size_limit(sys.maxsize)
        self._rows = self._numbered_rows()
        try:
            self.headers = self._read_header()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "FileReader":
        """The reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._witness.close()

    def _read_header(self) -> tuple[str, ...]:
        first = next(self._rows, None)
        if first is None:
            raise UnreadableFile(f"{self.path.name} is empty.", "The first line must name the columns.")
        headers = tuple(first[1])
        repeated = sorted({header for header in headers if headers.count(header) > 1})
        if repeated:
            raise UnreadableFile(
                f"{self.path.name} has columns of one name.",
                "Each column needs a name of its own, and the first line must name the columns.",
                f"More than once there are: {', '.join(map(repr, repeated))}.",
            )
        return headers

    def chunks(self) -> Iterator[TextChunk]:
        """All records of the file, in order, in chunks of some 8 MB. To be called once."""
        names = [str(position) for position in range(len(self.headers))]
        skipped: deque[int] = deque()

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            skipped.append(row.actual_columns)
            return "skip"

        try:
            with pyarrow.csv.open_csv(
                # The same file even if another one has its name by now; not a Python file, for Arrow reads
                # ahead in a thread that may outlive the interpreter.
                pa.OSFile(f"/dev/fd/{self._bytes.fileno()}"),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            ) as reader:
                header = 1  # Arrow takes the header for the first row
                for batch in reader:
                    yield self._chunk(batch.slice(header), skipped)
                    header = 0
        except pa.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                deque(self._rows, maxlen=0)  # the witness comes upon the same byte, and knows its line
            raise self._unreadable(f"after line {self._line:,}: {error}") from error
        rest = self._numbered(None, skipped)
        if skipped:
            raise self._disagreement()
        if rest.malformed:
            yield rest
        self.sha256 = self._bytes.sha256

    def _chunk(self, batch: pa.RecordBatch, skipped: deque[int]) -> TextChunk:
        """The batch with the witness's numbers; the two must agree on every record."""
        numbered = self._numbered(batch.num_rows, skipped)
        return replace(numbered, values=pa.Table.from_batches([batch]))

    def _numbered(self, rows: int | None, skipped: deque[int]) -> TextChunk:
        """The numbers of the witness's next well-formed records, as many as given, and what lies between them.

        None means all that is left, of which none may be well-formed.
        """
        width = len(self.headers)
        records: list[int] = []
        lines: list[int] = []
        malformed: list[MalformedRecord] = []
        while rows is None or len(records) < rows:
            witnessed = next(self._rows, None)
            if witnessed is None:
                if rows is not None:
                    raise self._disagreement()
                break
            self.read += 1
            self._line, fields = witnessed[0], len(witnessed[1])
            if fields == width:
                records.append(self.read)
                lines.append(self._line)
            elif not skipped or skipped.popleft() != fields:
                raise self._disagreement()
            else:
                malformed.append(MalformedRecord(self.read, self._line, fields))
        if rows is None and records:
            raise self._disagreement()
        return TextChunk(pa.table({}), pa.array(records, pa.int64()), pa.array(lines, pa.int64()), tuple(malformed))

    def _numbered_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every record but blank lines, with the line it begins on."""
        reader = csv.reader(self._witness, strict=True)
        line = 1
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise self._unreadable(f"line {line:,}: {error}") from error
            except UnicodeDecodeError as error:
                # What was decoded before has all been read as lines; a bad byte is counted from there.
                bad_line = reader.line_num + len((error.object[: error.start] + b".").splitlines())
                raise UnreadableFile(
                    f"{self.path.name} is not UTF-8: in line {bad_line:,} the byte 0x{error.object[error.start]:02x} "
                    "does not belong.",
                    "Save it as UTF-8.",
                ) from error
            if row is None:
                return
            if row:
                yield line, row
            line = reader.line_num + 1

    def _unreadable(self, why: str) -> UnreadableFile:
        return UnreadableFile(
            f"{self.path.name} is not CSV: {why}.", "Nothing was read from it; correct it and try again."
        )

    def _disagreement(self) -> UnreadableFile:
        return UnreadableFile(
            f"{self.path.name} can be read in two ways near record {self.read:,} (line {self._line:,}).",
            "Nothing was read from it; look for a stray quotation mark there.",
        )


class _Hashing(io.RawIOBase):
    """A file that remembers the digest of what was read from it."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        size = self._file.readinto(buffer)
        self._digest.update(memoryview(buffer)[:size])
        return size

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()
