"""The operator's commands, killed at an operation: the store is whole then, and the same command completes them."""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resources.backup import Backup, BackupPlace, Restore, backup
from resources.backup import place as backup_place
from resources.backup import restore as backup_restore
from resources.erasure.account_deletion import AccountDeletion
from resources.erasure.eraser import Eraser
from resources.export_writer import ExportWriter
from resources.health.check import StoreCheck
from resources.health.repair import StoreRepair
from resources.importing.importer import Importer
from resources.record_store import RecordStore, lake_files, losses
from resources.trash import Trash
from resources.upkeep.maintenance import Maintenance
from schemas import load_record_types
from schemas.batches import OnInvalid
from schemas.checks import Kind as Wrong
from schemas.erasure import ErasureRequest
from schemas.errors import ForeignData, NotFound, Refused, StoreNotReady
from schemas.exports import ExportRequest
from schemas.location import Location
from tests.canaries import COLUMNS, KEYS, WORDS, other, person, snapshots_of_others
from tests.every_byte import places_with
from tests.faults.harness.actions import Place, opened, state_of
from tests.faults.harness.checks import Findings
from tests.faults.harness.kills import unexplained
from tests.faults.harness.shim import How, Kind, Operation, Orders, recorded
from tests.faults.harness.testbed import Fault, Testbed, require, spread
from tests.inbox import arrive
from tests.records import Row, contact, contacts_of, stored, write_csv


@dataclass(frozen=True)
class Command:
    """A command that an operator starts.

    prepare: makes the store. do: the command itself. sound: what is wrong after a kill, given the facts from before.
    facts: what must be the same after the second run as after one that was not killed.
    """

    prepare: Callable[[RecordStore, Place], None]
    do: Callable[[Place], object]
    sound: Callable[[Place, Any], list[str]]
    facts: Callable[[Place], Any]


def checked(store: RecordStore, *expected: Wrong) -> list[str]:
    """Return what a check finds wrong, besides what is expected."""
    return [f"check: {it.sentence}" for it in StoreCheck(store).run().wrong if it.kind not in expected]


def _import(store: RecordStore, place: Place, name: str, rows: list[Row], account: str = "ua") -> str:
    place.files.mkdir(exist_ok=True)
    file = write_csv(place.files / f"{name}.csv", rows, COLUMNS)
    return Importer(store, "tester").import_file(contacts_of(file, account), OnInvalid.SKIP).batch.batch_id


# Backup and restore


def _backups(place: Place) -> BackupPlace:
    where = place.data.removesuffix("/data") if place.data else str(place.root)
    return BackupPlace(f"{where}/backups", place.settings)


def _target(place: Place) -> Place:
    """Return where a backup is restored to: a place of the same kind."""
    data = f"{place.data.removesuffix('/data')}/second" if place.data else ""
    return replace(place, home_name="second", catalog=place.beside, data=data)


def _one_at_a_time() -> None:
    for module in (backup, backup_place, backup_restore):
        setattr(module, "AT_ONCE", 1)  # noqa: B010  # so that operations have the same numbers each time


def _store_with_backup(store: RecordStore, place: Place) -> None:
    """Make a store that has an earlier backup, and has changed since."""
    store.initialise(load_record_types())
    _import(store, place, "first", [other(n) for n in range(6)])
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))
    Backup(store, _backups(place)).run()
    _import(store, place, "second", [other(n, notes="later") for n in range(3, 9)])
    Importer(store, "tester").preview(contacts_of(write_csv(place.files / "third.csv", [contact(1)])))
    (store.settings.home / "exports.yaml").write_text("exports: []\n")


def _store_to_restore(store: RecordStore, place: Place) -> None:
    _store_with_backup(store, place)
    Backup(store, _backups(place)).run()


def _back_up(place: Place) -> None:
    _one_at_a_time()
    with opened(place) as store:
        Backup(store, _backups(place)).run(keep=1)


def _backup_is_sound(place: Place, before: Any) -> list[str]:
    with opened(place) as store:
        found = checked(store)
        if state_of(store) != before["state"]:
            found.append("a backup has changed the store")
    backups = _backups(place)
    if not backups.ids():
        found.append("the earlier backup is gone, and no later one is complete")
    for each in backups.ids():
        backups.require_whole(backups.manifest(each))
    return found


