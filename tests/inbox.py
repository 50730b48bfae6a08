"""An inbox for tests, in which files arrive."""

from collections.abc import Iterable
from pathlib import Path

from resources.inbox import inbox_of
from resources.inbox.arrivals import Arrivals
from resources.record_store import RecordStore
from schemas.arrivals import Arrived, complete
from tests.object_server import on_disk
from tests.records import Row, write_csv


def lands(store: RecordStore, name: str, rows: Iterable[Row], place: str = "ua/contacts") -> Path:
    """Put a file into the inbox."""
    folder = on_disk(store.settings.inbox / place)
    folder.mkdir(parents=True, exist_ok=True)
    return write_csv(folder / name, rows)


def take(store: RecordStore) -> list[str]:
    """Take what lies unchanged in the inbox at two looks. Returns the reasons why files could not be moved."""
    inbox, accounts, record_types = inbox_of(store), store.accounts(), list(store.record_types())
    look = inbox.look(accounts, record_types)
    return inbox.take(complete(look, look), look, accounts, record_types, store.now())


def import_all(store: RecordStore) -> dict[str, Arrived]:
    """Import every bundle in processing. Returns the outcome of each file, by its name."""
    arrivals = Arrivals(store)
    return {it.file: it for bundle in inbox_of(store).bundles() for it in arrivals.import_bundle(bundle)}


def arrive(store: RecordStore) -> None:
    """Take everything that lies in the inbox, and import it."""
    take(store)
    import_all(store)


def places(store: RecordStore) -> dict[str, list[str]]:
    """Return the folders in which each arrived file lies, by its name, without what lies beside it."""
    found: dict[str, list[str]] = {}
    settings = store.settings
    for folder in (settings.inbox, settings.processing, settings.archive, settings.quarantine):
        for path in sorted(on_disk(folder).rglob("*")):
            if path.is_symlink() or not path.is_dir():
                found.setdefault(path.name, []).append(str(path.parent.relative_to(on_disk(settings.data))))
    return found


def kinds(store: RecordStore) -> dict[str, list[str]]:
    """Return in which of the four folders each file lies, by its name."""
    return {name: [place.split("/")[0] for place in there] for name, there in places(store).items()}
