"""Any history of imports, edits, rollbacks, time and maintenance agrees with a plain model of it."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus, Mode, OnInvalid
from schemas.errors import ModifiedSince, WindowOver
from schemas.rollbacks import OnModified, RollbackCounts, RollbackRequest
from tests.examples import tried
from tests.faults.steps import settings_of
from tests.postgres import Postgres, database_of
from tests.records import contacts_of, stored, write_csv
from tests.timeline import Timeline, store_of

ACCOUNTS = ("ua", "zz")
FIELDS = ("company", "phone")
WINDOW = timedelta(hours=24)

Draw = Callable[[st.SearchStrategy[Any]], Any]
Record = dict[str, Any]
Records = dict[str, Record]

steps = st.sampled_from(
    ["roll_back"] * 10 + ["import_file"] * 4 + ["edit"] * 2 + ["delete", "time_passes", "expire", "maintain"]
)
"""One rule draws all of them. Hypothesis leaves out half of a machine's rules, and most histories lacked a rollback."""
accounts = st.sampled_from([ACCOUNTS[0]] * 6 + [ACCOUNTS[1]])
keys = st.integers(0, 2).map(lambda number: f"C-{number}")
texts = st.sampled_from(["", "a", "b", "c"])
rows = st.dictionaries(keys, st.fixed_dictionaries(dict.fromkeys(FIELDS, texts)), min_size=1, max_size=3)
columns_given = st.sampled_from([("company", "phone"), ("company",), ("phone",)])
modes = st.sampled_from([Mode.UPSERT, Mode.UPSERT, *Mode])
choices = st.sampled_from([OnModified.KEEP, OnModified.KEEP, *OnModified])


@dataclass(eq=False)
class Written:
    """A batch in the model: the account's records before and after it, and the committed batches before it."""

    batch_id: str
    account: str
    before: Records
    after: Records
    committed_at: datetime
    earlier: "list[Written]"
    status: BatchStatus = BatchStatus.COMMITTED
    target: "Written | None" = None
    file: Path | None = None


