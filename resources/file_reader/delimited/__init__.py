"""Delimited text: CSV, TSV and their kin."""

from resources.file_reader.delimited.file import DelimitedFile

__all__ = ["DelimitedFile"]
