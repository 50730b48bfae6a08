"""Records as columns of text."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.chunk import CellProblem
from resources.file_reader.json_records.walk import UnfitValue, number_text

Row = dict[str, Any]
"""A record as Python values: str, bytes (the text of a number), int, True, False, None, UnfitValue."""


def text_columns(
    rows: list[Row], kinds: dict[str, set[type]]
) -> tuple[dict[str, pa.Array], list[tuple[int, str, UnfitValue]], dict[str, list[int] | None]]:
    """Returns the values as text by name, "" if a record lacks one; and the values without a text: row, name, value.

    The third are the rows in which the value is text and has a point, by name; None if all values are text. Adds the
    types of the values to `kinds`, by name.
    """
    shapes = set(map(tuple, rows))
    columns: dict[str, Sequence[Any]]
    if len(shapes) == 1:
        (shape,) = shapes
        values = list(chain.from_iterable(map(dict.values, rows)))
        columns = {name: values[position :: len(shape)] for position, name in enumerate(shape)}
    else:
        names = dict.fromkeys(chain.from_iterable(shapes))
        columns = {name: [row.get(name) for row in rows] for name in names}
    unfit: list[tuple[int, str, UnfitValue]] = []
    texts = {}
    with_point: dict[str, list[int] | None] = {}
    for name, column in columns.items():
        found = set(map(type, column))
        kinds.setdefault(name, set()).update(found)
        if str in found:
            others = found - {str, type(None)}
            points = (row for row, value in enumerate(column) if isinstance(value, str) and "." in value)
            with_point[name] = list(points) if others else None
        texts[name] = _texts(column, name, found, unfit)
    return texts, unfit, with_point


def _texts(values: Sequence[Any], name: str, kinds: set[type], unfit: list[tuple[int, str, UnfitValue]]) -> pa.Array:
    empty = type(None) in kinds
    kinds.discard(type(None))
    if kinds == {int}:
        try:
            texts = pa.array(values, pa.int64()).cast(pa.string())
        except OverflowError:
            texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        return texts.fill_null("") if empty else texts
    if kinds == {bool}:
        texts = pa.array(values, pa.bool_()).cast(pa.string())
        return texts.fill_null("") if empty else texts
    if kinds <= {str} or kinds == {bytes}:
        texts = pa.array(values, pa.string())
        if bytes not in kinds or not pc.any(pc.match_substring_regex(texts, "[eE]")).as_py():
            return texts.fill_null("") if empty else texts
    plain: list[str] = []
    for row, value in enumerate(values):
        text = _text(value)
        if isinstance(text, UnfitValue):
            unfit.append((row, name, text))
            text = ""
        plain.append(text)
    return pa.array(plain, pa.string())


def _text(value: Any) -> str | UnfitValue:
    if isinstance(value, str | UnfitValue):
        return value
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    return number_text(value.decode()) if isinstance(value, bytes) else str(value)


def cell_problem(row: int, column: int, unfit: UnfitValue) -> CellProblem:
    """Returns a value without a text as the problem of its cell."""
    return CellProblem(row, column, unfit.rule, unfit.expected, unfit.value)
