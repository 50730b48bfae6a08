"""Runs with steps on several machines: what kills, restarts and lost messages do to them."""

import hashlib
import os
import signal
import time
from typing import Any

import dagster as dg
import pytest

from pipelines.runs import fail_lost_runs
from resources.export_writer import ExportWriter
from resources.file_storage import read
from resources.importing.importer import Importer
from resources.inbox import inbox_of
from resources.machines import heartbeats
from resources.machines.heartbeats import Watch
from resources.record_store import RecordStore
from schemas.exports import ExportManifest, ExportRequest
from tests.inbox import kinds, lands, take
from tests.machines.cluster import Cluster, are_apart
from tests.records import contact, contacts_of, values, write_csv
from tests.serving import within

pytestmark = [
    pytest.mark.xdist_group("servers"),
    # Dagster 1.13 reads pydantic's `__fields__` wherever a resource is made.
    pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated"),
]
EXPORT = {"ops": {"exports__contacts": {"config": {"part_rows": 600}}}}
SECONDS = 240


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> str:
    """The SHA-256 of the export that is made here, without workers."""
    with RecordStore(cluster.settings) as store:
        return ExportWriter(store, "tester").export(ExportRequest("ex", "contacts")).sha256


@pytest.fixture
def soon_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process count as gone after three beats that did not come, so that tests wait less."""
    monkeypatch.setattr(Watch.__init__, "__defaults__", (3.0 * heartbeats.BEAT_SECONDS, time.monotonic))


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    """The cluster with all its workers."""
    cluster.ready()
    return cluster


def require_whole(cluster: Cluster, run_id: str, sha256: str) -> None:
    """Check that the run has published the export once, and that its file is right."""
    with RecordStore(cluster.settings) as store:
        (manifest,) = [it for it in store.exports("ex") if it.run_id == run_id]
    assert isinstance(manifest, ExportManifest)
    assert (manifest.rows, manifest.sha256) == (1200, sha256)
    assert hashlib.sha256(read(manifest.path)).hexdigest() == sha256


def config_of(cluster: Cluster, account: str) -> dict[str, Any]:
    """Return the config that imports a file of 50 contacts for an account. Every user can read the file."""
    path = write_csv(cluster.hold / f"{account}.csv", [contact(number) for number in range(50)])
    path.chmod(0o644)
    return {"account": account, "record_type": "contacts", "path": str(path)}


def committed(cluster: Cluster, account: str) -> list[tuple[str, int]]:
    with RecordStore(cluster.settings) as store:
        return [(it.status.value, it.counts.created) for it in store.batches(account) if it.undone is None]


def test_an_import_a_rollback_and_an_export_are_executed_by_workers_with_other_users(
    ready: Cluster, undisturbed: str
) -> None:
    with RecordStore(ready.settings) as store:
        store.add_account("im", "tester")
    ready.run("import_records", config_of(ready, "im"))
    with RecordStore(ready.settings) as store:
        (batch,) = store.batches("im")
        assert (batch.status.value, batch.counts.created, len(values(store, "amount", account="im"))) == (
            "committed",
            50,
            50,
        )
    ready.run("roll_back_batch", {"account": "im", "batch_id": batch.batch_id})
    with RecordStore(ready.settings) as store:
        assert values(store, "amount", account="im") == {}
    run_id = ready.run("export_contacts", EXPORT, "ex")
    require_whole(ready, run_id, undisturbed)
    claims = ready.claims(run_id)
    assert {key.step.partition("[")[0].rpartition(".")[2] for key in claims} == {
        "plan_export",
        "make_part",
        "publish_export",
    }
    hosts = {it.process.split(":")[0] for it in claims.values() if it.process}
    assert hosts <= ({"one", "two"} if are_apart() else hosts)
    assert all(it.is_done for it in claims.values())


def test_files_of_a_bundle_are_imported_side_by_side_and_those_of_one_account_in_their_order(ready: Cluster) -> None:
    with RecordStore(ready.settings) as store:
        for account in ("in1", "in2"):
            store.add_account(account, "tester")
            for number in (1, 2):
                rows = [contact(7, first_name=f"version {number}"), contact(number + 10)]
                path = lands(store, f"{account}-{number}.csv", rows, f"{account}/contacts")
                os.utime(path, ns=(number * 10**9, number * 10**9))
        take(store)
        (bundle,) = inbox_of(store).bundles()
    run_id = ready.run("import_arrivals", {"bundle": bundle})
    with RecordStore(ready.settings) as store:
        for account in ("in1", "in2"):
            assert values(store, "first_name", account=account) == {
                "C-000007": "version 2",
                "C-000011": None,
                "C-000012": None,
            }
        assert set(kinds(store)) == {f"in{account}-{number}.csv" for account in (1, 2) for number in (1, 2)}
        assert all(there == ["archive"] for there in kinds(store).values())
    steps = {key.step for key in ready.claims(run_id)}
    assert steps == {"open_bundle", "import_folder[001_in1_contacts]", "import_folder[002_in2_contacts]"}


@pytest.mark.parametrize("place", ["after-plan_export", "before-make_part", "after-publish_export"])
def test_a_killed_step_of_an_export_starts_again_and_the_file_is_the_same(
    ready: Cluster, undisturbed: str, place: str, request: pytest.FixtureRequest
) -> None:
    if place != "before-make_part":  # one waits as long as users do
        request.getfixturevalue("soon_gone")
    with ready.holding(place):
        run_id, result = ready.launch("export_contacts", EXPORT, "ex")
        os.kill(ready.held_at(place), signal.SIGKILL)
        killed_at = time.monotonic()
    assert result.result(SECONDS), ready.messages(run_id)
    assert time.monotonic() - killed_at < heartbeats.GONE_SECONDS * 2
    require_whole(ready, run_id, undisturbed)


def test_an_import_that_was_killed_after_its_commit_is_not_made_twice(ready: Cluster, soon_gone: None) -> None:
    with RecordStore(ready.settings) as store:
        store.add_account("once", "tester")
    with ready.holding("after-import_file"):
        run_id, result = ready.launch("import_records", config_of(ready, "once"))
        os.kill(ready.held_at("after-import_file"), signal.SIGKILL)
    assert result.result(SECONDS), ready.messages(run_id)
    assert committed(ready, "once") == [("committed", 50)]


@pytest.mark.parametrize("place", ["before-roll_back", "after-roll_back"])
def test_a_rollback_that_was_killed_is_made_once(ready: Cluster, place: str, soon_gone: None) -> None:
    account = place.replace("_", "-")
    with RecordStore(ready.settings) as store:
        store.add_account(account, "tester")
        path = write_csv(ready.hold / f"{account}.csv", [contact(number) for number in range(50)])
        batch = Importer(store, "tester").import_file(contacts_of(path, account)).batch
    with ready.holding(place):
        run_id, result = ready.launch("roll_back_batch", {"account": account, "batch_id": batch.batch_id})
        os.kill(ready.held_at(place), signal.SIGKILL)
    assert result.result(SECONDS), ready.messages(run_id)
    with RecordStore(ready.settings) as store:
        assert values(store, "amount", account=account) == {}
        assert [it.undone.batch_id for it in store.batches(account) if it.undone] == [batch.batch_id]


@pytest.mark.parametrize("place", ["after-open_bundle", "before-import_folder", "after-import_folder"])
def test_arrivals_whose_step_was_killed_are_imported_once(ready: Cluster, place: str, soon_gone: None) -> None:
    account = place.replace("_", "-")
    with RecordStore(ready.settings) as store:
        store.add_account(account, "tester")
        lands(store, f"{account}.csv", [contact(number) for number in range(50)], f"{account}/contacts")
        take(store)
        (bundle,) = inbox_of(store).bundles()
    with ready.holding(place):
        run_id, result = ready.launch("import_arrivals", {"bundle": bundle})
        os.kill(ready.held_at(place), signal.SIGKILL)
    assert result.result(SECONDS), ready.messages(run_id)
    assert committed(ready, account) == [("committed", 50)]
    with RecordStore(ready.settings) as store:
        assert kinds(store)[f"{account}.csv"] == ["archive"]


def test_a_cancelled_run_ends_its_steps_and_begins_no_other(ready: Cluster) -> None:
    with ready.holding("before-make_part"):
        run_id, process = ready.launch_apart("export_contacts", EXPORT, "ex")
        held = ready.held_at("before-make_part")
        with dg.DagsterInstance.get() as instance:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            instance.report_run_canceling(run)  # as the launcher does before it sends the signal
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) is not None
        assert within(30, lambda: not any(it.has(held) for it in ready.machines)), "the step goes on"
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELED, ready.messages(run_id)
    with RecordStore(ready.settings) as store:
        assert run_id not in {it.run_id for it in store.exports("ex")}
    assert "publish_export" not in " ".join(key.step for key in ready.claims(run_id))


def test_the_steps_of_a_machine_that_is_gone_are_executed_by_another_one(
    ready: Cluster, undisturbed: str, soon_gone: None
) -> None:
    with ready.holding("after-make_part"):
        run_id, result = ready.launch("export_contacts", EXPORT, "ex")
        gone = ready.kill_machine_of(ready.held_at("after-make_part"))
    assert result.result(SECONDS), ready.messages(run_id)
    require_whole(ready, run_id, undisturbed)
    done_by = {it.process.split(":")[0] for it in ready.claims(run_id).values() if it.process}
    if are_apart():
        assert f"{gone.name} gives no sign of life" in ready.said(run_id)
        assert done_by


def test_a_redis_that_restarts_empty_delays_a_run_and_no_more(
    ready: Cluster, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.celery_steps._SENT_AGAIN", 3.0)
    with ready.holding("after-plan_export"):
        run_id, result = ready.launch("export_contacts", EXPORT, "ex")
        ready.held_at("after-plan_export")
        ready.redis.restart()
    assert result.result(SECONDS), ready.messages(run_id)
    require_whole(ready, run_id, undisturbed)


def test_a_step_of_which_the_outcome_could_not_be_written_is_executed_again_at_once(
    ready: Cluster, undisturbed: str
) -> None:
    """Its message goes back to the worker that still has its claim: nobody must wait until that worker is gone."""
    ready.machines[1].kill()
    (ready.hold / "no-outcome").touch()
    run_id, result = ready.launch("export_contacts", EXPORT, "ex")
    assert result.result(SECONDS), ready.messages(run_id)
    require_whole(ready, run_id, undisturbed)
    assert not (ready.hold / "no-outcome").exists()
    assert "gives no sign of life" not in ready.said(run_id)


def test_a_run_of_a_code_server_that_is_gone_is_taken_up_again(ready: Cluster, undisturbed: str) -> None:
    with ready.holding("before-make_part"):
        run_id, process = ready.launch_apart("export_contacts", EXPORT, "ex")
        held = ready.held_at("before-make_part")
        process.kill()
        process.wait()
        watch = Watch(2 * heartbeats.BEAT_SECONDS)
        with dg.DagsterInstance.get() as instance:
            lost = within(60, lambda: fail_lost_runs(instance, ready.settings, watch), every=2)
            assert lost == [run_id]
        assert within(30, lambda: not any(it.has(held) for it in ready.machines)), "the old step goes on"
    again, result = ready.again(run_id)
    assert result.result(SECONDS), ready.messages(again)
    require_whole(ready, again, undisturbed)
    assert "plan_export" not in " ".join(key.step for key in ready.claims(again))
