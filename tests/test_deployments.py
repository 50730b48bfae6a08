"""Processes of different machines work at once. They share nothing but PostgreSQL and an object store."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import chain
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.arrivals import file_arrival, import_arrivals
from pipelines.store_resource import RecordsResource
from resources import file_storage
from resources.export_writer import ExportWriter
from resources.file_storage import FileStorage
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from resources.upkeep.maintenance import Maintenance
from schemas.batches import BatchStatus
from schemas.exports import ExportManifest, ExportRequest
from schemas.rollbacks import RollbackRequest
from tests.conftest import StoppedClock
from tests.faults.steps import processes
from tests.forked_commands import COMMAND_LINE
from tests.inbox import import_all, kinds, lands, take
from tests.object_server import on_disk
from tests.records import Row, change, contact, contacts_of, put, values, write_csv
from tests.serving import COMMAND

# Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
pytestmark = [
    pytest.mark.runs_on("server"),
    pytest.mark.filterwarnings(
        "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]

Act = Callable[[RecordStore], Any]

SHARED = {"external_id": "S-1"}
TABLES = ("batches", "exports", "accounts", "record_types", "files")


@pytest.fixture
def homes(store: RecordStore, tmp_path: Path) -> tuple[Settings, Settings, Settings]:
    """The settings of three machines; two of them have not opened the store yet."""
    second, third = (replace(store.settings, home=tmp_path / name) for name in ("second", "third"))
    return store.settings, second, third


def _act(settings: Settings, act: Act, barrier: Barrier, result: Connection) -> None:
    with RecordStore(settings) as store:
        store.accounts()  # this opens the store
        barrier.wait(timeout=120)
        result.send(act(store))


def at_once(*acts: tuple[Settings, Act], exit_code: int = 0) -> list[Any]:
    """Run the actions at the same time, each in a process of its machine; returns their results."""
    context = processes()
    barrier = context.Barrier(len(acts))
    pipes = [context.Pipe(duplex=False) for _ in acts]
    working = [
        context.Process(target=_act, args=(settings, act, barrier, sender))
        for (settings, act), (_, sender) in zip(acts, pipes, strict=True)
    ]
    for process in working:
        process.start()
    for process in working:
        process.join()
    assert [process.exitcode for process in working] == [exit_code] * len(acts)
    return [receiver.recv() for receiver, _ in pipes] if exit_code == 0 else []


def dies(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rows_of(who: str, number: int) -> list[Row]:
    """Return the rows of a file. The second file changes five records of the first. The others have a shared key."""
    own = [contact(n, external_id=f"{who}-{n}", company=f"{who}{number}") for n in range(number * 5, number * 5 + 10)]
    return own if number == 1 else [*own, contact(0, **SHARED, company=f"{who}{number}")]


def import_and_roll_back(folder: Path, who: str, store: RecordStore) -> tuple[list[str], str]:
    """Import three files; roll the second one back before the third. Returns their batches, and the second."""
    batches = []
    for number in range(3):
        path = write_csv(folder / f"{who}{number}.csv", rows_of(who, number))
        batches.append(Importer(store, who).import_file(contacts_of(path)).batch.batch_id)
        if number == 1:
            store.account("ua").roll_back(RollbackRequest("ua", batches[1]), who, None)
    return batches, batches[1]


def export(store: RecordStore) -> ExportManifest:
    return ExportWriter(store, "exporter").export(ExportRequest("ua", "contacts", part_rows=20))


def keep_up(store: RecordStore) -> int:
    Maintenance(store, "keeper").expire()
    return Maintenance(store, "keeper").maintain().merged


def plan(store: RecordStore) -> str:
    """Plan an export in six parts; returns its id."""
    return ExportWriter(store, "planner").plan(ExportRequest("ua", "contacts", part_rows=20)).export_id


def make(export_id: str, numbers: Sequence[int], store: RecordStore) -> list[str]:
    writer = ExportWriter(store, "maker")
    return [writer.make_part(writer.load("ua", export_id), number).sha256 for number in numbers]


def make_and_die_before_it_has_its_name(export_id: str, number: int, store: RecordStore) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", dies)
        make(export_id, [number], store)


def make_and_die_before_its_note_is_sent(export_id: str, number: int, store: RecordStore) -> None:
    put_file = FileStorage.put

    def put_and_die(files: FileStorage, made: Path, final: Any) -> None:
        put_file(files, made, final)
        dies()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileStorage, "put", put_and_die)
        make(export_id, [number], store)


def make_and_die_while_it_is_sent(export_id: str, number: int, store: RecordStore) -> None:
    """Die before the second piece of a large object is uploaded."""
    import s3fs  # type: ignore[import-untyped]

    call = s3fs.S3FileSystem._call_s3

    async def call_and_die(system: Any, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "upload_part" and options["PartNumber"] == 2:
            dies()
        return await call(system, method, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_storage, "_CHUNK", 5 << 20)
        patch.setattr(s3fs.S3FileSystem, "_call_s3", call_and_die)
        make(export_id, [number], store)


def finish(export_id: str, store: RecordStore) -> tuple[ExportManifest, list[int]]:
    """Finish the export; returns its manifest, and the parts that were missing."""
    writer = ExportWriter(store, "finisher")
    missing: list[int] = []
    return writer.finish(writer.load("ua", export_id), missing.append), missing


def arrive_all(store: RecordStore) -> list[str]:
    """Do the work of a daemon that finds complete files; returns what it has imported."""
    return [*take(store), *import_all(store)]


def expire(store: RecordStore) -> list[str]:
    return [batch.batch_id for batch in store.expire_batches("keeper")]


def expire_later(store: RecordStore) -> list[str]:
    """Expire batches after all windows have ended."""
    clock = StoppedClock()
    clock.time = datetime.now(UTC) + timedelta(hours=25)
    with RecordStore(store.settings, clock=clock) as later:
        return expire(later)


def transitions(store: RecordStore) -> list[tuple[str, BatchStatus]]:
    """Return the statuses of batches in the order of the ledger."""
    rows = [row for _, row in store.ledger_after(0, 1000).rows]
    return [(row.batch_id, row.status) for row in rows if not isinstance(row, ExportManifest)]


def check_ledger(store: RecordStore) -> None:
    """Check that the numbers of the ledger's rows have no gap, and that each is there once."""
    with store.reading() as connection:
        union = " UNION ALL ".join(f"SELECT seq FROM lake.ledger.{name}" for name in TABLES)
        numbers = [seq for (seq,) in connection.execute(f"SELECT seq FROM ({union}) ORDER BY seq").fetch_all()]
    assert numbers == list(range(1, len(numbers) + 1))


