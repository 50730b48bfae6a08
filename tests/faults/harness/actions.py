"""What is done to a store while something goes wrong, each in a process of its own; and the store it is done to."""

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
from resources.record_store import Databases, RecordStore
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.batches import Batch, BatchStatus, OnInvalid
from schemas.errors import StoreNotReady
from schemas.exports import ExportRequest
from schemas.rollbacks import OnModified, RollbackRequest
from tests.duckdb_opening import quick_databases
from tests.faults.harness import shim
from tests.inbox import arrive, lands, take
from tests.records import contact, contacts_of, stored, write_csv

ACCOUNTS = ("ua", "dl")
BESIDE = ("target", "second")
"""The homes of stores that actions make beside the one."""


@dataclass(frozen=True)
class Place:
    """A folder with a store's home, files to import, and whatever else belongs to one case."""

    root: Path
    catalog: str = ""
    data: str = ""
    home_name: str = "home"
    hours: float = 24.0

    @property
    def environment(self) -> Mapping[str, str]:
        """What names the store."""
        told = {
            "RECORDS_HOME": str(self.root / self.home_name),
            "RECORDS_ACTOR": "tester",
            "RECORDS_LOCK_SECONDS": "20",
        }
        told |= {"RECORDS_CATALOG": self.catalog, "RECORDS_DATA": self.data}
        return told | {"RECORDS_ROLLBACK_HOURS": str(self.hours)}

    @property
    def settings(self) -> Settings:
        """The store's settings."""
        return Settings.from_environment(self.environment)

    @property
    def files(self) -> Path:
        """The folder of files to import."""
        return self.root / "files"


GAINED = "gained"
"""The field that a record type may gain."""

Action = Callable[[RecordStore, Place], object]


@contextmanager
def opened(place: Place) -> Iterator[RecordStore]:
    """The store, in a process that was forked for it: it opens soon, and reads files in forks."""
    from tests.forked_reading import FORKED_HERE

    setattr(Databases, "_open", quick_databases)  # noqa: B010
    setattr(reader, "subprocess", FORKED_HERE)  # noqa: B010
    with RecordStore(place.settings) as store:
        yield store


def do(action: Action, place: Place) -> int:
    """The action is done with the store, which is closed; returns after how many operations."""
    with opened(place) as store:
        action(store, place)
    return shim.done()


# The store: some of it is of three days ago, some of now.


def make_old(store: RecordStore, place: Place) -> None:
    """Batches that lie in small files, one of them over another; an export, a preview and an arrival."""
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
    """A batch over older ones that was edited since, a preview with rejects, an export, and files to be imported."""
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
    """The last batch of a file."""
    return next(batch for batch in store.batches() if batch.file_name == file_name)


def import_new(store: RecordStore, place: Place) -> str:
    """A file is imported: some of its records are new, some change."""
    return Importer(store, "tester").import_file(contacts_of(place.files / "new.csv")).batch.batch_id


def import_next(store: RecordStore, place: Place) -> None:
    """Another file is imported."""
    Importer(store, "tester").import_file(contacts_of(place.files / "next.csv"))


def preview_new(store: RecordStore, place: Place) -> None:
    """A file is previewed."""
    Importer(store, "tester").preview(contacts_of(place.files / "new.csv"))


def commit_waiting(store: RecordStore, _: Place) -> None:
    """What was previewed is committed, without its rejects."""
    Importer(store, "tester").commit("ua", named(store, "waiting.csv").batch_id, OnInvalid.SKIP)


def roll_back(store: RecordStore, _: Place) -> None:
    """A batch is taken back; what was changed since is merged."""
    request = RollbackRequest("ua", named(store, "fresh.csv").batch_id, OnModified.MERGE)
    store.account("ua").roll_back(request, "tester", None)


def export_csv(store: RecordStore, _: Place) -> None:
    """An account's records are exported by one process."""
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", part_rows=20))


def export_steps(store: RecordStore, _: Place) -> None:
    """They are exported as a run does it, step by step."""
    writer = ExportWriter(store, "tester")
    plan = writer.plan(ExportRequest("ua", "contacts", format="parquet", part_rows=20))
    for number in range(len(plan.parts)):
        writer.make_part(plan, number)
    writer.finish(plan)


def expire(store: RecordStore, _: Place) -> None:
    """Batches whose time is over are closed."""
    Maintenance(store, "tester").expire()


def maintain(store: RecordStore, _: Place) -> None:
    """The store is kept in order."""
    Maintenance(store, "tester").maintain()


def arrivals(store: RecordStore, _: Place) -> None:
    """What lies in the inbox is imported, or put into quarantine."""
    arrive(store)


def take_arrivals(store: RecordStore, _: Place) -> None:
    """What lies in the inbox is taken."""
    take(store)


def migrate(store: RecordStore, place: Place) -> None:
    """The store is copied to another folder."""
    from resources.migration import Migration

    Migration(store, str(place.root / "target"), str(place.root / "target")).run()


def initialise(store: RecordStore, place: Place) -> None:
    """A store is made beside the other."""
    with opened(replace(place, home_name="second")) as second:
        second.initialise(load_record_types())
        Importer(second, "tester").import_file(contacts_of(place.files / "new.csv"))


def grow(store: RecordStore, _: Place) -> None:
    """A record type gains a field."""
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


# What a store holds


@dataclass(frozen=True)
class State:
    """What a store holds, in words that are the same in all copies of it: batches are named for their files."""

    records: dict[str, list[dict[str, Any]]]
    """By account, in order; `_batch` is a name."""
    statuses: dict[str, str]
    exports: dict[str, str] = field(default_factory=dict, compare=False)
    """The SHA-256 of each, by its path."""


@dataclass(frozen=True)
class Script:
    """What actions done in turn came to: the states before the first and after each, and the eras then."""

    states: list[State]
    eras: list[tuple[tuple[float, float], ...]]


def state_of(store: RecordStore) -> State:
    """What the store holds now."""
    batches = {batch.batch_id: batch for batch in store.batches()}

    def name(batch_id: str) -> str:
        batch = batches.get(batch_id)
        if batch is None:
            return f"unknown {batch_id}"
        return batch.file_name if batch.undone is None else f"undone {name(batch.undone.batch_id)}"

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
    """What the store at a place holds, and those that were made beside it."""
    with opened(place) as store:
        found = state_of(store)
    for name in BESIDE:
        other = replace(place, home_name=name, catalog="", data="")
        if other.settings.catalog.exists():
            with suppress(StoreNotReady), opened(other) as store:  # amid its making it is none
                if store.record_types():
                    records = state_of(store).records
                    found.records.update({f"{name}/{account}": records[account] for account in ACCOUNTS})
    return found


def script(place: Place, names: Sequence[str], hours: Sequence[float], orders: shim.Orders) -> Script:
    """Actions are done one after the other, each so many hours after the last; each is marked when it has answered."""
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
    """Whether nothing of such a batch stands in the records."""
    return status in (BatchStatus.ROLLED_BACK, BatchStatus.FAILED, BatchStatus.DISCARDED, BatchStatus.PREVIEWED)
