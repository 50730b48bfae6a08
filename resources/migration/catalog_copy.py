"""Copies a store's catalog to SQLite or PostgreSQL, row by row, so that snapshots keep their numbers.

The copy is compared with the source before it becomes a catalog.
"""

from dataclasses import dataclass
from pathlib import Path

from resources.migration.catalog_rows import NewCatalog, unload
from resources.record_store import ledger
from resources.record_store.lake import METADATA, Connection, Lake
from resources.record_store.lake_files import NamedFile, needed
from resources.record_store.snapshots import images_of
from resources.record_store.store import RecordStore
from resources.record_store.tables import LEDGER, table
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.errors import Unaccounted

_NOT_PUT = "The target is not a store, and the source did not change: migrate again, to an empty place."

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


class CatalogCopy:
    """Copies the catalog of a store to the place in the target's settings. The caller holds the write lock.

    folder: an existing folder of this machine for the rows on their way.
    """

    def __init__(self, source: RecordStore, target: Settings, folder: Path) -> None:
        self._source = source
        self._made = NewCatalog(target, folder, _NOT_PUT)
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
            return needed(connection)

    def prepare(self) -> None:
        """Make an empty temporary place for the catalog."""
        self._made.prepare()

    def make(self, store: str) -> Copied:
        """Make the catalog in the temporary place, and compare its rows and records with the source's.

        store: the id of the new store.
        """
        with self._source.reading() as connection:
            connection.execute("BEGIN")
            tables = unload(connection, self._folder)
        with self._made.loaded(tables, store) as lake:
            return self._compare(lake)

    def publish(self) -> None:
        """Move the catalog to its final place."""
        self._made.publish()

    def _compare(self, lake: Lake) -> Copied:
        """Compare ledger and records with the source's: now, before and after each batch that can be rolled back."""
        with self._source.reading() as connection:
            record_types = sorted(ledger.record_types(connection))
            images = self._images(connection)
            here = _tally(connection, record_types)
        with lake.attached(read_only=True) as connection:
            there = _tally(connection, record_types)
            _require_equal("now", here, there)
            accounts, batches, exports = ledger.numbers(connection)
            (snapshots,) = connection.fetch_one(f"SELECT count(*) FROM {METADATA}.ducklake_snapshot")
        for snapshot, of in images.items():
            with self._source.reading(snapshot) as connection:
                here = _tally_of(connection, of)
            with lake.attached(read_only=True, snapshot=snapshot) as connection:
                _require_equal(f"in snapshot {snapshot}", here, _tally_of(connection, of))
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
    """Return the tally of each account's records of each type, and of each table of the ledger."""
    found: Tally = {}
    for name in record_types:
        rows = connection.execute(
            f"SELECT _account, count(*), sum(hash(it)) FROM {table(name)} it GROUP BY _account"
        ).fetch_all()
        found |= {(name, account): (number, checksum) for account, number, checksum in rows}
    for name in LEDGER:
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
