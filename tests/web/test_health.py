"""What monitoring reads from the pages: whether they run, whether the store is ready, and numbers."""

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pipelines.web.application import application
from resources.export_writer import ExportWriter
from resources.health.last_space import note_space
from resources.health.space import measure_space
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.store_format import FORMAT
from resources.record_store.tables import set_format
from resources.settings import Settings
from schemas.batches import ImportRequest
from schemas.errors import StoreBusy
from schemas.exports import ExportRequest
from tests.records import contact, contacts_of, write_csv
from tests.web.conftest import ORIGIN


def numbers(client: TestClient) -> dict[str, float]:
    """Return the metrics by name and labels, as Prometheus' own parser reads them."""
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        sample.name
        + ("{" + ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items())) + "}") * bool(sample.labels): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_running_process_is_healthy(client: TestClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")


def test_a_ready_store_says_so_for_each_part(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "catalog: ok\ndata: ok\ndaemon: none expected\ndisk: ok\n")


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


def test_each_metric_is_in_the_table_of_the_page(client: TestClient, importer: Importer, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "one.csv", [contact(1)])))
    page = (Path(__file__).parents[2] / "deploy" / "README.md").read_text("utf-8")
    named = set[str]()
    for begin, middle, end in re.findall(r"`(records_\w*)(?:\{([\w,]+)\})?(\w*)`", page):
        named |= {f"{begin}{each}{end}" for each in middle.split(",")}
    names = {name.partition("{")[0] for name in numbers(client)}
    assert {re.sub(r"_(sum|count)$", "", name) for name in names} - named == set()


def test_metrics_have_what_every_process_of_this_machine_has_measured(
    client: TestClient, store: RecordStore, tmp_path: Path
) -> None:
    file = write_csv(tmp_path / "one.csv", [contact(1), contact(2)])
    before = numbers(client)
    began = time.monotonic()
    request = contacts_of(file, "ua")
    with ThreadPoolExecutor(1) as another:  # as another process: with a store of its own
        another.submit(_imported, store.settings, request).result()
    lasted = time.monotonic() - began

    after = numbers(client)

    grown = {
        name: after[name] - before.get(name, 0) for name in after if name.startswith(("records_read", "records_c"))
    }
    assert (grown["records_read_seconds_count"], grown["records_read_bytes_total"]) == (1, file.stat().st_size)
    assert grown["records_commit_seconds_count"] == 1
    assert 0 < grown["records_read_seconds_sum"] + grown["records_commit_seconds_sum"] < lasted


def test_a_wait_for_the_write_lock_is_measured_also_if_it_was_in_vain(client: TestClient, store: RecordStore) -> None:
    impatient = replace(store.settings, lock_seconds=0.1)
    before = numbers(client)
    with store.write_lock, store.write_lock, RecordStore(impatient) as other, pytest.raises(StoreBusy):
        other.write_lock.__enter__()

    after = numbers(client)

    grown = {name: after[name] - before[name] for name in after if name.startswith("records_lock_wait")}
    assert grown['records_lock_wait_seconds_count{outcome="taken"}'] == 1, "taking it again is no wait"
    assert grown['records_lock_wait_seconds_count{outcome="busy"}'] == 1
    assert 0.1 <= grown['records_lock_wait_seconds_sum{outcome="busy"}'] < 5


def test_metrics_have_the_room_of_the_store_as_it_was_measured_last(
    client: TestClient, store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    assert numbers(client)["records_last_space_timestamp_seconds"] == 0
    importer.import_file(contacts_of(write_csv(tmp_path / "one.csv", [contact(1)]), "secret-account"))
    report = measure_space(store)
    note_space(store, report)

    after = numbers(client)

    assert after["records_last_space_timestamp_seconds"] > 0
    assert after["records_reclaimable_bytes"] == report.reclaimable
    assert after["records_bytes_a_day"] == report.a_day > 0
    shown = {kind: after[f'records_room_bytes{{kind="{kind}",record_type="contacts"}}'] for kind in vars(report.room)}
    assert shown == vars(report.accounts["secret-account", "contacts"])
    assert "secret-account" not in client.get("/metrics").text


def _imported(settings: Settings, request: ImportRequest) -> None:
    with RecordStore(settings) as other:
        Importer(other, "tester").import_file(request)


def test_metrics_name_accounts_if_a_setting_asks_for_it(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_METRICS_ACCOUNTS", "yes")
    with TestClient(application(Settings.from_environment()), ORIGIN, client=("127.0.0.1", 50_000)) as client:
        numbers(client)
        importer.import_file(contacts_of(write_csv(tmp_path / "one.csv", [contact(1)])))
        monkeypatch.setattr(store, "settings", replace(store.settings, metrics_accounts=True))
        note_space(store, measure_space(store))
        shown = numbers(client)
    assert shown['records_records_total{account="ua",outcome="created"}'] == 1
    assert shown['records_room_bytes{account="ua",kind="present",record_type="contacts"}'] > 0


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
