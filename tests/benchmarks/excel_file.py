"""A workbook with cells of every common kind, as openpyxl writes it."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl

_HEADER = ("external_id", "name", "company", "city", "amount", "quantity", "since", "active", "notes", "reference")
_CITIES = ("Berlin", "München", "Zürich", "Wien", "Graz & Umland", "Köln")
_FIRST_DAY = date(2020, 1, 1)


def write_workbook(path: Path, rows: int) -> None:
    """Write a header and so many rows of texts, long ids, integers, decimals, dates, booleans and blanks."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Records")
    sheet.append(list(_HEADER))
    for number in range(rows):
        sheet.append(_row(number))
    book.save(path)


def _row(number: int) -> list[Any]:
    return [
        f"C-{number:07}",
        f"Person {number}",
        None if number % 4 == 0 else f"Company {number % 5000} GmbH",
        _CITIES[number % len(_CITIES)],
        Decimal(number * 37 % 1_000_000) / 100,
        number % 1000,
        _FIRST_DAY + timedelta(number % 2000),
        number % 3 == 0,
        None if number % 2 else f"A note on person {number}, who lives in {_CITIES[number % len(_CITIES)]}",
        f"{10**18 + number * 7919}",
    ]
