"""A batch is rolled back exactly, within its window, and without harm to later edits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.importing.importer import Importer
from resources.record_store import AccountRecords, RecordStore
from resources.record_store.snapshots import images_of
from resources.settings import Settings
from schemas.batches import BatchStatus
from schemas.errors import AlreadyImported, ModifiedSince, NotFound, Refused, WindowOver
from schemas.rollbacks import OnModified, RollbackCounts, RollbackReport, RollbackRequest
from tests.benchmarks.large_account import fill, write_batch
from tests.conftest import StoppedClock
from tests.prepared import Prepared, an_empty_store, starts_with
from tests.records import Row, contact, contacts_of, stored, values, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")

OLD = [contact(n, company="old", phone="1") for n in range(10)]
NEW = [contact(n, company="new", phone="1") for n in range(5, 15)]


@pytest.fixture
def ua(store: RecordStore) -> AccountRecords:
    return store.account("ua")


class Imports:
    """Imports rows, each time as a new file, and returns the batch."""

    def __init__(self, importer: Importer, folder: Path) -> None:
        self.importer, self.folder, self.files = importer, folder, 0

    def __call__(self, rows: Iterable[Row], account: str = "ua") -> str:
        self.files += 1
        path = write_csv(self.folder / f"{self.files}.csv", rows)
        return self.importer.import_file(contacts_of(path, account)).batch.batch_id


@pytest.fixture
def imports(importer: Importer, tmp_path: Path) -> Imports:
    return Imports(importer, tmp_path)


def roll_back(records: AccountRecords, batch_id: str, on_modified: OnModified = OnModified.STOP) -> RollbackReport:
    return records.roll_back(RollbackRequest(records.name, batch_id, on_modified), "someone", None)


def plan(records: AccountRecords, batch_id: str, on_modified: OnModified = OnModified.STOP) -> RollbackReport:
    return records.plan_rollback(RollbackRequest(records.name, batch_id, on_modified))


def edit(store: RecordStore, *statements: str, actor: str = "editor") -> None:
    """Run SQL statements on the contacts, in a commit that names no batch."""
    with store.transaction("an edit", actor) as transaction:
        for statement in statements:
            transaction.connection.execute(statement.replace("contacts", "lake.records.contacts"))


def test_created_records_are_removed_and_updated_ones_are_as_before(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    imports(OLD)
    imports(OLD, account="zz")
    before, other = stored(store), stored(store, account="zz")
    batch = imports(NEW)

    planned = plan(ua, batch)
    assert stored(store) != before
    done = roll_back(ua, batch)

    assert (stored(store), stored(store, account="zz")) == (before, other)
    assert planned.counts == done.counts == RollbackCounts(removed=5, restored=5)
    assert (planned.status, planned.batch_id, planned.snapshot) == ("planned", None, None)
    assert (done.status, done.undone, done.account) == ("committed", batch, "ua")
    assert ua.batch(batch).status is BatchStatus.ROLLED_BACK


@pytest.mark.parametrize("records", [1, 10, 200_000])
def test_the_store_is_as_it_was_value_by_value(
    store: RecordStore, ua: AccountRecords, importer: Importer, tmp_path: Path, records: int
) -> None:
    fill(store, "ua", records)
    before = store.pin("contacts")[1]
    write_batch(tmp_path / "batch.csv", records, records)
    report = importer.import_file(contacts_of(tmp_path / "batch.csv"))
    assert report.batch.counts.updated + report.batch.counts.created == records

    roll_back(ua, report.batch.batch_id)

    with store.reading() as connection:
        then, now = (f"FROM {lake}.records.contacts" for lake in (connection.snapshot(before), "lake"))
        (different,) = connection.fetch_one(
            f"SELECT count(*) FROM ((({then}) EXCEPT ALL ({now})) UNION ALL (({now}) EXCEPT ALL ({then})))"
        )
    assert different == 0


def test_a_rollback_is_a_batch_and_can_be_rolled_back_again_and_again(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    imports(OLD)
    before = stored(store)
    batch = imports(NEW)
    after = stored(store)
    latest = batch
    for _ in range(2):
        rollback = roll_back(ua, latest)
        assert rollback.batch_id is not None
        assert stored(store) == before
        assert (ua.batch(batch).status, ua.batch(rollback.batch_id).status) == (
            BatchStatus.ROLLED_BACK,
            BatchStatus.COMMITTED,
        )
        again = roll_back(ua, rollback.batch_id)
        assert stored(store) == after
        assert again.counts == RollbackCounts(restored=10)
        assert ua.batch(batch).status is BatchStatus.COMMITTED
    assert [found.batch_id[:1] for found in store.batches()] == ["r", "r", "r", "r", "b", "b"]


def test_twice_is_once(store: RecordStore, ua: AccountRecords, imports: Imports) -> None:
    batch = imports(OLD)
    first = roll_back(ua, batch)
    snapshot, ledger = store.pin("contacts")[1], len(store.ledger_after(0, 100).rows)

    second = roll_back(ua, batch)

    assert (second.status, second.batch_id, second.counts) == ("rolled_back", first.batch_id, first.counts)
    assert plan(ua, batch).status == "rolled_back"
    assert (store.pin("contacts")[1], len(store.ledger_after(0, 100).rows)) == (snapshot, ledger)


@dataclass(frozen=True)
class Modified:
    """A batch that was modified since, the later batch, and the companies of the contacts."""

    batch: str
    later: str
    companies: dict[Any, Any]


def a_modified_batch(settings: Settings, folder: Path) -> Modified:
    """Make ten contacts and a batch that changes five of them and adds five; then others change some.

    An edit changed 6 in a field that the batch had left alone. A later batch changed 7 in a field that the batch
    had changed too. 12 was created by the batch and then edited. 8 and 13 were deleted.
    """
    an_empty_store(settings, folder)
    with RecordStore(settings) as store:
        imports = Imports(Importer(store, "tester"), folder)
        imports(OLD)
        batch = imports(NEW)
        edit(
            store,
            "UPDATE contacts SET phone = '2' WHERE external_id IN ('C-000006', 'C-000012')",
            "DELETE FROM contacts WHERE external_id IN ('C-000008', 'C-000013')",
        )
        later = imports([contact(7, company="newest", phone="1")])
        return Modified(batch, later, values(store, "company"))


def expected(**changes: str | None) -> dict[str, Any]:
    """Return the companies of all contacts. `_6="old"` is that of C-000006; None means a missing contact."""
    numbered = {f"C-{int(name[1:]):06}": company for name, company in changes.items()}
    return {key: company for key, company in numbered.items() if company is not None}


UNTOUCHED = {f"_{n}": "old" for n in [*range(6), 9]}


@starts_with(a_modified_batch)
def test_modified_records_stop_a_rollback_and_are_named(
    store: RecordStore, ua: AccountRecords, beginning: Prepared
) -> None:
    modified: Modified = beginning.value
    before = stored(store)
    with pytest.raises(ModifiedSince) as refused:
        roll_back(ua, modified.batch)

    assert stored(store) == before
    assert refused.value.exit_code == 3
    assert refused.value.message.startswith("3 records of batch b-")
    first, second, third = refused.value.quoted.strip().splitlines()
    assert first.startswith("C-000006: `phone` changed since, by a statement of SQL (snapshot ")
    assert first.endswith("by editor")
    assert second.startswith(f"C-000007: `company` changed since, by batch {modified.later} (snapshot ")
    assert second.endswith("by tester")
    assert third.startswith("C-000012: `phone` changed since, by a statement of SQL")
    assert "C-0000" not in str(refused.value)


@pytest.mark.parametrize(
    ("choice", "counts", "companies"),
    [
        (
            OnModified.KEEP,
            RollbackCounts(removed=3, restored=2, modified=3, kept=3, gone=2, resting=2),
            expected(**UNTOUCHED, _6="new", _7="newest", _12="new"),
        ),
        (
            OnModified.MERGE,
            RollbackCounts(removed=3, restored=2, modified=3, merged=1, kept=2, gone=2, resting=1),
            expected(**UNTOUCHED, _6="old", _7="newest", _12="new"),
        ),
        (
            OnModified.OVERWRITE,
            RollbackCounts(removed=4, restored=4, modified=3, gone=2),
            expected(**UNTOUCHED, _6="old", _7="old"),
        ),
    ],
)
@starts_with(a_modified_batch)
def test_the_choice_about_modified_records(
    store: RecordStore,
    ua: AccountRecords,
    beginning: Prepared,
    choice: OnModified,
    counts: RollbackCounts,
    companies: dict[str, Any],
) -> None:
    modified: Modified = beginning.value
    planned = plan(ua, modified.batch, choice)
    assert (values(store, "company"), planned.counts) == (modified.companies, counts)

    assert roll_back(ua, modified.batch, choice).counts == counts

    assert values(store, "company") == companies
    assert values(store, "phone").get("C-000006") == ("1" if choice is OnModified.OVERWRITE else "2")


def test_the_time_ends_to_the_second(store: RecordStore, settings: Any, tmp_path: Path, clock: StoppedClock) -> None:
    with RecordStore(settings, clock=clock) as stopped:
        imports, ua = Imports(Importer(stopped, "tester"), tmp_path), stopped.account("ua")
        batch = imports(OLD)
        committed = ua.batch(batch).committed_at
        assert committed is not None
        assert ua.report(batch).open_until == committed + timedelta(hours=24)
        for seconds in (24 * 3600, 24 * 3600 + 1):
            clock.time = committed + timedelta(seconds=seconds)
            with pytest.raises(WindowOver, match=f"until {committed + timedelta(hours=24):%Y-%m-%d %H:%M:%S} UTC"):
                roll_back(ua, batch)
            with pytest.raises(WindowOver):
                plan(ua, batch)
        clock.time = committed + timedelta(seconds=24 * 3600 - 1)
        assert roll_back(ua, batch).counts == RollbackCounts(removed=10)


def test_only_committed_batches_can_be_rolled_back(importer: Importer, ua: AccountRecords, tmp_path: Path) -> None:
    batch = importer.preview(contacts_of(write_csv(tmp_path / "in.csv", OLD))).batch.batch_id
    with pytest.raises(Refused, match=f"Batch {batch} is previewed since .* only a committed batch can be rolled back"):
        roll_back(ua, batch)


def test_another_accounts_batch_is_not_there(store: RecordStore, imports: Imports) -> None:
    batch = imports(OLD)
    for records in (store.account("zz"), store.account("nobody")):
        for attempt in (roll_back, plan):
            with pytest.raises(NotFound, match=f"^There is no batch '{batch}'"):
                attempt(records, batch)


def test_after_a_rollback_the_file_is_new(imports: Imports, ua: AccountRecords, importer: Importer) -> None:
    batch = imports(OLD)
    again = contacts_of(imports.folder / "1.csv")
    with pytest.raises(AlreadyImported):
        importer.import_file(again)
    roll_back(ua, batch)
    assert importer.import_file(again).batch.counts.created == 10


def test_a_field_that_the_type_has_gained_since_is_null_before(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    imports(OLD)
    batch = imports(NEW)
    edit(store, "ALTER TABLE contacts ADD COLUMN later VARCHAR")
    roll_back(ua, batch)
    assert values(store, "company") == {f"C-{n:06}": "old" for n in range(10)}


# Batches that were rolled back since


class History:
    """One contact's history with named batches: A, B and so on; `rA` is the rollback of A."""

    def __init__(self, store: RecordStore, imports: Imports, ids: Mapping[str, str]) -> None:
        self.store, self.imports, self.ua = store, imports, store.account("ua")
        self.ids = dict(ids)

    def play(self, steps: Iterable[str]) -> RollbackCounts:
        """Perform the steps, such as "A company=a", "edit phone = 'e'", "delete", "back A keep".

        Returns the counts of the last rollback.
        """
        counts = RollbackCounts()
        for step in steps:
            match step.split():
                case ["back", name, *choice]:
                    how = OnModified(*choice or ["stop"])
                    planned = plan(self.ua, self.ids[name], how).counts
                    done = roll_back(self.ua, self.ids[name], how)
                    assert (planned, done.status) == (done.counts, "committed"), step
                    counts, self.ids[f"r{name}"] = done.counts, str(done.batch_id)
                case ["edit", *change]:
                    edit(self.store, f"UPDATE contacts SET {' '.join(change)}")
                case ["delete"]:
                    edit(self.store, "DELETE FROM contacts")
                case [name, *fields]:
                    self.ids[name] = self.imports([contact(1, **dict(field.split("=") for field in fields))])
        return counts

    @property
    def record(self) -> tuple[Any, Any, str] | None:
        """Return the company, the phone and the batch of the contact, or None if it does not exist."""
        names = {batch_id: name for name, batch_id in self.ids.items()}
        found = [(row["company"], row["phone"], names[row["_batch"]]) for row in stored(self.store)]
        return found[0] if found else None


