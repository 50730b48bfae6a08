"""Writes an empty file to fill in: the columns of a record type, in a workbook or as CSV.

In a workbook each column has the format of its field. So a telephone number stays text, and a date is a date. Choices
are drop-downs. The note of a header says what the field is, and has the example: an example row could come back as a
record.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from resources.file_storage import move, sync
from schemas.errors import InvalidRequest
from schemas.model import RecordModel
from schemas.record_type import Field

_LAST_ROW = 1_048_576
_NARROWEST = 14
_NOTE_WIDTH, _NOTE_HEIGHT = 320, 150
"""In pixels."""
_LIST_CHARACTERS = 255
"""How long a list of choices can be inside the rule for a cell. Longer ones stand on a hidden sheet."""
_CHOICES_SHEET = "Choices"
_FORMATS = {"text": "@", "integer": "0", "date": "yyyy-mm-dd", "timestamp": "yyyy-mm-dd hh:mm:ss"}
_RULES: dict[str, tuple[Any, Any, str, str | None]] = {
    "integer": ("whole", "between", "-999999999999999", "999999999999999"),
    "date": ("date", "greaterThanOrEqual", "1", None),
    "timestamp": ("date", "greaterThanOrEqual", "1", None),
    "float": ("decimal", "between", "-1E+300", "1E+300"),
    "decimal": ("decimal", "between", "-1E+300", "1E+300"),
}
"""What a cell must hold, by the type of its field: Excel's kind of rule, its operator and its limits."""


def write_template(model: type[RecordModel], path: Path) -> tuple[str, ...]:
    """Writes the file, and returns its columns. The end of its name, .xlsx or .csv, says the format.

    The file appears under its name when it is complete.

    Raises InvalidRequest for another name, if the file exists already, or if its folder does not.
    """
    record_type = model.record_type()
    if path.suffix.lower() not in (".xlsx", ".csv"):
        raise InvalidRequest(f"The name {path.name!r} does not say the format.", "End it with .xlsx or .csv.")
    if not path.parent.is_dir():
        raise InvalidRequest(f"The folder {path.parent} does not exist.", "Make it, or give another path.")
    if os.path.lexists(path):
        raise InvalidRequest(f"{path} exists already.", "Give another name, so that nothing is lost.")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            if path.suffix.lower() == ".csv":
                line = ",".join(record_type.field_names)  # a name of a field needs no quotation marks
                file.write(f"\N{BYTE ORDER MARK}{line}\r\n".encode())  # so that Excel saves it as UTF-8
            else:
                _workbook(record_type.name, record_type.fields, _choices(model)).save(file)
        sync(partial)
        move(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return record_type.field_names


def _workbook(name: str, fields: Sequence[Field], allowed: dict[str, tuple[str, ...]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = name[:31]
    sheet.freeze_panes = "A2"
    for number, field in enumerate(fields, 1):
        header = sheet.cell(1, number, field.name)
        header.font = Font(bold=True)
        header.comment = Comment(_note(field), "records", height=_NOTE_HEIGHT, width=_NOTE_WIDTH)
        column = sheet.column_dimensions[get_column_letter(number)]
        column.number_format = _number_format(field.type)
        column.width = max(_NARROWEST, len(field.name) + 2, len(field.example) + 2)
        rule = _rule(book, field, allowed.get(field.name, ()))
        if rule is not None:
            rule.add(f"{column.index}2:{column.index}{_LAST_ROW}")
            sheet.add_data_validation(rule)
    return book


def _choices(model: type[RecordModel]) -> dict[str, tuple[str, ...]]:
    """Returns the allowed values of each enumerated field."""
    return {
        name: tuple(map(str, check.statistics["allowed_values"]))
        for name, column in model.to_schema().columns.items()
        for check in column.checks
        if check.name == "isin"
    }


def _note(field: Field) -> str:
    """Returns what the note of a header says: what the field is, an example, and the rules."""
    rules = [f"{rule[0].upper()}{rule[1:]}." for rule in field.rules]
    example = [f"Example: {field.example}"] if field.example else []
    return "\n".join([field.description, *(["Required."] if field.required else []), *rules, *example])


def _number_format(type_: str) -> str:
    if type_.startswith("decimal"):
        scale = int(type_.rstrip(")").partition(",")[2])
        return f"0.{'0' * scale}" if scale else "0"
    return _FORMATS.get(type_, "General")


def _rule(book: openpyxl.Workbook, field: Field, allowed: Sequence[str]) -> DataValidation | None:
    """Returns what a cell of the field must hold; None if that is any text."""
    if field.type == "boolean":
        allowed = ("TRUE", "FALSE")
    if allowed:
        rule = DataValidation("list", formula1=_list(book, allowed), allow_blank=True)
        rule.error = "Choose one of the list."
    elif field.type.partition("(")[0] in _RULES:
        kind, operator, least, most = _RULES[field.type.partition("(")[0]]
        rule = DataValidation(kind, operator=operator, formula1=least, formula2=most, allow_blank=True)
        rule.error = f"This must be a {'date' if kind == 'date' else 'number'}."
    else:
        return None
    rule.errorTitle, rule.showErrorMessage = field.name[:32], True
    return rule


def _list(book: openpyxl.Workbook, allowed: Sequence[str]) -> str:
    """Returns the source of a drop-down: its choices, or where they stand on a hidden sheet."""
    within = ",".join(allowed)
    if len(within) + 2 <= _LIST_CHARACTERS and not any(it in text for text in allowed for it in ',"'):
        return f'"{within}"'
    sheet: Worksheet = book.worksheets[1] if book.worksheets[1:] else book.create_sheet(_CHOICES_SHEET)
    sheet.sheet_state = "hidden"
    column = get_column_letter(sheet.max_column + 1 if sheet["A1"].value is not None else 1)
    for number, text in enumerate(allowed, 1):
        cell = sheet[f"{column}{number}"]
        cell.value, cell.data_type = text, "s"
    return f"{sheet.title}!${column}$1:${column}${len(allowed)}"
