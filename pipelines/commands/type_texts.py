"""Prints record types and mappings of values for people."""

from collections.abc import Iterable, Sequence

from pipelines.commands.terminal import Listing, console, escape, print_list, table
from schemas.record_type import RecordType
from schemas.values import KnownValue


def print_record_types(record_types: Iterable[RecordType]) -> None:
    """Print record types with their fields, keys and presets."""
    out = console()
    for record_type in record_types:
        out.print(f"[bold]{record_type.name}[/]  {escape(record_type.description.splitlines()[0])}")
        out.print(f"Key: {', '.join(record_type.key)}")
        for preset, columns in record_type.presets.items():
            out.print(f"Preset {preset}: {', '.join(columns)}")
        fields = table("Field", "Type", "", "What it is", "Example")
        for field in record_type.fields:
            marks = ("required " if field.required else "") + ("personal" if field.personal else "")
            about = "; ".join([field.description.rstrip("."), *field.rules])
            fields.add_row(field.name, field.type, marks.strip(), escape(about), escape(field.example))
        out.print(fields)


def print_mappings(known: Sequence[KnownValue]) -> None:
    """Print mappings of values as a table."""
    rows = [
        [
            it.record_type,
            it.mapping.field,
            escape(it.mapping.text),
            escape(it.mapping.value or "(empty)"),
            f"{it.mapping.records:,}",
            "accepted" if it.is_accepted else "learnt, not used",
        ]
        for it in known
    ]
    shown = Listing(("Type", "Field", "Text", "Value", "Corrected", "State"), rows, ("Corrected",))
    print_list(shown, "There is no mapping of values: records mappings accept FIELD:TEXT=VALUE.", None)
