"""The text of a JSON file in UTF-8, in which RFC 8259 wants it. Files in UTF-16 and UTF-32 are written anew."""

import codecs
from typing import BinaryIO

from resources.file_reader.json_encoding import encoding_of
from resources.file_reader.json_records.source import BLOCK
from resources.file_reader.scratch import temporary_file
from schemas.errors import UnreadableFile


def in_utf8(file: BinaryIO, name: str) -> tuple[BinaryIO, str]:
    """Returns the file in UTF-8, and its encoding. A file in another one is written to an unnamed temporary file.

    Raises UnreadableFile at the first bytes that are not in the encoding.
    """
    file.seek(0)
    encoding = encoding_of(file.read(4))
    file.seek(0)
    if encoding == "utf-8":
        return file, encoding
    decoder = codecs.getincrementaldecoder(encoding)()
    written = temporary_file()
    read = 0
    try:
        while data := file.read(BLOCK):
            waiting = len(decoder.getstate()[0])
            written.write(decoder.decode(data).encode())
            read += len(data)
        waiting = len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        written.close()
        at = read - waiting + getattr(error, "start", 0)
        raise UnreadableFile(
            f"{name} is {encoding.upper()}, except for the bytes at offset {at:,}.",
            "Nothing was read from it. Save it as UTF-8, with another program if you can.",
        ) from error
    written.flush()
    return written, encoding
