"""Untrusted bytes to numbered text records, parsed in a process of their own."""

from resources.file_reader.chunk import CellProblem, MalformedRecord, TextChunk
from resources.file_reader.options import ReadLimits, ReadOptions
from resources.file_reader.reader import FileReader, no_such_file
from resources.file_reader.room import require_room

__all__ = [
    "CellProblem",
    "FileReader",
    "MalformedRecord",
    "ReadLimits",
    "ReadOptions",
    "TextChunk",
    "no_such_file",
    "require_room",
]
