"""Reads and appends rows of the ledger about batches, accounts, presets and record types.

The state of a batch is its last row.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from resources.record_store import batch_detail
from resources.record_store.lake import METADATA, Connection
from resources.record_store.ledger_rows import (
    Having,
    append_rows,
    filters_of,
    is_among,
    is_any_of,
    is_last_arrived,
    is_newest,
    rows_after,
    rows_with,
)
from resources.record_store.ledger_rows import rows as rows_of
from schemas.batches import STANDING, Batch, BatchStatus
from schemas.counts import Counts
from schemas.record_type import RecordType
from schemas.rollbacks import Undone

_BATCH_COLUMNS = (
    "batch_id, account, record_type, status, actor, recorded_at, run_id, file_name, file_sha256, "
    "read, created, updated, unchanged, rejected, duplicate, detail"
)

OPEN = frozenset({BatchStatus.PREVIEWED, BatchStatus.COMMITTED})
"""The statuses of batches that a person can still commit or roll back."""

_SETTLED = "records_settled"
_REMEMBERED = 500
"""How many commits with a header row, and with options, are searched for the last one that was not rolled back."""

_MOST_DESCRIBED = 16
_DESCRIBED: dict[frozenset[str], dict[str, RecordType]] = {}
"""The descriptions of record types by the files that have them, for the stores that this process read last."""


def newest(connection: Connection) -> tuple[int, datetime | None]:
    """Returns the number and the time of the ledger's last row; 0 and None if it has none.

    DuckLake's column statistics are exact for these tables, because no row is ever removed or changed. So this is one
    query; reading the tables took more than half of a small commit.
    """
    statistics = connection.of_catalog(
        """
        SELECT column_name, max_value FROM {catalog}.ducklake_table_column_stats
        JOIN {catalog}.ducklake_column c USING (table_id, column_id)
        JOIN {catalog}.ducklake_table t USING (table_id)
        JOIN {catalog}.ducklake_schema s USING (schema_id)
        WHERE schema_name = 'ledger' AND column_name IN ('seq', 'recorded_at')
            AND c.end_snapshot IS NULL AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
        """
    )
    seq, at = connection.fetch_one(
        f"""
        SELECT coalesce(max(CASE column_name WHEN 'seq' THEN max_value END::BIGINT), 0),
            max(CASE column_name WHEN 'recorded_at' THEN max_value END::TIMESTAMPTZ)
        FROM {statistics}
        """
    )
    return seq, at


def numbers(connection: Connection) -> tuple[int, int, int]:
    """Returns the numbers of accounts, batches and exports."""
    of = (("accounts", "account"), ("batches", "batch_id"), ("exports", "export_id"))
    accounts, batches, exports = (
        connection.fetch_one(f"SELECT count(DISTINCT {key}) FROM {rows_of(connection, name)}")[0] for name, key in of
    )
    return accounts, batches, exports


def append_batch(transaction: Connection, seq: int, batch: Batch) -> None:
    """Record that the batch has a new status."""
    append_rows(
        transaction,
        "batches",
        {
            "seq": seq,
            "recorded_at": batch.at,
            "batch_id": batch.batch_id,
            "account": batch.account,
            "record_type": batch.record_type,
            "status": batch.status.value,
            "actor": batch.actor,
            "run_id": batch.run_id,
            "file_name": batch.file_name,
            "file_sha256": batch.file_sha256,
            **asdict(batch.counts),
            "detail": batch_detail.to_json(batch),
        },
    )


def append_preset(
    transaction: Connection,
    seq: int,
    at: datetime,
    account: str,
    record_type: str,
    name: str,
    columns: Sequence[str],
    actor: str,
) -> None:
    """Record the columns of an account's preset."""
    values = {"seq": seq, "recorded_at": at, "account": account, "record_type": record_type, "name": name}
    append_rows(transaction, "presets", values | {"columns": list(columns), "actor": actor})


def append_account(transaction: Connection, seq: int, at: datetime, account: str, actor: str) -> None:
    """Record a new account."""
    append_rows(transaction, "accounts", {"seq": seq, "recorded_at": at, "account": account, "actor": actor})


