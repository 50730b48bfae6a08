"""Untrusted .xlsx and .xlsm workbooks to numbered text records, one worksheet in one pass and bounded memory.

What a cell means is kept as the text that `schemas.parsing` understands:

- **Numbers** are plain decimals: the workbook's own text where it is one, without needless zeros; an exponent is
  written out where at most some 30 zeros are needed for it. Whole numbers keep every stored digit. Excel stores 17
  digits of a binary double (1.1 as 1.1000000000000001), so of a fraction with 16 or 17 digits the shortest decimal
  of the same double is taken, and nothing is lost; only the result of a formula, which carries the error of binary
  arithmetic, is rounded to the 15 digits that Excel itself shows (=0.1+0.2 is 0.3). A percentage is its fraction.
- **Dates** are told by the number format: `2024-05-31`, with a time `2024-05-31 09:30:00` (no offset: Excel knows
  none), a time alone `09:30:00`, elapsed time `[h]:mm` in hours `36:00:00`; to the millisecond, as Excel. Both date
  systems; days that never were (29 February 1900, day 0) keep Excel's text and are cell problems.
- **Text** is kept to the last space: shared, inline and rich text without its phonetic guide, `_x000D_` decoded.
- **Booleans** are `true` and `false`. An error keeps its text (#N/A), a formula that was never computed is empty;
  both are cell problems.

Only the worksheet, the shared strings, the styles and the parts that lead there are read; no link is followed.
"""

import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, DecimalException
from functools import cache
from typing import BinaryIO, Literal
from urllib.parse import unquote
from xml.parsers import expat

import pyarrow as pa

from resources.file_reader.chunk import CellProblem, MalformedRecord, TextChunk
from schemas.errors import InvalidRequest, UnreadableFile

_BLOCK = 64 << 10
_TOKEN = 1 << 20  # no tag, comment or piece of text needs more
_DEPTH = 64
_SMALL_PART = 32 << 20  # styles, the list of sheets and relationships
_RATIO_FROM = 16 << 20  # below it a bomb is no bomb
_CHUNK_TEXT = 64 << 20  # characters of a chunk
_CHUNK_CELLS = 4 << 20
_CACHED = 50_000  # dates


@dataclass(frozen=True)
class ExcelLimits:
    """What a workbook may be at most; beyond it is refused."""

    entries: int = 10_000
    """Files in the ZIP archive."""
    unpacked_bytes: int = 2 << 30
    """Bytes that really come out of all parts read, and characters of the text made of them."""
    ratio: int = 500
    """Unpacked to packed bytes of one part that is larger than 16 MiB."""
    rows: int = 1_048_576
    """The last row, as in Excel."""
    columns: int = 16_384
    """The last column, as in Excel (XFD)."""
    cells: int = 250_000_000
    """Records times columns."""
    empty_rows: int = 10_000
    """Empty rows one after the other; a longer run ends the sheet, and nothing may follow it."""
    cell_characters: int = 32_767
    """Characters of one cell, as in Excel."""
    shared_string_bytes: int = 512 << 20
    """All shared strings in memory: their characters and 64 bytes for each."""


