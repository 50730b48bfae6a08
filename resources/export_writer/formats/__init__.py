"""The output formats: one module per format, and the list of them.

To add a format, write a module with a subclass of `ExportFormat` or `TextFormat`. Import it here, and add it to
`FORMATS`.
The command, Dagster, `exports.yaml`, the writer and the checks all read this list.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from resources.export_writer.formats.csv import Csv
from resources.export_writer.formats.encodings import check_delimiter, check_encoding
from resources.export_writer.formats.excel import Excel
from resources.export_writer.formats.export_format import OPTIONS, ExportFormat
from resources.export_writer.formats.json import Json
from resources.export_writer.formats.ndjson import Ndjson
from resources.export_writer.formats.parquet import Parquet
from schemas.errors import InvalidRequest
from schemas.exports import ExportRequest, Packing

FORMATS: Mapping[str, ExportFormat] = {
    each.name: each
    for each in (
        Csv(),
        Json(),
        Ndjson(),
        Excel(),
        Parquet(),
    )
}
"""Every output format by its name."""


def format_named(name: str) -> ExportFormat:
    """Return the format of that name. Raises InvalidRequest if there is none."""
    if name not in FORMATS:
        raise InvalidRequest(f"There is no output format {name!r}.", f"Choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def choose_format(path: Path | None, name: str | None) -> tuple[ExportFormat, Packing | None]:
    """Return the format and the packing for a file of that path.

    The name of the format, if given, decides. Otherwise the ending of the path decides. A folder, or a name without an
    ending, gets CSV.

    Raises InvalidRequest if the two contradict each other, or if the ending is that of no format.
    """
    is_folder = path is not None and os.path.isdir(path)  # noqa: PTH112  # of a name that is too long, is_dir raises
    suffixes = [] if path is None or is_folder else [suffix.lower() for suffix in path.suffixes]
    packing = next((packing for packing in Packing if suffixes[-1:] == [f".{packing.value}"]), None)
    suffix = next(iter(suffixes[:-1][-1:] if packing else suffixes[-1:]), "")
    meant = [each for each in FORMATS.values() if suffix in each.suffixes]
    if name is None:
        if path is not None and suffix[1:2].isalpha() and not meant:
            endings = ", ".join(dict.fromkeys(ending for each in FORMATS.values() for ending in each.suffixes))
            raise InvalidRequest(
                f"The file name {path.name!r} ends in {suffix}, which is the ending of no output format.",
                f"End it in one of {endings}, or choose a format: {', '.join(FORMATS)}.",
            )
        return next(iter(meant), FORMATS[ExportRequest.format]), packing
    given = format_named(name)
    if path is not None and meant and given not in meant:
        raise InvalidRequest(
            f"The file name {path.name!r} does not fit the format {given.name}.",
            f"End the name in {given.suffix}, or choose the format {meant[0].name}.",
        )
    return given, packing


def supporting(option: str) -> str:
    """Return the names of the formats that support an option, as "csv, json or ndjson"."""
    *others, last = (each.name for each in FORMATS.values() if option in each.options)
    return f"{', '.join(others)} or {last}" if others else last


def checked(request: ExportRequest) -> ExportRequest:
    """Return the request as its format carries it out, with each option in one spelling.

    Raises InvalidRequest for an unknown format, an option that the format does not support, or a wrong value.
    """
    chosen = format_named(request.format)
    request = replace(request, encoding=check_encoding(request.encoding), delimiter=check_delimiter(request.delimiter))
    for option, called in OPTIONS.items():
        value = getattr(request, option)
        if option not in chosen.options and value != getattr(ExportRequest, option):
            raise InvalidRequest(
                f"The format {chosen.name} does not support {called}: {value} was given.",
                f"Leave the option out, or choose the format {supporting(option)}.",
            )
    return chosen.checked(request)
