"""Reads few rows of the ledger from the catalog's own tables, where DuckLake keeps them, with indexes.

DuckLake reads all rows of a table that it keeps in the catalog, whatever the query asks for. So each read would cost
more with each row of the history. The catalog's database finds the rows of a batch, an account or a file by an index.

This only narrows down. The caller's query has all its conditions, so it gives the same result with all rows of the
table. All rows are read if DuckLake has files of the table, or several versions of it. The same holds if this
transaction has written to it, or if the lake is attached as of a snapshot.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from resources.record_store.lake import METADATA, Connection
from resources.record_store.sql_text import identifier
from resources.record_store.tables import LEDGER

_INDEXES = {
    "batches": (("seq",), ("batch_id", "seq"), ("account", "batch_id"), ("file_sha256",)),
    "exports": (("seq",), ("export_id",), ("account", "export_id"), ("sha256",)),
    "files": (("path",), ("recorded_at",)),
    "accounts": (("account",),),
    "presets": (("account",),),
    "value_mappings": (("account",),),
}

_IN_DETAIL = {"header_row": ('"header_row": "', 64), "arrival": ('"arrival": "', 27), "options": ('"options": ', 1)}
_IN_DETAIL |= {"learnt": ('"learnt": [', 1), "parent": ('"parent": "', 27)}
"""Parts of a batch's detail with an index: the text before a part, and how many characters it has.

`{` is the first one of options that were said, and of mappings that were learnt. Other rows have something else there.
"""

_MOST = 500
"""How many values a condition names. For more, reading all rows takes about as long."""

_TYPES = {
    name: dict(column.split()[:2] for column in columns.split(",") if column.strip())
    for name, columns in LEDGER.items()
}


def create_indexes(connection: Connection) -> None:
    """Create the indexes of the ledger's rows that are missing. Without them, reads take longer."""
    for name, indexes in _INDEXES.items():
        table = connection.kept_in_catalog.get(name)
        if table is None:
            continue
        for columns in indexes:
            index = identifier(f"records_{table}_{'_'.join(columns)}")
            place, listed = f"{METADATA}.{_whole(connection, table)}", ", ".join(map(identifier, columns))
            connection.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {place} ({listed})")
    table = connection.kept_in_catalog.get("batches")
    for part in () if table is None else _IN_DETAIL:
        index = identifier(f"records_{table}_detail_{part}")
        listed = f"account, ({_in_detail(connection, part)}), status, seq"
        connection.create_native_index(index, str(table), listed)


def is_among(connection: Connection, column: str, values: Collection[str]) -> str | None:
    """Returns the condition that a column has one of these values; None if they are too many."""
    if not values or len(values) > _MOST or any("\0" in value for value in values):
        return None
    return f"{identifier(column)} IN ({', '.join(map(connection.native_text, values))})"


def is_below(connection: Connection, column: str, prefix: str) -> str | None:
    """Returns the condition that a text begins with a prefix, which ends with an ASCII character."""
    if "\0" in prefix:
        return None
    after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    text = connection.native_text
    return f"{identifier(column)} >= {text(prefix)} AND {identifier(column)} < {text(after)}"


def is_newest(connection: Connection, account: str | None, number: int) -> str | None:
    """Returns the condition that a row is of one of an account's newest batches, or of all accounts.

    Some more rows may fulfil it. The ids of batches begin with `b-`, those of rollbacks with `r-`, and a time follows.
    """
    table = connection.kept_in_catalog.get("batches")
    owned = "true" if account is None else is_among(connection, "account", [account])
    if table is None or owned is None:
        return None
    whole = _whole(connection, table)
    first_rollback = connection.native_text("r-")
    halves = [
        f"SELECT batch_id FROM (SELECT DISTINCT batch_id FROM {whole} WHERE {owned} AND batch_id {side} "
        f"{first_rollback} ORDER BY batch_id DESC LIMIT {number}) n"
        for side in ("<", ">=")
    ]
    return f"batch_id IN ({' UNION ALL '.join(halves)})"


@dataclass(frozen=True)
class Having:
    """Batches with a row that has a text in a column, or in an indexed part of the detail.

    status: the status of such a row; None for any. newest: how many rows count at most; None for all.
    """

    part: str
    text: str
    status: str | None = None
    newest: int | None = None


