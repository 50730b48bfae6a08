"""Whether a catalog and data belong together: the id of a store, which both have, and how it comes to be."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from resources.clock import Observation
from resources.file_storage import files_below, is_local, make_folder, size_of
from resources.record_store.lake import METADATA, Connection
from resources.record_store.lake_files import LAKE, NamedFile, named
from resources.record_store.refusals import catalog_outdated, foreign_data, not_marked, not_ready
from resources.record_store.store_mark import Mark, StoreMark
from resources.settings import Settings
from schemas.errors import CatalogOutdated

KEY = "records_store"
"""Of the id among the settings that DuckLake keeps in a catalog."""


@dataclass(frozen=True)
class CatalogState:
    """What a catalog says of itself: whether it has the ledger, the store's id, the number of its newest snapshot."""

    has_ledger: bool
    store: str | None
    snapshot: int


@dataclass(frozen=True)
class OutdatedCatalog:
    """A catalog that is older than its data.

    The newest snapshot that each of the two knows, the time of the catalog's newest entry, and how many files of the
    lake the catalog does not know.
    """

    catalog_snapshot: int
    data_snapshot: int
    newest: datetime | None
    unknown_files: int


def state_of(connection: Connection) -> CatalogState:
    """What the catalog says of itself, as of this moment."""
    ledgers, store, snapshot = connection.fetch_one(
        f"""
        SELECT (SELECT count(*) FROM {METADATA}.ducklake_schema WHERE schema_name = 'ledger'),
            (SELECT max(value) FROM {METADATA}.ducklake_metadata WHERE key = '{KEY}'),
            (SELECT max(snapshot_id) FROM {METADATA}.ducklake_snapshot)
        """
    )
    return CatalogState(bool(ledgers), store, snapshot or 0)


def require_one_store(settings: Settings, mark: Mark | None, catalog: CatalogState) -> Mark:
    """Compare a mark with the catalog, which was read after it; returns the mark.

    Raises StoreNotReady if there is no store or no mark, ForeignData if the two are of different stores,
    CatalogOutdated if the data are newer than the catalog.
    """
    if not catalog.has_ledger:  # as after a crash while the store was made
        raise not_ready(settings)
    if mark is None or catalog.store is None:
        raise not_marked(settings)
    if mark.store != catalog.store:
        raise foreign_data(settings, f"the data are of the store {mark.store}, the catalog is of {catalog.store}")
    if mark.snapshot > catalog.snapshot:
        raise catalog_outdated(settings, catalog.snapshot, mark.snapshot)
    return mark


def require_unclaimed(settings: Settings, mark: Mark | None) -> None:
    """Refuse to make a catalog for data that another store has. Raises ForeignData."""
    if mark is not None:
        raise foreign_data(settings, f"the data are of the store {mark.store}, and here is no catalog yet")
    if _files_of_others(settings):
        raise foreign_data(settings, "there are files already, and here is no catalog yet")


def claim(connection: Connection, settings: Settings, store_mark: StoreMark, seen: Observation) -> None:
    """Give a catalog and its data the id of one store, where one of them has none.

    Raises ForeignData if the data have the mark of another store, if a file is missing that the catalog names, or if
    there are files and the catalog names none.
    """
    catalog, mark = state_of(connection), store_mark.read()
    if mark is not None and catalog.store is not None:
        require_one_store(settings, mark, catalog)
        return
    if mark is not None:
        raise foreign_data(settings, f"the data are of the store {mark.store}, the catalog is of none")
    files = named(connection)
    missing = [file for file in files if size_of(settings.data / file.path) != file.bytes]
    if missing:
        raise foreign_data(settings, _missing(missing))
    if not files and _files_of_others(settings):
        raise foreign_data(settings, "there are files already, of which the catalog knows nothing")
    store = catalog.store or str(uuid.uuid4())
    if catalog.store is None:
        set_store(connection, store)
    if is_local(settings.data):
        make_folder(settings.data)
    if not store_mark.create(Mark(store, catalog.snapshot, seen)):
        require_one_store(settings, store_mark.read(), replace(catalog, store=store))


def is_outdated(settings: Settings, mark: Mark | None, catalog: CatalogState) -> bool:
    """Whether the catalog is older than its data. Raises what `require_one_store` raises, but for CatalogOutdated."""
    if mark is not None and mark.accepted is not None and mark.accepted == catalog.store:
        return True  # whoever accepted it was killed before the end
    try:
        require_one_store(settings, mark, catalog)
    except CatalogOutdated:
        return True
    return False


def accept(connection: Connection, store_mark: StoreMark, mark: Mark, seen: Observation) -> None:
    """Give a catalog that is older than its data, and the data, a new id: the newer catalog does not fit them any more.

    Whoever is killed in between leaves the new id in the mark, and the next one goes on from there.
    """
    store = mark.accepted or str(uuid.uuid4())
    store_mark.write(replace(mark, accepted=store))
    connection.execute("BEGIN")
    set_store(connection, store)
    connection.execute("COMMIT")
    store_mark.write(Mark(store, state_of(connection).snapshot, seen))


def set_store(connection: Connection, store: str) -> None:
    """The catalog has this id of a store from now on."""
    connection.execute(f"DELETE FROM {METADATA}.ducklake_metadata WHERE key = '{KEY}'")
    connection.execute(f"INSERT INTO {METADATA}.ducklake_metadata (key, value) VALUES ('{KEY}', ?)", [store])


def _files_of_others(settings: Settings) -> bool:
    """Whether there are files where a store has its own; an inbox may be older than its store."""
    roots = (settings.data / LAKE, settings.accounts, settings.processing, settings.archive, settings.quarantine)
    return any(True for root in roots for _ in files_below(root))


def _missing(files: list[NamedFile]) -> str:
    more = f" and {len(files) - 1:,} more" if files[1:] else ""
    return f"{files[0].path}{more}, which the catalog names, is not there or has another size"
