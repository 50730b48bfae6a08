"""Text in another encoding than the UTF-8 that DuckDB writes: every character of it, or an error."""

import codecs
import csv
from pathlib import Path

from schemas.errors import InvalidRequest, RecordsError

_BLOCK = 1 << 20
_MARKS = {"utf-8-sig": codecs.BOM_UTF8, "utf-16": codecs.BOM_UTF16_LE, "utf-32": codecs.BOM_UTF32_LE}
_CODECS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf-16": "utf-16-le",
    "utf-32": "utf-32-le",
    "cp1252": "cp1252",
    "latin-1": "latin-1",
    "shift_jis": "shift_jis",
}


def check_encoding(name: str) -> str:
    """The name of an encoding that a file can be written in; InvalidRequest, with those there are, otherwise."""
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        known = ""
    for encoding in _CODECS:
        if codecs.lookup(encoding).name == known:
            return encoding
    raise InvalidRequest(f"A file cannot be written in {name!r}.", f"The encodings: {', '.join(_CODECS)}.")


def check_delimiter(delimiter: str) -> str:
    """A delimiter that our import can read again; the tab may be written out, or as in C."""
    known = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    if known not in (",", ";", "\t", "|"):
        raise InvalidRequest(f"{delimiter!r} cannot be the delimiter of a file.", "Give one of , ; | and tab.")
    return known


def mark_of(encoding: str) -> bytes:
    """The bytes that such a file begins with."""
    return _MARKS.get(encoding, b"")


def encode(text: str, encoding: str) -> bytes:
    """A piece of such a file; what comes first has its mark before it."""
    return text.encode(_CODECS[encoding])


def transcode(source: Path, target: Path, encoding: str, delimiter: str, columns: tuple[str, ...], above: int) -> None:
    """The target has the text of the source, which is CSV in UTF-8 without a header, in the encoding.

    `above` is how many records come before it in the export. Raises RecordsError, naming record and column, where a
    character cannot be written.
    """
    codec = _CODECS[encoding]
    decoder = codecs.getincrementaldecoder("utf-8")()
    with source.open("rb") as file, target.open("wb") as output:
        while data := file.read(_BLOCK):
            text = decoder.decode(data)
            encoded = _encoded(text, codec)
            if encoded is None:
                raise _not_written(source, encoding, delimiter, columns, above)
            output.write(encoded)


def _encoded(text: str, codec: str) -> bytes | None:
    """The text in the encoding; None where it would come back as another one."""
    try:
        encoded = text.encode(codec)
    except UnicodeEncodeError:
        return None
    return encoded if codec != "shift_jis" or encoded.decode(codec) == text else None  # it writes the yen sign as \


def _not_written(source: Path, encoding: str, delimiter: str, columns: tuple[str, ...], above: int) -> RecordsError:
    with source.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter=delimiter), above + 1):
            for column, value in zip(columns, row, strict=True):
                bad = [character for character in value if _encoded(character, _CODECS[encoding]) is None]
                if bad:
                    return RecordsError(
                        f"{encoding} has no {bad[0]!r} (U+{ord(bad[0]):04X}): `{column}` of record {number:,} has one.",
                        "Write it as utf-8 or utf-16, leave the column out, or filter the record out.",
                    )
    raise AssertionError("unreachable")