def check_exports(store: RecordStore, exports: Sequence[ExportManifest]) -> None:
    """Check that each export has the records of its snapshot, and the bytes that its manifest states."""
    assert {it.export_id for it in exports} <= {it.export_id for it in store.exports("ua")}
    assert len({it.export_id for it in store.exports()}) == len(store.exports())
    for export in store.exports("ua"):
        assert sha256(on_disk(export.path).read_bytes()).hexdigest() == export.sha256
        with store.reading(export.snapshot) as connection:
            query = "SELECT count(*) FROM lake.records.contacts WHERE _account = 'ua'"
            assert connection.fetch_one(query) == (export.rows,)


def test_machines_that_import_export_roll_back_and_maintain_at_once_lose_and_double_nothing(
    store: RecordStore, homes: tuple[Settings, Settings, Settings], tmp_path: Path
) -> None:
    one, two, three = homes
    put(store, "SELECT 'O-' || n AS external_id, 'lead' AS status, 'old' AS company FROM range(30) t(n)")
    path = write_csv(tmp_path / "by command.csv", rows_of("D", 0)[:-1])
    environment = os.environ | {"RECORDS_HOME": str(three.home)}
    commands = [
        COMMAND_LINE.Popen(
            [COMMAND, *arguments, "-a", "ua", "-t", "contacts"], env=environment, stdout=subprocess.DEVNULL
        )
        for arguments in (["import", str(path)], ["export"])
    ]

    (of_a, back_a), (of_b, back_b), *exports, _, _ = at_once(
        (one, partial(import_and_roll_back, tmp_path, "A")),
        (two, partial(import_and_roll_back, tmp_path, "B")),
        (one, export),
        (two, export),
        (one, keep_up),
        (two, keep_up),
    )
    assert [command.wait() for command in commands] == [0, 0]

    recorded = transitions(store)
    by_id = {batch.batch_id: batch for batch in store.batches("ua")}
    committed = [batch_id for batch_id, status in recorded if status is BatchStatus.COMMITTED]
    for batch_id in [*of_a, *of_b]:
        assert committed.count(batch_id) == 1
        counts = by_id[batch_id].counts
        assert (
            counts.created + counts.updated + counts.unchanged
            == counts.read
            == (10 if "back" in batch_id else counts.read)
        )
    assert [by_id[batch_id].status for batch_id in (back_a, back_b)] == [BatchStatus.ROLLED_BACK] * 2
    assert store.unbalanced("contacts") == []
    check_ledger(store)

    names = {batch_id: by_id[batch_id].file_name for batch_id in committed if batch_id in by_id}
    last = [
        name for batch_id in committed if (name := names.get(batch_id, "")) in ("A0.csv", "A2.csv", "B0.csv", "B2.csv")
    ][-1]
    model = {f"O-{n}": "old" for n in range(30)} | {f"D-{n}": "D0" for n in range(10)} | {"S-1": last[:2]}
    for who in "AB":
        model |= {f"{who}-{n}": f"{who}{0 if n < 10 else 2}" for n in range(20)}
    assert values(store, "company") == model

    check_exports(store, exports)
    assert len(store.exports()) == 3
    assert [it for home in homes for it in home.scratch.glob("**/*")] == []
    recorded_texts = str(store.ledger_after(0, 1000)) + str(store.reports(store.batches()))
    assert not [home for home in homes if str(home.home) in recorded_texts]

    ended = at_once(*((home, expire_later) for home in homes))
    still_committed = {batch_id for batch_id in committed if by_id[batch_id].status is BatchStatus.COMMITTED}
    assert Counter(chain(*ended)) == Counter(still_committed)
    assert Counter(it for it, status in transitions(store) if status is BatchStatus.EXPIRED) == Counter(still_committed)
    check_ledger(store)


