"""JSON records: an array of objects, or an object on each line."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from resources.file_reader.formats.delimited import Delimited
from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.json_encoding import text_at_start
from resources.file_reader.options import ReadLimits
from schemas.errors import UnreadableFile
from schemas.reading import ReadOptions

_SUFFIXES = (".json", ".ndjson", ".jsonl")
_OBJECT = re.compile(r"""\[?\s*\{\s*"[^"\\]*"\s*:\s*["\-0-9tfn\[{]""")
"""How an object begins, or an array of them. A header row of delimited text does not."""
_HEADER_ROW = re.compile(r"""(?:\[[^\W\d][^\[\]{}"\r\n]*\]|[^\[{,;\t|\r\n]+)[ ]*[,;\t|\r\n]""")
"""How a header row of delimited text begins, with one name or several, also as `[id],[name]`. No JSON record does."""


class _Json(Format):
    """JSON of either kind: the file's content, not its name, says which."""

    names_in_records = True
    options = ("at",)

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the content is JSON: for a name of delimited text, beyond doubt; for one of JSON, perhaps."""
        text = text_at_start(candidate.start)
        if candidate.suffix in Delimited.suffixes:
            return _OBJECT.match(text) is not None
        if _HEADER_ROW.match(text):
            return False
        return candidate.suffix in _SUFFIXES or _first_character(candidate) in ("[", "{")

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """Opens a file of JSON records, where the options say that they are."""
        from resources.file_reader.json_records import JsonFile, JsonLimits

        file = JsonFile(path.open("rb"), name, at=options.at, likely_at=options.likely_at, limits=JsonLimits.of(limits))
        if not file.headers and not file.is_empty:
            raise UnreadableFile(f"{name} has no columns: its objects are empty.", "Name the values in its objects.")
        return file

    def alternatives(self, opened: OpenedFile) -> Mapping[str, Sequence[str]]:
        """Returns the lists that could have the records."""
        from resources.file_reader.json_records import JsonFile

        return {"at": opened.lists} if isinstance(opened, JsonFile) else {}

    def names_beside(self, opened: OpenedFile) -> Sequence[str]:
        """Returns the names of the values beside the list that has the records."""
        from resources.file_reader.json_records import JsonFile

        return opened.names_beside if isinstance(opened, JsonFile) else ()

    def outline(self, opened: OpenedFile) -> str:
        """Returns the list that has the records, and what else could have them."""
        from resources.file_reader.json_records import JsonFile

        return opened.outline if isinstance(opened, JsonFile) else ""


class JsonArray(_Json):
    """A JSON array of objects."""

    name = "json"
    suffixes = (".json",)

    def recognises(self, candidate: Candidate) -> bool:
        """Returns whether the file is JSON that begins with a bracket."""
        return super().recognises(candidate) and _first_character(candidate) == "["

    @contextmanager
    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> Iterator[RowWriter]:
        """Writes an array of objects; every value is text."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write("[")
            writer = _ObjectWriter(file, headers, opening="\n", separator=",")
            yield writer
            file.write("\n]\n" if writer.rows else "]\n")


class JsonLines(_Json):
    """A JSON object on each line."""

    name = "ndjson"
    suffixes = (".ndjson", ".jsonl")

    @contextmanager
    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> Iterator[RowWriter]:
        """Writes an object on each line; every value is text."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield _ObjectWriter(file, headers, ending="\n")


def _first_character(candidate: Candidate) -> str:
    """Returns the first character that is neither white space nor a byte order mark; "" if there is none."""
    return text_at_start(candidate.start)[:1] or candidate.first_character.decode("latin-1")


class _ObjectWriter:
    """Writes each row as a JSON object: `opening`, the object, `ending`; from the second on after `separator`."""

    def __init__(
        self, file: TextIO, headers: Sequence[str], *, opening: str = "", ending: str = "", separator: str = ""
    ) -> None:
        self._file, self._headers = file, headers
        self._opening, self._ending, self._separator = opening, ending, separator
        self.rows = 0

    def writerow(self, row: Sequence[str]) -> None:
        """Writes one object."""
        record = json.dumps(dict(zip(self._headers, row, strict=True)), ensure_ascii=False)
        before = self._separator if self.rows else ""
        self._file.write(f"{before}{self._opening}{record}{self._ending}")
        self.rows += 1
