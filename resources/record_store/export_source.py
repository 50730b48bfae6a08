"""The records of an export, by SQL: select them, order them, divide them into parts, and write a part."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from resources.record_store.lake import Connection
from resources.record_store.sql_text import identifier, literal
from resources.record_store.tables import sql_type, table
from schemas.errors import Refused
from schemas.exports import CHANGE_COLUMN
from schemas.filters import Filter, Order
from schemas.formulas import FORMULA, PLAIN
from schemas.record_type import RecordType

_FEW = 10_000
"""Up to so many records, one statement for all columns is faster than one for each: DuckLake plans it for 8 ms."""
_SAMPLE = 20_000
_MEASURED = 2_000
_COMPARISONS = {"=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_PARQUET = "FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE 30_000"

Bound = tuple[Any, ...]
Sql = tuple[str, list[Any]]
"""A piece of SQL, and the values of its placeholders in order."""


@dataclass(frozen=True)
class Selection:
    """Which records and columns, and in what order.

    snapshot: the snapshot of the records.
    since: the snapshot with which they are compared, in an export of changes.
    full: whether that snapshot has expired, so that all records are given in place of the changes.
    """

    record_type: RecordType
    columns: tuple[str, ...]
    order: tuple[Order, ...]
    filters: tuple[Filter, ...]
    snapshot: int
    since: int | None = None
    full: bool = False

    @property
    def written(self) -> tuple[str, ...]:
        """The columns of the file."""
        return (*self.columns, CHANGE_COLUMN) if self.full or self.since is not None else self.columns


@dataclass(frozen=True)
class Range:
    """The records from the low bound, included, to the high bound, excluded.

    A bound has a value for each field of the order. None means that there is no bound.
    """

    low: Bound | None = None
    high: Bound | None = None


@dataclass(frozen=True)
class FoundText:
    """A text that breaks a rule: its record, counted from 1 within the range, its column, the rule and the key."""

    record: int
    column: str
    what: str
    key: tuple[Any, ...]


class ExportSource:
    """An account's records of a selection. The connection must read the selection's snapshot."""

    def __init__(self, connection: Connection, account: str, selection: Selection) -> None:
        self._connection = connection
        self._account = account
        self._selection = selection
        self._type = selection.record_type
        self._kinds = {field.name: field.type for field in self._type.fields} | {CHANGE_COLUMN: "text"}
        self._now = self._records("lake")
        self._then = None if selection.since is None else self._records(connection.snapshot(selection.since))
        self._filter_sql = [_filter_sql(each) for each in selection.filters]

    @contextmanager
    def split(self, count: int) -> Iterator[list["ExportSource"]]:
        """Yield so many sources of the same records, one for each thread. Do not use this one meanwhile."""
        with self._connection.split(count) as connections:
            yield [ExportSource(each, self._account, self._selection) for each in connections]

    def interrupt(self) -> None:
        """Interrupt the statement that another thread runs with this source. That thread gets an error."""
        self._connection.interrupt()

    def count(self) -> int:
        """Return the number of records."""
        sql, values = self._rows("count(*)")
        number: int = self._connection.fetch_one(sql, values)[0]
        return number

    def count_escaped(self, rows: int) -> dict[str, int]:
        """Return how many texts of each column must be escaped. Columns without such texts are left out.

        rows: the number of records.
        """
        texts = [name for name in self._selection.columns if self._kinds[name] == "text"]
        tests = [(f"{identifier(name)} < 'A'", _is_escaped(identifier(name))) for name in texts]
        if self._then is None and rows > _FEW:  # by column: DuckDB reads only the files that can have such texts
            found = [
                self._connection.fetch_one(*self._rows("count(*)", [(it, []) for it in each]))[0] for each in tests
            ]
        elif texts:
            counts = ", ".join(f"count(*) FILTER ({test})" for _, test in tests)
            found = self._connection.fetch_one(*self._rows(counts))
        else:
            found = []
        return {name: number for name, number in zip(texts, found, strict=True) if number}

    def bytes_per_row(self) -> float:
        """Estimate the number of bytes of a record's values as text."""
        texts = ", ".join(f"{identifier(name)}::VARCHAR" for name in self._selection.written)
        sql, values = self._rows("*")
        found = self._connection.fetch_one(
            f"SELECT avg(strlen(concat({texts}))) FROM ({sql} LIMIT {_MEASURED})", values
        )[0]
        return float(found or 0)

    def divide(self, rows: int, part_rows: int) -> list[tuple[Range, int]]:
        """Divide all records into ranges of about `part_rows`. Returns them in order, with the exact number in each.

        The same records always give the same ranges: the bounds come from a sample chosen by a hash of the key.
        """
        wanted = -(-rows // part_rows)
        if wanted <= 1:
            return [(Range(), rows)]
        one_in = max(1, rows // _SAMPLE)
        names = ", ".join(identifier(order.field) for order in self._selection.order)
        key = ", ".join(map(identifier, self._type.key))
        sql, values = self._rows(names, [(f"hash({key}) % {one_in} = 0", [])])
        sample = self._connection.execute(f"{sql} ORDER BY {self._order_sql}", values).fetch_all()
        positions = sorted({len(sample) * part // wanted for part in range(1, wanted)} - {0})
        bounds = [tuple(sample[position]) for position in positions]
        counts = self._count_each(bounds)
        ranges = [Range(low, high) for low, high in pairwise([None, *bounds, None])]
        return [(each, counts.get(number, 0)) for number, each in enumerate(ranges)]

    def write_csv(self, part: Range, path: Path, delimiter: str, escaped: Collection[str] = ()) -> int:
        """Write the records of the range as CSV in UTF-8, without a header. Returns the number of records.

        escaped: the columns with texts to escape.
        """
        columns = [self._csv_column(name, escaped) for name in self._selection.written]
        if len(columns) == 1:  # readers skip empty lines
            columns = [f"coalesce({columns[0]}::VARCHAR, '')"]
        options = f"FORMAT csv, HEADER false, NEW_LINE '\\r\\n', DELIMITER {literal(delimiter)}"
        return self._copy(columns, part, path, options)

    def write_json(self, part: Range, path: Path, separator: str) -> int:
        """Write the records of the range, each as a line with a JSON object and the separator. Returns their number."""
        members = [
            f"{literal('{,'[at > 0] + json.dumps(name) + ':')}, {_json_value(identifier(name), self._kinds[name])}"
            for at, name in enumerate(self._selection.written)
        ]
        line = f"concat({', '.join(members)}, {literal('}' + separator)})"
        return self._copy([line], part, path, "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER E'\\x01'")

    def write_parquet(self, part: Range, path: Path) -> int:
        """Write the records of the range as Parquet. Returns the number of records."""
        return self._copy([*map(identifier, self._selection.written)], part, path, _PARQUET)

    def first(self, rows: int) -> list[tuple[Any, ...]]:
        """Return the first records as text."""
        sql, values = self._part([f"{identifier(name)}::VARCHAR" for name in self._selection.written], Range())
        return self._connection.execute(f"{sql} LIMIT {int(rows)}", values).fetch_all()

    def find_text(self, part: Range, rules: Mapping[str, str]) -> FoundText | None:
        """Return the first text of the range that breaks a rule; None if there is none.

        rules: SQL conditions on `value` that hold for an invalid text, by the words for that problem.
        """
        texts = [name for name in self._selection.written if self._kinds[name] == "text"]
        if not texts:
            return None
        cases = [
            f"WHEN {condition.replace('value', identifier(name))} THEN [{literal(name)}, {literal(what)}]"
            for name in texts
            for what, condition in rules.items()
        ]
        wrong = f"CASE {' '.join(cases)} END"
        sql, values = self._rows(f"count({wrong})", self._within(part))
        if not self._connection.fetch_one(sql, values)[0]:  # much faster than to search in order
            return None
        keys = [identifier(name) for name in self._type.key]
        sql, values = self._part([f"{wrong} AS _wrong", *keys], part)
        record, (column, what), *key = self._connection.fetch_one(
            f"SELECT * FROM (SELECT row_number() OVER () AS _number, * FROM ({sql})) WHERE _wrong IS NOT NULL LIMIT 1",
            values,
        )
        return FoundText(record, column, what, tuple(key))

    def _copy(self, columns: Sequence[str], part: Range, path: Path, options: str) -> int:
        sql, values = self._part(columns, part)
        number: int = self._connection.fetch_one(f"COPY ({sql}) TO {literal(path)} ({options})", values)[0]
        return number

    def _part(self, columns: Sequence[str], part: Range) -> Sql:
        """Return a query for columns of the records of a range, in order.

        Columns are computed after the sort, which then has less to move.
        """
        names = dict.fromkeys(
            [*self._selection.written, *(order.field for order in self._selection.order), *self._type.key]
        )
        sql, values = self._rows(", ".join(map(identifier, names)), self._within(part))
        return f"SELECT {', '.join(columns)} FROM ({sql} ORDER BY {self._order_sql})", values

    @property
    def _order_sql(self) -> str:
        return ", ".join(
            f"{identifier(order.field)} {'DESC' if order.descending else 'ASC'} NULLS LAST"
            for order in self._selection.order
        )

    def _rows(self, columns: str, conditions: Sequence[Sql] = ()) -> Sql:
        """Return a query for columns of the records that meet the filters and further conditions."""
        conditions = [*self._filter_sql, *conditions]
        where = " AND ".join(f"({sql})" for sql, _ in conditions) or "true"
        values = [value for _, bound in conditions for value in bound]
        if self._then is None:
            change = f", 'full' AS {CHANGE_COLUMN}" if self._selection.full else ""
            return f"SELECT {columns} FROM (SELECT *{change} FROM ({self._now})) WHERE {where}", values
        # The conditions are on both sides of the comparison, so that DuckDB reads less.
        names = ", ".join(f"n.{identifier(name)}" for name in self._type.field_names)
        same = " AND ".join(f"n.{identifier(name)} = o.{identifier(name)}" for name in self._type.key)
        differs = " OR ".join(
            f"n.{identifier(name)} IS DISTINCT FROM o.{identifier(name)}"
            for name in self._type.field_names
            if name not in self._type.key
        )
        changes = f"""
            SELECT {names}, CASE WHEN o._there IS NULL THEN 'created' ELSE 'updated' END AS {CHANGE_COLUMN}
            FROM (SELECT * FROM ({self._now}) WHERE {where}) n
            LEFT JOIN (SELECT *, true AS _there FROM ({self._then})) o ON {same}
            WHERE o._there IS NULL OR {differs or "false"}
            UNION ALL
            SELECT *, 'deleted' FROM (SELECT * FROM ({self._then}) WHERE {where}) n
            ANTI JOIN ({self._now}) o ON {same}
        """
        return f"SELECT {columns} FROM ({changes})", [*values, *values]

    def _records(self, database: str) -> str:
        """Return a query for the account's records in a snapshot. Fields that were added later are null."""
        name = table(self._type.name, database)
        try:
            there = set(self._connection.execute(f"SELECT * FROM {name} LIMIT 0").columns)
        except duckdb.CatalogException:
            raise Refused(
                f"The store did not have the record type {self._type.name} at that time.",
                "Name a later time or a later batch.",
            ) from None
        fields = [
            identifier(field.name)
            if field.name in there
            else f"NULL::{sql_type(field.type)} AS {identifier(field.name)}"
            for field in self._type.fields
        ]
        return f"SELECT {', '.join(fields)} FROM {name} WHERE _account = {literal(self._account)}"

    def _count_each(self, bounds: Sequence[Bound]) -> dict[int, int]:
        """Return the number of records in each of the ranges between the bounds, by the number of the range."""

        def number_of(first: int, last: int) -> Sql:
            """Return SQL that finds by bisection in which of the ranges first … last a record is."""
            if first == last:
                return str(first), []
            middle = (first + last + 1) // 2
            test, values = self._before(bounds[middle - 1])
            (below, low), (above, high) = number_of(first, middle - 1), number_of(middle, last)
            return f"CASE WHEN {test} THEN {below} ELSE {above} END", [*values, *low, *high]

        number, numbered = number_of(0, len(bounds))
        names = ", ".join(sorted({identifier(order.field) for order in self._selection.order}))
        sql, values = self._rows(names)
        rows = self._connection.execute(
            f"SELECT {number} AS part, count(*) FROM ({sql}) GROUP BY ALL", [*numbered, *values]
        ).fetch_all()
        return dict(rows)

    def _within(self, part: Range) -> list[Sql]:
        conditions = []
        first = self._selection.order[0]
        plain = len(self._selection.order) > 1 and not first.descending and self._never_null(first.field)
        for bound, side, comparison in ((part.low, self._not_before, ">="), (part.high, self._before, "<=")):
            if bound is None:
                continue
            conditions.append(side(bound))
            if plain:  # DuckDB compares this with the statistics of each file
                conditions.append((f"{identifier(first.field)} {comparison} ?", [bound[0]]))
        return conditions

    def _never_null(self, field: str) -> bool:
        return field in self._type.key

    def _before(self, bound: Bound, at: int = 0) -> Sql:
        """Return the condition that a record comes before the bound. It may be null, which counts as false."""
        column, value, less, _ = self._compared(at, bound)
        before, values = (f"{column} IS NOT NULL", []) if value is None else (f"{column} {less} ?", [value])
        if at == len(bound) - 1:
            return before, values
        rest, more = self._before(bound, at + 1)
        same, sames = _same(column, value)
        return f"({before} OR ({same} AND {rest}))", [*values, *sames, *more]

    def _not_before(self, bound: Bound, at: int = 0) -> Sql:
        """Return the condition that a record is at the bound or comes after it."""
        column, value, _, more = self._compared(at, bound)
        last = at == len(bound) - 1
        if value is None:
            after, values = ("false", [])
        else:
            after, values = f"{column} {more}{'=' if last else ''} ?", [value]
            if not self._never_null(self._selection.order[at].field):
                after = f"({after} OR {column} IS NULL)"
        if last:
            return (f"{column} IS NULL", []) if value is None else (after, values)
        rest, others = self._not_before(bound, at + 1)
        same, sames = _same(column, value)
        return f"({after} OR ({same} AND {rest}))", [*values, *sames, *others]

    def _compared(self, at: int, bound: Bound) -> tuple[str, Any, str, str]:
        """Return the column of a bound's value, the value, and the operators for values before and after it."""
        order = self._selection.order[at]
        less, more = "><" if order.descending else "<>"
        return identifier(order.field), bound[at], less, more

    def _csv_column(self, name: str, escaped: Collection[str]) -> str:
        column, kind = identifier(name), self._kinds[name]
        if kind == "timestamp":
            return _timestamp_text(column)
        return _escaped(column) if name in escaped and kind == "text" else column


def _same(column: str, value: Any) -> Sql:
    return (f"{column} IS NULL", []) if value is None else (f"{column} = ?", [value])


def _escaped(column: str) -> str:
    """Return SQL for the same as schemas.formulas.escape_formula."""
    return f"CASE WHEN {_is_escaped(column)} THEN chr(39) || {column} ELSE {column} END"


def _is_escaped(column: str) -> str:
    """Return a condition that a text is escaped, as SQL.

    It uses CASE because DuckDB chooses the order in which it evaluates the conditions of AND. Most texts need only the
    first, cheap test, and telephone numbers the second.
    """
    return (
        f"CASE WHEN {column} >= 'A' THEN false WHEN regexp_full_match({column}, {literal(PLAIN)}) THEN false "
        f"ELSE coalesce(regexp_matches({column}, {literal(FORMULA)}), false) END"
    )


def _timestamp_text(column: str) -> str:
    """Return SQL for a timestamp as text in UTC. A plain cast looks up the time zone and takes three times as long."""
    return f"make_timestamp(epoch_us({column}))::VARCHAR || '+00'"


def _json_value(column: str, kind: str) -> str:
    """Return SQL for a JSON value: numbers with all their digits, booleans, and everything else as text."""
    if kind == "text":
        text = f"to_json({column})::VARCHAR"
    elif kind == "timestamp":
        text = f"'\"' || {_timestamp_text(column)} || '\"'"
    elif kind == "date":
        text = f"'\"' || {column}::VARCHAR || '\"'"
    else:
        text = f"{column}::VARCHAR"
    return f"coalesce({text}, 'null')"


def _filter_sql(each: Filter) -> Sql:
    """Return a filter as a condition. A null meets only `is-null` and `!=`."""
    column, values = identifier(each.field), list(each.values)
    match each.operator:
        case "!=":
            return f"{column} IS DISTINCT FROM ?", values
        case "in":
            return f"{column} IN ({', '.join('?' * len(values))})", values
        case "between":
            return f"{column} BETWEEN ? AND ?", values
        case "contains":
            return f"contains({column}, ?)", values
        case "starts":
            return f"starts_with({column}, ?)", values
        case "is-null":
            return (f"{column} IS NULL" if values[0] else f"{column} IS NOT NULL"), []
    return f"{column} {_COMPARISONS[each.operator]} ?", values