def _facts_of_backup(place: Place) -> Any:
    backups = _backups(place)
    named = {file.place for each in backups.ids() for file in backups.manifest(each).files}
    left = [it for it in backups.listing() if it not in named]
    restored = replace(place, home_name="looked-at", catalog="", data="")
    try:
        Restore(backups, restored.settings).run()
        with opened(place) as store, opened(restored) as copy:
            return {"ids": len(backups.ids()), "left": left, "state": state_of(store), "backup": state_of(copy)}
    finally:
        shutil.rmtree(restored.settings.home)


def _restore(place: Place) -> None:
    _one_at_a_time()
    try:
        Restore(_backups(place), _target(place).settings).run()
    except Refused as error:  # it was complete before the kill
        if "There is a store already" not in error.message:
            raise


def _restore_is_sound(place: Place, before: Any) -> list[str]:
    try:
        with opened(_target(place)) as store:
            found = state_of(store)
    except (StoreNotReady, ForeignData):
        return []
    return [] if found == before["backup"] else ["a restore that was killed left a store with other records"]


def _facts_of_restore(place: Place) -> Any:
    target = _target(place)
    with opened(place) as store:
        backup = state_of(store)
    try:
        with opened(target) as store:
            there = (state_of(store), checked(store), sorted(store.accounts()))
    except StoreNotReady:
        there = None
    names = sorted(it.name for it in target.settings.home.glob("*") if it.is_file() and "sqlite" not in it.name)
    return {"backup": backup, "there": there, "files": names}


# Repair


def _flip(place: Location) -> None:
    """Change one bit of a file."""
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 4
    place.write_bytes(bytes(content))


def _damaged_store(store: RecordStore, place: Place) -> None:
    """Make a store with a merged file to make again, a file and an export to restore, and records to lose."""
    store.initialise(load_record_types())
    for number in range(3):
        _import(store, place, f"ua-{number}", [other(n, notes=str(number)) for n in range(number * 3, number * 3 + 5)])
    Maintenance(store, "tester").maintain()
    for number in range(2):
        _import(store, place, f"b6-{number}", [other(number)], "b6")
    with store.reading() as connection:
        files = [it for it in lake_files.listed(connection) if it.schema == "records" and it.end is None]
    (merged, *_) = [it for it in files if it.account == "ua" and not it.is_delete]
    kept, lost = [store.settings.data / it.path for it in files if it.account == "b6"]
    content = kept.read_bytes()
    Trash(store.settings).put(kept, store.clock.now())
    kept.write_bytes(content)
    for each in (store.settings.data / merged.path, kept, lost):
        _flip(each)


def _repair(place: Place) -> None:
    with opened(place) as store:
        StoreRepair(store, "mender").run()


def _repair_is_sound(place: Place, before: Any) -> list[str]:
    """The check names the damage that is left; a record that can be read is one that was there."""
    with opened(place) as store:
        return checked(store, Wrong.DAMAGED, Wrong.MISSING, Wrong.UNREADABLE)


def _facts_of_repair(place: Place) -> Any:
    with opened(place) as store:
        wrong = checked(store)
        with store.reading() as connection:
            lost = [(it.account, it.records, len(it.batches)) for it in losses.recorded(connection)]
        return {
            "wrong": len(wrong),
            "lost": lost,
            "records": None
            if wrong
            else state_of(store).records | {"b6": [row["external_id"] for row in stored(store, account="b6")]},
        }


# Erasures


def _store_with_people(store: RecordStore, place: Place) -> None:
    """Make a store with people in batches, rejects, an archived file, one that waits, a preview, and an export."""
    store.initialise(load_record_types())
    _import(store, place, "first", [person(1), *(other(n) for n in range(6))])
    changed = [person(1, notes="canary, again"), other(3, notes="later"), person(2, amount="canary")]
    _import(store, place, "second", changed)
    _lands(store, place, "arrived", [person(2), other(40)])
    arrive(store)
    _import(store, place, "va", [other(1), other(2)], "va")
    preview = write_csv(place.files / "third.csv", [person(1, notes="third canary")], COLUMNS)
    Importer(store, "tester").preview(contacts_of(preview))
    _lands(store, place, "waits", [person(1), other(41)])
    ExportWriter(store, "tester").export(ExportRequest("ua", "contacts"))


