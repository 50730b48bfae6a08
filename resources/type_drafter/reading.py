"""How the texts of a sample are likely to be meant, where nobody has said it: its decimal sign, dates and time zone."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from resources.type_drafter.column import NUMBERS, Column
from resources.type_drafter.names import literal_of
from schemas.reading import COMMA, POINT, DateOrder, ReadOptions

_IN_WORDS = {COMMA: "a decimal comma", POINT: "thousands separators"}
_TIMES = ("date", "timestamp")
_ANY_ZONE = "UTC"


def columns_read(columns: Iterable[Column], texts: Path, options: ReadOptions) -> list[Column]:
    """Returns the columns anew, with their texts read with these options. texts: the Parquet file that has them."""
    read = [replace_options(column, options) for column in columns]
    with pq.ParquetFile(texts) as file:
        for batch in file.iter_batches(columns=[str(column.position) for column in read]):
            for column in read:
                column.add(batch.column(str(column.position)))
    return read


def replace_options(column: Column, options: ReadOptions) -> Column:
    """Returns the column without any texts yet, and with these options."""
    return Column(column.position, column.header, options, column.name, nested=column.nested)


def likely_options(
    columns: Sequence[Column], texts: Path, said: ReadOptions, *, numbers_are_text: bool
) -> tuple[ReadOptions, list[str]]:
    """Returns the options with what is likely added, and sentences about what a person must say.

    A reading is likely if it makes values of all texts of a column that are none otherwise. Where texts have several
    meanings, none is likely. numbers_are_text: whether the format has no numbers of its own.
    """
    unread = [it for it in columns if it.filled and not it.types and not it.is_text_by_header]
    options, open_ = said, list[str]()
    if said.decimal is None and numbers_are_text and unread:
        sign, sentences = _sign(columns, unread, texts, said)
        options, open_ = replace(options, decimal=sign), sentences
    if unread:
        dated, sentences = _dates(unread, texts, options)
        options, open_ = dated, [*open_, *sentences]
    return options, open_


def _sign(
    columns: Sequence[Column], unread: Sequence[Column], texts: Path, said: ReadOptions
) -> tuple[str | None, list[str]]:
    """Returns the decimal sign that numbers are likely to have, and what to say about it."""
    fits = {sign: _fitting(unread, texts, replace(said, decimal=sign), NUMBERS) for sign in (COMMA, POINT)}
    either = [it for it in fits[COMMA] if it in fits[POINT]]
    only = {sign: [it for it in found if it not in either] for sign, found in fits.items()}
    if not fits[COMMA] and not fits[POINT]:
        return None, []
    likely = [sign for sign, found in only.items() if found]
    if len(likely) == 1:
        sign = likely[0]
        broken = _broken(columns, texts, replace(said, decimal=sign))
        if not broken:
            headers = _headers(fits[sign])
            return sign, [f"The numbers of {headers} have {_IN_WORDS[sign]}. An import needs: --decimal {sign}"]
    numbers = _headers([*fits[COMMA], *(it for it in fits[POINT] if it not in either)])
    return None, [f"The numbers of {numbers} can have a decimal comma or point. They are text until you say --decimal."]


def _broken(columns: Sequence[Column], texts: Path, options: ReadOptions) -> list[int]:
    """Returns the columns of numbers that are none with these options."""
    numbers = [it for it in columns if it.filled and it.types and it.types[0] in NUMBERS]
    fitting = _fitting(numbers, texts, options, NUMBERS)
    return [it.position for it in numbers if it not in fitting]


def _dates(unread: Sequence[Column], texts: Path, said: ReadOptions) -> tuple[ReadOptions, list[str]]:
    """Returns the options with the order of dates and the zone of times that are likely, and what to say about them."""
    orders = list(DateOrder) if said.date_order is None else [said.date_order]
    zone = said.time_zone or _ANY_ZONE
    as_they_are = replace(said, time_zone=zone)
    local = [] if said.time_zone else _fitting(unread, texts, as_they_are, _TIMES)
    fits = {order: _fitting(unread, texts, replace(as_they_are, date_order=order), _TIMES) for order in orders}
    dated = [it for it in unread if it not in local and any(it in found for found in fits.values())]
    possible = [order for order in orders if all(it in fits[order] for it in dated)]
    open_, options = [], said
    if dated and said.date_order is None:
        headers = _headers(dated)
        if not possible:
            open_.append(f"The dates of {headers} are in different orders. They are text: correct the file.")
            dated = []
        else:
            options = replace(options, date_order=possible[0])
            how = f"--date-order {possible[0]}" if len(possible) == 1 else f"--date-order {' or '.join(possible)}"
            open_.append(f"The dates of {headers} are not written as 2024-05-31. An import needs: {how}")
    if said.time_zone is None:
        timed = [it for it in dated if not _fitting([it], texts, options, _TIMES)]
        if local or timed:
            options = replace(options, time_zone=zone)
            open_.append(f"The times of {_headers([*local, *timed])} name no zone. An import needs: --time-zone")
    return options, open_


def _fitting(columns: Sequence[Column], texts: Path, options: ReadOptions, types: Sequence[str]) -> list[Column]:
    """Returns the columns with texts that are all values of one of the types."""
    left = [(column, replace_options(column, options)) for column in columns]
    for _, tried in left:
        tried.types = [*types]
    with pq.ParquetFile(texts) as file:
        for batch in file.iter_batches(columns=[str(column.position) for column in columns]):
            for column, tried in left:
                tried.add(batch.column(str(column.position)))
            left = [(column, tried) for column, tried in left if tried.types]
            if not left:
                break
    return [column for column, _ in left]


def _headers(columns: Iterable[Column]) -> str:
    return ", ".join(literal_of(column.header) for column in columns)
