"""Takes rows out of a workbook with one sheet: their cells, and the texts that no other cell has.

Everything else is copied as it is packed in the workbook. Rows keep their numbers, so that no reference changes. If
another part of the workbook has a text of these rows, such as a note or a link, the workbook cannot be cut.
"""

import re
import zipfile
from collections.abc import Collection
from pathlib import Path

_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_STRINGS = "xl/sharedStrings.xml"
_CHAIN = "xl/calcChain.xml"
_ROW = re.compile(rb"<(?P<p>(?:\w+:)?)row\b(?P<a>[^>]*?)(?:/>|>(?P<cells>.*?)</(?P=p)row>)", re.DOTALL)
_NUMBER = re.compile(rb"""\br=["'](\d+)["']""")
_SHARED = re.compile(
    rb"""<(?:\w+:)?c\b[^>]*?\bt=["']s["'][^>]*?>(?:(?!</(?:\w+:)?c>).)*?<(?:\w+:)?v>\s*(\d+)\s*</""", re.DOTALL
)
_ITEM = re.compile(rb"<(?P<p>(?:\w+:)?)si\b[^>]*?(?:/>|>(?P<text>.*?)</(?P=p)si>)", re.DOTALL)
_TEXT = re.compile(rb"<(?:\w+:)?t\b[^>]*>([^<]+)</")
_CELL_OF_CHAIN = re.compile(rb"""<(?:\w+:)?c\b[^>]*?\br=["'][A-Z]+(\d+)["'][^>]*?/>""")
_SHORTEST = 4
"""The fewest bytes of a text that is searched for in the other parts."""


def cut_workbook(path: Path, after: Path, rows: Collection[int]) -> None:
    """Write a workbook without the given rows of its sheet. Raises ValueError if that is not possible.

    rows: their numbers, from 1.
    """
    with zipfile.ZipFile(path) as workbook:
        sheets = [name for name in workbook.namelist() if _SHEET.fullmatch(name)]
        if len(sheets) != 1:
            raise ValueError("it has several sheets")
        sheet, texts = _without_rows(workbook.read(sheets[0]), rows)
        made = {sheets[0]: sheet}
        if _STRINGS in workbook.namelist():
            made[_STRINGS], shared = _without_texts(workbook.read(_STRINGS), workbook.read(sheets[0]), sheet)
            texts |= shared
        if _CHAIN in workbook.namelist():
            chain = workbook.read(_CHAIN)
            made[_CHAIN] = _CELL_OF_CHAIN.sub(lambda it: b"" if int(it[1]) in rows else it[0], chain)
        with zipfile.ZipFile(after, "w") as left:
            for entry in workbook.infolist():
                content = made.get(entry.filename)
                if content is None:
                    content = workbook.read(entry)
                if any(len(text) >= _SHORTEST and text in content for text in texts):
                    raise ValueError(f"{entry.filename} has a text of a row")
                left.writestr(zipfile.ZipInfo(entry.filename, entry.date_time), content, entry.compress_type)


def _without_rows(sheet: bytes, rows: Collection[int]) -> tuple[bytes, set[bytes]]:
    """Returns the sheet without the rows, and the texts that only these rows have in their cells themselves."""
    texts: set[bytes] = set()

    def kept(row: re.Match[bytes]) -> bytes:
        number = _NUMBER.search(row["a"])
        if number is None:
            raise ValueError("its rows have no numbers")
        if int(number[1]) not in rows:
            return row[0]
        texts.update(_TEXT.findall(row["cells"] or b""))
        return b""

    left = _ROW.sub(kept, sheet)
    return left, {text for text in texts if text not in left}


def _without_texts(strings: bytes, before: bytes, after: bytes) -> tuple[bytes, set[bytes]]:
    """Returns the shared texts, empty where only removed cells had them, and those texts."""
    gone = {int(number) for number in _SHARED.findall(before)} - {int(number) for number in _SHARED.findall(after)}
    texts: set[bytes] = set()
    place = -1

    def kept(item: re.Match[bytes]) -> bytes:
        nonlocal place
        place += 1
        if place not in gone:
            return item[0]
        texts.update(_TEXT.findall(item["text"] or b""))
        return b"<%bsi><%bt></%bt></%bsi>" % (item["p"], item["p"], item["p"], item["p"])

    left = _ITEM.sub(kept, strings)
    return left, {text for text in texts if text not in left}