class ExcelFile:
    """One worksheet of a workbook, open for reading. A context manager.

    `file` is seekable, stays the caller's to close, and is called `name` in messages; `sheet` is the sheet to read,
    by default the first visible one. `headers` is the first row that has a value, without empty cells at its end;
    a chunk has some `chunk_rows` rows. After `chunks` has come to its end `read` is how many records there were, and
    `notes` tell what was understood or lost. Raises InvalidRequest when there is no such sheet, and UnreadableFile,
    at once or from `chunks`, when the file is no workbook, is damaged, goes beyond a limit or has no header.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        sheet: str | None = None,
        chunk_rows: int = 50_000,
        limits: ExcelLimits = ExcelLimits(),
    ) -> None:
        self.name = name
        self._chunk_rows = chunk_rows
        self._package = _Package(file, name, limits)
        try:
            workbook = _Workbook(self._package)
            self.sheets = tuple(workbook.sheets)
            self.date_system: Literal[1900, 1904] = 1904 if workbook.from_1904 else 1900
            self.sheet = workbook.choose(sheet)
            strings = _shared_strings(self._package, workbook.strings, limits)
            kinds = _style_kinds(self._package, workbook.styles)
            self._rows = _Rows(self._package, self.sheet, strings, kinds, workbook.from_1904, limits)
            self._feeding = self._rows.feed(workbook.sheets[self.sheet])
            while self._rows.headers is None:
                if next(self._feeding, self) is self:
                    others = [other for other in self.sheets if other != self.sheet]
                    raise self._package.unreadable(
                        f"has no header: sheet {self.sheet!r} is empty",
                        f"Name another sheet: {', '.join(others[:10])}." if others else "Its first row names columns.",
                    )
        except BaseException:
            self.__exit__()
            raise
        self.headers: tuple[str, ...] = self._rows.headers

    def __enter__(self) -> "ExcelFile":
        """The file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file, which stays open."""
        self._package.close()

    @property
    def read(self) -> int:
        """Records read so far."""
        return self._rows.read

    @property
    def notes(self) -> tuple[str, ...]:
        """What was understood or lost, in sentences; complete when `chunks` has come to its end."""
        of = f" of {len(self.sheets)}" if len(self.sheets) > 1 else ""
        notes = [f"Sheet {self.sheet!r}{of} was read."]
        if self.date_system == 1904:
            notes.append("Its dates count from 1904.")
        return (*notes, *self._rows.notes())

    def chunks(self) -> Iterator[TextChunk]:
        """All records of the sheet, in order. To be called once."""
        while True:
            ended = next(self._feeding, self) is self
            if ended or self._rows.holds(self._chunk_rows):
                chunk = self._rows.take()
                if chunk.values.num_rows or chunk.malformed:
                    yield chunk
            if ended:
                return


class _Package:
    """The ZIP archive: its entries checked, its bytes counted as they come out."""

    def __init__(self, file: BinaryIO, name: str, limits: ExcelLimits) -> None:
        self.name = name
        self._limits = limits
        self._unpacked = 0
        file.seek(0)
        magic = file.read(8)
        if magic.startswith(b"\xd0\xcf\x11\xe0"):
            raise self.unreadable(
                "is encrypted or an old .xls", "Save it as an .xlsx workbook without a password and try again."
            )
        if not magic.startswith(b"PK\x03\x04"):
            raise self.unreadable("is no Excel workbook", "Save it as .xlsx.")
        self._size = file.seek(0, 2)
        try:
            self._zip = zipfile.ZipFile(file)
        except _ZIP_ERRORS as error:
            raise self._damaged("the ZIP archive", error) from error
        try:
            self._entries = self._checked_entries()
        except BaseException:
            self._zip.close()
            raise

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > self._limits.entries:
            raise self.unreadable(f"has {len(infos):,} parts, more than {self._limits.entries:,}")
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            part = info.orig_filename
            if "\\" in part or "\0" in part or ":" in part or part.startswith("/") or ".." in part.split("/"):
                raise self.unreadable(f"has a part with the unsafe name {part[:200]!r}")
            if part.casefold() in entries:
                raise self.unreadable(f"has more than one part {part[:200]!r}, and programs disagree which one counts")
            entries[part.casefold()] = info
        return entries

    def close(self) -> None:
        self._zip.close()

    def find(self, part: str) -> str | None:
        """The name under which the package has this part, or None."""
        for name in (part, unquote(part)):
            if name.casefold() in self._entries:
                return name
        return None

    def blocks(self, part: str, most: int) -> Iterator[bytes]:
        """The bytes of a part; the last step checks their CRC."""
        info = self._entries[part.casefold()]
        if info.flag_bits & 0x1:
            raise self.unreadable(f"has the encrypted part {part}", "Save it without a password and try again.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.unreadable(f"has the part {part} in a compression that Excel does not use")
        packed = max(1, min(info.compress_size, self._size))
        size = 0
        try:
            with self._zip.open(info) as stream:
                while block := stream.read(_BLOCK):
                    size += len(block)
                    self._unpacked += len(block)
                    if size > most or self._unpacked > self._limits.unpacked_bytes:
                        raise self.unreadable(f"unpacks to more than {min(most, self._limits.unpacked_bytes):,} bytes")
                    if size > _RATIO_FROM and size > packed * self._limits.ratio:
                        raise self.unreadable(f"is a ZIP bomb: {part} unpacks to {self._limits.ratio:,} times its size")
                    yield block
        except _ZIP_ERRORS as error:
            raise self._damaged(part, error) from error

    def parse(self, part: str, parser: expat.XMLParserType, most: int) -> Iterator[None]:
        """Feed a part to the parser, block by block; no declaration that could name or repeat anything is let in."""
        parser.StartDoctypeDeclHandler = lambda *_: self._forbid(part, "a document type (DOCTYPE)")
        parser.EntityDeclHandler = lambda *_: self._forbid(part, "an entity")
        parser.XmlDeclHandler = lambda _, encoding, __: self._check_encoding(part, encoding)
        parser.buffer_text = True
        fed = 0
        try:
            for block in self.blocks(part, most):
                parser.Parse(block)
                fed += len(block)
                if fed - max(0, parser.CurrentByteIndex) > _TOKEN:
                    raise self.unreadable(f"has a tag or comment of more than {_TOKEN:,} bytes in {part}")
                yield
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise self.unreadable(f"is damaged: {part} is not XML: {error}", _DAMAGED) from error
        yield

    def parse_small(self, part: str, start: Callable[[str, dict[str, str]], None], root: str) -> None:
        """Parse a part of a few elements; `start` gets the local names of those in the root's namespace."""
        depth = 0
        own = ""

        def started(name: str, attributes: dict[str, str]) -> None:
            nonlocal depth, own
            depth += 1
            namespace, _, local = name.rpartition(" ")
            if depth == 1:
                own = namespace
            if depth == 1 and local != root:
                raise self.unreadable(f"is no Excel workbook: {part} holds a <{local[:50]}>", "Save it as .xlsx.")
            if depth > _DEPTH:
                raise self.unreadable(f"is nested more than {_DEPTH} deep in {part}")
            if namespace == own:
                start(local, attributes)

        def ended(_: str) -> None:
            nonlocal depth
            depth -= 1

        parser = expat.ParserCreate(None, " ")
        parser.StartElementHandler = started
        parser.EndElementHandler = ended
        for _ in self.parse(part, parser, _SMALL_PART):
            pass

    def relationships(self, part: str) -> list[tuple[str, str, str]]:
        """Id, the last word of the type, and the part of every relationship inside the package."""
        folder, _, base = part.rpartition("/")
        rels = self.find(posixpath.join(folder, "_rels", base + ".rels"))
        found: list[tuple[str, str, str]] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "Relationship" and attributes.get("TargetMode", "Internal") == "Internal":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
                kind = attributes.get("Type", "").rpartition("/")[2]
                found.append((attributes.get("Id", ""), kind, self.find(target) or ""))

        if rels is not None:
            self.parse_small(rels, start, "Relationships")
        return found

    def _forbid(self, part: str, what: str) -> None:
        raise self.unreadable(f"declares {what} in {part}, which no Excel workbook does")

    def _check_encoding(self, part: str, encoding: str | None) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf-16", "us-ascii", "iso-8859-1"):
            raise self.unreadable(f"is encoded as {encoding[:50]!r} in {part}, which no Excel workbook is")

    def _damaged(self, what: str, error: Exception) -> UnreadableFile:
        return self.unreadable(f"is damaged: {what} cannot be unpacked: {error}", _DAMAGED)

    def unreadable(self, why: str, hint: str = "Nothing was read from it; save it anew from Excel.") -> UnreadableFile:
        """The refusal to be raised, in the words of all refusals."""
        return UnreadableFile(f"{self.name} {why}.", hint)


