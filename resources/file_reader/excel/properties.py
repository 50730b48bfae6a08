"""The custom properties of a workbook: names and texts that its users do not see in a sheet."""

from contextlib import suppress
from xml.parsers import expat

from resources.file_reader.excel.package import Package
from schemas.errors import UnreadableFile
from schemas.exports import EXPORT_PROPERTY

_MOST = 1 << 20
"""Bytes of the part; a workbook with more is read without its properties."""
_LONGEST = 100


def export_named_by(package: Package) -> str | None:
    """Returns the id of the export that a workbook says it is; None if it says none.

    The part may be damaged: no value of a sheet depends on it.
    """
    with suppress(UnreadableFile):
        for _, kind, part in package.relationships(""):
            if kind == "custom-properties" and part:
                return _texts(package, part).get(EXPORT_PROPERTY)
    return None


def _texts(package: Package, part: str) -> dict[str, str]:
    """Returns the property of each name as text. A longer one is left out."""
    texts: dict[str, str] = {}
    name: str | None = None

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal name
        if tag.rpartition(" ")[2] == "property":
            name = attributes.get("name")

    def end(tag: str) -> None:
        nonlocal name
        if tag.rpartition(" ")[2] == "property":
            name = None

    def data(text: str) -> None:
        if name is not None:
            texts[name] = texts.get(name, "") + text[: _LONGEST + 1]

    parser = expat.ParserCreate(None, " ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = data
    for _ in package.parse(part, parser, _MOST):
        pass
    return {name: text.strip() for name, text in texts.items() if len(text) <= _LONGEST}
