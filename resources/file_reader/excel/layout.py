"""What a sheet has before and after its rows, parsed by expat."""

import re
from collections.abc import Iterator
from xml.parsers import expat

from resources.file_reader.excel.package import DAMAGED, DEPTH, Feed, Package
from resources.file_reader.excel.references import LAST_COLUMNS, column_names
from schemas.counts import numbered

_DATA = re.compile(rb"<(?:[\w.-]+:)?sheetData(?=[\s/>])[^<>]*>").search
_TAG = 1 << 20
"""Bytes to read while a tag does not end."""
_SHOWN = 5


class Layout:
    """Finds the rows, the namespace prefixes they may have, and what is hidden or merged.

    Feed it all of the sheet but the rows.
    """

    def __init__(self, package: Package, part: str) -> None:
        self._package, self._part = package, part
        self.prefixes: set[str] = {""}
        self.merges = 0
        self.merged: list[str] = []
        self.hidden_columns: list[tuple[int, int]] = []
        self.filtered = False
        self._depth = 0
        self._data = ""
        self._in_data = False
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self.feed = Feed(package, part, parser)

    @property
    def prefix(self) -> str:
        """The prefix of row names, with its colon; '' if they have none."""
        return self._data.removesuffix("sheetData")

    def until_rows(self, blocks: Iterator[bytes]) -> bytes | None:
        """Returns what was read after the tag that begins the rows; None if there are no rows."""
        waiting = b""
        for block in blocks:
            waiting += block
            while tag := _DATA(waiting):
                self.feed(waiting[: tag.end()])
                waiting = waiting[tag.end() :]
                if self._in_data:
                    return waiting
            last = waiting.rfind(b"<")
            goes_on = last >= 0 and len(waiting) - last < _TAG and b">" not in waiting[last:]
            whole = last if goes_on else len(waiting)
            self.feed(waiting[:whole])
            waiting = waiting[whole:]
        self.feed(waiting)
        return None

    def notes(self, width: int) -> Iterator[str]:
        """Yields what to know about the sheet, in sentences; of hidden columns, only the first `width`."""
        if self.merges:
            shown = ", ".join(self.merged) + (", …" if self.merges > len(self.merged) else "")
            yield f"Merged cells ({shown}): Excel shows only the first cell of a range. All were read as they are."
        hidden = sorted({at for first, last in self.hidden_columns for at in range(first, min(last, width) + 1)})
        if hidden:
            names = column_names(LAST_COLUMNS)
            shown = ", ".join(names[at - 1] for at in hidden[:_SHOWN]) + (", …" if len(hidden) > _SHOWN else "")
            many = f"{numbered(len(hidden), 'column')} {'are' if len(hidden) > 1 else 'is'}"
            yield f"{many} hidden in the sheet ({shown}); {'they were' if len(hidden) > 1 else 'it was'} read as well."

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        local = name.rpartition(":")[2]
        if self._depth == 1:
            self._start_root(name, local, attributes)
        elif self._depth > DEPTH:
            raise self._package.unreadable(f"is nested more than {DEPTH} deep in {self._part}")
        elif self._depth == 2 and local == "sheetData":
            if self._data:
                raise self._package.unreadable(f"has rows in two places in {self._part}")
            self._data, self._in_data = name, True
        elif name[: -len(local)] in self.prefixes:
            if local == "mergeCell":
                self.merges += 1
                if len(self.merged) < _SHOWN:
                    self.merged.append(attributes.get("ref", "")[:30])
            elif local == "autoFilter":
                self.filtered = True
            elif local == "col" and attributes.get("hidden") in ("1", "true"):
                first, last = attributes.get("min", ""), attributes.get("max", "")
                numbers = first.isdecimal() and last.isdecimal() and len(first + last) < 12
                if numbers and len(self.hidden_columns) < 1000:
                    self.hidden_columns.append((max(1, int(first)), min(LAST_COLUMNS, int(last))))

    def _start_root(self, name: str, local: str, attributes: dict[str, str]) -> None:
        if local != "worksheet":
            raise self._package.unreadable(f"is damaged: {self._part} is not a worksheet", DAMAGED)
        prefix = name[: -len(local)].rstrip(":")
        namespace = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns")
        self.prefixes = {
            key.partition(":")[2] + ":" if ":" in key else ""
            for key, value in attributes.items()
            if value == namespace and key.partition(":")[0] == "xmlns"
        } | {f"{prefix}:" if prefix else ""}

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._depth == 1:
            self._in_data = False
