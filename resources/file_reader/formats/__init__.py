"""The import formats, one module each. A new format is a module here and its line in `FORMATS`."""

from pathlib import Path

from resources.file_reader.archive import files_of
from resources.file_reader.formats.delimited import Delimited
from resources.file_reader.formats.excel import Excel
from resources.file_reader.formats.foreign import UNPACK_ONCE, refuse_foreign
from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.formats.json import JsonArray, JsonLines
from resources.file_reader.formats.parquet import Parquet
from schemas.errors import UnreadableFile

__all__ = [
    "FORMATS",
    "Candidate",
    "Format",
    "OpenedFile",
    "RowWriter",
    "format_named",
    "options_of_others",
    "recognise",
]

FORMATS: tuple[Format, ...] = (
    Excel(),
    Parquet(),
    JsonArray(),
    JsonLines(),
    Delimited(),  # the last, for it takes every file that is not an archive
)
"""All import formats, in the order in which they are asked whether a file is theirs."""

_ARCHIVES = {
    "word/document.xml": ("a Word document", "Save its table as .xlsx or .csv."),
    "ppt/presentation.xml": ("a PowerPoint presentation", "Save its table as .xlsx or .csv."),
    "META-INF/manifest.xml": ("an OpenDocument file, as .ods", "Save it as .xlsx or .csv."),
    "content.xml": ("an OpenDocument file, as .ods", "Save it as .xlsx or .csv."),
    "Index/Document.iwa": ("a Numbers or Pages document", "Export it as .xlsx or .csv."),
}
"""Kinds of ZIP archive, by a member that each has."""
_MEMBERS_SHOWN = 5


def recognise(path: Path, name: str) -> Format:
    """Returns the format of an unpacked file that was sent under a name.

    Raises UnreadableFile, which says what the file is, if no format recognises it.
    """
    candidate = Candidate(path, name)
    refuse_foreign(candidate)
    for format_ in FORMATS:
        if format_.recognises(candidate):
            return format_
    raise _unknown_archive(name, candidate.members)


def options_of_others(format_: Format) -> frozenset[str]:
    """Returns the options, as in ReadOptions, that say something about files of other formats alone."""
    return frozenset(option for other in FORMATS for option in other.options) - {*format_.options}


def format_named(name: str) -> Format:
    """Returns the format of that name."""
    return next(format_ for format_ in FORMATS if format_.name == name)


def _unknown_archive(name: str, members: tuple[str, ...] | None) -> UnreadableFile:
    if members is None:
        return UnreadableFile(f"{name} is a damaged ZIP archive.", "Send it again, or send the file inside it.")
    for member, (kind, hint) in _ARCHIVES.items():
        if member in members:
            return UnreadableFile(f"{name} is {kind}. Its records cannot be read.", hint)
    files = files_of(members)
    if not files:
        return UnreadableFile(f"{name} is a ZIP archive without a file.", "Pack it again, or send the file itself.")
    if len(files) == 1:
        return UnreadableFile(
            f"{name} is packed twice, the second time as .zip. Its records cannot be read.", UNPACK_ONCE
        )
    shown = ", ".join(repr(file[:100]) for file in files[:_MEMBERS_SHOWN]) + (", …" if files[_MEMBERS_SHOWN:] else "")
    return UnreadableFile(
        f"{name} is a ZIP archive with {len(files):,} files. Only an archive of one file is read.",
        "Unpack it and import each file by itself.",
        f"It contains: {shown}.",
    )