class Histories(RuleBasedStateMachine):
    """Performs each step on the store and on the model, which must agree after it."""

    template: ClassVar[Path]
    postgres: ClassVar[Postgres | None] = None
    database: ClassVar[str] = ""
    """The template's catalog, if it is in PostgreSQL."""

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="history-"))
        self.files = itertools.count(1)
        self.copy = self.postgres.create(self.database) if self.postgres else ""
        catalog = self.postgres.address(self.copy) if self.postgres else ""
        settings = settings_of(shutil.copytree(self.template, self.folder / "home"), catalog)
        self.clock = Timeline(settings)
        self.store = RecordStore(settings, clock=self.clock)
        self.importer = Importer(self.store, "tester")
        self.records: dict[str, Records] = {account: {} for account in ACCOUNTS}
        self.batches: list[Written] = []
        for _ in range(3):
            self.import_file(data.draw)

    def teardown(self) -> None:
        self.store.__exit__()
        if self.postgres:
            self.postgres.drop(self.copy)
        shutil.rmtree(self.folder)

    @rule(name=steps, data=st.data())
    def step(self, name: str, data: st.DataObject) -> None:
        getattr(self, name)(data.draw)

    def import_file(self, draw: Draw) -> None:
        """Import a file. Absent columns keep stored values, empty cells clear them; the mode rejects some records."""
        account, given, columns, mode = draw(accounts), draw(rows), draw(columns_given), draw(modes)
        path = write_csv(
            self.folder / f"{next(self.files)}.csv",
            [
                {"external_id": key, "status": "lead", **{name: row[name] for name in columns}}
                for key, row in given.items()
            ],
        )
        self._import(account, path, given, columns, mode)

    def _import(
        self, account: str, path: Path, given: Mapping[str, Mapping[str, str]], columns: tuple[str, ...], mode: Mode
    ) -> None:
        request = contacts_of(path, account, mode, again=True)
        report = self.importer.import_file(request, OnInvalid.SKIP)
        before = self.records[account]
        after = dict(before)
        created = updated = rejected = 0
        for key, row in given.items():
            old = before.get(key)
            if (mode is Mode.INSERT and old) or (mode is Mode.UPDATE and not old):
                rejected += 1
                continue
            values = {name: row[name] or None for name in columns}
            batch = {"_batch": report.batch.batch_id}
            if old is None:
                created += 1
                after[key] = {**dict.fromkeys(FIELDS), **values, **batch}
            elif old | values != old:
                updated += 1
                after[key] = old | values | batch
        counts = report.batch.counts
        assert (counts.created, counts.updated, counts.rejected) == (created, updated, rejected)
        self._committed(
            Written(report.batch.batch_id, account, before, after, self.clock.now(), self._not_rolled_back(account))
        )

    def _not_rolled_back(self, account: str = "") -> list[Written]:
        valid = [it for it in self.batches if it.status is not BatchStatus.ROLLED_BACK]
        return [it for it in valid if it.account == (account or it.account)]

    def _committed(self, batch: Written) -> None:
        self.records[batch.account] = batch.after
        self.batches.append(batch)

    def edit(self, draw: Draw) -> None:
        """Change a record by SQL."""
        account, key, field, value = draw(accounts), draw(keys), draw(st.sampled_from(FIELDS)), draw(texts)
        self._sql(f"UPDATE lake.records.contacts SET {field} = ? ", value or None, account, key)
        if key in self.records[account]:
            changed = self.records[account][key] | {field: value or None}
            self.records[account] = self.records[account] | {key: changed}

    def delete(self, draw: Draw) -> None:
        """Delete a record by SQL."""
        account, key = draw(accounts), draw(keys)
        self._sql("DELETE FROM lake.records.contacts", None, account, key)
        self.records[account] = {it: record for it, record in self.records[account].items() if it != key}

    def _sql(self, statement: str, value: str | None, account: str, key: str) -> None:
        with self.store.transaction("an edit", "editor") as transaction:
            values = [value] if "?" in statement else []
            transaction.connection.execute(
                f"{statement} WHERE _account = ? AND external_id = ?", [*values, account, key]
            )

    def roll_back(self, draw: Draw) -> None:
        """Roll back a batch, which may be an import or a rollback, as far as the choice allows."""
        if not self.batches:
            return
        batch, choice = draw(st.sampled_from(self._not_rolled_back()[-5:] + self.batches[-1:])), draw(choices)
        request = RollbackRequest(batch.account, batch.batch_id, choice)
        account = self.store.account(batch.account)
        before = self.records[batch.account]
        if batch.status is BatchStatus.ROLLED_BACK:
            assert account.roll_back(request, "tester", None).status == "rolled_back"
            return
        if self.clock.now() >= batch.committed_at + WINDOW:
            with pytest.raises(WindowOver):
                account.roll_back(request, "tester", None)
            return
        counts = model_rollback(batch, before, choice, "")[1]
        assert account.plan_rollback(request).counts == counts
        if counts.modified and choice is OnModified.STOP:
            with pytest.raises(ModifiedSince):
                account.roll_back(request, "tester", None)
            return
        valid = self._not_rolled_back(batch.account)
        report = account.roll_back(request, "tester", None)
        assert report.batch_id is not None
        assert report.counts == counts
        after, _ = model_rollback(batch, before, choice, report.batch_id)
        batch.status = BatchStatus.ROLLED_BACK
        for number, other in enumerate(rolled_back_by(batch)):
            other.status = BatchStatus.ROLLED_BACK if number % 2 else BatchStatus.COMMITTED
        now = self.clock.now()
        self._committed(Written(report.batch_id, batch.account, before, after, now, valid, target=batch))

    def time_passes(self, draw: Draw) -> None:
        self.clock.advance(hours=draw(st.sampled_from([1, 1, 12, 13, 24, 24 * 21])))

    def expire(self, draw: Draw) -> None:
        self.clock.stamp()
        Maintenance(self.store, "tester").expire()
        for batch in self.batches:
            if batch.status is BatchStatus.COMMITTED and self.clock.now() >= batch.committed_at + WINDOW:
                batch.status = BatchStatus.EXPIRED

    def maintain(self, draw: Draw) -> None:
        self.expire(draw)
        Maintenance(self.store, "tester").maintain()

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "store"):
            return
        for account in ACCOUNTS:
            found = {
                row["external_id"]: {name: row[name] for name in (*FIELDS, "_batch")}
                for row in stored(self.store, account=account)
            }
            assert found == self.records[account]
        statuses = {batch.batch_id: batch.status for batch in self.store.batches()}
        assert statuses == {batch.batch_id: batch.status for batch in self.batches}


