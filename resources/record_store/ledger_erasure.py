"""Removes values from the ledger's rows. This is the one exception to the rule that no row is ever changed.

The ledger names what was imported and exported, and some of its texts are values of records: examples of changed
values, mappings of texts, names of files, filters of exports. An erasure must not leave them. So it changes these rows
in the table in which DuckLake keeps them, and adds a row to `erasures` that says so. The numbers and times of rows
stay, and so do all counts.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.record_store.lake import METADATA, Connection
from resources.record_store.ledger_rows import append_rows
from resources.record_store.sql_text import identifier
from schemas.batches import Batch
from schemas.erasure import Erasure, ErasureStatus
from schemas.errors import StoreNotReady

MASK = "(erased)"
"""What stands in the ledger in place of an erased value."""

_LONG = 6
"""A value with at least so many characters is also found inside of longer texts."""
_KEPT_STATISTICS = ("seq", "recorded_at")
"""The columns of which `ledger.newest` needs the greatest value."""
_OWN_EXPORT = re.compile(r"/accounts/[^/]+/exports/[^/]+/[^/]+$")
"""The path of an export in the store. Its account, id and type are in its names."""
_OF_ACCOUNT = ("batches", "exports", "presets", "value_mappings", "accounts", "files", "losses")


@dataclass(frozen=True)
class LedgerChanges:
    """How many rows of the ledger were changed and removed.

    having: how many of them have an erased value. The others only lose examples of values.
    """

    changed: int = 0
    removed: int = 0
    having: int = 0


class Values:
    """The texts of erased records. Each can stand alone, or, if it is long enough, inside of another text.

    Case does not count. words: keys, which are also found inside of a text if they are short, but not inside of a word.
    """

    def __init__(self, texts: Collection[str], words: Collection[str] = ()) -> None:
        given = {text for text in (*texts, *words) if text}
        self._texts = {text.casefold() for text in given}
        long = {text for text in given if len(text) >= _LONG}
        patterns = [re.escape(text) for text in sorted(long, key=len, reverse=True)]
        patterns += [rf"(?<!\w){re.escape(text)}(?!\w)" for text in words if text and text not in long]
        self._inside = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def has(self, text: str | None) -> bool:
        """Returns whether the text is one of the values, or has one inside."""
        return text is not None and (text.casefold() in self._texts or bool(self._inside and self._inside.search(text)))

    def masked(self, value: Any) -> Any:
        """Returns a text, or a list of texts, with masks in place of the erased ones."""
        if isinstance(value, list):
            return [self.masked(each) for each in value]
        if not isinstance(value, str) or not self.has(value):
            return value
        return MASK if value.casefold() in self._texts or self._inside is None else self._inside.sub(MASK, value)

    def masked_name(self, path: str) -> str:
        """Returns a path with masks in its last name. Its folders are of the store or of the machine, so they stay."""
        folder, slash, name = path.rpartition("/")
        return f"{folder}{slash}{self.masked(name)}"


_NOTHING = Values(())
_Change = Callable[[Any, Values], str | None]


def masked_detail(detail: str, values: Values) -> str:
    """Returns the detail of a batch without examples of values and mappings of erased texts, its sentences masked.

    What the store itself has written, such as a mode or an id, is never masked, though a value may look like it.
    """
    found = json.loads(detail)
    binding = found.get("binding", {})
    binding.pop("changes", None)
    found["warnings"] = [
        values.masked(it) if isinstance(it, str) else it | {"examples": [], "sentence": values.masked(it["sentence"])}
        for it in found.get("warnings", ())
    ]
    found["questions"] = [
        it | {"values": [], "sentence": values.masked(it["sentence"])} for it in found.get("questions", ())
    ]
    found["learnt"] = [it for it in found.get("learnt", ()) if not (values.has(it["text"]) or values.has(it["value"]))]
    found["understood"] = [[label, values.masked(value)] for label, value in found.get("understood", ())]
    for field, texts in binding.get("value_map", {}).items():
        binding["value_map"][field] = {text: value for text, value in texts.items() if not values.has(text)}
    if "column_map" in binding:
        binding["column_map"] = {values.masked(name): field for name, field in binding["column_map"].items()}
    if "failure" in binding:
        binding["failure"] = values.masked(binding["failure"])
    return json.dumps(found, ensure_ascii=False)


def mask_rows(
    connection: Connection,
    account: str,
    record_type: str,
    values: Values,
    is_left: Callable[[str], bool],
    *,
    changes: bool = True,
) -> LedgerChanges:
    """Remove the values from the rows about an account's batches, exports and mappings of a type.

    Examples of values are removed from all of these batches: which record an example comes from is not known.
    is_left: whether the file of a path below the data keeps its place and its name. Then its checksum stays, too.
    changes: whether the rows are changed, or only counted.
    """
    of = [account, record_type]
    changed = having = 0
    for table, columns in (
        ("batches", {"file_name": _masked, "detail": masked_detail}),
        ("exports", {"path": _masked_path, "detail": _masked_request}),
    ):
        rows = _changed(connection, table, columns, values, "account = ? AND record_type = ?", of)
        changed += len(rows)
        having += sum(row.has_values for row in rows)
        for row in rows if changes else ():
            _set(connection, table, row.seq, dict(zip(columns, row.after, strict=True)))
    mappings = connection.execute(
        f"SELECT seq, text, value FROM {_rows(connection, 'value_mappings')} WHERE account = ? AND record_type = ?", of
    ).fetch_all()
    paths = connection.execute(
        f"SELECT seq, path FROM {_rows(connection, 'files')} WHERE account = ? AND starts_with(path, 'accounts/')",
        [account],
    ).fetch_all()
    superfluous = {
        "value_mappings": [seq for seq, *texts in mappings if any(map(values.has, texts))],
        "files": [seq for seq, path in paths if values.masked_name(path) != path and not is_left(path)],
    }
    for table, seqs in superfluous.items() if changes else ():
        _remove(connection, table, seqs)
    removed = sum(map(len, superfluous.values()))
    return LedgerChanges(changed, removed, having + removed)


def remove_account(connection: Connection, account: str) -> LedgerChanges:
    """Remove all rows about an account, and the names of its presets from the messages of commits."""
    presets = connection.execute(
        f"SELECT DISTINCT name FROM {_rows(connection, 'presets')} WHERE account = ?", [account]
    ).fetch_all()
    for (name,) in presets:
        connection.execute(
            f"UPDATE {METADATA}.ducklake_snapshot_changes SET commit_message = ? WHERE commit_message = ?",
            [f"preset {MASK}", f"preset {name}"],
        )
    removed = 0
    for table in _OF_ACCOUNT:
        rows = connection.execute(
            f"SELECT seq FROM {_rows(connection, table)} WHERE account = ?", [account]
        ).fetch_all()
        removed += _remove(connection, table, [seq for (seq,) in rows])
    return LedgerChanges(removed=removed)


def append_erasure(transaction: Connection, seq: int, at: datetime, erasure: Erasure) -> None:
    """Record that an erasure has begun, or that it is done. It has no value and no key, only counts."""
    row = {name: getattr(erasure, name) for name in ("erasure_id", "account", "record_type", "actor")}
    detail = json.dumps(dict(erasure.counts))
    append_rows(
        transaction,
        "erasures",
        {"seq": seq, "recorded_at": at, **row, "status": erasure.status.value, "detail": detail},
    )


def erasures(connection: Connection, account: str | None = None, record_type: str | None = None) -> list[Erasure]:
    """Returns the erasures of an account's records of a type, or of all, newest first, in their last status."""
    if ("ledger", "erasures") not in connection.filled:
        return []
    rows = connection.execute(
        """
        SELECT erasure_id, account, record_type, status, actor, recorded_at, detail FROM lake.ledger.erasures
        WHERE account = coalesce(?, account) AND coalesce(record_type = coalesce(?, record_type), true)
        QUALIFY row_number() OVER (PARTITION BY erasure_id ORDER BY seq DESC) = 1 ORDER BY seq DESC
        """,
        [account, record_type],
    ).fetch_all()
    return [
        Erasure(erasure_id, owner, kind, ErasureStatus(status), actor, at, json.loads(detail))
        for erasure_id, owner, kind, status, actor, at, detail in rows
    ]


