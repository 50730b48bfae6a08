"""The values of a file that have another text in each of several encodings, for a user who must choose one."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from resources.file_reader.delimited.encoding import ASCII_BYTES, lines_of
from schemas.reading import Differing

_SHOWN, _CONSIDERED = 10, 200
"""How many values are shown, and of how many."""
_BEFORE, _LONGEST = 15, 50
"""How many characters of a value are shown before the first that differs, and how many in all."""

_Parser = Callable[[Iterable[str]], Iterator[list[str]]]


def differing_values(
    file: BinaryIO, encodings: Sequence[str], headers: Sequence[str], first_line: int, parser: _Parser
) -> tuple[Differing, ...]:
    """Returns values that differ, each with its text in every encoding: of the first ones, those that differ most.

    first_line: the line below the header, from 1. parser: makes rows of lines.
    """
    first = dict.fromkeys(islice(_values(file, encodings, headers, first_line, parser), _CONSIDERED))
    return tuple(sorted(first, key=lambda value: -len({*value.texts}))[:_SHOWN])


def _values(
    file: BinaryIO, encodings: Sequence[str], headers: Sequence[str], first_line: int, parser: _Parser
) -> Iterator[Differing]:
    of_ascii = not {*encodings}.isdisjoint(ASCII_BYTES)
    for number, line in enumerate(lines_of(file), 1):
        if line.isascii() and not of_ascii:
            continue
        rows = [_row(line.decode(encoding, "replace").strip("\r\n"), parser) for encoding in encodings]
        whole = any(len(row) != len(headers) for row in rows)
        for position, texts in enumerate(zip(*([[" ".join(row)] for row in rows] if whole else rows), strict=True)):
            if len({*texts}) > 1:
                header = None if number < first_line else "" if whole else headers[position]
                yield Differing(header, _shortened(texts))


def _row(line: str, parser: _Parser) -> list[str]:
    """Returns the fields of a line; the line if it is part of a record of several lines."""
    try:
        return next(parser([line]), [line])
    except csv.Error:
        return [line]


def _shortened(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the part of each text around the first character that differs."""
    alike = next((at for at, it in enumerate(zip(*texts, strict=False)) if len({*it}) > 1), 0)
    start = max(0, alike - _BEFORE)
    return tuple(
        ("…" if start else "") + text[start : start + _LONGEST] + ("…" if len(text) > start + _LONGEST else "")
        for text in texts
    )
