"""The rows of a catalog as Parquet files, and a catalog in SQLite or PostgreSQL that is made of them.

The catalog is made in a place where no store looks for one. One step puts it in its final place. Until then no process
can open it as a store.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from resources.file_storage import FileStorage, remove
from resources.record_store import sqlite_file
from resources.record_store.catalog import PUBLIC, Catalog, PostgresCatalog, SqliteCatalog
from resources.record_store.databases import Databases
from resources.record_store.identity import KEY, set_store
from resources.record_store.lake import METADATA, Connection, Lake
from resources.record_store.ledger_rows import create_indexes
from resources.record_store.server_errors import is_ended, server_error
from resources.record_store.sql_text import identifier, literal
from resources.settings import Settings
from schemas.errors import Refused, StoreNotReady, StoreUnreachable, Unaccounted

STAGED = "migrating"
"""The folder of a home in which its catalog is made."""

_SCHEMA = "records_migration"
_METADATA = "ducklake_metadata"
_RETIRED = "ducklake_files_scheduled_for_deletion"
"""The table of files that no snapshot needs. Neither the files nor its rows are copied."""

_INLINED = "ducklake_inlined_data_"
_INLINED_TABLES = "ducklake_inlined_data_tables"


def unload(connection: Connection, folder: Path) -> list[str]:
    """Write the rows of each of the catalog's tables to a file in a folder. Returns the tables' names.

    Within a transaction, all rows are as of its first query, also beside writers.
    """
    tables = [name for name in connection.tables_of_catalog() if name != _RETIRED]
    for name in tables:
        columns = _columns(connection, f"FROM {METADATA}.{identifier(name)}")
        typed = ", ".join(
            f"CAST({identifier(column)} AS {kind}) AS {identifier(column)}" for column, kind in columns.items()
        )
        rows = connection.of_catalog(f"SELECT * FROM {{catalog}}.{identifier(name)}")
        target = literal(unloaded(folder, name))
        connection.execute(f"COPY (SELECT {typed} FROM {rows}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
    return tables


def unloaded(folder: Path, table: str) -> Path:
    """Return the file that has the rows of a table."""
    return folder / f"{table}.parquet"


class _Staging(Protocol):
    """A temporary place for a catalog, from which one step moves it to its final place."""

    settings: Settings
    catalog: Catalog

    def clear(self) -> None:
        """Remove the copy of a killed process, and make an empty place."""
        ...

    def publish(self) -> None:
        """Move the whole catalog to its final place."""
        ...


class _SqliteStaging:
    """A home inside the target's home, for a catalog in SQLite."""

    def __init__(self, target: Settings) -> None:
        self._target = target
        self._folder = target.home / STAGED
        self.settings = replace(target, home=self._folder)
        self.catalog: Catalog = SqliteCatalog(self.settings)

    def clear(self) -> None:
        """Make an empty folder."""
        remove(self._folder)
        self._folder.mkdir(parents=True)

    def publish(self) -> None:
        """Move the file to its final place, flushed to the disk."""
        made = self.settings.catalog
        try:
            sqlite_file.end_log(made)
        except sqlite3.Error as error:
            raise self.catalog.error(error) from None
        _require_absent(self._target.catalog)
        FileStorage(self._folder).put(made, self._target.catalog)
        remove(self._folder)


class _PostgresStaging:
    """A schema of the target's database that no store reads."""

    def __init__(self, target: Settings, url: str) -> None:
        self.settings = target
        self._catalog = PostgresCatalog(target, url, _SCHEMA)
        self.catalog: Catalog = self._catalog

    def clear(self) -> None:
        """Make an empty schema."""
        self._execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE; CREATE SCHEMA {_SCHEMA}")

    def publish(self) -> None:
        """Move the tables into the schema that stores read, in one transaction."""
        moved = "; ".join(f"ALTER TABLE {_SCHEMA}.{name} SET SCHEMA {PUBLIC}" for name in self._catalog.tables())
        self._execute(f"BEGIN; {moved}; DROP SCHEMA {_SCHEMA}; COMMIT")

    def _execute(self, statements: str) -> None:
        import psycopg2

        with self._catalog.session() as session, session.cursor() as cursor:
            try:
                cursor.execute(statements)
            except psycopg2.Error as error:
                if is_ended(error):
                    raise server_error(error) from None
                said = str(error).splitlines()[0]
                raise StoreUnreachable(
                    f"PostgreSQL refuses to make the catalog: {said}.",
                    "Give a database without a store, and a user that may create a schema in it. Then try again.",
                ) from None


