"""Which format a file has: by its first bytes, and by its name where they leave it open."""

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal, Protocol

from resources.file_reader.chunk import TextChunk
from resources.file_reader.options import ReadLimits, ReadOptions

Format = Literal["delimited", "excel", "json", "ndjson", "parquet"]

_ZIP, _OLE, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"
_DELIMITED_NAMES = (".csv", ".tsv", ".tab", ".txt")
_JSON_NAMES = (".json", ".ndjson", ".jsonl")


class Parsed(Protocol):
    """A file of some format, being read."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of its columns."""

    @property
    def read(self) -> int:
        """How many records have been read."""

    @property
    def share_read(self) -> float:
        """About how much of it has been read, from 0 to 1."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be known of it, in sentences; complete when `chunks` has come to its end."""

    def chunks(self) -> Iterator[TextChunk]:
        """All its records."""


def format_of(path: Path, name: str) -> Format:
    """The format of an unpacked file that was sent under a name; "json" is JSON of either kind."""
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith((_ZIP, _OLE)):
        return "excel"
    if start.startswith(_PARQUET):
        return "parquet"
    suffix = PurePath(name.lower().removesuffix(".gz").removesuffix(".zst")).suffix
    if suffix in _JSON_NAMES:
        return "json"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if suffix not in _DELIMITED_NAMES and text[:1] in (b"[", b"{"):
        return "json"
    return "delimited"


def open_format(
    path: Path, name: str, options: ReadOptions, limits: ReadLimits
) -> tuple[Format, Parsed, list[tuple[str, str]]]:
    """The file by its format, and what was understood of it: label and value."""
    kind = format_of(path, name)
    if kind == "excel":
        from resources.file_reader.excel import ExcelFile

        workbook = ExcelFile(path.open("rb"), name, sheet=options.sheet)
        return kind, workbook, [("Format", f"Excel workbook, {workbook.date_system} date system")]
    if kind == "json":
        from resources.file_reader.json_records import JsonFile, JsonLimits

        document = JsonFile(path.open("rb"), name, limits=JsonLimits.of(limits))
        described = "JSON array" if document.kind == "json" else "JSON, one object a line"
        return document.kind, document, [("Format", described)]
    if kind == "parquet":
        from resources.file_reader.parquet import ParquetFile, ParquetLimits

        return kind, ParquetFile(path.open("rb"), name, limits=ParquetLimits.of(limits)), [("Format", "Parquet")]
    from resources.file_reader.delimited import DelimitedFile

    text = DelimitedFile(path, name, options, limits)
    return kind, text, text.understood