@pytest.fixture
def history(store: RecordStore, imports: Imports, beginning: Prepared) -> History:
    return History(store, imports, beginning.value or {})


def an_updated_contact(settings: Settings, folder: Path) -> Mapping[str, str]:
    """Make a contact: batch O creates it with company x and phone 1, batch A changes the company to a."""
    an_empty_store(settings, folder)
    with RecordStore(settings) as store:
        history = History(store, Imports(Importer(store, "tester"), folder), {})
        history.play(["O company=x phone=1", "A company=a"])
        return history.ids


def test_a_batch_that_is_rolled_back_stays_so_when_a_later_one_is_too(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    first = imports([contact(1, company="a"), contact(2, company="a")])
    second = imports([contact(1, company="b")])

    planned = plan(ua, first, OnModified.KEEP)
    kept = roll_back(ua, first, OnModified.KEEP)
    assert planned.counts == kept.counts == RollbackCounts(removed=1, modified=1, kept=1, resting=1)
    assert values(store, "company") == {"C-000001": "b"}

    planned = plan(ua, second)
    assert planned.counts == roll_back(ua, second).counts == RollbackCounts(removed=1)
    assert stored(store) == []
    assert {ua.batch(batch).status for batch in (first, second)} == {BatchStatus.ROLLED_BACK}


RESTORED = RollbackCounts(restored=1)
RESTING = RollbackCounts(restored=1, resting=1)
MERGED = RollbackCounts(modified=1, merged=1)
OVERWRITTEN = RollbackCounts(modified=1, restored=1)
GONE = RollbackCounts(gone=1)


@pytest.mark.parametrize(
    ("steps", "record", "counts"),
    [
        # A and B change the same field, or one field each.
        (("B company=b", "back A keep", "back B"), ("x", "1", "O"), RESTORED),
        (("B phone=b", "back A keep", "back B"), ("x", "1", "O"), RESTORED),
        (("B phone=b", "back A keep", "edit phone = 'e'", "back B merge"), ("x", "e", "rB"), MERGED),
        (("B phone=b", "back A merge", "back B merge"), ("x", "1", "rB"), MERGED),
        (("B phone=b", "back A merge", "back B overwrite"), ("x", "1", "O"), OVERWRITTEN),
        # Three batches; the middle one is committed or rolled back.
        (("C phone=c", "B company=b", "back A keep", "back B"), ("x", "c", "rB"), RESTORED),
        (("C phone=c", "B company=b", "back A keep", "back C keep", "back B"), ("x", "1", "O"), RESTORED),
        # A user's edit between them belongs to no batch, though the record bears A's id.
        (("edit phone = 'e'", "B company=b", "back A keep", "back B"), ("x", "e", "rB"), RESTORED),
        # A was rolled back before B. Its remaining value was the user's choice, and B found the record so.
        (("edit phone = 'e'", "back A keep", "B phone=b", "back B"), ("a", "e", "A"), RESTORED),
        # A is committed again: its rollback was rolled back.
        (("B phone=b", "back A keep", "back rA", "back B"), ("a", "1", "A"), RESTORED),
        # It is rolled back once more, to what B had found.
        (("back A", "B phone=b", "back rA keep", "back A keep", "back B"), ("x", "1", "O"), RESTORED),
        # A rollback is rolled back, and looks past B likewise.
        (("B phone=b", "back A overwrite", "back B keep", "back rA"), ("a", "1", "A"), RESTORED),
    ],
)
@pytest.mark.runs_on("laptop")
@starts_with(an_updated_contact)
def test_restoring_looks_past_what_is_rolled_back_since(
    history: History, steps: tuple[str, ...], record: tuple[Any, ...], counts: RollbackCounts
) -> None:
    assert (history.play(steps), history.record) == (counts, record)


@pytest.mark.parametrize(
    ("steps", "record", "counts"),
    [
        # What A created stays where others have changed it. It is counted if A's values are back.
        (("A company=a", "C phone=c", "B company=b", "back A keep", "back B"), ("a", "c", "C"), RESTING),
        (("A company=a", "edit phone = 'e'", "B company=b", "back A keep", "back B"), ("a", "e", "A"), RESTING),
        # A is committed again.
        (("A company=a", "back A", "B company=b", "back rA keep", "back B"), ("a", None, "A"), RESTORED),
        # The record exists neither before nor now: nothing changes.
        (("A company=a", "delete", "V company=v", "back A overwrite", "back V", "back rA"), None, GONE),
    ],
)
@pytest.mark.runs_on("laptop")
def test_restoring_looks_past_a_creation_that_is_rolled_back_since(
    history: History, steps: tuple[str, ...], record: tuple[Any, ...] | None, counts: RollbackCounts
) -> None:
    assert (history.play(steps), history.record) == (counts, record)


@pytest.mark.runs_on("laptop")
@starts_with(an_updated_contact)
def test_a_kept_record_that_a_later_batch_has_changed_is_not_counted_as_resting(history: History) -> None:
    assert history.play(("B company=b", "back A keep")).resting == 0


@pytest.mark.parametrize(
    ("steps", "resting"),
    [
        (("O company=x", "A company=", "B phone=b", "back A keep"), 1),  # A has cleared it
        (("A company=a", "B phone=b", "back A merge"), 1),
        (("A company=a", "edit company = 'e', status = 'customer', amount = 0", "back A keep"), 0),
        (("O company=x", "A company=a", "back A", "B phone=b", "back rA keep"), 1),
    ],
)
@pytest.mark.runs_on("laptop")
def test_kept_records_that_still_have_the_batchs_values_are_counted(
    history: History, steps: tuple[str, ...], resting: int
) -> None:
    assert history.play(steps).resting == resting


def test_where_an_earlier_image_is_not_kept_nothing_is_guessed(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    imports(OLD)
    first, second = imports(NEW), imports([contact(5, company="newest", phone="1")])
    roll_back(ua, first, OnModified.KEEP)
    with store.reading() as connection:
        images = images_of(connection, first)
    assert images is not None
    with store.transaction("expire", "tester") as transaction:
        transaction.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{images[0]}])")
    before = stored(store)
    for attempt in (plan, roll_back):
        with pytest.raises(WindowOver, match=f"before {first} are no longer kept, so {second} cannot be rolled back"):
            attempt(ua, second)
    assert stored(store) == before