_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError,
)  # fmt: skip
_DAMAGED = "Nothing of it is used; send the file again, or open and save it in Excel."


class _Workbook:
    """The workbook part: its worksheets and where the other parts are."""

    def __init__(self, package: _Package) -> None:
        self._package = package
        main = [part for _, kind, part in package.relationships("") if kind == "officeDocument" and part]
        part = main[0] if main else package.find("xl/workbook.xml")
        if part is None:
            raise package.unreadable("is no Excel workbook", "Save it as .xlsx.")
        if part.lower().endswith(".bin"):
            raise package.unreadable("is a binary workbook (.xlsb)", "Save it as .xlsx.")
        relationships = package.relationships(part)
        worksheets = {name: target for name, kind, target in relationships if kind == "worksheet"}
        self.strings = next((target for _, kind, target in relationships if kind == "sharedStrings"), "")
        self.styles = next((target for _, kind, target in relationships if kind == "styles"), "")
        self.sheets: dict[str, str] = {}
        self._hidden: set[str] = set()
        self.from_1904 = False

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "workbookPr":
                self.from_1904 = attributes.get("date1904", "0").strip() in ("1", "true", "on")
            elif name == "sheet":
                link = next((value for key, value in attributes.items() if key.endswith(" id")), "")
                if link in worksheets:
                    self._add(_decode(attributes.get("name", "")), worksheets[link], attributes.get("state", "visible"))

        package.parse_small(part, start, "workbook")
        if not self.sheets:
            raise package.unreadable("has no worksheet", "Nothing can be read from it.")

    def _add(self, sheet: str, part: str, state: str) -> None:
        if sheet.casefold() in map(str.casefold, self.sheets):
            raise self._package.unreadable(f"has more than one sheet {sheet!r}")
        self.sheets[sheet] = part
        if state != "visible":
            self._hidden.add(sheet)

    def choose(self, wanted: str | None) -> str:
        """The name of the sheet to read."""
        if wanted is None:
            chosen = next((sheet for sheet in self.sheets if sheet not in self._hidden), next(iter(self.sheets)))
        else:
            folded = {sheet.casefold(): sheet for sheet in self.sheets}
            if wanted.casefold() not in folded:
                raise InvalidRequest(
                    f"{self._package.name} has no sheet {wanted!r}.",
                    f"Its sheets: {', '.join(map(repr, self.sheets))}.",
                )
            chosen = folded[wanted.casefold()]
        if not self.sheets[chosen]:
            raise self._package.unreadable(f"is damaged: the part of sheet {chosen!r} is missing", _DAMAGED)
        return chosen