def test_other_machines_complete_an_export_after_kills_and_changes(
    store: RecordStore, homes: tuple[Settings, Settings, Settings]
) -> None:
    one, two, three = homes
    # The fifth part is so large that it is uploaded in pieces.
    text = "CASE WHEN n BETWEEN 80 AND 99 THEN repeat(md5(n::VARCHAR), 20000) END"
    put(store, f"SELECT printf('C-%03d', n) AS external_id, 'lead' AS status, {text} AS notes FROM range(120) t(n)")
    undisturbed = ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", part_rows=20))
    assert undisturbed.rows == 120
    (export_id,) = at_once((one, plan))

    put(store, "SELECT printf('B-%03d', n) AS external_id, 'lead' AS status FROM range(50) t(n)")
    change(store, "DELETE FROM lake.records.contacts WHERE external_id LIKE 'C-%5'")
    at_once((two, partial(make, export_id, [0])), (three, partial(make, export_id, [0, 1])), (one, keep_up))
    at_once(
        (two, partial(make_and_die_before_it_has_its_name, export_id, 2)),
        (two, partial(make_and_die_before_its_note_is_sent, export_id, 3)),
        (one, partial(make_and_die_while_it_is_sent, export_id, 4)),
        exit_code=-signal.SIGKILL,
    )
    change(store, "UPDATE lake.records.contacts SET company = 'changed'")
    finished = at_once((three, partial(finish, export_id)), (three, partial(finish, export_id)))

    for manifest, missing in finished:
        # The commit that recorded the undisturbed export lies between the two snapshots.
        assert (manifest.sha256, manifest.snapshot) == (undisturbed.sha256, undisturbed.snapshot + 1)
        assert {0, 1}.isdisjoint(missing)
    assert {number for _, missing in finished for number in missing} == {2, 3, 4, 5}
    check_exports(store, [manifest for manifest, _ in finished])
    assert len(store.exports()) == 2
    folder = on_disk(finished[0][0].path).parent
    assert sorted(path.name for path in folder.iterdir()) == ["contacts.csv", "contacts.csv.manifest.json"]
    assert list(three.scratch.iterdir()) == []


def test_two_machines_that_look_into_one_inbox_import_each_file_once(
    store: RecordStore, homes: tuple[Settings, Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = homes
    store.add_account("ua", "tester")
    names = [f"{number}.csv" for number in range(4)]
    for number, name in enumerate(names[:3]):
        lands(store, name, [contact(number)])
    imported = at_once((one, arrive_all), (two, arrive_all))
    assert sorted(it for it in chain(*imported) if it in names) == names[:3]

    lands(store, names[3], [contact(3)])
    with dg.DagsterInstance.ephemeral() as of_one, dg.DagsterInstance.ephemeral() as of_two:
        cursors: dict[str, str | None] = {}
        requests = []
        for settings, instance in ((one, of_one), (two, of_two), (one, of_one), (two, of_two)):
            monkeypatch.setenv("RECORDS_HOME", str(settings.home))
            context = dg.build_sensor_context(instance=instance, cursor=cursors.get(str(settings.home)))
            result = file_arrival(context, records=RecordsResource())
            assert isinstance(result, dg.SensorResult)
            cursors[str(settings.home)] = result.cursor
            requests += [(instance, request) for request in result.run_requests or ()]
        assert [instance for instance, _ in requests] == [of_one, of_two]
        for instance, request in requests:
            done = import_arrivals.execute_in_process(
                run_config=request.run_config, resources={"records": RecordsResource()}, instance=instance
            )
            assert done.success

    assert kinds(store) == {name: ["archive"] for name in names}
    committed = [it for it, status in transitions(store) if status is BatchStatus.COMMITTED]
    batches = {batch.batch_id: batch.file_name for batch in store.batches("ua")}
    assert sorted(batches[it] for it in committed) == names
    assert len(values(store, "amount")) == 4
    check_ledger(store)
