"""The actions during which faults are injected, each in a process of its own; and the store that they act on."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resources.export_writer import ExportWriter
from resources.file_reader import reader
from resources.file_storage import is_local
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.batches import Batch, BatchStatus, OnInvalid
from schemas.errors import StoreNotReady
from schemas.exports import ExportRequest
from schemas.rollbacks import OnModified, RollbackRequest
from tests.duckdb_opening import open_quickly
from tests.faults.harness import shim
from tests.inbox import arrive, lands, take
from tests.records import contact, contacts_of, stored, write_csv

ACCOUNTS = ("ua", "dl")
BESIDE = ("target", "second")
"""The homes of the stores that actions create beside the main store."""


@dataclass(frozen=True)
class Place:
    """A folder with a store's home, files to import, and everything else of one case."""

    root: Path
    catalog: str = ""
    data: str = ""
    beside: str = ""
    """The catalog's address of a second store, on a server."""
    home_name: str = "home"
    hours: float = 24.0

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that name the store."""
        variables = {
            "RECORDS_HOME": str(self.root / self.home_name),
            "RECORDS_ACTOR": "tester",
            "RECORDS_LOCK_SECONDS": "20",
        }
        variables |= {"RECORDS_CATALOG": self.catalog, "RECORDS_DATA": self.data}
        return variables | {"RECORDS_ROLLBACK_HOURS": str(self.hours)}

    @property
    def settings(self) -> Settings:
        """Return the store's settings."""
        return Settings.from_environment(self.environment)

    @property
    def files(self) -> Path:
        """Return the folder of files to import."""
        return self.root / "files"


GAINED = "gained"
"""The field that the action `grow` adds to a record type."""

Action = Callable[[RecordStore, Place], object]


@contextmanager
def opened(place: Place) -> Iterator[RecordStore]:
    """Open the store, in a process that was forked for it. Opening is fast, and readers of files are forked."""
    from tests.forked_reading import FORKED_HERE

    open_quickly()
    setattr(reader, "subprocess", FORKED_HERE)  # noqa: B010
    with RecordStore(place.settings) as store:
        yield store


def do(action: Action, place: Place) -> int:
    """Perform the action on the store and close it; returns the number of operations."""
    with opened(place) as store:
        action(store, place)
    return shim.done()


# The store: a part is three days old, a part is new.


def make_old(store: RecordStore, place: Place) -> None:
    """Import batches into small files, one batch over another; make an export, a preview and an arrival."""
    store.initialise(load_record_types())
    place.files.mkdir()
    importer = Importer(store, "tester")
    for number, rows in enumerate((range(10), range(5, 15), range(15, 20), range(20, 25)), 1):
        for account in ACCOUNTS[: 2 if number == 1 else 1]:
            write_csv(place.files / f"old-{number}.csv", [contact(n, company=f"old {number}", phone="1") for n in rows])
            importer.import_file(contacts_of(place.files / f"old-{number}.csv", account))
    importer.preview(contacts_of(write_csv(place.files / "old-preview.csv", [contact(60)])))
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    if is_local(store.settings.inbox):
        lands(store, "old-arrival.csv", [contact(n, company="arrived") for n in range(100, 105)])
        arrive(store)


def make_fresh(store: RecordStore, place: Place) -> None:
    """Import a batch over older ones and edit it; make a preview with rejects, an export, and files to import."""
    importer = Importer(store, "tester")
    rows = [contact(n, company="fresh", phone="1") for n in range(10, 30)]
    importer.import_file(contacts_of(write_csv(place.files / "fresh.csv", rows)))
    other = [contact(n, company="fresh") for n in range(5, 12)]
    importer.import_file(contacts_of(write_csv(place.files / "fresh-dl.csv", other), "dl"))
    with store.transaction("an edit", "editor") as transaction:
        transaction.connection.execute("UPDATE lake.records.contacts SET phone = '2' WHERE external_id = 'C-000012'")
    waiting = [contact(n, company="waiting") for n in (3, 4, 40, 41, 41)] + [contact(42, status="unknown")]
    importer.preview(contacts_of(write_csv(place.files / "waiting.csv", waiting)))
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    if is_local(store.settings.inbox):
        lands(store, "bad.csv", [contact(9)]).write_text("")
        lands(store, "good.csv", [contact(70, company="good"), contact(2, company="good")])
        lands(store, "lost.csv", [contact(71)], "nobody/contacts")
    write_csv(place.files / "new.csv", [contact(n, company="new") for n in (*range(8), *range(50, 58))])
    write_csv(place.files / "next.csv", [contact(n, company="next") for n in range(80, 84)])


# Actions


def named(store: RecordStore, file_name: str) -> Batch:
    """Return the last batch of a file."""
    return next(batch for batch in store.batches() if batch.file_name == file_name)


def import_new(store: RecordStore, place: Place) -> str:
    """Import a file: some of its records are new, some change."""
    return Importer(store, "tester").import_file(contacts_of(place.files / "new.csv")).batch.batch_id


def import_next(store: RecordStore, place: Place) -> None:
    """Import another file."""
    Importer(store, "tester").import_file(contacts_of(place.files / "next.csv"))


def preview_new(store: RecordStore, place: Place) -> None:
    """Preview a file."""
    Importer(store, "tester").preview(contacts_of(place.files / "new.csv"))