def _shared_strings(package: _Package, part: str, limits: ExcelLimits) -> list[str]:
    """The texts that cells share, without formatting and phonetic guides."""
    strings: list[str] = []
    if not part:
        return strings
    texts: list[str] = []
    names: dict[str, str] = {}
    depth = size = 0
    phonetic = 0  # the depth of the guide that is open, 0 for none

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth, phonetic
        depth += 1
        if name not in names:
            names[name] = name.rpartition(":")[2]
        local = names[name]
        if depth == 1 and local != "sst":
            raise package.unreadable(f"is damaged: {part} holds a <{local[:50]}> instead of shared strings", _DAMAGED)
        if depth > _DEPTH:
            raise package.unreadable(f"is nested more than {_DEPTH} deep in {part}")
        if local == "si":
            if depth != 2:
                raise package.unreadable(f"has shared strings inside one another in {part}")
            texts.clear()
        elif local == "rPh" and not phonetic:
            phonetic = depth
        elif local == "t" and not phonetic:
            parser.CharacterDataHandler = texts.append

    def end(name: str) -> None:
        nonlocal depth, phonetic, size
        local = names[name]
        if local == "t":
            parser.CharacterDataHandler = None
        elif local == "si":
            text = _decode("".join(texts))
            size += len(text) + 64
            if size > limits.shared_string_bytes:
                raise package.unreadable(f"has more than {limits.shared_string_bytes:,} bytes of shared strings")
            check()
            strings.append(text)
            texts.clear()
        if depth == phonetic:
            phonetic = 0
        depth -= 1

    def check() -> None:
        if sum(map(len, texts)) > limits.cell_characters:
            raise package.unreadable(
                f"has a text of more than {limits.cell_characters:,} characters (shared string {len(strings) + 1:,})",
                "Shorten it.",
            )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    for _ in package.parse(part, parser, limits.unpacked_bytes):
        check()
    return strings


_Kind = Literal["number", "date", "time", "elapsed"]  # what the numbers of a cell are

_BUILT_IN: dict[int, _Kind] = {
    **dict.fromkeys((14, 15, 16, 17, 22, *range(27, 32), 36, *range(50, 59)), "date"),
    **dict.fromkeys((18, 19, 20, 21, *range(32, 36), 45, 47), "time"),
    46: "elapsed",
}
"""ECMA-376 part 1, 18.8.30; 27 to 36 and 50 to 58 are those of East Asian languages."""

_NO_CODE = re.compile(r'"[^"]*"?|\\.|[_*].|\[(?!(?:h+|m+|s+)\])[^\]]*\]|AM/PM|A/P', re.IGNORECASE | re.DOTALL)
_ELAPSED = re.compile(r"\[[hms]+\]", re.IGNORECASE)


@cache
def _format_kind(code: str) -> _Kind:
    """What a custom number format shows, told by its first section."""
    if code.lower() in ("general", "standard"):
        return "number"
    bare = _NO_CODE.sub("", code).split(";")[0].lower()
    if re.search("[yde]", re.sub(r"e[+-]", "", bare)) and not re.search(r"[0#?]e|general", bare):
        return "date"
    if _ELAPSED.search(bare):
        return "elapsed"
    if re.search("[hs]", bare):
        return "time"
    return "date" if "m" in bare else "number"


def _style_kinds(package: _Package, part: str) -> dict[str | None, _Kind]:
    """Cell style, as cells write it, to what its numbers are; {} where the workbook has no styles."""
    kinds: dict[str | None, _Kind] = {}
    codes: dict[str, str] = {}
    formats: list[str] = []
    inside = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        if name == "numFmt":
            codes.setdefault(attributes.get("numFmtId", ""), attributes.get("formatCode", ""))
        elif name == "xf" and inside:
            formats.append(attributes.get("numFmtId", "0"))
        elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            inside = name == "cellXfs"

    if part:
        package.parse_small(part, start, "styleSheet")
    for style, number in enumerate(formats):
        known = _BUILT_IN.get(int(number), "number") if number.isdecimal() and len(number) < 10 else "number"
        kinds[str(style)] = _format_kind(codes[number][:1000]) if number in codes else known
    _format_kind.cache_clear()
    if kinds:
        kinds[None] = kinds[""] = kinds["0"]
    return kinds


_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _decode(text: str) -> str:
    """The text with `_x000D_` and the like as the characters they stand for (ECMA-376 part 1, 22.9.2.19)."""
    if "_x" not in text:
        return text
    decoded = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    if not re.search("[\ud800-\udfff]", decoded):
        return decoded
    paired = _SURROGATES.sub(lambda found: found[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), decoded)
    return re.sub("[\ud800-\udfff]", lambda half: f"_x{ord(half[0]):04X}_", paired)  # half a character is none