def test_rollbacks_of_a_ledger_that_did_not_count_them_are_read(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    done = roll_back(ua, imports(OLD))
    with store.transaction("as it was written", "tester") as transaction:
        (number,) = transaction.connection.fetch_one(
            "UPDATE lake.ledger.batches SET detail = replace(detail, ', \"resting\": 0', '') "
            "WHERE detail LIKE '%, \"resting\": 0%'"
        )
    assert number == 1
    rolled_back_batch = ua.batch(str(done.batch_id)).undone
    assert rolled_back_batch is not None
    assert rolled_back_batch.counts == RollbackCounts(removed=10)


def test_the_states_of_batches_say_what_the_records_are_through_rollbacks_of_rollbacks(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    chain = [imports(OLD)]
    with_records, without = stored(store), list[dict[str, Any]]()
    for number in range(4):
        done = roll_back(ua, chain[-1])
        assert done.batch_id is not None
        chain.append(done.batch_id)
        assert stored(store) == (with_records if number % 2 else without)
        first, *rollbacks = [ua.batch(batch_id).status for batch_id in chain]
        assert first is (BatchStatus.COMMITTED if number % 2 else BatchStatus.ROLLED_BACK)
        assert rollbacks[-1] is BatchStatus.COMMITTED
    assert [ua.batch(batch_id).status for batch_id in chain] == [
        BatchStatus.COMMITTED,
        BatchStatus.ROLLED_BACK,
        BatchStatus.COMMITTED,
        BatchStatus.ROLLED_BACK,
        BatchStatus.COMMITTED,
    ]


def test_a_record_that_sql_gave_an_unknown_batch_is_a_modified_record(
    store: RecordStore, ua: AccountRecords, imports: Imports
) -> None:
    batch = imports(NEW)
    edit(store, "UPDATE contacts SET _batch = 'b-unknown', company = 'sql' WHERE external_id = 'C-000005'")
    planned = plan(ua, batch)
    assert (planned.counts.modified, planned.modified_by) == (1, ())
    assert [conflict.batch_id for conflict in planned.conflicts] == ["b-unknown"]