def _lands(store: RecordStore, place: Place, name: str, rows: list[Row]) -> None:
    folder = store.settings.inbox / "ua" / "contacts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.csv").write_bytes(write_csv(place.files / f"{name}.csv", rows).read_bytes())


def _erase(place: Place) -> None:
    with opened(place) as store:
        Eraser(store, "tester").erase(ErasureRequest("ua", "contacts", KEYS))


def _delete(place: Place) -> None:
    with opened(place) as store:
        try:
            AccountDeletion(store, "ua", "tester").delete()
        except NotFound:  # it was complete before the kill
            if "ua" in store.accounts():
                raise


def _erasure_is_sound(place: Place, before: Any) -> list[str]:
    with opened(place) as store:
        found = checked(store, Wrong.PENDING)
        now = snapshots_of_others(store)
        if any(now.get(number) != rows for number, rows in before["others"].items()):
            found.append("records of others were changed")
        if before["waits"] != _waiting(store):
            found.append("a file that waits has lost records of others")
    return found


def _waiting(store: RecordStore) -> bool:
    waits = store.settings.inbox / "ua" / "contacts" / "waits.csv"
    return waits.exists() and other(41)["external_id"].encode() in waits.read_bytes()


def _deletion_is_sound(place: Place, before: Any) -> list[str]:
    with opened(place) as store:
        found = checked(store, Wrong.PENDING)
        if stored(store, account="va") != before["va"]:
            found.append("records of another account were changed")
    return found


def _facts_of_erasure(place: Place) -> Any:
    with opened(place) as store:
        return {
            "wrong": checked(store),
            "keys": sorted(row["external_id"] for row in stored(store)),
            "va": stored(store, account="va"),
            "accounts": store.accounts(),
            "batches": len(store.batches("ua")),
            "waits": _waiting(store),
            "others": snapshots_of_others(store),
        }


COMMANDS: dict[str, Command] = {
    "backup": Command(_store_with_backup, _back_up, _backup_is_sound, _facts_of_backup),
    "restore": Command(_store_to_restore, _restore, _restore_is_sound, _facts_of_restore),
    "repair": Command(_damaged_store, _repair, _repair_is_sound, _facts_of_repair),
    "erase": Command(_store_with_people, _erase, _erasure_is_sound, _facts_of_erasure),
    "accounts delete": Command(_store_with_people, _delete, _deletion_is_sound, _facts_of_erasure),
}
_ERASING = ("erase", "accounts delete")

_NOT_COMPARED = ("others",)
"""Facts that differ with each run: how many snapshots there are."""

_READS = re.compile(
    rb"(GET|HEAD) /|[QP].{4}\0?(BEGIN|START|SET|SHOW|SELECT(?! pg_)|WITH|FROM|DISCARD|ROLLBACK|COPY \(|DEALLOCATE)"
    rb"|[SBEDCXp\0]",
    re.DOTALL,
)
"""The beginnings of what is sent to a server and changes nothing there."""


