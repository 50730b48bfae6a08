"""Writes the source of a drafted record type, in the format of ruff."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from jinja2 import Environment, PackageLoader, StrictUndefined

from resources.type_drafter.column import Column
from resources.type_drafter.key import Key
from resources.type_drafter.names import LONGEST_NAME, literal_of
from schemas import model
from schemas.parsing import arrow_type
from schemas.record_type import Field

_CLASSES = {
    "text": "Text",
    "integer": "Integer",
    "float": "Float",
    "boolean": "Boolean",
    "date": "Date",
    "timestamp": "Timestamp",
    "decimal(18,2)": "Money",
}
_WIDTH = 120


@dataclass(frozen=True)
class _Group:
    """A part of the source in brackets: on one line if it fits, otherwise one line for each item."""

    opening: str
    items: Sequence["str | _Group"]
    closing: str

    def __str__(self) -> str:
        """Returns the group on one line. A tuple of one item ends with a comma."""
        comma = "," if len(self.items) == 1 and self.opening.endswith(("=(", ": (")) else ""
        return f"{self.opening}{', '.join(map(str, self.items))}{comma}{self.closing}"


def source_of(
    file: str,
    type_name: str,
    columns: Sequence[Column],
    nested: Sequence[Column],
    key: Key,
    malformed: int,
    unsaid: Sequence[str] = (),
) -> str:
    """Returns the source of the module.

    nested: the columns that are left out because they hold lists or objects. malformed: how many records have another
    number of fields than the header. unsaid: what a person must still say, as sentences.
    """
    class_name = "".join(word.capitalize() for word in type_name.split("_"))
    if hasattr(model, class_name) or class_name == "Annotated":
        class_name += "Records"
    decimals = sorted({column.type for column in columns} - set(_CLASSES))
    environment = Environment(  # noqa: S701 - this is Python, and each value is quoted
        loader=PackageLoader("resources.type_drafter", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"layout": _layout, "quoted": literal_of, "number": "{:,}".format}
    names = _Group('"key": (', [literal_of(column.name) for column in key.columns], ")")
    return environment.get_template("record_type.py.jinja").render(
        title=_plain(type_name.strip("_").replace("_", " ").capitalize()),
        file=_plain(file),
        model_module=model.__name__,
        imported=sorted({"RecordModel", *(_CLASSES[it.type] for it in columns if it.type in _CLASSES)}),
        decimals=[(_class(name), arrow_type(Field("", name))) for name in decimals],
        type_name=type_name,
        class_name=class_name,
        fields=[(column, _field(column, required=column.required or column in key.columns)) for column in columns],
        nested=nested,
        key=key,
        unsaid=[wrap(it, _WIDTH - len("#    "), break_on_hyphens=False) for it in unsaid],
        malformed=malformed,
        metadata=_Group("metadata = {", [names], "}"),
    )


def _class(type_: str) -> str:
    """Returns the name of a field's type in the source."""
    return _CLASSES.get(type_) or "Decimal{}_{}".format(*re.findall(r"\d+", type_))


def _field(column: Column, *, required: bool) -> _Group:
    readable = column.name.strip("_").replace("_", " ")
    arguments: list[str | _Group] = [literal_of(f"{readable[:1].upper()}{readable[1:]}.")]
    if column.example and not column.personal:  # personal data must not be in source code
        arguments.append(f"example={literal_of(column.shown_example)}")
    if required:
        arguments.append("required=True")
    if column.personal:
        arguments.append("personal=True")
    if column.header != column.name:
        arguments.append(_Group("aliases=(", [literal_of(column.header)], ")"))
    if column.null_markers:
        arguments.append(_Group("null_markers=(", [*map(literal_of, column.null_markers)], ")"))
    if column.choices:
        arguments.append(_Group("isin=[", [*map(literal_of, column.choices)], "]"))
    return _Group(f"{column.name}: {_class(column.type)} = field(", arguments, ")")


def _layout(part: "str | _Group", indent: int, end: str = "") -> str:
    """Returns the part in lines of at most 120 characters, as far as its texts allow. The first is not indented."""
    whole = f"{part}{end}"
    if isinstance(part, str) or indent + len(whole) <= _WIDTH:
        return whole
    lines = [f"{' ' * (indent + 4)}{_layout(item, indent + 4, ',')}" for item in part.items]
    return "\n".join([part.opening, *lines, f"{' ' * indent}{part.closing}{end}"])


def _plain(text: str) -> str:
    """Returns the text for a docstring, without characters that could end it or begin an escape."""
    return "".join(c for c in text if c.isprintable() and c not in '"\\')[:LONGEST_NAME].strip() or "a file"
