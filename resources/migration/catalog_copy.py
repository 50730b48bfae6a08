"""Copies a store's catalog to SQLite or PostgreSQL, row by row, so that snapshots keep their numbers.

The copy is made in a place where no store looks for a catalog, and is compared there with the source. One step puts it
in its final place. Until then no process can open the target as a store.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from resources.file_storage import FileStorage, remove
from resources.record_store import ledger
from resources.record_store.catalog import PUBLIC, Catalog, PostgresCatalog, SqliteCatalog, catalog_of
from resources.record_store.databases import Databases, literal
from resources.record_store.identity import KEY, set_store
from resources.record_store.lake import METADATA, Connection, Lake, identifier
from resources.record_store.lake_files import NamedFile, named
from resources.record_store.server_errors import is_ended, server_error
from resources.record_store.snapshots import images_of
from resources.record_store.store import RecordStore
from resources.record_store.tables import LEDGER, exists, table
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.errors import Refused, StoreNotReady, StoreUnreachable, Unaccounted

STAGED = "migrating"
"""The folder of a home in which the copy of its catalog is made."""

_SCHEMA = "records_migration"
_METADATA = "ducklake_metadata"
_RETIRED = "ducklake_files_scheduled_for_deletion"
"""The table of files that no snapshot needs. Neither the files nor its rows are copied."""

_NOT_PUT = "The target is not a store, and the source did not change: migrate again, to an empty place."
_INLINED = "ducklake_inlined_data_"
_INLINED_TABLES = "ducklake_inlined_data_tables"

Tally = dict[tuple[str, str], tuple[int, int]]
"""The number of rows and the sum of their hashes, by table and account."""


@dataclass(frozen=True)
class Copied:
    """Numbers of a copied catalog. `compared` is the number of snapshots of which the records were compared."""

    accounts: int
    record_types: int
    batches: int
    exports: int
    snapshots: int
    compared: int


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
            with closing(sqlite3.connect(made)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
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
                    "Give a database without a store, and a user that may create a schema in it. Then migrate again.",
                ) from None


class CatalogCopy:
    """Copies the catalog of a store to the place in the target's settings. The caller holds the write lock.

    folder: an existing folder of this machine for the rows on their way.
    """

    def __init__(self, source: RecordStore, target: Settings, folder: Path) -> None:
        self._source = source
        self._from = catalog_of(source.settings)
        self._staging: _Staging = (
            _SqliteStaging(target) if target.postgres is None else _PostgresStaging(target, target.postgres)
        )
        self._folder = folder

    def identity(self) -> str:
        """Return an id of the source that no other store has."""
        with self._source.reading() as connection:
            (uuid,) = connection.fetch_one(
                f"SELECT schema_uuid::VARCHAR FROM {METADATA}.ducklake_schema WHERE schema_name = 'ledger' LIMIT 1"
            )
        return str(uuid)

    def files(self) -> list[NamedFile]:
        """Return the files that any snapshot needs, sorted by path. Raises Refused if one is outside the data."""
        with self._source.reading() as connection:
            files = named(connection)
        if not all(file.relative for file in files):
            raise Refused(
                "The store has files outside its folder of data, which would not be copied.",
                "Another program than records has changed the store. Export its records and import them there.",
            )
        return files

    def prepare(self) -> None:
        """Make an empty temporary place for the catalog."""
        self._staging.clear()

    def make(self, store: str) -> Copied:
        """Make the catalog in the temporary place, and compare its rows and records with the source's.

        store: the id of the new store.
        """
        tables = self._unload()
        with self._staged() as lake:
            with lake.attached() as connection:
                self._load(connection, tables, store)
            lake.close()
            return self._compare(lake)

    def publish(self) -> None:
        """Move the catalog to its final place."""
        self._staging.publish()

    @contextmanager
    def _staged(self) -> Iterator[Lake]:
        lake = Lake(self._staging.settings, self._staging.catalog, Databases())
        try:
            yield lake
        finally:
            lake.close()

    def _unload(self) -> list[str]:
        """Write the rows of each table to a file of this machine. Returns the tables' names."""
        tables = [name for name in self._from.tables() if name != _RETIRED]
        with self._source.reading() as connection:
            for name in tables:
                connection.execute(
                    f"COPY {METADATA}.{identifier(name)} TO {literal(self._unloaded(name))} (FORMAT parquet)"
                )
        return tables

    def _load(self, connection: Connection, tables: list[str], store: str) -> None:
        """Replace the rows of the new catalog's tables by those of the source, in one transaction, and compare them.

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
                    "Run records init with this version on the store to copy. Then migrate again.",
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
                    f"{different:,} rows of the catalog's table {name} differ from the source's.", _NOT_PUT
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
            SELECT column_name FROM read_parquet({literal(self._unloaded("ducklake_column"))})
            JOIN read_parquet({literal(self._unloaded(_INLINED_TABLES))}) USING (table_id)
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
        return f"FROM read_parquet({literal(self._unloaded(name))})"

    def _unloaded(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _compare(self, lake: Lake) -> Copied:
        """Compare ledger and records with the source's: now, before and after each batch that can be rolled back."""
        with self._source.reading() as connection:
            record_types = sorted(ledger.record_types(connection))
            images = self._images(connection)
            here = _tally(connection, record_types)
        with lake.attached(read_only=True) as connection:
            there = _tally(connection, record_types)
            _require_equal("now", here, there)
            numbers = [
                connection.fetch_one(f"SELECT count(DISTINCT {key}) FROM lake.ledger.{name}")[0]
                for name, key in (("accounts", "account"), ("batches", "batch_id"), ("exports", "export_id"))
            ]
            (snapshots,) = connection.fetch_one(f"SELECT count(*) FROM {METADATA}.ducklake_snapshot")
        for snapshot, of in images.items():
            with self._source.reading(snapshot) as connection:
                here = _tally_of(connection, of)
            with lake.attached(read_only=True, snapshot=snapshot) as connection:
                _require_equal(f"in snapshot {snapshot}", here, _tally_of(connection, of))
        accounts, batches, exports = numbers
        return Copied(accounts, len(record_types), batches, exports, snapshots, 1 + len(images))

    def _images(self, connection: Connection) -> dict[int, set[tuple[str, str]]]:
        """Return the snapshots before and after each commit that can be rolled back, with record type and account."""
        now, window = self._source.time(connection), self._source.settings.rollback_window  # of older batches
        images: dict[int, set[tuple[str, str]]] = {}
        for batch in ledger.batches(connection, status=BatchStatus.COMMITTED):
            if batch.is_over(now, window):
                continue
            for snapshot in images_of(connection, batch.batch_id) or ():
                images.setdefault(snapshot, set()).add((batch.record_type, batch.account))
        return images