def is_any_of(connection: Connection, account: str, *wanted: Having) -> str | None:
    """Returns the condition that a row is of one of these batches of an account."""
    table, owned = connection.kept_in_catalog.get("batches"), is_among(connection, "account", [account])
    if table is None or owned is None:
        return None
    found = []
    for it in wanted:
        column = f"({_in_detail(connection, it.part)})" if it.part in _IN_DETAIL else identifier(it.part)
        status = "" if it.status is None else f"AND status = {connection.native_text(it.status)}"
        last = "" if it.newest is None else f"ORDER BY seq DESC LIMIT {it.newest}"
        query = f"SELECT batch_id FROM {_whole(connection, table)} WHERE {owned}"
        found.append(f"SELECT * FROM ({query} AND {column} = {connection.native_text(it.text)} {status} {last}) n")
    return f"batch_id IN ({' UNION ALL '.join(found)})"


def is_last_arrived(connection: Connection, account: str, number: int) -> str | None:
    """Returns the condition that a row is of one of the last files of an account that arrived in the inbox."""
    table, owned = connection.kept_in_catalog.get("batches"), is_among(connection, "account", [account])
    if table is None or owned is None:
        return None
    arrival, text = f"({_in_detail(connection, 'arrival')})", connection.native_text
    return (
        f"batch_id IN (SELECT batch_id FROM (SELECT DISTINCT {arrival} AS arrival, batch_id "
        f"FROM {_whole(connection, table)} WHERE {owned} AND {arrival} >= {text('a-')} AND {arrival} < {text('a.')} "
        f"ORDER BY arrival DESC LIMIT {number}) n)"
    )


def is_newest_export(connection: Connection, account: str | None, number: int) -> str | None:
    """Returns the condition that a row is of one of an account's newest exports, or of all accounts."""
    table = connection.kept_in_catalog.get("exports")
    owned = "true" if account is None else is_among(connection, "account", [account])
    if table is None or owned is None:
        return None
    newest = f"SELECT export_id FROM {_whole(connection, table)} WHERE {owned} ORDER BY export_id DESC LIMIT {number}"
    return f"export_id IN (SELECT export_id FROM ({newest}) n)"


def rows(connection: Connection, name: str, condition: str | None = None) -> str:
    """Returns SQL, to follow FROM, for at least the rows of a table that fulfil a condition, with all its columns.

    condition: SQL that SQLite and PostgreSQL understand, from a function of this module; None for all rows.
    """
    table = connection.kept_in_catalog.get(name)
    if condition is None or table is None or not connection.is_present or name in connection.appended:
        return connection.rows_of("ledger", name)
    types = _TYPES[name]
    listed = ", ".join(map(identifier, types))
    asked = f"SELECT {listed} FROM {_whole(connection, table)} WHERE end_snapshot IS NULL AND {condition}"
    found = ", ".join(f"{connection.converted(column, kind)} AS {identifier(column)}" for column, kind in types.items())
    return f"(SELECT {found} FROM {connection.native(asked)})"


def rows_with(connection: Connection, name: str, **wanted: str | None) -> str:
    """Returns SQL, to follow FROM, for at least the rows with one of these values; the first that is given counts."""
    column, value = next(((column, value) for column, value in wanted.items() if value is not None), ("", None))
    return rows(connection, name, None if value is None else is_among(connection, column, [value]))


def rows_after(connection: Connection, name: str, columns: str, seq: int, limit: int | None) -> list[Any]:
    """Returns the number of each row after a number, with these columns, in order; at most `limit` rows."""
    return connection.execute(
        f"SELECT seq, {columns} FROM {rows(connection, name, f'seq > {seq:d}')} WHERE seq > ? ORDER BY seq LIMIT ?",
        [seq, limit],
    ).fetch_all()


def filters_of(**wanted: str | None) -> tuple[str, list[str]]:
    """Returns WHERE with a condition for each value that is given, as SQL, and these values."""
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given)
    return (f"WHERE {where}" if given else ""), list(given.values())


def append_rows(transaction: Connection, name: str, *rows: dict[str, Any]) -> None:
    """Append rows to a table of the ledger. All have values for the same columns."""
    names, marks = ", ".join(rows[0]), ", ".join("?" * len(rows[0]))
    values = [value for row in rows for value in row.values()]
    transaction.filled.add(("ledger", name))
    transaction.appended.add(name)
    transaction.execute(
        f"INSERT INTO lake.ledger.{name} ({names}) VALUES {', '.join([f'({marks})'] * len(rows))}", values
    )


def _whole(connection: Connection, table: str) -> str:
    return f"{identifier(connection.catalog_schema)}.{table}"


def _in_detail(connection: Connection, part: str) -> str:
    """Returns SQL of the catalog's database for a part of a batch's detail."""
    before, length = _IN_DETAIL[part]
    return f"substr(detail, {connection.native_place(before, 'detail')} + {len(before)}, {length})"
