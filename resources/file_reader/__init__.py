"""Reads untrusted files into numbered text records, in a process of their own.

`reader` starts that process, and `child` is what runs in it. `formats` lists the formats, one module each.
"""

from resources.file_reader.chunk import CellProblem, Malformed, MalformedRecord, TextChunk
from resources.file_reader.disk_space import require_room
from resources.file_reader.options import ReadLimits
from resources.file_reader.reader import FileReader, end_reading, no_such_file
from schemas.reading import ReadOptions

__all__ = [
    "CellProblem",
    "FileReader",
    "Malformed",
    "MalformedRecord",
    "ReadLimits",
    "ReadOptions",
    "TextChunk",
    "end_reading",
    "no_such_file",
    "require_room",
]