_EXACT = Context(prec=40_000)
_plain = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?", re.ASCII).fullmatch
_numeric = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?\s*").fullmatch


def number_text(text: str, computed: bool = False) -> str | None:
    """A stored number as decimal text, as the module describes it; None when it is none.

    `computed` says that it is the result of a formula.
    """
    if len(text) > 1000 or not _numeric(text):
        return None
    try:
        value = Decimal(text.strip())
    except DecimalException:
        return None
    if not value:
        return "0"
    digits = len("".join(map(str, value.as_tuple().digits)).strip("0"))
    adjusted = value.adjusted()
    if digits > 15 and digits > adjusted + 1 and (computed or digits <= 17):
        shorter = Decimal(f"{float(value):.15g}" if computed else repr(float(value)))
        if shorter.is_finite() and shorter and len(shorter.as_tuple().digits) < digits:
            value = shorter
    if not -30 <= adjusted <= 30:
        return f"{value.normalize(_EXACT):E}"
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


_DAY = 86_400_000
_EPOCHS = {1900: date(1899, 12, 30), 1904: date(1904, 1, 1)}


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest:03}" if rest else text


def date_text(serial: float, kind: str, from_1904: bool) -> tuple[str | None, str]:
    """A serial number as ISO text, and what is wrong with it ("must be …") or "".

    No text means that the number stands for no day at all.
    """
    total = round(serial * _DAY) if abs(serial) < 1e8 else -1
    if kind == "elapsed" and abs(serial) < 1e8:
        return ("-" if total < 0 else "") + _clock(abs(total)), ""
    days, rest = divmod(total, _DAY)
    if kind == "time" and days == 0:
        return _clock(rest), ""
    if not 0 <= days <= (2_957_003 if from_1904 else 2_958_465):
        return None, "must be a date that Excel knows, up to 9999-12-31"
    time = f" {_clock(rest)}" if rest else ""
    if not from_1904 and days in (0, 60):
        return ("1900-01-00" if days == 0 else "1900-02-29") + time, "must be a day that exists"
    shift = days if from_1904 or days > 60 else days + 1
    return (_EPOCHS[1904 if from_1904 else 1900] + timedelta(days=shift)).isoformat() + time, ""


_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})?"
    r"(?:T?(?P<time>[0-9]{2}:[0-9]{2})(?P<seconds>:[0-9]{2})?(?P<fraction>\.[0-9]+)?)?"
).fullmatch


def _iso_text(text: str) -> str | None:
    """A date cell that is ISO text already, in the same form as others."""
    found = _ISO(text)
    if not text or found is None:
        return None
    fraction = (found["fraction"] or "").rstrip("0").rstrip(".")
    clock = f"{found['time']}{found['seconds'] or ':00'}{fraction}" if found["time"] else ""
    if found["date"] and clock in ("", "00:00:00"):
        return found["date"]
    return f"{found['date'] or ''} {clock}".strip()


@cache
def _column_names(columns: int) -> list[str]:
    """A, B, …, Z, AA, …: so many names of columns."""
    names: list[str] = []
    for number in range(1, columns + 1):
        name = ""
        while number:
            number, letter = divmod(number - 1, 26)
            name = chr(65 + letter) + name
        names.append(name)
    return names


_reference = re.compile(r"([A-Za-z]{1,3})0*([0-9]{1,9})", re.ASCII).fullmatch
_NAMES = ("row", "c", "v", "f", "is", "t", "r")
_OUTSIDE, _ROW, _CELL, _TEXT = range(4)


