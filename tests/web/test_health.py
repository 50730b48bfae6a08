"""What monitoring reads from the pages: whether they run, whether the store is ready, and numbers."""

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipelines.web.application import application
from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.store_format import FORMAT
from resources.record_store.tables import set_format
from resources.settings import Settings
from schemas.exports import ExportRequest
from tests.records import contact, contacts_of, write_csv
from tests.web.conftest import ORIGIN


def numbers(client: TestClient) -> dict[str, float]:
    """Return the metrics by name and labels, without those of when a counter began."""
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines if "_created" not in name}


def test_a_running_process_is_healthy(client: TestClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")


def test_a_ready_store_says_so_for_each_part(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "catalog: ok\ndata: ok\ndaemon: ok\ndisk: ok\n")


def test_a_store_of_another_format_is_not_ready(client: TestClient, settings: Settings) -> None:
    assert client.get("/readyz").status_code == 200
    with RecordStore(settings) as store, store.transaction("older", "tester", writes=()) as transaction:
        set_format(transaction.connection, FORMAT - 1)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text.splitlines()[0]) == (503, "catalog: other_format")
    with TestClient(application(settings), ORIGIN, client=("127.0.0.1", 50_000)) as later:
        page, metrics = later.get("/a/ua/import"), later.get("/metrics")
    assert (metrics.status_code, metrics.text) == (503, "other_format\n")
    assert page.status_code == 503
    assert "This place is being updated" in page.text
    assert f"has format {FORMAT - 1}, and this program needs format {FORMAT}." in page.text


def test_each_part_that_is_not_ready_is_named(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "store.json").rename(settings.home / "away.json")
    monkeypatch.setattr("pipelines.web.health.free_bytes", lambda _: 999_999_999)
    (settings.home / "ui.json").write_text('{"url": "http://127.0.0.1:9", "files": "", "pid": 1}')

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.text.splitlines() == [
        "catalog: store_not_ready",
        "data: store_not_ready",
        "daemon: no_deployment. No deployment answers at http://127.0.0.1:9.",
        "disk: failed",
    ]


def test_metrics_count_what_happens_and_name_no_account(
    client: TestClient, store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    before = numbers(client)
    assert before["records_inbox_files"] == 0
    file = write_csv(tmp_path / "one.csv", [contact(1), contact(2)])
    importer.import_file(contacts_of(file, "secret-account"))
    export = ExportWriter(store, "tester").export(ExportRequest("secret-account", "contacts"))
    waiting = store.settings.home / "inbox" / "secret-account" / "contacts" / "two.csv"
    waiting.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "one.csv", waiting)

    after = numbers(client)

    assert after['records_batches_total{status="committed"}'] == 1
    assert after['records_batches_total{status="previewed"}'] == 1
    assert after['records_records_total{outcome="created"}'] == 2
    assert (after["records_exports_total"], after["records_export_rows_total"]) == (1, 2)
    assert after["records_export_bytes_total"] == export.bytes
    assert after["records_inbox_files"] == 1
    assert after['records_free_bytes{place="home"}'] > 0
    assert "secret-account" not in client.get("/metrics").text
    assert numbers(client)['records_batches_total{status="committed"}'] == 1


def test_metrics_name_accounts_if_a_setting_asks_for_it(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_METRICS_ACCOUNTS", "yes")
    with TestClient(application(Settings.from_environment()), ORIGIN, client=("127.0.0.1", 50_000)) as client:
        numbers(client)
        importer.import_file(contacts_of(write_csv(tmp_path / "one.csv", [contact(1)])))
        assert numbers(client)['records_records_total{account="ua",outcome="created"}'] == 1


@pytest.mark.parametrize(
    ("sender", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.7"}, 403),
        ("10.0.0.9", {}, 200),
        ("10.0.0.8", {}, 403),
    ],
)
def test_metrics_are_for_this_machine_and_for_named_addresses(
    store: RecordStore, sender: str, headers: dict[str, str], status: int
) -> None:
    (store.settings.home / "web.yaml").write_text("proxies: [10.0.0.1]\nmonitors: [10.0.0.9]\n")
    with TestClient(application(store.settings), ORIGIN, client=(sender, 50_000)) as client:
        assert client.get("/metrics", headers=headers).status_code == status
        assert client.get("/healthz", headers=headers).status_code == 200