def model_rollback(
    batch: Written, now: Records, choice: OnModified, rollback_id: str
) -> tuple[Records, RollbackCounts]:
    """Return the account's records after a rollback, and the counts of its effects."""
    result, counts = dict(now), RollbackCounts()

    def put(key: str, record: Record | None) -> None:
        if record is None:
            result.pop(key, None)
        else:
            result[key] = record

    for key in batch.before.keys() | batch.after.keys():
        if batch.before.get(key) == batch.after.get(key):
            continue
        (before, rests), after, present = model_image(batch, key, rollback_id), batch.after.get(key), now.get(key)
        restoration = (
            replace(counts, removed=counts.removed + 1)
            if before is None
            else replace(counts, restored=counts.restored + 1, resting=counts.resting + rests)
        )
        if present is None and (after or before is None):
            counts = replace(counts, gone=counts.gone + 1)
            continue
        if present == after:
            counts = restoration
            put(key, before)
            continue
        if choice is OnModified.OVERWRITE:
            counts = replace(restoration, modified=counts.modified + 1)
            put(key, before)
            continue
        counts = replace(counts, modified=counts.modified + 1)
        merged = its_values(before, after, present) if before else {}
        if choice is OnModified.MERGE and merged and present:
            counts = replace(counts, merged=counts.merged + 1)
            put(key, present | merged | {"_batch": rollback_id})
        elif choice is not OnModified.STOP:
            is_showing = bool(after and present and (before is None or its_values(before, after, present)))
            counts = replace(counts, kept=counts.kept + 1, resting=counts.resting + is_showing)
    return result, counts


def model_image(batch: Written, key: str, rollback_id: str) -> tuple[Record | None, bool]:
    """Return a record as it was before a batch, without the values of batches that are rolled back now.

    The flag says whether the record still rests on such a batch.
    """
    record, rests = batch.before.get(key), False
    again = rolled_back_by(batch)[::2]
    for other in reversed(batch.earlier):
        is_closed_rollback = other.target is not None and other.target.status is BatchStatus.ROLLED_BACK
        if other.status is not BatchStatus.ROLLED_BACK or other in again or is_closed_rollback:
            continue
        was, left = other.before.get(key), other.after.get(key)
        if record == left:
            record, rests = was, False
        elif was is None:
            rests = rests or bool(record and left)
        elif its := its_values(was, left, record):
            record = (record or {}) | its | {"_batch": rollback_id}
    return record, rests


def rolled_back_by(batch: Written) -> list[Written]:
    """Return the batch that a rollback rolled back, the one that this batch rolled back, and so on."""
    return [] if batch.target is None else [batch.target, *rolled_back_by(batch.target)]


def its_values(before: Record | None, after: Record | None, record: Record | None) -> Record:
    """Return the earlier values of fields in which a record still has the value of a change.

    For a record that the change created, that is every field but the key.
    """
    if not (before and after and record):
        return {}
    return {name: before[name] for name in FIELDS if before[name] != after[name] == record[name]}


@pytest.mark.soak
@pytest.mark.runs_on("laptop", "postgres")
@pytest.mark.usefixtures("quick_reading")
def test_store_and_model_agree_after_every_step(
    tmp_path: Path, catalog: str | None, request: pytest.FixtureRequest
) -> None:
    class Here(Histories):
        template = tmp_path / "template"
        postgres = request.getfixturevalue("postgres") if catalog else None
        database = database_of(catalog) if catalog else ""

    store_of(settings_of(Here.template, catalog or ""))[0].__exit__()

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=2 if catalog else tried(6),  # the rules are the same; only the place of the ledger differs
            stateful_step_count=12,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # to shrink a history takes minutes
        ),
    )