def commit_waiting(store: RecordStore, _: Place) -> None:
    """Commit the preview without its rejects."""
    Importer(store, "tester").commit("ua", named(store, "waiting.csv").batch_id, OnInvalid.SKIP)


def roll_back(store: RecordStore, _: Place) -> None:
    """Roll a batch back; merge what was changed since."""
    request = RollbackRequest("ua", named(store, "fresh.csv").batch_id, OnModified.MERGE)
    store.account("ua").roll_back(request, "tester", None)


def export_csv(store: RecordStore, _: Place) -> None:
    """Export an account's records in one process."""
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", part_rows=20))


def export_steps(store: RecordStore, _: Place) -> None:
    """Export them as a run does, step by step."""
    writer = ExportWriter(store, "tester")
    plan = writer.plan(ExportRequest("ua", "contacts", format="parquet", part_rows=20))
    for number in range(len(plan.parts)):
        writer.make_part(plan, number)
    writer.finish(plan)


def expire(store: RecordStore, _: Place) -> None:
    """Expire the batches with a rollback window that is over."""
    Maintenance(store, "tester").expire()


def maintain(store: RecordStore, _: Place) -> None:
    """Run the maintenance of the store."""
    Maintenance(store, "tester").maintain()


def arrivals(store: RecordStore, _: Place) -> None:
    """Import what lies in the inbox, or move it to quarantine."""
    arrive(store)


def take_arrivals(store: RecordStore, _: Place) -> None:
    """Take what lies in the inbox."""
    take(store)


def migrate(store: RecordStore, place: Place) -> None:
    """Copy the store to another folder."""
    from resources.migration import Migration

    Migration(store, str(place.root / "target"), str(place.root / "target")).run()


def initialise(store: RecordStore, place: Place) -> None:
    """Create a second store beside the first."""
    with opened(replace(place, home_name="second")) as second:
        second.initialise(load_record_types())
        Importer(second, "tester").import_file(contacts_of(place.files / "new.csv"))


def grow(store: RecordStore, _: Place) -> None:
    """Add a field to a record type."""
    grown = [
        replace(it, fields=(*it.fields, replace(it.fields[-1], name=GAINED))) if it.name == "contacts" else it
        for it in load_record_types()
    ]
    store.initialise(grown)


ACTIONS: dict[str, Action] = {
    "import": import_new,
    "rollback": roll_back,
    "maintain": maintain,
    "export": export_csv,
    "commit": commit_waiting,
    "arrivals": arrivals,
    "export-steps": export_steps,
    "expire": expire,
    "migrate": migrate,
    "init": initialise,
    "grow": grow,
}


# The content of a store


@dataclass(frozen=True)
class State:
    """The content of a store, in terms that all its copies share: batches are named after their files."""

    records: dict[str, list[dict[str, Any]]]
    """The rows of each account, in order; `_batch` is a name."""
    statuses: dict[str, str]
    exports: dict[str, str] = field(default_factory=dict, compare=False)
    """The SHA-256 of each export, by its path."""


@dataclass(frozen=True)
class Script:
    """The result of actions in turn: the states before the first and after each, and the eras then."""

    states: list[State]
    eras: list[tuple[tuple[float, float], ...]]


def state_of(store: RecordStore) -> State:
    """Return the content of the store."""
    batches = {batch.batch_id: batch for batch in store.batches()}

    def name(batch_id: str) -> str:
        batch = batches.get(batch_id)
        if batch is None:
            return f"unknown {batch_id}"
        return batch.file_name if batch.undone is None else f"rollback of {name(batch.undone.batch_id)}"

    records = {
        account: sorted(
            (row | {"_batch": name(row["_batch"])} for row in stored(store, account=account)),
            key=lambda row: str(row["external_id"]),
        )
        for account in ACCOUNTS
    }
    statuses = {f"{batch.account}/{name(it)}": batch.status.value for it, batch in reversed(batches.items())}
    return State(records, statuses, {str(it.path): it.sha256 for it in store.exports()})


def state(place: Place) -> State:
    """Return the content of the store at a place, and of those that were made beside it."""
    with opened(place) as store:
        found = state_of(store)
    for name in BESIDE:
        other = replace(place, home_name=name, catalog="", data="")
        if other.settings.catalog.exists():
            with suppress(StoreNotReady), opened(other) as store:  # a store that is only half made is not ready
                if store.record_types():
                    records = state_of(store).records
                    found.records.update({f"{name}/{account}": records[account] for account in ACCOUNTS})
    return found


def script(place: Place, names: Sequence[str], hours: Sequence[float], orders: shim.Orders) -> Script:
    """Perform actions in turn, each so many hours after the last. A mark in the record follows each answer."""
    shim.give(orders)
    states, eras = [state(place)], [tuple(orders.eras)]
    for name, later in zip(names, hours, strict=True):
        if later:
            eras.append((*eras[-1], (time.time(), eras[-1][-1][1] + 3600 * later)))
        else:
            eras.append(eras[-1])
        shim.give(replace(orders, eras=eras[-1]))
        with opened(place) as store:
            ACTIONS[name](store, place)
            shim.mark("answered")
        states.append(state(place))
    return Script(states, eras)


def is_closed(status: str) -> bool:
    """Return whether a batch of this status has nothing in the records."""
    return status in (BatchStatus.ROLLED_BACK, BatchStatus.FAILED, BatchStatus.DISCARDED, BatchStatus.PREVIEWED)
