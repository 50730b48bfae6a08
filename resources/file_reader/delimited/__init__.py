"""Delimited text: CSV, TSV and the like."""

from resources.file_reader.delimited.file import DelimitedFile

__all__ = ["DelimitedFile"]
