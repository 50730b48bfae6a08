"""Encodings and delimiters of CSV: which ones exist, and how text is converted from the UTF-8 that DuckDB writes."""

import codecs
import csv
from pathlib import Path

from schemas.errors import InvalidRequest, RecordsError

_BLOCK = 1 << 20
_BYTE_ORDER_MARKS = {"utf-8-sig": codecs.BOM_UTF8, "utf-16": codecs.BOM_UTF16_LE, "utf-32": codecs.BOM_UTF32_LE}
_CODECS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-16-le",
    "utf-32": "utf-32-le",
    "cp1252": "cp1252",
    "latin-1": "latin-1",
    "shift_jis": "shift_jis",
}
_DELIMITERS = (",", ";", "\t", "|")


def check_encoding(name: str) -> str:
    """Return our name of the encoding. Raises InvalidRequest if no file can be written in it."""
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        known = ""
    for encoding in _CODECS:
        if codecs.lookup(encoding).name == known:
            return encoding
    raise InvalidRequest(f"A file cannot be written in {name!r}.", f"Choose an encoding: {', '.join(_CODECS)}.")


def check_delimiter(delimiter: str) -> str:
    r"""Return the delimiter as one character; `tab` and `\t` mean the tab.

    Raises InvalidRequest for one that our own import does not detect.
    """
    known = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if known not in _DELIMITERS:
        raise InvalidRequest(f"{delimiter!r} cannot be the delimiter of a file.", "Choose one of , ; | and tab.")
    return known


def is_utf8(encoding: str) -> bool:
    """Return whether text in the encoding is what DuckDB writes, but for the byte order mark."""
    return _CODECS[encoding] == "utf-8"


def byte_order_mark(encoding: str) -> bytes:
    """Return the bytes that a file in the encoding begins with."""
    return _BYTE_ORDER_MARKS.get(encoding, b"")


def encode(text: str, encoding: str) -> bytes:
    """Return the text in the encoding, without a byte order mark."""
    return text.encode(_CODECS[encoding])


def transcode(source: Path, target: Path, encoding: str, delimiter: str, columns: tuple[str, ...], before: int) -> None:
    """Write the text of the source, CSV in UTF-8 without a header, to the target in the encoding.

    `before` is the number of records that come before it in the export. Raises RecordsError, naming record and column,
    for a character that the encoding does not have.
    """
    codec = _CODECS[encoding]
    decoder = codecs.getincrementaldecoder("utf-8")()
    with source.open("rb") as file, target.open("wb") as output:
        while data := file.read(_BLOCK):
            text = decoder.decode(data)
            encoded = _encoded(text, codec)
            if encoded is None:
                raise _missing_character(source, encoding, delimiter, columns, before)
            output.write(encoded)


def _encoded(text: str, codec: str) -> bytes | None:
    """Return the text in the codec, or None if decoding would not give the same text."""
    try:
        encoded = text.encode(codec)
    except UnicodeEncodeError:
        return None
    # Python's Shift-JIS encodes the yen sign as the byte of the backslash.
    return encoded if codec != "shift_jis" or encoded.decode(codec) == text else None


def _missing_character(
    source: Path, encoding: str, delimiter: str, columns: tuple[str, ...], before: int
) -> RecordsError:
    with source.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter=delimiter), before + 1):
            for column, value in zip(columns, row, strict=True):
                bad = [character for character in value if _encoded(character, _CODECS[encoding]) is None]
                if bad:
                    return RecordsError(
                        f"{encoding} has no {bad[0]!r} (U+{ord(bad[0]):04X}): `{column}` of record {number:,} has one.",
                        "Write the file as utf-8 or utf-16, leave the column out, or filter the record out.",
                    )
    raise AssertionError("unreachable")
