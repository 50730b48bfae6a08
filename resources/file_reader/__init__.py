"""Untrusted bytes to numbered text records."""

from resources.file_reader.chunk import CellProblem, MalformedRecord, TextChunk
from resources.file_reader.delimited import FileReader

__all__ = ["CellProblem", "FileReader", "MalformedRecord", "TextChunk"]
