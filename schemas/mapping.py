"""Headers of a file to fields of a record type."""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.errors import InvalidRequest
from schemas.record_type import RecordType

Reason = Literal["given", "name", "alias", "ignored"]


@dataclass(frozen=True)
class Column:
    """One column of a file: where it stands (from 0), its header, the field it feeds, and why."""

    position: int
    header: str
    field: str | None
    reason: Reason


@dataclass(frozen=True)
class Mapping:
    """All columns of a file, and the fields that none of them feeds."""

    columns: tuple[Column, ...]
    missing: tuple[str, ...]

    @property
    def fields(self) -> dict[str, int]:
        """Mapped field to position of its column."""
        return {column.field: column.position for column in self.columns if column.field is not None}


def map_headers(headers: Sequence[str], record_type: RecordType, given: MappingOf[str, str] | None = None) -> Mapping:
    """The mapping of a header row: as given, else by the field's exact name, else by a declared alias.

    `given` is header to field; an empty field means that the column is ignored. Raises InvalidRequest
    when a given header or field does not exist, two columns feed one field, or a key field is fed by none.
    """
    given = given or {}
    aliases = {alias: field.name for field in record_type.fields for alias in field.aliases}
    for header, name in given.items():
        if header not in headers:
            raise InvalidRequest(f"The file has no column {header!r}.", f"Its columns: {_quoted(headers)}.")
        if name and name not in record_type.field_names:
            raise InvalidRequest(
                f"{record_type.name} has no field {name!r}.", f"Its fields: {', '.join(record_type.field_names)}."
            )
    columns = tuple(_column(i, header, record_type, given, aliases) for i, header in enumerate(headers))
    feeding: dict[str, str] = {}
    for column in columns:
        if column.field is None:
            continue
        if column.field in feeding:
            raise InvalidRequest(
                f"The columns {feeding[column.field]!r} and {column.header!r} both stand for {column.field}.",
                f"Say which one is meant: --map {column.header!r}= leaves that one out.",
            )
        feeding[column.field] = column.header
    unfed_key = [name for name in record_type.key if name not in feeding]
    if unfed_key:
        raise InvalidRequest(
            f"No column stands for {', '.join(unfed_key)}, which identifies {record_type.name}; "
            f"the file has {_quoted(headers)}.",
            f'Name the column: --map "HEADER={unfed_key[0]}".',
        )
    return Mapping(columns, tuple(name for name in record_type.field_names if name not in feeding))


def _column(
    position: int, header: str, record_type: RecordType, given: MappingOf[str, str], aliases: MappingOf[str, str]
) -> Column:
    if header in given:
        return Column(position, header, given[header] or None, "given" if given[header] else "ignored")
    if header in record_type.field_names and header not in given.values():
        return Column(position, header, header, "name")
    if header in aliases and aliases[header] not in given.values():
        return Column(position, header, aliases[header], "alias")
    return Column(position, header, None, "ignored")


def _quoted(headers: Sequence[str]) -> str:
    return ", ".join(map(repr, headers))
