"""An inbox in an object store: each file is in one place and in order, after a kill and with several processes."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resources.inbox import inbox_of
from resources.inbox.arrivals import Arrivals
from resources.inbox.object_store import _misplaced, _Place
from resources.record_store import RecordStore
from resources.upkeep.leftovers import sweep_archive
from schemas.arrivals import Outcome
from tests.inbox import arrive, import_all, kinds, lands, places, take
from tests.object_server import on_disk
from tests.records import contact, stored

pytestmark = pytest.mark.runs_on("server")


class Died(BaseException):
    """Raised where a test kills a process."""


def dies(*_: Any) -> None:
    raise Died


@pytest.fixture
def inbox_store(store: RecordStore) -> RecordStore:
    """A store with the accounts `ua` and `dl`."""
    for account in ("ua", "dl"):
        store.add_account(account, "tester")
    return store


def companies(store: RecordStore) -> dict[str, str]:
    return {row["external_id"]: row["company"] for row in stored(store)}


def test_files_go_from_the_inbox_to_the_archive_or_to_quarantine(inbox_store: RecordStore) -> None:
    lands(inbox_store, "good name ☃ #1?*.csv", [contact(1)])
    lands(inbox_store, "bad.csv", [contact(2), contact(3, status="VIP")], "dl/contacts")
    lands(inbox_store, "empty.csv", [contact(1)]).write_bytes(b"")
    take(inbox_store)
    assert {kind for where in kinds(inbox_store).values() for kind in where} == {"processing"}

    arrived = import_all(inbox_store)

    assert {name: each.outcome for name, each in arrived.items()} == {
        "good name ☃ #1?*.csv": Outcome.COMMITTED,
        "bad.csv": Outcome.QUARANTINED,
        "empty.csv": Outcome.QUARANTINED,
    }
    committed, previewed = arrived["good name ☃ #1?*.csv"], arrived["bad.csv"]
    there = places(inbox_store)
    assert there["good name ☃ #1?*.csv"] == [f"archive/ua/contacts/{committed.batch_id}"]
    assert there["bad.csv"] == there["bad.rejects.csv"] == [it for it in there["WHY.txt"] if "/dl/" in it]
    folder = on_disk(inbox_store.settings.data) / there["bad.csv"][0]
    assert (
        "In this inbox files are committed when none of their records is rejected" in (folder / "WHY.txt").read_text()
    )
    why = (folder / "WHY.txt").read_text()
    assert "In this inbox files are committed when none of their records is rejected" in why
    assert "\nC-000003," in (folder / "bad.rejects.csv").read_text()
    assert f"(batch {previewed.batch_id})" in why
    assert list(companies(inbox_store)) == ["C-000001"]


@pytest.mark.parametrize(
    ("place", "name", "sentence"),
    [
        ("", "top.csv", "It was in inbox/, which names no account and no record type."),
        ("ua", "in.csv", "It was in inbox/ua/, which names no account and no record type."),
        ("nobody/contacts", "in.csv", "There is no account 'nobody'."),
        ("ua/accounts", "in.csv", "There is no record type 'accounts'."),
        ("ua/contacts/sub", "in.csv", "It is in a folder; only files are imported."),
    ],
)
def test_what_lies_in_a_wrong_place_is_in_quarantine(
    inbox_store: RecordStore, place: str, name: str, sentence: str
) -> None:
    lands(inbox_store, name, [contact(1)], place)
    take(inbox_store)
    (where,) = places(inbox_store)[name]
    assert where.startswith(f"quarantine/{place}".rstrip("/"))
    assert sentence in (on_disk(inbox_store.settings.data) / where / "WHY.txt").read_text()


def test_a_name_that_no_disk_can_hold_is_reported() -> None:
    sentence = _misplaced(f"ua/contacts/{'☃' * 86}.csv", ["ua"], ["contacts"])
    assert sentence is not None
    assert "Its name has more than 255 bytes; only files are imported." in sentence


def test_hidden_files_are_left_alone(inbox_store: RecordStore) -> None:
    lands(inbox_store, ".in.csv", [contact(1)])
    lands(inbox_store, "in.csv", [contact(1)], "ua/.hidden")
    assert inbox_of(inbox_store).look((), ()) == {}


def test_files_are_imported_in_the_order_in_which_they_were_written(inbox_store: RecordStore) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        file = lands(inbox_store, f"{name}.csv", [contact(1, company=name)])
        os.utime(file, (1_700_000_000 + age, 1_700_000_000 + age))
    arrive(inbox_store)
    assert companies(inbox_store) == {"C-000001": "b"}
    assert [batch.file_name for batch in reversed(inbox_store.batches())] == ["c.csv", "a.csv", "b.csv"]


@pytest.mark.parametrize("fatal", ["copy", "delete"])
@pytest.mark.parametrize("step", ["take", "archive", "quarantine"])
def test_a_kill_during_a_move_loses_nothing_and_imports_nothing_twice(
    inbox_store: RecordStore, step: str, fatal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lands(inbox_store, "in.csv", [contact(1, status="VIP" if step == "quarantine" else "lead")])
    before: Callable[[RecordStore], Any] = take if step == "take" else import_all
    if step != "take":
        take(inbox_store)
    with monkeypatch.context() as patch:
        patch.setattr(_Place, fatal, dies)
        with pytest.raises(Died):
            before(inbox_store)
    assert "in.csv" in kinds(inbox_store)

    take(inbox_store)
    import_all(inbox_store)

    assert kinds(inbox_store)["in.csv"] == ["quarantine" if step == "quarantine" else "archive"]
    assert len(inbox_store.batches()) == 1
    assert len(stored(inbox_store)) == (step != "quarantine")


def test_a_file_that_is_replaced_while_it_is_taken_is_imported_too(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lands(inbox_store, "in.csv", [contact(1, company="first")])
    copy = _Place.copy

    def replaced(place: _Place, source: str, key: str) -> None:
        copy(place, source, key)
        lands(inbox_store, file.name, [contact(1, company="second, and longer")])

    with monkeypatch.context() as patch:
        patch.setattr(_Place, "copy", replaced)
        take(inbox_store)
    assert kinds(inbox_store) == {"in.csv": ["inbox", "processing"]}
    import_all(inbox_store)
    arrive(inbox_store)
    assert companies(inbox_store) == {"C-000001": "second, and longer"}
    assert len(inbox_store.batches()) == 2


def test_what_changed_since_it_was_looked_at_is_looked_at_again(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    inbox = inbox_of(inbox_store)
    look = inbox.look((), ())
    lands(inbox_store, "in.csv", [contact(1), contact(2)])
    assert inbox.take(list(look), look, ["ua"], ["contacts"], inbox_store.now()) == []
    assert kinds(inbox_store) == {"in.csv": ["inbox"]}


def test_two_processes_that_take_at_once_take_each_file_once(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    inbox = inbox_of(inbox_store)
    look = inbox.look((), ())
    with inbox_store.lock("inbox", 1.0):
        reasons = inbox.take(list(look), look, ["ua"], ["contacts"], inbox_store.now())
    assert reasons == ["another process is taking files from the inbox now"]
    assert kinds(inbox_store) == {"in.csv": ["inbox"]}
    for _ in range(2):
        assert inbox.take(list(look), look, ["ua"], ["contacts"], inbox_store.now()) == []
    assert kinds(inbox_store) == {"in.csv": ["processing"]}


def test_a_bundle_is_imported_by_one_process_and_then_there_is_nothing_to_do(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    (bundle,) = inbox_of(inbox_store).bundles()
    assert len(Arrivals(inbox_store).import_bundle(bundle)) == 1
    assert Arrivals(inbox_store).import_bundle(bundle) == []


def test_what_was_put_away_is_kept_for_days(inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    lands(inbox_store, "good.csv", [contact(1)])
    lands(inbox_store, "bad.csv", [contact(2, status="VIP")])
    lands(inbox_store, "lost.csv", [contact(3)], "nobody/contacts")
    arrive(inbox_store)
    now = datetime.now(UTC)
    monkeypatch.setattr(inbox_store, "retention_time", lambda: now + timedelta(days=29))
    assert sweep_archive(inbox_store).number == 0
    monkeypatch.setattr(inbox_store, "retention_time", lambda: now + timedelta(days=31))
    assert sweep_archive(inbox_store).number == 3
    assert places(inbox_store) == {}
