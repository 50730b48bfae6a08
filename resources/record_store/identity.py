"""Checks that a catalog and data belong together: both have the id of one store."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from resources.clock import Observation
from resources.file_storage import files_below, is_local, make_folder, size_of
from resources.record_store.lake import METADATA, Connection
from resources.record_store.lake_files import LAKE, NamedFile, named
from resources.record_store.refusals import catalog_outdated, foreign_data, not_marked, not_ready
from resources.record_store.store_format import require_format, require_known_format
from resources.record_store.store_mark import Mark, StoreMark
from resources.record_store.tables import NOT_INLINED
from resources.settings import Settings
from schemas.errors import CatalogOutdated

KEY = "records_store"
"""The key of the store's id, among the settings that DuckLake keeps in a catalog."""


@dataclass(frozen=True)
class CatalogState:
    """The state of a catalog.

    has_ledger: whether the store was made to the end. store: its id. snapshot: the number of the newest snapshot.
    format: the number of the store's format; 0 if a program made it that wrote none.
    """

    has_ledger: bool
    store: str | None
    snapshot: int
    format: int


@dataclass(frozen=True)
class OutdatedCatalog:
    """A catalog that is older than its data.

    catalog_snapshot, data_snapshot: the newest snapshot that each of the two knows.
    newest: the time of the newest entry in the catalog.
    unknown_files: how many files of the lake the catalog does not know.
    """

    catalog_snapshot: int
    data_snapshot: int
    newest: datetime | None
    unknown_files: int


def state_of(connection: Connection) -> CatalogState:
    """Return the present state of the catalog."""
    state = connection.of_catalog(
        f"""
        SELECT count(CASE WHEN t.table_name = 'batches' THEN 1 END) AS ledgers, max(g.value) AS format,
            (SELECT max(value) FROM {{catalog}}.ducklake_metadata WHERE key = '{KEY}') AS store,
            (SELECT max(snapshot_id) FROM {{catalog}}.ducklake_snapshot) AS snapshot
        FROM {{catalog}}.ducklake_table t
        JOIN {{catalog}}.ducklake_schema s ON s.schema_id = t.schema_id AND s.schema_name = 'ledger'
        LEFT JOIN {{catalog}}.ducklake_tag g ON g.object_id = t.table_id AND g.key = 'comment'
            AND g.end_snapshot IS NULL AND t.table_name = '{NOT_INLINED}'
        WHERE t.end_snapshot IS NULL AND t.table_name IN ('batches', '{NOT_INLINED}')
        """
    )
    ledgers, number, store, snapshot = connection.fetch_one(
        f"SELECT ledgers::BIGINT, TRY_CAST(format::VARCHAR AS BIGINT), store::VARCHAR, snapshot::BIGINT FROM {state}"
    )
    return CatalogState(bool(ledgers), store, snapshot or 0, number or 0)


def require_one_store(settings: Settings, mark: Mark | None, catalog: CatalogState) -> Mark:
    """Compare a mark with the catalog, which was read after it. Returns the mark.

    Raises StoreNotReady if there is no store or no mark, and OtherFormat if a newer program made it. Raises ForeignData
    if the two are of different stores, and CatalogOutdated if the data are newer than the catalog.
    """
    if not catalog.has_ledger:  # for example, after a crash while the store was made
        raise not_ready(settings)
    require_known_format(settings, catalog.format)
    if mark is None or catalog.store is None:
        require_format(settings, catalog.format)  # programs before format 2 gave no id
        raise not_marked(settings)
    if mark.store != catalog.store:
        raise foreign_data(settings, f"the data are of the store {mark.store}, the catalog is of {catalog.store}")
    if mark.snapshot > catalog.snapshot:
        raise catalog_outdated(settings, catalog.snapshot, mark.snapshot)
    return mark


def require_unclaimed(settings: Settings, mark: Mark | None) -> None:
    """Raise ForeignData if another store has the data, before a catalog is made for them."""
    if mark is not None:
        raise foreign_data(settings, f"the data are of the store {mark.store}, and there is no catalog yet")
    if _files_of_others(settings):
        raise foreign_data(settings, "there are files already, and there is no catalog yet")


def claim(connection: Connection, settings: Settings, store_mark: StoreMark, seen: Observation) -> None:
    """Give a catalog and its data the id of one store, if one of them has none.

    Raises ForeignData if the data have the mark of another store, or if a file that the catalog names is missing.
    Also raises it if there are files and the catalog names none.
    """
    catalog, mark = state_of(connection), store_mark.read()
    if mark is not None and catalog.store is not None:
        require_one_store(settings, mark, catalog)
        return
    if mark is not None:
        raise foreign_data(settings, f"the data are of the store {mark.store}, the catalog has no store's id")
    files = named(connection)
    missing = [file for file in files if size_of(settings.data / file.path) != file.bytes]
    if missing:
        raise foreign_data(settings, _missing(missing))
    if not files and _files_of_others(settings):
        raise foreign_data(settings, "there are files already, and the catalog names none of them")
    store = catalog.store or str(uuid.uuid4())
    if catalog.store is None:
        set_store(connection, store)
    if is_local(settings.data):
        make_folder(settings.data)
    if not store_mark.create(Mark(store, catalog.snapshot, seen)):
        require_one_store(settings, store_mark.read(), replace(catalog, store=store))


def is_outdated(settings: Settings, mark: Mark | None, catalog: CatalogState) -> bool:
    """Return whether the catalog is older than its data. Raises what `require_one_store` raises otherwise."""
    if mark is not None and mark.accepted is not None and mark.accepted == catalog.store:
        return True  # the process that accepted it was killed before the end
    try:
        require_one_store(settings, mark, catalog)
    except CatalogOutdated:
        return True
    return False


def accept(connection: Connection, store_mark: StoreMark, mark: Mark, seen: Observation) -> None:
    """Give a catalog that is older than its data, and the data, a new id. A newer catalog no longer fits them.

    A process that is killed in between leaves the new id in the mark. The next process continues from there.
    """
    store = mark.accepted or str(uuid.uuid4())
    store_mark.write(replace(mark, accepted=store))
    connection.execute("BEGIN")
    set_store(connection, store)
    connection.execute("COMMIT")
    store_mark.write(Mark(store, state_of(connection).snapshot, seen))


def set_store(connection: Connection, store: str) -> None:
    """Write the id of the store into the catalog."""
    connection.execute(f"DELETE FROM {METADATA}.ducklake_metadata WHERE key = '{KEY}'")
    connection.execute(f"INSERT INTO {METADATA}.ducklake_metadata (key, value) VALUES ('{KEY}', ?)", [store])


def _files_of_others(settings: Settings) -> bool:
    """Return whether there are files in a store's folders, except the inbox, which may be older than the store."""
    roots = (settings.data / LAKE, settings.accounts, settings.processing, settings.archive, settings.quarantine)
    return any(True for root in roots for _ in files_below(root))


def _missing(files: list[NamedFile]) -> str:
    more = f" and {len(files) - 1:,} more" if files[1:] else ""
    return f"{files[0].path}{more}, which the catalog names, is missing or has another size"