def kills_of_commands(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Kill each of the operator's commands on a laptop before and amid operations."""
    yield from _kills(testbed, chance, count, "laptop")


def kills_of_commands_on_server(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Do the same with the catalog in PostgreSQL and the data in an object store, at what is sent to them too."""
    yield from _kills(testbed, chance, count, "objects")


def _kills(testbed: Testbed, chance: random.Random, count: int, setting: str) -> Iterator[Fault]:
    names = [*COMMANDS][:count]
    for name in names:
        case = testbed.once(("command", name, setting), partial(_refer, testbed, name, setting))
        for number, how in spread(chance, case.points, -(-count // len(names))):
            orders = Orders(kill_at=number, kill_how=how, sends=setting == "objects")
            yield Fault(
                f"{name} on {setting} killed {how.name.lower()} {number}", partial(_happens, testbed, case, orders)
            )


@dataclass(frozen=True)
class Case:
    """A command on a store: its facts before and after, and the points to kill it at."""

    name: str
    setting: str
    place: Place
    before: Any
    after: Any
    points: list[tuple[int, How]]


def _points(operations: list[Operation]) -> list[tuple[int, How]]:
    """Return where to kill: before each change, amid writes, and directly after what is sent to a server.

    Points that leave the same files are walked once. A flush changes nothing for a process that is killed. Among
    writes to one file in a row, the first is killed before it, and the last amid it.
    """
    changes = [
        it
        for it in operations
        if it.kind not in (Kind.MARK, Kind.SYNC) and not (it.kind is Kind.SEND and _READS.match(it.data))
    ]
    points = []
    for before, it, after in zip([None, *changes], changes, [*changes[1:], None], strict=False):
        if not (_is_write_to(it, before)):
            points.append((it.number, How.BEFORE))
        if it.kind is Kind.WRITE and not _is_write_to(it, after):
            points.append((it.number, How.TORN))
        if it.kind is Kind.SEND:
            points.append((it.number, How.AFTER))
    return [*points, (operations[-1].number, How.AFTER)]


def _is_write_to(it: Operation, other: Operation | None) -> bool:
    """Return whether both are writes to the same file."""
    return other is not None and it.kind is other.kind is Kind.WRITE and it.path == other.path


def _refer(testbed: Testbed, name: str, setting: str) -> Case:
    """Make the store of a command, run the command on a copy without a fault, and return what it does."""
    command = COMMANDS[name]
    place = testbed.place(setting)
    environment = testbed.environment(place)
    require(testbed.call(_prepare, name, place, environment=environment))
    before = _looked(testbed, command.facts, place)
    record = testbed.root / f"{name}-{setting}.record"
    with _copied(testbed, place) as copy:
        orders = Orders(root=copy.root, record=record, sends=setting == "objects")
        require(testbed.call(_do, name, copy, orders=orders, environment=environment))
        assert (wrong := _left_over(testbed, name, copy)) == [], wrong
        after = _looked(testbed, command.facts, copy)
    points = _points([*recorded(record)])
    record.unlink()
    return Case(name, setting, place, before, after, points)


def _looked(testbed: Testbed, facts: Callable[[Place], Any], place: Place) -> Any:
    return require(testbed.call(facts, place, environment=testbed.environment(place)))


@contextmanager
def _copied(testbed: Testbed, place: Place) -> Iterator[Place]:
    """Yield a copy of a store, with a database for a second one if it is on a server."""
    with testbed.copied(place) as copy:
        if not place.catalog:
            yield copy
            return
        with testbed.turn:
            database = testbed.server.create()
        try:
            yield replace(copy, beside=testbed.server.address(database))
        finally:
            testbed.server.drop(database)


def _happens(testbed: Testbed, case: Case, orders: Orders) -> list[str]:
    with _copied(testbed, case.place) as place:
        environment = testbed.environment(place)
        killed = testbed.call(_do, case.name, place, orders=replace(orders, root=place.root), environment=environment)
        judged = testbed.call(_judged, case, place, environment=environment)
        found = judged.value if judged.ended_well else [f"the check: {judged}"]
        return [*unexplained(killed), *found, *(_left_over(testbed, case.name, place) if not found else ())]


def _left_over(testbed: Testbed, name: str, place: Place) -> list[str]:
    """Return the files that have a word of the erased people after an erasure."""
    if name not in _ERASING:
        return []
    roots = [place.root / place.home_name]
    if place.data:
        roots.append(testbed.objects.folder(place.data))
    return [f"not erased: {it}" for root in roots for it in places_with(root, WORDS)]


# In a process of its own


def _prepare(name: str, place: Place) -> None:
    with opened(place) as store:
        COMMANDS[name].prepare(store, place)


def _do(name: str, place: Place) -> None:
    COMMANDS[name].do(place)


def _judged(case: Case, place: Place) -> list[str]:
    """Check the store after the kill, run the same command again, and check what it has done."""
    command, found = COMMANDS[case.name], Findings()
    with found.during("after the kill, the check"):
        found += command.sound(place, case.before)
    with found.during("the same command again"):
        command.do(place)
    with found.during("after the second run, the check"):
        now = command.facts(place)
        found += command.sound(place, case.before)
        found += [
            f"{fact} is {str(now[fact])[:200]}, and should be {str(value)[:200]}"
            for fact, value in case.after.items()
            if fact not in _NOT_COMPARED and now[fact] != value
        ]
    return found