def is_erased_after(connection: Connection, seq: int, account: str, record_type: str) -> bool:
    """Returns whether an erasure of an account's records of a type has begun or ended after this row of the ledger."""
    if ("ledger", "erasures") not in connection.filled:
        return False
    (found,) = connection.fetch_one(
        """
        SELECT count(*) > 0 FROM lake.ledger.erasures
        WHERE seq > ? AND account = ? AND coalesce(record_type = ?, true)
        """,
        [seq, account, record_type],
    )
    return bool(found)


def erased_since(connection: Connection, batch: Batch) -> tuple[str, ...]:
    """Returns what was erased of a batch's account and type since its commit or preview, as sentences."""
    since = batch.committed_at or batch.at
    found = erasures(connection, batch.account, batch.record_type)
    return tuple(it.message() for it in found if it.at >= since)


def forget_statistics(connection: Connection) -> None:
    """Remove the least and greatest texts of the ledger's columns, which are values of rows. Unknown is right too."""
    connection.execute(
        f"""
        UPDATE {METADATA}.ducklake_table_column_stats SET min_value = NULL, max_value = NULL
        WHERE table_id IN (
            SELECT table_id FROM {METADATA}.ducklake_table t JOIN {METADATA}.ducklake_schema s USING (schema_id)
            WHERE schema_name = 'ledger' AND table_name <> 'record_types'
        ) AND (table_id, column_id) NOT IN (
            SELECT (table_id, column_id) FROM {METADATA}.ducklake_column
            WHERE column_name IN ({", ".join("?" * len(_KEPT_STATISTICS))})
        )
        """,
        list(_KEPT_STATISTICS),
    )


