"""Files that are no records: what they are, and what to do instead. They are recognised by their content."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from resources.file_reader.formats.format import Candidate
from resources.file_reader.json_encoding import encoding_of, text_at_start
from schemas.errors import UnreadableFile

_AS_TABLE = "Save its table as .xlsx or .csv, and import that."
_AS_SHEET = "Open it in a spreadsheet, save it as .xlsx, and import that."
_UNPACK = "Unpack it, and import each file by itself."
UNPACK_ONCE = "Unpack it once, and import the packed file that is inside."
_EXPORT = "Export its table as CSV or Parquet, and import that."
_AGAIN = "It may be damaged, encrypted or packed. Write it again as CSV, .xlsx, JSON or Parquet."
_OLE = b"\xd0\xcf\x11\xe0"
"""How files of Office before 2007 begin, and encrypted ones of later versions."""
_HTML = ("<!doctype html", "<html", "<head", "<body", "<table", "<meta", "<style", "<div", "<center")
_COMMENTS = re.compile(r"^(?:<!--.*?-->\s*)+", re.DOTALL)
_CONTROLS = bytes({*range(9), *range(14, 27), *range(28, 32)})
"""Control characters without those of white space, and without the escape character of ISO 2022."""
_FEW_CONTROLS, _SHARE_OF_CONTROLS = 20, 0.05
_WIDE_LINE_ENDS = (b"\n\0", b"\0\n")
"""The line ends of UTF-16 and UTF-32. Their other characters can have bytes like those of control characters."""
_SCANNED = 8 << 20
"""How many bytes of an OLE file are searched for the names of its parts."""


@dataclass(frozen=True)
class _Kind:
    """A kind of file: what it is, what to do, and whether a file is one."""

    what: str
    hint: str
    recognises: Callable[[Candidate], bool]


def refuse_foreign(candidate: Candidate) -> None:
    """Raises UnreadableFile, which says what the file is and what to do, if it is of a known other kind."""
    for kind in KINDS:
        if kind.recognises(candidate):
            raise UnreadableFile(f"{candidate.name} is {kind.what}. Its records cannot be read.", kind.hint)


def _begins(*signatures: bytes) -> Callable[[Candidate], bool]:
    return lambda candidate: candidate.start.startswith(signatures)


def _begins_and_ends(signature: bytes) -> Callable[[Candidate], bool]:
    def recognises(candidate: Candidate) -> bool:
        return candidate.start.startswith(signature) and _end(candidate, len(signature)) == signature

    return recognises


def _end(candidate: Candidate, size: int) -> bytes:
    with candidate.path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - size))
        return file.read(size)


def _markup(*tags: str) -> Callable[[Candidate], bool]:
    """Returns what recognises text that begins with one of the tags, in any case and after white space and comments."""
    return lambda candidate: _COMMENTS.sub("", text_at_start(candidate.start))[:20].lower().startswith(tags)


def _ole(*parts: str) -> Callable[[Candidate], bool]:
    """Returns what recognises an OLE file with a part of such a name. Entries of its directory have 64 bytes for it."""
    entries = [part.encode("utf-16-le").ljust(len(part) * 2 + 2, b"\0") for part in parts]

    def recognises(candidate: Candidate) -> bool:
        if not candidate.start.startswith(_OLE):
            return False
        with candidate.path.open("rb") as file:
            content = file.read(_SCANNED)
        return any(entry in content for entry in entries)

    return recognises


def _xml_workbook(candidate: Candidate) -> bool:
    text = text_at_start(candidate.start)
    return _markup("<?xml")(candidate) and "urn:schemas-microsoft-com:office:spreadsheet" in text


def _xml(candidate: Candidate) -> bool:
    return _markup("<?xml")(candidate) or (candidate.suffix == ".xml" and _markup("<")(candidate))


def _binary_workbook(candidate: Candidate) -> bool:
    return candidate.is_archive and "xl/workbook.bin" in (candidate.members or ())


def _access(candidate: Candidate) -> bool:
    return candidate.start[4:19] in (b"Standard Jet DB", b"Standard ACE DB")


def _image(candidate: Candidate) -> bool:
    start = candidate.start
    return (
        start.startswith((b"II*\0", b"MM\0*")) or start[4:12] == b"ftypheic" or start[:4] + start[8:12] == b"RIFFWEBP"
    )


def _no_text(candidate: Candidate) -> bool:
    """Returns whether it has more control characters than any text, and is not in UTF-16 or UTF-32."""
    start = candidate.start
    wide = encoding_of(start) != "utf-8" or any(end in start for end in _WIDE_LINE_ENDS)
    if wide or candidate.is_archive or start.startswith(b"PAR1"):
        return False
    controls = len(start) - len(start.translate(None, _CONTROLS))
    return controls >= _FEW_CONTROLS and controls > _SHARE_OF_CONTROLS * len(start)


def _bz2(candidate: Candidate) -> bool:
    return candidate.start.startswith(b"BZh") and candidate.start[4:10] == b"1AY&SY"


def _duckdb(candidate: Candidate) -> bool:
    return candidate.start[8:12] == b"DUCK" and b"\0" in candidate.start[:64]


def _dbf(candidate: Candidate) -> bool:
    return candidate.suffix == ".dbf" and b"\0" in candidate.start[:32]


KINDS = (
    _Kind(
        "a lock file that a spreadsheet keeps beside an open workbook",
        "Import the workbook itself. Its name is the same without ~$.",
        lambda candidate: PurePath(candidate.name).name.startswith("~$") and not candidate.is_archive,
    ),
    _Kind("a PDF", _AS_TABLE, _begins(b"%PDF-")),
    _Kind("an image (PNG)", _AS_TABLE, _begins(b"\x89PNG\r\n\x1a\n")),
    _Kind("an image (JPEG)", _AS_TABLE, _begins(b"\xff\xd8\xff")),
    _Kind("an image (GIF)", _AS_TABLE, _begins(b"GIF87a", b"GIF89a")),
    _Kind("an image", _AS_TABLE, _image),
    _Kind("an HTML page", _AS_SHEET, _markup(*_HTML)),
    _Kind("an XML spreadsheet of Excel 2003", _AS_SHEET, _xml_workbook),
    _Kind("an XML file", "Export its records as CSV, JSON or .xlsx, and import that.", _xml),
    _Kind("a text in RTF", _AS_TABLE, _begins(b"{\\rtf")),
    _Kind("an encrypted workbook", "Save it without a password, and import that.", _ole("EncryptedPackage")),
    _Kind("a Word document of the older format .doc", _AS_TABLE, _ole("WordDocument")),
    _Kind("a PowerPoint presentation of the older format .ppt", _AS_TABLE, _ole("PowerPoint Document")),
    _Kind("a workbook of the older format .xls", "Save it as .xlsx, and import that.", _ole("Workbook", "Book")),
    _Kind(
        "encrypted, or a workbook of the older format .xls",
        "Save it as .xlsx without a password, and import that.",
        _begins(_OLE),
    ),
    _Kind("a binary workbook, as .xlsb", "Save it as .xlsx, and import that.", _binary_workbook),
    _Kind("a .tar archive", _UNPACK, lambda candidate: candidate.start[257:262] == b"ustar"),
    _Kind("a .7z archive", _UNPACK, _begins(b"7z\xbc\xaf\x27\x1c")),
    _Kind("a .rar archive", _UNPACK, _begins(b"Rar!\x1a\x07")),
    _Kind("packed twice, the second time as .gz", UNPACK_ONCE, _begins(b"\x1f\x8b")),
    _Kind("packed twice, the second time as .zst", UNPACK_ONCE, _begins(b"\x28\xb5\x2f\xfd")),
    _Kind("a file packed as .xz", "Unpack it, or pack it as .gz or .zst.", _begins(b"\xfd7zXZ\0")),
    _Kind("a file packed as .bz2", "Unpack it, or pack it as .gz or .zst.", _bz2),
    _Kind("a file packed as .lz4", "Unpack it, or pack it as .gz or .zst.", _begins(b"\x04\x22\x4d\x18")),
    _Kind("an Access database", _EXPORT, _access),
    _Kind("an SPSS file", _EXPORT, _begins(b"$FL2@(#)")),
    _Kind("an SQLite database", _EXPORT, _begins(b"SQLite format 3\0")),
    _Kind("a DuckDB database", _EXPORT, _duckdb),
    _Kind("an ORC file", _EXPORT, lambda candidate: candidate.start[:3] == b"ORC" and _end(candidate, 4)[:3] == b"ORC"),
    _Kind("a Feather or Arrow file", _EXPORT, _begins_and_ends(b"ARROW1")),
    _Kind("a Feather file", _EXPORT, _begins_and_ends(b"FEA1")),
    _Kind("an Avro file", _EXPORT, _begins(b"Obj\x01")),
    _Kind("an encrypted Parquet file", "Write it without encryption, and import that.", _begins_and_ends(b"PARE")),
    _Kind("a dBASE file", _EXPORT, _dbf),
    _Kind("neither text nor of a known kind", _AGAIN, _no_text),
)  # fmt: skip
"""The kinds, in the order in which they are tried."""