def append_record_type(transaction: Connection, seq: int, at: datetime, record_type: RecordType) -> None:
    """Record the description of a record type."""
    description = {
        "seq": seq,
        "recorded_at": at,
        "record_type": record_type.name,
        "hash": record_type.hash,
        "description": record_type.to_json(),
    }
    append_rows(transaction, "record_types", description)


def record_types(connection: Connection) -> dict[str, RecordType]:
    """Returns the latest description of each record type, by name.

    A process reads the same files once. Their names are never used again, and a file never changes.
    """
    if not connection.is_present or "record_types" in connection.appended:
        return _described(connection)
    files = _description_files(connection)
    if files not in _DESCRIBED:
        described = _described(connection)
        if not files or _description_files(connection) != files:  # another process has added some meanwhile
            return described
        while len(_DESCRIBED) >= _MOST_DESCRIBED:
            _DESCRIBED.pop(next(iter(_DESCRIBED)), None)
        _DESCRIBED[files] = described
    return {**_DESCRIBED[files]}


def _description_files(connection: Connection) -> frozenset[str]:
    found = connection.of_catalog(
        """
        SELECT f.path FROM {catalog}.ducklake_data_file f
        JOIN {catalog}.ducklake_table t ON t.table_id = f.table_id AND t.end_snapshot IS NULL
        JOIN {catalog}.ducklake_schema s ON s.schema_id = t.schema_id AND s.end_snapshot IS NULL
        WHERE s.schema_name = 'ledger' AND t.table_name = 'record_types' AND f.end_snapshot IS NULL
        """
    )
    return frozenset(path for (path,) in connection.execute(f"SELECT path::VARCHAR FROM {found}").fetch_all())


def _described(connection: Connection) -> dict[str, RecordType]:
    rows = connection.execute(
        "SELECT record_type, arg_max(description, seq) FROM lake.ledger.record_types GROUP BY ALL ORDER BY ALL"
    ).fetch_all()
    return {name: RecordType.from_json(description) for name, description in rows}


def presets(connection: Connection, account: str, record_type: str) -> dict[str, tuple[str, ...]]:
    """Returns the presets that an account has saved for a type, by name."""
    rows = connection.execute(
        f"SELECT name, arg_max(columns, seq) FROM {rows_with(connection, 'presets', account=account)} "
        "WHERE account = ? AND record_type = ? "
        "GROUP BY name ORDER BY name",
        [account, record_type],
    ).fetch_all()
    return {name: tuple(columns) for name, columns in rows}


def accounts(connection: Connection) -> list[str]:
    """Returns the names of all accounts, sorted."""
    rows = connection.execute(
        f"SELECT DISTINCT account FROM {rows_of(connection, 'accounts')} ORDER BY account"
    ).fetch_all()
    return [account for (account,) in rows]


def has_account(connection: Connection, account: str) -> bool:
    """Returns whether there is an account with this name."""
    found = connection.execute(
        f"SELECT 1 FROM {rows_with(connection, 'accounts', account=account)} WHERE account = ? LIMIT 1", [account]
    ).fetch_all()
    return bool(found)


def batch(connection: Connection, batch_id: str, account: str | None = None) -> Batch | None:
    """Returns a batch in its present state; None if there is none, or if it belongs to another account."""
    rows = connection.execute(
        f"SELECT {_BATCH_COLUMNS} FROM {rows_with(connection, 'batches', batch_id=batch_id)} "
        "WHERE batch_id = ? ORDER BY seq",
        [batch_id],
    ).fetch_all()
    found = _batch(rows[-1]) if rows else None
    return found if found is None or account in (None, found.account) else None


def _known_batch(connection: Connection, batch_id: str) -> Batch:
    """Returns a batch that the ledger names, in its present state."""
    found = batch(connection, batch_id)
    if found is None:
        raise AssertionError(f"the ledger names {batch_id} and does not have it")
    return found