def _masked(text: str | None, values: Values) -> str | None:
    masked: str | None = values.masked(text)
    return masked


def _masked_path(path: str, values: Values) -> str:
    """Returns the path of an export with masks in its last name, unless the store itself has named the file."""
    return path if _OWN_EXPORT.search(path) else values.masked_name(path)


def _masked_request(text: str | None, values: Values) -> str | None:
    """Returns the detail of an export with masks in its filters and in the name of its file."""
    if text is None:
        return None
    found = json.loads(text)
    request = found["request"]
    if "filters" in request:
        request["filters"] = values.masked(request["filters"])
    if request.get("path"):
        request["path"] = values.masked_name(request["path"])
    return json.dumps(found, ensure_ascii=False)


def _examples(detail: str) -> Iterator[str]:
    """Yields the values of records that the detail of a batch or an export quotes as examples."""
    found = json.loads(detail)
    parts = [it.get("examples") for it in found.get("warnings", ()) if isinstance(it, dict)]
    parts += [it.get("values") for it in found.get("questions", ())]
    yield from strings_of([*parts, found.get("binding", {}).get("changes")])


def strings_of(value: object) -> Iterator[str]:
    """Yields all texts in a value of JSON, without the names of fields."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings_of(each)


@dataclass(frozen=True)
class _Row:
    """A row that an erasure changes. after: its new texts. has_values: whether an erased value was in it."""

    seq: int
    after: list[str | None]
    has_values: bool


def _changed(
    connection: Connection, table: str, columns: Mapping[str, _Change], values: Values, where: str, bound: Sequence[Any]
) -> list[_Row]:
    """Returns the rows that match and have something to remove."""
    rows = connection.execute(
        f"SELECT seq, {', '.join(columns)} FROM {_rows(connection, table)} WHERE {where}", bound
    ).fetch_all()
    found = []
    for seq, *before in rows:
        after, bare = (
            [change(text, them) for change, text in zip(columns.values(), before, strict=True)]
            for them in (values, _NOTHING)
        )
        if not all(map(_is_same, before, after)):
            quoted = [text for text in before if (text or "").startswith("{")]
            has_values = after != bare or any(values.has(it) for text in quoted for it in _examples(text))
            found.append(_Row(seq, after, has_values))
    return found


def _set(connection: Connection, table: str, seq: int, columns: Mapping[str, str | None]) -> None:
    for kept in _kept_in(connection, table):
        texts = _text_columns(connection, kept)
        set_to = ", ".join(f"{name} = {'encode(?)' if name not in texts else '?'}" for name in columns)
        connection.execute(f"UPDATE {METADATA}.{kept} SET {set_to} WHERE seq = ?", [*columns.values(), seq])


def _is_same(before: str | None, after: str | None) -> bool:
    """Returns whether two texts are the same, or are JSON of the same value."""
    if before == after or before is None or after is None:
        return before == after
    return before.startswith("{") and bool(json.loads(before) == json.loads(after))


def _remove(connection: Connection, table: str, seqs: Sequence[int]) -> int:
    if not seqs:
        return 0
    for kept in _kept_in(connection, table):
        connection.execute(f"DELETE FROM {METADATA}.{kept} WHERE list_contains(?::BIGINT[], seq)", [list(seqs)])
    return len(seqs)


def _kept_in(connection: Connection, table: str) -> list[str]:
    """Returns the names of the tables in which DuckLake keeps the rows of a table of the ledger.

    Raises StoreNotReady if it keeps some in files, which this version never writes.
    """
    (files,) = connection.fetch_one(
        f"SELECT count(*) FROM {METADATA}.ducklake_data_file WHERE table_id = {_ID}", [table]
    )
    if files:
        raise StoreNotReady(
            f"Rows of the ledger's table {table} are in files, which another program than records has written.",
            "Nothing was erased yet. Migrate the store to a new place, which writes the ledger anew, and erase there.",
        )
    rows = connection.execute(
        f"SELECT table_name FROM {METADATA}.ducklake_inlined_data_tables WHERE table_id = {_ID}", [table]
    ).fetch_all()
    return [identifier(name) for (name,) in rows]


_ID = (
    f"(SELECT table_id FROM {METADATA}.ducklake_table t JOIN {METADATA}.ducklake_schema s USING (schema_id) "
    "WHERE schema_name = 'ledger' AND table_name = ? AND t.end_snapshot IS NULL)"
)


def _text_columns(connection: Connection, kept: str) -> set[str]:
    """Returns the columns of such a table that are text. In PostgreSQL, DuckLake keeps texts as bytes."""
    rows = connection.execute(f"DESCRIBE FROM {METADATA}.{kept}").fetch_all()
    return {name for name, kind, *_ in rows if kind == "VARCHAR"}


def _rows(connection: Connection, table: str) -> str:
    return connection.rows_of("ledger", table)