class _Rows:
    """The rows of one worksheet, collected as the parser comes upon them."""

    def __init__(
        self,
        package: _Package,
        sheet: str,
        strings: list[str],
        kinds: dict[str | None, _Kind],
        from_1904: bool,
        limits: ExcelLimits,
    ) -> None:
        self.headers: tuple[str, ...] | None = None
        self.read = 0
        self._package, self._sheet, self._limits = package, sheet, limits
        self._strings, self._kinds, self._from_1904 = strings, kinds, from_1904
        self._texts: list[str] = []  # of the element that is open
        self._in_text: Callable[[], bool] = lambda: False
        self._flat: list[str] = []  # the values of complete rows, then of the row that is open
        self._records: list[int] = []
        self._lines: list[int] = []
        self._malformed: list[MalformedRecord] = []
        self._problems: list[CellProblem] = []
        self._characters = self._delivered = 0
        self._dates: dict[str, dict[str, str]] = {"date": {}, "time": {}, "elapsed": {}}
        self._header_row = self._last_filled = self._last = 0
        self._unknown_styles = 0
        self._merged: list[str] = []
        self._merges = 0
        self._depth = 0
        self._seen_data = False

    def notes(self) -> Iterator[str]:
        """What was understood or lost, in sentences."""
        if self._header_row > 1:
            yield f"The header is row {self._header_row:,}, the first that has a value."
        if self._merges:
            shown = ", ".join(self._merged) + (", …" if self._merges > len(self._merged) else "")
            yield f"Merged cells ({shown}): each range has its value in the top left cell, the others are empty."
        if self._last - self._last_filled > self._limits.empty_rows:
            yield f"Rows {self._last_filled + 1:,} to {self._last:,} are empty."
        if self._unknown_styles:
            yield f"{self._unknown_styles:,} cells have a style that the workbook lacks: read as plain numbers."

    def holds(self, rows: int) -> bool:
        """Whether there is enough for a chunk."""
        return (
            len(self._records) + len(self._malformed) >= rows
            or len(self._flat) >= _CHUNK_CELLS
            or self._characters >= _CHUNK_TEXT
        )

    def take(self) -> TextChunk:
        """The complete rows so far, which are forgotten here; a row that is open stays."""
        width = len(self.headers or ())
        whole = len(self._records) * width
        flat = self._flat[:whole]
        values = pa.table({str(i): pa.array(flat[i::width], pa.string()) for i in range(width)})
        open_from = len(self._records)
        chunk = TextChunk(
            values,
            pa.array(self._records, pa.int64()),
            pa.array(self._lines, pa.int64()),
            tuple(self._malformed),
            tuple(problem for problem in self._problems if problem.row < open_from),
        )
        self._problems[:] = [
            CellProblem(0, problem.column, problem.rule, problem.expected, problem.value)
            for problem in self._problems
            if problem.row >= open_from
        ]
        del self._flat[:whole]
        self._records.clear()
        self._lines.clear()
        self._malformed.clear()
        self._characters = 0
        return chunk

    def feed(self, part: str) -> Iterator[None]:
        """Parse the worksheet, block by block."""
        parser = expat.ParserCreate()
        self._outside(parser, part)
        for _ in self._package.parse(part, parser, self._limits.unpacked_bytes):
            if not self._in_text():
                self._texts.clear()
            elif sum(map(len, self._texts)) > self._limits.cell_characters:
                raise self._refuse("a cell", f"has more than {self._limits.cell_characters:,} characters")
            yield

    def _outside(self, parser: expat.XMLParserType, part: str) -> None:
        """Before and after the rows: only where they begin and which cells are merged is of interest."""

        def start(name: str, attributes: dict[str, str]) -> None:
            self._depth += 1
            local = name.rpartition(":")[2]
            if self._depth == 1:
                if local != "worksheet":
                    raise self._package.unreadable(
                        f"is damaged: {part} holds a <{local[:50]}> instead of a worksheet", _DAMAGED
                    )
                prefix = name[: -len(local)].rstrip(":")
                namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns")
                self._prefixes = {
                    key.partition(":")[2] + ":" if ":" in key else ""
                    for key, value in attributes.items()
                    if value == namespace and key.partition(":")[0] == "xmlns"
                } | {f"{prefix}:" if prefix else ""}
            elif self._depth > _DEPTH:
                raise self._package.unreadable(f"is nested more than {_DEPTH} deep in {part}")
            elif self._depth == 2 and local == "sheetData":
                if self._seen_data:
                    raise self._package.unreadable(f"has rows in two places in {part}")
                self._seen_data = True
                self._inside(parser, name, part)
            elif local == "mergeCell" and name[: -len(local)] in self._prefixes:
                self._merges += 1
                if len(self._merged) < 5:
                    self._merged.append(attributes.get("ref", "")[:30])

        def end(_: str) -> None:
            self._depth -= 1

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = None

    def _skip(self, parser: expat.XMLParserType, name: str, may_hold_values: bool = False) -> None:
        """Pass over the element that begins here, with all inside it."""
        if not may_hold_values and name.rpartition(":")[2] in _NAMES:
            raise self._refuse("a cell", f"has its values in an unusual place or namespace (<{name[:50]}>)")
        before = parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler
        depth = 1

        def start(_: str, __: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > _DEPTH:
                raise self._package.unreadable(f"is nested more than {_DEPTH} deep in sheet {self._sheet!r}")

        def end(_: str) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = before

        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, None

    def _inside(self, parser: expat.XMLParserType, data: str, part: str) -> None:
        """The rows. The two handlers are called for every tag, so all that they touch is a local name."""
        names = _column_names(self._limits.columns)
        columns, rows = self._limits.columns, self._limits.rows
        flat, texts, records, lines, problems = self._flat, self._texts, self._records, self._lines, self._problems
        strings, kind_of, dates = self._strings, self._kinds.get, self._dates
        unstyled = "unknown" if self._kinds else "number"
        append = flat.append
        blanks = [""] * columns
        width = columns  # of the header, once there is one
        state = _OUTSIDE
        row = column = done = beyond = 0
        row_text = ""
        implied = inline = False
        value: str | None = None
        formula: str | None = None
        style: str | None = None
        cell_type: str | None = None

        # A call copies every name that the function shares with others: the two handlers share few.
        def start(name: str, attributes: dict[str, str]) -> None:
            nonlocal state, column, value, formula, inline, style, cell_type
            if name == "c" and state == _ROW:
                reference = attributes.get("r")
                if column < columns and reference == names[column] + row_text:
                    column += 1
                else:
                    column = placed(reference)
                style = attributes.get("s")
                cell_type = attributes.get("t")
                value = formula = None
                inline = False
                state = _CELL
            elif state == _CELL and ((name == "v" and value is None) or (name == "t" and inline)):
                texts.clear()
                state = _TEXT
            elif name == "is" and state == _CELL and not inline:
                inline = True
                value = ""  # whatever a <v> before it says, as Excel
            else:
                start_rarer(name, attributes)

        def end(name: str) -> None:
            nonlocal state, value
            if name == "v":
                value = texts[0] if len(texts) == 1 else "".join(texts)
                state = _CELL
            elif name == "c":
                state = _ROW
                if value is not None or formula is not None:
                    finish()
            elif name == "t":
                text = texts[0] if len(texts) == 1 else "".join(texts)
                value = value + text if value else text
                state = _CELL
                if len(value) > longest:
                    raise self._refuse(names[column - 1] + row_text, too_long)
            elif name != "is":
                end_rarer(name)

        def start_rarer(name: str, attributes: dict[str, str]) -> None:
            nonlocal state, row, column, done, beyond, row_text, implied
            if name == "row" and state == _OUTSIDE:
                number = attributes.get("r")
                row, implied = (row + 1, True) if number is None else (numbered(number), False)
                if row > rows:
                    raise self._refuse(f"row {row:,}", f"lies beyond the last row, {rows:,}")
                row_text = str(row)
                column = done = beyond = 0
                state = _ROW
            elif name == "f" and state == _CELL and formula is None:
                texts.clear()
                state = _TEXT
            elif not (inline and name == "r" and state == _CELL):
                self._skip(parser, name, may_hold_values=inline and name == "v")

        def end_rarer(name: str) -> None:
            nonlocal state, formula
            if name == "row":
                state = _OUTSIDE
                self._last = row
                if done or beyond or (problems and problems[-1].row == len(records)):
                    filled()
            elif name == "f":
                formula = "".join(texts)
                state = _CELL
            elif name == data:
                self._outside(parser, part)
                self._depth -= 1

        def finish() -> None:
            """The cell that ends is given its text, and the text its place."""
            nonlocal done, beyond
            if not value:
                text = other(value)
            elif cell_type == "s":
                try:
                    text = strings[int(value)] if value[0] != "-" else strings[len(strings)]
                except (ValueError, IndexError):
                    raise self._refuse(
                        names[column - 1] + row_text,
                        f"names the shared text {value[:20]}, and the workbook has {len(strings):,}",
                    ) from None
            elif cell_type is None or cell_type == "n":
                kind = kind_of(style, unstyled)
                if kind != "number":
                    text = (dates[kind].get(value) if kind != "unknown" else None) or dated(value, kind)
                elif len(value) <= 16 and (
                    (value.isdecimal() and value[0] != "0" and value.isascii()) or _plain(value)
                ):
                    text = value
                else:
                    text = number(value)
            elif (cell_type == "inlineStr" or cell_type == "str") and len(value) <= longest:
                text = value if "_x" not in value else _decode(value)
            else:
                text = other(value)
            if text:
                if column == done + 1 <= width:
                    append(text)
                    done = column
                elif column > width:
                    beyond = column
                else:
                    flat.extend(blanks[: column - 1 - done])
                    append(text)
                    done = column

        longest = self._limits.cell_characters
        too_long = f"has more than {self._limits.cell_characters:,} characters"

        def numbered(number: str) -> int:
            """The row's number, which must be beyond the row before."""
            if not (number.isascii() and number.isdecimal() and len(number) < 20):
                raise self._refuse(f"the row after row {row:,}", f"has the number {number[:20]!r}")
            if int(number) <= row:
                raise self._refuse(f"row {int(number):,}", f"comes after row {row:,}")
            return int(number)

        def placed(reference: str | None) -> int:
            """The cell's column, which must be beyond the cell before, in this row."""
            nonlocal row, row_text, implied
            if reference is None:
                found = column + 1
            else:
                match = _reference(reference)
                if match is None:
                    raise self._refuse(f"a cell of row {row:,}", f"has the reference {reference[:20]!r}")
                found = 0
                for letter in match[1].upper():
                    found = found * 26 + ord(letter) - 64
                if implied and column == 0 and row < int(match[2]) <= rows:
                    row, row_text = int(match[2]), match[2]
                if int(match[2]) != row:
                    raise self._refuse(f"cell {reference}", f"lies in row {row:,}")
                if found <= column:
                    raise self._refuse(f"cell {reference}", f"comes after {names[column - 1]}{row}")
            implied = False
            if found > columns:
                raise self._refuse(f"a cell of row {row:,}", f"lies beyond the last column, {names[-1]}")
            return found

        def problem(rule: str, expected: str, value: str) -> None:
            nonlocal beyond
            if column <= width:
                problems.append(CellProblem(len(records), column - 1, rule, expected, value))
            else:
                beyond = column

        def number(value: str) -> str:
            if len(value) < 21 and formula is None and "." in value and _plain(value):
                digits = len(value.lstrip("-0.").replace(".", ""))
                if digits > 17:
                    return value
                shorter = repr(float(value))
                return shorter if len(shorter) < len(value) and "e" not in shorter else value
            text = number_text(value, formula is not None)
            if text is None:
                problem("not_a_number", "must be a number", value[:100])
                return limited(value)
            return text

        def dated(value: str, kind: str) -> str:
            text = number(value)
            if kind == "unknown":
                self._unknown_styles += 1
                return text
            if not _numeric(value):
                return text
            day, expected = date_text(float(value), kind, self._from_1904)
            if expected:
                problem("no_such_date", expected, day or text)
            elif day is not None:
                if len(dates[kind]) >= _CACHED:
                    dates[kind].clear()
                dates[kind][value] = day
            return day or text

        def limited(text: str) -> str:
            if len(text) > self._limits.cell_characters:
                raise self._refuse(names[column - 1] + row_text, too_long)
            return text

        def other(value: str | None) -> str:
            """Cells of the rarer types."""
            if not value:
                if formula is not None and (value is None or cell_type != "str"):
                    problem("formula_without_value", _COMPUTE, "=" + formula)
                return ""
            if cell_type in ("str", "inlineStr"):
                return limited(value)
            if cell_type == "b" and value.strip() in ("0", "1", "true", "false"):
                return "true" if value.strip() in ("1", "true") else "false"
            if cell_type == "e":
                problem("error_cell", "must be a value, not an error", value[:100])
                return limited(value)
            if cell_type == "d":
                text = _iso_text(value.strip())
                if text is None:
                    problem("no_such_date", "must be a date that Excel knows, up to 9999-12-31", value[:100])
                return limited(value) if text is None else text
            raise self._refuse(names[column - 1] + row_text, f"is of the unknown type {cell_type!r:.20} ({value:.20})")

        def filled() -> None:
            """A row with a value is a record, or the header."""
            nonlocal width, done
            if row - self._last_filled - 1 > self._limits.empty_rows:
                raise self._refuse(
                    f"row {row:,}",
                    f"has a value after {row - self._last_filled - 1:,} empty rows",
                    f"Delete the empty rows, or what lies below row {self._last_filled:,}.",
                )
            self._last_filled = row
            if self.headers is None:
                if problems:
                    raise self._refuse(
                        names[problems[0].column] + row_text,
                        f"is a header, and {problems[0].expected} ({problems[0].value:.100})",
                    )
                self._header_row = row
                self.headers = tuple(flat)
                width = done
                flat.clear()
                return
            self.read += 1
            if self.read * width > self._limits.cells:
                raise self._refuse(f"row {row:,}", f"is beyond {self._limits.cells:,} cells")
            if beyond:
                del flat[len(flat) - done :]
                while problems and problems[-1].row == len(records):
                    problems.pop()
                self._malformed.append(MalformedRecord(self.read, row, beyond))
                return
            if done < width:
                flat.extend(blanks[: width - done])
            records.append(self.read)
            lines.append(row)
            characters = sum(map(len, flat[-width:]))
            self._characters += characters
            self._delivered += characters
            if self._delivered > self._limits.unpacked_bytes:
                raise self._refuse(f"row {row:,}", f"is beyond {self._limits.unpacked_bytes:,} characters of text")

        self._in_text = lambda: state == _TEXT
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        if self._prefixes != {""}:
            local = {prefix + each: each for prefix in self._prefixes for each in _NAMES}
            local |= {each: ":" + each for each in _NAMES if "" not in self._prefixes}
            local_of = local.get

            def start_prefixed(name: str, attributes: dict[str, str]) -> None:
                start(local_of(name) or name, attributes)

            def end_prefixed(name: str) -> None:
                end(local_of(name) or name)

            parser.StartElementHandler = start_prefixed
            parser.EndElementHandler = end_prefixed
        parser.CharacterDataHandler = texts.append

    def _refuse(self, where: str, why: str, hint: str = "") -> UnreadableFile:
        message = f"{self._package.name}, sheet {self._sheet!r}: {where} {why}."
        return UnreadableFile(message, hint or "Nothing of it is used; correct it in Excel and try again.")


_COMPUTE = "must have a value: open and save the workbook so that Excel computes it"