class NewCatalog:
    """A catalog that is made of unloaded rows, at the place in the settings.

    folder: the folder of this machine that has the rows. not_put: what to do after a failure, as a sentence.
    """

    def __init__(self, target: Settings, folder: Path, not_put: str) -> None:
        self._staging: _Staging = (
            _SqliteStaging(target) if target.postgres is None else _PostgresStaging(target, target.postgres)
        )
        self._folder = folder
        self._not_put = not_put

    def prepare(self) -> None:
        """Make an empty temporary place for the catalog."""
        self._staging.clear()

    @contextmanager
    def loaded(self, tables: Sequence[str], store: str) -> Iterator[Lake]:
        """Make the catalog in the temporary place, compare its rows with the files, and yield its lake to read.

        store: the id of the new store.
        """
        lake = Lake(self._staging.settings, self._staging.catalog, Databases())
        try:
            with lake.attached() as connection:
                self._load(connection, tables, store)
            lake.close()
            with lake.attached() as connection:
                create_indexes(connection)
            lake.close()
            yield lake
        finally:
            lake.close()

    def publish(self) -> None:
        """Move the catalog to its final place."""
        self._staging.publish()

    def _load(self, connection: Connection, tables: Sequence[str], store: str) -> None:
        """Replace the rows of the new catalog's tables by the unloaded ones, in one transaction, and compare them.

        store: the id of the new store.
        """
        made = set(self._staging.catalog.tables())
        connection.execute("BEGIN")
        for name in tables:
            here = f"{METADATA}.{identifier(name)}"
            if name not in made:
                connection.execute(f"CREATE TABLE {here} ({self._inlined_columns(connection, name)})")
            wanted, given = _columns(connection, f"FROM {here}"), _columns(connection, self._rows(name))
            if list(wanted) != list(given):
                raise StoreNotReady(
                    f"The columns of the catalog's table {name} are not those of this version of DuckLake.",
                    "Run records init with this version on the store that is copied. Then copy it again.",
                )
            converted = ", ".join(_converted(column, given[column], kind) for column, kind in wanted.items())
            rows = f"SELECT {converted} {self._rows(name)}"
            if name == _METADATA:  # the copy has another id and another place
                others = f"key NOT IN ('data_path', '{KEY}')"
                rows += f" WHERE {others}"
                connection.execute(f"DELETE FROM {here} WHERE {others}")
                there = f"FROM {here} WHERE {others}"
            else:
                connection.execute(f"DELETE FROM {here}")
                there = f"FROM {here}"
            connection.execute(f"INSERT INTO {here} {rows}")
            (different,) = connection.fetch_one(
                f"SELECT (SELECT count(*) FROM ({rows} EXCEPT ALL {there})) "
                f"+ (SELECT count(*) FROM ({there} EXCEPT ALL {rows}))"
            )
            if different:
                raise Unaccounted(
                    f"{different:,} rows of the catalog's table {name} differ from those that were read.", self._not_put
                )
        set_store(connection, store)
        connection.execute("COMMIT")

    def _inlined_columns(self, connection: Connection, name: str) -> str:
        """Return SQL for the columns of a table of inlined rows, as DuckLake makes it: text has a special type."""
        if not name.startswith(_INLINED):
            raise Refused(
                f"The catalog has a table {name}, which this version does not know.",
                "Another program than records has changed the store. Export its records and import them there.",
            )
        rows = connection.execute(
            f"""
            SELECT column_name FROM read_parquet({literal(unloaded(self._folder, "ducklake_column"))})
            JOIN read_parquet({literal(unloaded(self._folder, _INLINED_TABLES))}) USING (table_id)
            WHERE table_name = ? AND column_type = 'varchar'
            """,
            [name],
        ).fetch_all()
        text = {column for (column,) in rows}
        columns = _columns(connection, self._rows(name))
        kinds = {
            column: self._staging.catalog.inlined_text if column in text else kind for column, kind in columns.items()
        }
        return ", ".join(f"{identifier(column)} {kind}" for column, kind in kinds.items())

    def _rows(self, name: str) -> str:
        return f"FROM read_parquet({literal(unloaded(self._folder, name))})"


def _columns(connection: Connection, rows: str) -> dict[str, str]:
    """Return the columns of a query, with their types."""
    return {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {rows}").fetch_all()}


def _converted(column: str, given: str, wanted: str) -> str:
    """Return a column as SQL, converted to the type that it has in the other kind of catalog."""
    name = identifier(column)
    if (given, wanted) == ("BLOB", "VARCHAR"):
        return f"decode({name}) AS {name}"
    if (given, wanted) == ("VARCHAR", "BLOB"):
        return f"encode({name}) AS {name}"
    return name if given == wanted else f"CAST({name} AS {wanted}) AS {name}"


def _require_absent(catalog: Path) -> None:
    if catalog.exists():
        raise Refused(
            f"Another process made a store in {catalog.parent} meanwhile. It did not change.",
            "Give an empty folder.",
        )