def batches(
    connection: Connection,
    *,
    account: str | None = None,
    record_type: str | None = None,
    status: BatchStatus | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> list[Batch]:
    """Returns the batches that match every given filter, in their present state, newest first."""
    filters, values = filters_of(account=account, record_type=record_type)
    state = "" if status is None else "WHERE status = ?"
    condition = None if account is None else is_among(connection, "account", [account])
    if limit is not None and record_type is None and status is None:
        condition = is_newest(connection, account, offset + limit)
    elif status in OPEN:
        condition = f"seq > {settled(connection):d}"
    rows = connection.execute(
        f"""
        WITH {_states(connection, filters, condition)}
        SELECT {_BATCH_COLUMNS} FROM states {state} ORDER BY substr(batch_id, 3) DESC LIMIT ? OFFSET ?
        """,
        [*values, *([] if status is None else [status.value]), limit, offset],
    ).fetch_all()
    return [_batch(row) for row in rows]


def batches_named(connection: Connection, batch_ids: Collection[str]) -> dict[str, Batch]:
    """Returns the batches with these ids in their present state, by id."""
    if not batch_ids:
        return {}
    rows = connection.execute(
        f"""
        WITH {
            _states(
                connection, "WHERE list_contains(?::VARCHAR[], batch_id)", is_among(connection, "batch_id", batch_ids)
            )
        }
        SELECT {_BATCH_COLUMNS} FROM states
        """,
        [list(batch_ids)],
    ).fetch_all()
    return {batch.batch_id: batch for batch in map(_batch, rows)}


def settled(connection: Connection) -> int:
    """Returns a number of a row. Every batch with its last row up to it is closed, for longer than two windows.

    So open batches are found in the rows after it. The catalog has the number beside the ledger; without it, it is 0.
    """
    found = connection.of_catalog("SELECT value FROM {catalog}.ducklake_metadata WHERE key = '" + _SETTLED + "'")
    (number,) = connection.fetch_one(f"SELECT coalesce(max(value::VARCHAR::BIGINT), 0) FROM {found}")
    return int(number)


def settle(connection: Connection, number: int) -> None:
    """Write the number that `settled` returns, in a change of the catalog."""
    connection.execute(f"DELETE FROM {METADATA}.ducklake_metadata WHERE key = '{_SETTLED}'")
    connection.execute(f"INSERT INTO {METADATA}.ducklake_metadata (key, value) VALUES ('{_SETTLED}', ?)", [str(number)])


def unsettled(connection: Connection) -> list[tuple[int, Batch]]:
    """Returns the batches with rows after the settled one in their present state, with the number of their last row."""
    rows = connection.execute(
        f"""
        WITH {_states(connection, "WHERE seq > ?", f"seq > {settled(connection):d}")}
        SELECT seq, {_BATCH_COLUMNS} FROM states ORDER BY seq
        """,
        [settled(connection)],
    ).fetch_all()
    return [(seq, _batch(row)) for seq, *row in rows]


def unbalanced(connection: Connection, record_type: str) -> list[Batch]:
    """Returns the previewed and committed batches of a type, of all accounts, if their counts do not balance."""
    rows = connection.execute(
        f"""
        WITH {_states(connection, "WHERE record_type = ?", f"seq > {settled(connection):d}")}
        SELECT {_BATCH_COLUMNS} FROM states
        WHERE status IN (?, ?) AND read <> created + updated + unchanged + rejected + duplicate ORDER BY batch_id
        """,
        [record_type, BatchStatus.PREVIEWED.value, BatchStatus.COMMITTED.value],
    ).fetch_all()
    return [_batch(row) for row in rows]


def all_unbalanced(connection: Connection) -> list[Batch]:
    """Returns the batches of all types and accounts with counts that do not balance, in any status but failed."""
    rows = connection.execute(
        f"""
        WITH {_states(connection, "", None)}
        SELECT {_BATCH_COLUMNS} FROM states
        WHERE status <> ? AND read <> created + updated + unchanged + rejected + duplicate ORDER BY batch_id
        """,
        [BatchStatus.FAILED.value],
    ).fetch_all()
    return [_batch(row) for row in rows]


@dataclass(frozen=True)
class EarlierCommits:
    """The last commits of an account like another file, None if there is none. They were not rolled back since.

    of_file: of a file with the same content. of_header_row: of one with the same header row.
    with_options: of each other header row for which a user said how the file is written, the newest first. Only the
    last commits are searched.
    """

    of_file: Batch | None
    of_header_row: Batch | None
    with_options: tuple[Batch, ...]


def earlier_commits(
    connection: Connection, account: str, record_type: str, file_sha256: str, header_row: str | None = None
) -> EarlierCommits:
    """Returns the account's last commits of a file with this content, with this header row, and with options."""
    filters, values = filters_of(account=account, record_type=record_type)
    states, committed = sorted(state.value for state in STANDING), BatchStatus.COMMITTED.value
    like_it = is_any_of(
        connection,
        account,
        Having("file_sha256", file_sha256),
        Having("options", "{", committed, _REMEMBERED),
        *([Having("header_row", header_row, committed, _REMEMBERED)] if header_row else []),
    )
    rows = connection.execute(
        f"""
        WITH {_states(connection, filters, like_it)}
        SELECT file_sha256 = ? AS same_file, coalesce(detail ->> '$.binding.header_row' = ?, false) AS same_headers,
            CASE WHEN detail ->> '$.binding.options' <> '' THEN detail ->> '$.binding.header_row' END AS headers_said,
            {_BATCH_COLUMNS}
        FROM transitions WHERE (same_file OR same_headers OR headers_said IS NOT NULL) AND status = ?
            AND batch_id IN (SELECT batch_id FROM states WHERE status IN ({", ".join("?" * len(states))}))
        QUALIFY row_number() OVER (PARTITION BY same_file, same_headers, headers_said ORDER BY seq DESC) = 1
        ORDER BY seq DESC
        """,
        [*values, file_sha256, header_row, BatchStatus.COMMITTED.value, *states],
    ).fetch_all()
    return EarlierCommits(
        next((_batch(batch) for same_file, _, _, *batch in rows if same_file), None),
        next((_batch(batch) for _, same_headers, _, *batch in rows if same_headers), None),
        tuple(_batch(batch) for _, same_headers, said, *batch in rows if said and not same_headers),
    )


def arrivals(connection: Connection, bundle: str, accounts: Collection[str]) -> dict[str, Batch]:
    """Returns the last batch of each file of a bundle that arrived for these accounts, by the arrival's id."""
    found: dict[str, Batch] = {}
    for account in sorted(accounts):
        condition = is_any_of(connection, account, Having("arrival", bundle))
        rows = connection.execute(
            f"""
            SELECT arrival, {_BATCH_COLUMNS} FROM (
                SELECT *, detail ->> '$.binding.arrival' AS arrival FROM {rows_of(connection, "batches", condition)}
            ) WHERE account = ? AND starts_with(arrival, ?)
            QUALIFY row_number() OVER (PARTITION BY arrival ORDER BY seq DESC) = 1
            """,
            [account, bundle],
        ).fetch_all()
        found |= {arrival: _batch(row) for arrival, *row in rows}
    return found


def arrived(connection: Connection, account: str, limit: int) -> list[Batch]:
    """Returns the account's last files that arrived in the inbox, in their present state, newest first."""
    rows = connection.execute(
        f"""
        WITH {_states(connection, "WHERE account = ?", is_last_arrived(connection, account, limit))}
        SELECT {_BATCH_COLUMNS} FROM states
        WHERE (detail ->> '$.binding.arrival') IS NOT NULL AND (detail ->> '$.undone.batch_id') IS NULL
        ORDER BY (detail ->> '$.binding.arrival') DESC, batch_id DESC LIMIT ?
        """,
        [account, limit],
    ).fetch_all()
    return [_batch(row) for row in rows]


def corrections_of(connection: Connection, account: str, batch_ids: Collection[str]) -> list[Batch]:
    """Returns the batches that corrected rows of these batches, in their present state, oldest first."""
    like_it = is_any_of(connection, account, *(Having("parent", it) for it in batch_ids)) if batch_ids else None
    query = f"""
        WITH {_states(connection, "WHERE account = ?", like_it)} SELECT {_BATCH_COLUMNS} FROM states
        WHERE list_contains(?::VARCHAR[], detail ->> '$.binding.parent') ORDER BY batch_id
        """
    return [_batch(row) for row in connection.execute(query, [account, list(batch_ids)]).fetch_all()]


def rollback_of(connection: Connection, of: Batch) -> tuple[Batch, Undone]:
    """Returns the last rollback of the batch, and what it changed. There must be one."""
    rows = connection.execute(
        f"SELECT {_BATCH_COLUMNS} FROM {rows_with(connection, 'batches', account=of.account)} "
        "WHERE detail ->> '$.undone.batch_id' = ? AND status = ? ORDER BY seq DESC LIMIT 1",
        [of.batch_id, BatchStatus.COMMITTED.value],
    ).fetch_all()
    ((rollback, undone),) = [(batch, batch.undone) for batch in map(_batch, rows) if batch.undone is not None]
    return rollback, undone


def rolled_back_since(connection: Connection, batch: Batch) -> list[Batch]:
    """Returns the batches that were in force directly before this one's commit and are rolled back now, newest first.

    They are of the same account and type. Batches that come into force again with this rollback are left out. So is a
    rollback if its own batch is rolled back again, because the records are as that rollback left them.
    """
    owned = rows_with(connection, "batches", account=batch.account)
    rows = connection.execute(
        f"""
        WITH its AS MATERIALIZED (
                SELECT batch_id, status, seq FROM {owned} WHERE account = ? AND record_type = ?
            ),
            its_row AS (SELECT min(seq) AS its_commit FROM its WHERE batch_id = ? AND status = 'committed')
        SELECT batch_id FROM its CROSS JOIN its_row GROUP BY batch_id
        HAVING arg_max(status, seq) = 'rolled_back'
            AND arg_max(status, seq) FILTER (seq < its_commit) = 'committed'
        ORDER BY min(seq) FILTER (status = 'committed') DESC
        """,
        [batch.account, batch.record_type, batch.batch_id],
    ).fetch_all()

    def is_rolled_back(undone: Undone) -> bool:
        return _known_batch(connection, undone.batch_id).status is BatchStatus.ROLLED_BACK

    found = [_known_batch(connection, batch_id) for (batch_id,) in rows]
    again = {it.batch_id for it in undone_by(connection, batch)[::2]}
    return [it for it in found if it.batch_id not in again and (it.undone is None or not is_rolled_back(it.undone))]


def undone_by(connection: Connection, batch: Batch) -> list[Batch]:
    """Returns the batch that a rollback rolled back, the batch that this one had rolled back, and so on.

    If the first rollback is rolled back, every second one of these comes into force again.
    """
    found: list[Batch] = []
    while batch.undone is not None:
        batch = _known_batch(connection, batch.undone.batch_id)
        found.append(batch)
    return found


def batches_after(connection: Connection, seq: int, limit: int | None) -> list[tuple[int, Batch]]:
    """Returns the transitions of batches after a row of the ledger, oldest first."""
    rows = rows_after(connection, "batches", _BATCH_COLUMNS, seq, limit)
    return [(row[0], _batch(row[1:])) for row in rows]


def transitions_after(connection: Connection, seq: int) -> list[Batch]:
    """Returns all transitions of batches after a row of the ledger, oldest first."""
    return [batch for _, batch in batches_after(connection, seq, None)]


def _states(connection: Connection, filters: str, condition: str | None) -> str:
    """Returns two tables, to follow WITH: the transitions of some batches, and the last one of each.

    Without MATERIALIZED, DuckDB reads the table once to sort it and once more for the other columns. Each read of a
    table costs DuckLake several queries on the catalog (measured with DuckLake 1.0).
    """
    return f"""
        transitions AS MATERIALIZED (SELECT * FROM {rows_of(connection, "batches", condition)} {filters}),
        states AS (SELECT * FROM transitions QUALIFY row_number() OVER (PARTITION BY batch_id ORDER BY seq DESC) = 1)
    """


def _batch(row: Iterable[Any]) -> Batch:
    batch_id, account, record_type, status, actor, at, run_id, file_name, sha256, *numbers, detail = row
    details = batch_detail.from_json(detail)
    if details["committed_at"] is None and status == BatchStatus.COMMITTED.value:
        details["committed_at"] = at  # an earlier version did not record it
    return Batch(
        batch_id=batch_id,
        account=account,
        record_type=record_type,
        status=BatchStatus(status),
        actor=actor,
        at=at,
        run_id=run_id,
        file_name=file_name,
        file_sha256=sha256,
        counts=Counts(*numbers),
        **details,
    )
