"""Creates the tables of the lake, the ledger's and one for each record type, and adds columns."""

from collections.abc import Iterable, Sequence

from resources.record_store.lake import METADATA, Connection
from resources.record_store.sql_text import identifier
from schemas.errors import StoreNotReady
from schemas.record_type import RecordType

LEDGER: dict[str, str] = {
    "batches": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, batch_id VARCHAR NOT NULL, account VARCHAR NOT NULL,
        record_type VARCHAR NOT NULL, status VARCHAR NOT NULL, actor VARCHAR NOT NULL, run_id VARCHAR,
        file_name VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, read BIGINT NOT NULL, created BIGINT NOT NULL,
        updated BIGINT NOT NULL, unchanged BIGINT NOT NULL, rejected BIGINT NOT NULL, duplicate BIGINT NOT NULL,
        detail VARCHAR NOT NULL""",
    "exports": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, export_id VARCHAR NOT NULL, account VARCHAR NOT NULL,
        record_type VARCHAR NOT NULL, actor VARCHAR NOT NULL, run_id VARCHAR, format VARCHAR NOT NULL,
        columns VARCHAR[] NOT NULL, snapshot BIGINT NOT NULL, snapshot_at TIMESTAMPTZ NOT NULL, rows BIGINT NOT NULL,
        bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL, path VARCHAR NOT NULL, detail VARCHAR""",
    "presets": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, account VARCHAR NOT NULL, record_type VARCHAR NOT NULL,
        name VARCHAR NOT NULL, columns VARCHAR[] NOT NULL, actor VARCHAR NOT NULL""",
    "value_mappings": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, account VARCHAR NOT NULL, record_type VARCHAR NOT NULL,
        field VARCHAR NOT NULL, text VARCHAR NOT NULL, value VARCHAR, actor VARCHAR NOT NULL""",
    "accounts": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, account VARCHAR NOT NULL,
        actor VARCHAR NOT NULL""",
    "record_types": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, record_type VARCHAR NOT NULL, hash VARCHAR NOT NULL,
        description VARCHAR NOT NULL""",
    "losses": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, path VARCHAR NOT NULL, account VARCHAR NOT NULL,
        record_type VARCHAR NOT NULL, records BIGINT NOT NULL, batches VARCHAR[] NOT NULL, keys VARCHAR,
        actor VARCHAR NOT NULL""",
    "erasures": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, erasure_id VARCHAR NOT NULL, account VARCHAR NOT NULL,
        record_type VARCHAR, status VARCHAR NOT NULL, actor VARCHAR NOT NULL, detail VARCHAR NOT NULL""",
    "files": """
        seq BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, path VARCHAR NOT NULL, bytes BIGINT, checksum VARCHAR,
        account VARCHAR, batches VARCHAR[] NOT NULL""",
}
"""The columns of the append-only tables, by table. `seq` numbers the rows of all tables together, without gaps."""

NOT_INLINED = "record_types"
"""The table of the ledger that has its rows in files. Its comment is the number of the store's format.

DuckLake makes a second table of inlined rows for a table that gets a comment, so no other one is used for that.
"""

TABLE_ID = f"""
    (SELECT t.table_id FROM {METADATA}.ducklake_table t JOIN {METADATA}.ducklake_schema s USING (schema_id)
     WHERE s.schema_name = 'records' AND t.table_name = ? AND t.end_snapshot IS NULL)
"""
"""SQL for DuckLake's number of a record type's table. Binds its name, which a table of the ledger may have too."""

FILE_BYTES = 64_000_000
"""The size of a file of records. Two smaller files are merged and sorted in one step, within seconds."""

OWN_COLUMNS = ("_account", "_batch")
"""The store's own columns of every record: its account, and the batch that wrote it last."""

_SQL_TYPES = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "float": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def sql_type(field_type: str) -> str:
    """Return the SQL type of a field's type."""
    return _SQL_TYPES.get(field_type, field_type.upper())


def table(record_type: str, database: str = "lake") -> str:
    """Return the table of a record type, as SQL, in the lake or in a snapshot of it."""
    return f"{database}.records.{identifier(record_type)}"


def no_records(record_type: RecordType) -> str:
    """Return SQL, to follow FROM, for a table without rows that has the columns of a type. It does not read the lake.

    DuckLake loads all tables of its catalog for the first table that a process reads.
    """
    columns = [f"NULL::VARCHAR AS {name}" for name in OWN_COLUMNS]
    columns += [f"NULL::{sql_type(field.type)} AS {identifier(field.name)}" for field in record_type.fields]
    return f"(SELECT {', '.join(columns)} WHERE false)"