def _tally(connection: Connection, record_types: list[str]) -> Tally:
    """Return the tally of each account's records of each type, and of each table of the ledger.

    A store of an earlier version may lack a table of the ledger, until `records init`.
    """
    found: Tally = {}
    for name in record_types:
        rows = connection.execute(
            f"SELECT _account, count(*), sum(hash(it)) FROM {table(name)} it GROUP BY _account"
        ).fetch_all()
        found |= {(name, account): (number, checksum) for account, number, checksum in rows}
    for name in filter(partial(exists, connection, "ledger"), LEDGER):  # an older store may lack one
        found["ledger", name] = connection.fetch_one(f"SELECT count(*), sum(hash(it)) FROM lake.ledger.{name} it")
    return found


def _tally_of(connection: Connection, of: set[tuple[str, str]]) -> Tally:
    """Return the tally of the given accounts' records of the given types."""
    return {
        (name, account): connection.fetch_one(
            f"SELECT count(*), sum(hash(it)) FROM {table(name)} it WHERE _account = ?", [account]
        )
        for name, account in sorted(of)
    }


def _require_equal(when: str, here: Tally, there: Tally) -> None:
    for of in sorted(here.keys() | there.keys()):
        if here.get(of) != there.get(of):
            name, account = of
            raise Unaccounted(
                f"The {name} of {account} {when} differ from the source's, in number or in a value.",
                _NOT_PUT,
            )


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
            "Migrate to an empty folder.",
        )
