"""Commits a batch: writes the records that its preview staged to the account's records."""

from resources.record_store import tables
from resources.record_store.lake import Connection
from resources.record_store.refusals import outdated
from resources.record_store.snapshots import commits_since
from resources.record_store.sql_text import identifier
from resources.record_store.staging import Staging, differs, same_key, within
from resources.record_store.tables import table
from schemas.batches import Basis, Batch
from schemas.counts import numbered
from schemas.errors import Unaccounted
from schemas.record_type import RecordType


class Commit:
    """Commits the records that a preview staged. Only `apply` writes."""

    def __init__(
        self,
        connection: Connection,
        record_type: RecordType,
        account: str,
        batch: Batch,
        basis: Basis,
        staging: Staging,
    ) -> None:
        self._connection = connection
        self._type = record_type
        self._account = account
        self._batch = batch
        self._basis = basis
        self._staging = staging

    def require_unchanged(self) -> None:
        """Raises PreviewOutdated if the record type, or a record that the file touches, changed since the preview."""
        connection, batch, record_type, staging = self._connection, self._batch, self._type, self._staging
        if self._basis.record_type_hash != record_type.hash:
            raise outdated(batch, f"the record type {record_type.name} has changed since")
        snapshot = self._basis.snapshot
        if not commits_since(connection, record_type, snapshot):
            return
        columns = ", ".join(map(identifier, [*tables.OWN_COLUMNS, *record_type.field_names]))
        now, then = (
            f"SELECT {columns} FROM (SELECT * FROM {table(record_type.name, lake)} WHERE _account = ?) t "
            f"SEMI JOIN ({staging.included_sql}) s ON {same_key(record_type, 't', 's')}"
            for lake in ("lake", connection.snapshot(snapshot))
        )
        key = ", ".join(map(identifier, record_type.key))
        (changed,) = connection.fetch_one(
            f"""
            SELECT count(DISTINCT ({key})) FROM (
                (({now}) EXCEPT ({then})) UNION ALL (({then}) EXCEPT ({now}))
            )
            """,
            [self._account] * 4,
        )
        if changed:
            have = "has" if changed == 1 else "have"
            raise outdated(batch, f"{numbered(changed, 'record')} that it touches {have} changed since")

    def apply(self) -> None:
        """Write the records. Raises Unaccounted, before the commit, if their counts differ from the preview's.

        Updates first, then inserts. MERGE could do both at once, but would not sort the inserted records by key.
        """
        connection, batch, record_type, staging = self._connection, self._batch, self._type, self._staging
        name, counts = table(record_type.name), batch.counts
        stored = f"FROM {connection.rows_of('records', record_type.name)} WHERE _account = ?"
        fields = [identifier(field) for field in staging.fields]
        before = connection.fetch_one(f"SELECT count(*) {stored}", [self._account])[0]
        updated = inserted = 0
        if counts.updated:
            changed = [identifier(field) for field in staging.fields if field not in record_type.key]
            updates = ", ".join([f"{field} = s.{field}" for field in changed] + ["_batch = ?"])
            (updated,) = connection.fetch_one(
                f"""
                MERGE INTO {name} t USING ({staging.included_sql}) s
                ON t._account = ? AND {same_key(record_type, "t", "s")}
                WHEN MATCHED AND ({differs(record_type, staging.fields, "t", "s")}) THEN UPDATE SET {updates}
                """,
                [self._account, batch.batch_id],
            )
        if counts.created:
            connection.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE stored AS SELECT s._record FROM ({staging.included_sql}) s
                SEMI JOIN (SELECT * {stored}) t ON {same_key(record_type, "t", "s")}
                """,
                [self._account],
            )
            for numbers, condition, bounds in staging.sortable_parts(connection, record_type, counts.created):
                inserted += connection.fetch_one(
                    f"""
                    INSERT INTO {name} (_account, _batch, {", ".join(fields)})
                    SELECT ?, ?, {", ".join(f"s.{field}" for field in fields)}
                    FROM (FROM ({staging.included_sql}) WHERE {within("_record", numbers)}) s
                    ANTI JOIN (FROM stored WHERE {within("_record", numbers)}) USING (_record) WHERE {condition}
                    """,
                    [self._account, batch.batch_id, *bounds],
                )[0]
        after, marked = connection.fetch_one(
            f"SELECT count(*), count(*) FILTER (_batch = ?) FROM {name} WHERE _account = ?",
            [batch.batch_id, self._account],
        )
        found = (inserted, updated, after - before, marked)
        if found != (counts.created, counts.updated, counts.created, counts.created + counts.updated):
            raise Unaccounted(
                f"Batch {batch.batch_id} would have created {inserted:,} and updated {updated:,} records; the preview "
                f"had {counts.created:,} and {counts.updated:,}. Nothing was written."
            )