def create_ledger(connection: Connection, record_types: Iterable[RecordType], store_format: int) -> set[str]:
    """Create the ledger's tables, and with them the tables of the record types. Returns the names of these types.

    The commit has the number of the store's format. Does nothing to a ledger that exists, and then returns no names.

    Rows of the ledger are inlined: DuckLake keeps them in the catalog, without a file. `record_types` is not inlined,
    because its rows are written together with DDL. If one snapshot inlines a row and creates a table, reading that row
    hides the table from `AT (VERSION => …)` (DuckLake 1.0, found here).

    It creates as many tables as it can in one commit, because each such commit makes a version of the schema. A process
    that reads inlined rows loads the newest version, and also that of their table's creation. Each takes 16 ms
    (DuckLake 1.0, measured here).
    """
    connection.execute("BEGIN")
    connection.execute("CREATE SCHEMA IF NOT EXISTS lake.records")
    connection.execute("CREATE SCHEMA IF NOT EXISTS lake.ledger")
    create_ledger_table(connection, NOT_INLINED)
    connection.execute("COMMIT")
    # Settings that DuckLake takes outside a transaction only.
    connection.execute("CALL lake.set_option('target_file_size', ?, schema => 'records')", [f"{FILE_BYTES}B"])
    connection.execute(
        "CALL lake.set_option('data_inlining_row_limit', 0, schema => 'ledger', table_name => ?)", [NOT_INLINED]
    )
    connection.execute("CALL lake.set_option('data_inlining_row_limit', 100, schema => 'ledger')")
    created: set[str] = set()
    if exists(connection, "ledger", "batches"):
        return created
    connection.execute("BEGIN")
    for record_type in record_types:
        create_table(connection, record_type)
        created.add(record_type.name)
    for name in LEDGER.keys() - {NOT_INLINED}:
        create_ledger_table(connection, name)
    set_format(connection, store_format)
    connection.execute("COMMIT")
    return created


def set_format(connection: Connection, number: int) -> None:
    """Write the number of the store's format."""
    connection.execute(f"COMMENT ON TABLE lake.ledger.{NOT_INLINED} IS '{number:d}'")


def exists(connection: Connection, schema: str, name: str) -> bool:
    """Return whether the lake has a table."""
    found = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = ? AND table_name = ?",
        [schema, name],
    )
    return bool(found.fetch_all())


def create_ledger_table(connection: Connection, name: str) -> None:
    """Create a table of the ledger, unless it exists."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS lake.ledger.{name} ({LEDGER[name]})")


def create_table(connection: Connection, record_type: RecordType) -> None:
    """Create the table of a type, partitioned by account and sorted by key.

    It replaces a table that a killed process has created for the type, perhaps with other fields. Raises StoreNotReady
    if that table has records: then it is not of this store, because the ledger does not know the type.
    """
    columns = ["_account VARCHAR NOT NULL", "_batch VARCHAR NOT NULL"]
    for field in record_type.fields:
        columns.append(
            f"{identifier(field.name)} {sql_type(field.type)}{' NOT NULL' if field.name in record_type.key else ''}"
        )
    name = table(record_type.name)
    if exists(connection, "records", record_type.name):
        if connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetch_all():
            raise StoreNotReady(
                f"The catalog has a table of {record_type.name} with records that this store did not write.",
                "Nothing was changed. Give RECORDS_CATALOG an empty database, or the database of a store.",
            )
        connection.execute(f"DROP TABLE {name}")
    connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
    connection.execute(f"ALTER TABLE {name} SET PARTITIONED BY (_account)")
    key = ", ".join(map(identifier, record_type.key))
    connection.execute(f"ALTER TABLE {name} SET SORTED BY ({key})")


def grow_table(transaction: Connection, before: RecordType, after: RecordType) -> Sequence[str]:
    """Add columns for the fields that the type has gained. Returns their names.

    Raises StoreNotReady for any other change of fields, key or types. Stored records would change their meaning, or be
    lost.
    """
    old = {field.name: field for field in before.fields}
    new = {field.name: field for field in after.fields}
    wrong = [f"{name} was removed" for name in old if name not in new]
    wrong += [
        f"{name} was {field.type} and is {new[name].type}"
        for name, field in old.items()
        if name in new and field.type != new[name].type
    ]
    wrong += [f"{name} is new and required" for name, field in new.items() if name not in old and field.required]
    if before.key != after.key:
        wrong.append(f"the key was {', '.join(before.key)} and is {', '.join(after.key)}")
    if wrong:
        raise StoreNotReady(
            f"The record type {after.name} no longer fits its stored records: {'; '.join(wrong)}.",
            "A type can only gain fields that may be null. For any other change, give the new type another name. Then "
            "export from the old type and import into the new one.",
        )
    gained = [name for name in new if name not in old]
    for name in gained:
        transaction.execute(f"ALTER TABLE {table(after.name)} ADD COLUMN {identifier(name)} {sql_type(new[name].type)}")
    return gained
