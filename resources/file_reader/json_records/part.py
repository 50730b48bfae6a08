"""A part of a file as a file of its own, so that a second reader can read it alone."""

from typing import BinaryIO

from resources.file_reader.json_records.arrangement import Arrangement, Form
from resources.file_reader.json_records.outline import bytes_at
from resources.file_reader.json_records.source import BLOCK, WHITE
from resources.file_reader.scratch import temporary_file


def as_file(file: BinaryIO, records: Arrangement) -> BinaryIO:
    """Returns a file with nothing but the records: the file itself, or an unnamed temporary copy.

    Records between commas get the brackets of an array, and lose a comma behind the last one.
    """
    if records.form is not Form.COMMAS and records.end is None:
        return file
    start = 3 if not records.start and bytes_at(file, 0, 3) == b"\xef\xbb\xbf" else records.start
    end = file.seek(0, 2) if records.end is None else records.end
    if records.form is Form.COMMAS:
        end = _without_last_comma(file, start, end)
    copy = temporary_file()
    if records.form is Form.COMMAS:
        copy.write(b"[")
    while start < end:
        data = bytes_at(file, start, min(start + BLOCK, end))
        if not data:
            break
        start += len(data)
        copy.write(data)
    if records.form is Form.COMMAS:
        copy.write(b"]")
    copy.flush()
    return copy


def _without_last_comma(file: BinaryIO, start: int, end: int) -> int:
    tail = bytes_at(file, max(start, end - BLOCK), end)
    rest = tail.rstrip(WHITE)
    return end - (len(tail) - len(rest)) - 1 if rest.endswith(b",") else end
