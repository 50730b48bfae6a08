"""An operator's tasks in Dagster's UI, in a real browser and in this order: preview, approve, export, roll back."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as NotShown

from resources.record_store import RecordStore
from schemas.batches import Batch, BatchStatus
from tests.records import Row, contact, write_csv
from tests.serving import PATIENCE, Server, require_end, within

pytestmark = pytest.mark.xdist_group("servers")

PICTURES = Path(os.environ.get("RECORDS_PICTURES", Path(__file__).parents[2] / "test-pictures"))
JOBS = "locations/__repository__@records/jobs"
NEWEST = """
query ($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) {
    ... on Asset {
      materialisations: assetMaterializations(limit: 1) { ...Texts }
      observations: assetObservations(limit: 1) { ...Texts }
    }
  }
}
fragment Texts on DisplayableEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
"""
LOADED = PATIENCE * 60_000
"""Milliseconds that the first page of a server, or a run, may take."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(LOADED)
        expect.set_options(timeout=LOADED)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def file(server: Server) -> Path:
    """A file of two hundred contacts; three of them have mistakes."""
    wrong: dict[int, dict[str, str]] = {20: {"status": "VIP"}, 33: {"amount": "-5"}, 77: {"email": "ada at example"}}
    rows: list[Row] = [contact(number, **{"email": "ada@example.org"} | wrong.get(number, {})) for number in range(200)]
    return write_csv(server.home / "contacts.csv", rows)


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def launch(server: Server, page: Page, job: str, config: str, account: str | None = None) -> None:
    """Launch the job from the launchpad, which must open complete, and wait for the page of its run."""
    page.goto(f"{server.url}/{JOBS}/{job}/playground")
    expect(page.get_by_text("All defaults expanded")).to_be_visible()
    expect(page.get_by_text("No errors")).to_be_visible()
    fields = re.findall(r"^(\w+):", page.locator(".CodeMirror-code").inner_text(), re.MULTILINE)
    assert fields[:1] == (["ops"] if account is not None else ["account"]), "as the config below is typed"
    page.locator(".CodeMirror").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(config)
    expect(page.locator(".CodeMirror")).to_contain_text(config.splitlines()[-1].split(": ")[0])
    if account is not None:
        partition = page.get_by_placeholder("Partition")
        item = page.get_by_role("menuitem", name=account, exact=True)

        def is_offered() -> bool:
            """Type the account again: what is typed before the partitions have come is not looked up later."""
            partition.fill("")
            partition.fill(account)
            with suppress(NotShown):
                item.wait_for(timeout=3_000)
            return item.is_visible()

        assert within(60, is_offered)
        item.click()
        expect(partition).not_to_have_attribute("style", re.compile("red"))  # it is red until one is chosen
    picture(page, f"launchpad-{job}")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")


def wait_for_text(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_text(text).first).to_be_visible()


def ended(page: Page, status: str) -> None:
    """Wait until the run on the page has ended with this status."""
    expect(page.get_by_text(status, exact=True).first).to_be_visible()


def open_event(server: Server, page: Page, asset: str, **shown: str) -> None:
    """Open the newest event of the asset, which must show these texts.

    The page is opened only when the event exists: an open page goes on showing the older event.
    """

    def carried() -> bool:
        found = server.ask(NEWEST, key={"path": asset.split("/")})["assetOrError"]
        events = [*found.get("materialisations", []), *found.get("observations", [])]
        texts = [{entry["label"]: entry.get("text") for entry in event["metadataEntries"]} for event in events]
        return any(shown.items() <= each.items() for each in texts)

    assert within(60, carried)
    page.goto(f"{server.url}/assets/{asset}?view=events")
    for text in shown.values():
        expect(page.get_by_role("row").filter(has_text=text).first).to_be_visible()


def batch(store: RecordStore, status: BatchStatus) -> Batch:
    """Return the newest batch with this status."""
    return store.batches(status=status)[0]


def test_a_file_is_previewed_from_the_launchpad_and_its_problems_are_read(
    server: Server, store: RecordStore, page: Page, file: Path
) -> None:
    launch(server, page, "preview_import", f"account: ua\nrecord_type: contacts\npath: {file}\n")
    ended(page, "Success")
    previewed = batch(store, BatchStatus.PREVIEWED)
    assert (previewed.counts.read, previewed.counts.created, previewed.counts.rejected) == (200, 197, 3)

    open_event(server, page, "records/contacts", batch_id=previewed.batch_id, status="previewed")
    row = page.get_by_role("row").filter(has_text="rejected").first
    expect(row).to_contain_text("3")
    for rule in ("must be one of lead, prospect, customer, churned", "must be 0 or more", "must be an e-mail address"):
        wait_for_text(page, rule)
    page.get_by_text("must be 0 or more").first.scroll_into_view_if_needed()
    picture(page, "problems")

    with page.context.expect_page() as opened:
        page.locator("a[href^='http://127.0.0.1:'][href$='/report']").first.click()
    report = opened.value
    expect(report.get_by_text("VIP").first).to_be_visible()
    picture(report, "report")
    report.close()


def test_it_is_approved_and_the_asset_has_its_rows(server: Server, store: RecordStore, page: Page) -> None:
    batch_id = batch(store, BatchStatus.PREVIEWED).batch_id

    launch(server, page, "commit_batch", f"account: ua\nbatch_id: {batch_id}\non_invalid: skip\n")
    ended(page, "Success")

    committed = batch(store, BatchStatus.COMMITTED)
    assert (committed.batch_id, committed.actor) == (batch_id, "olga")
    open_event(server, page, "records/contacts", batch_id=batch_id, status="committed")
    expect(page.get_by_role("row").filter(has_text="rollback_until").first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="dagster/row_count").first).to_contain_text("197")
    picture(page, "row-count")


def test_an_export_starts_from_the_assets_page_by_choosing_an_account(
    server: Server, store: RecordStore, page: Page
) -> None:
    page.goto(f"{server.url}/assets/exports/contacts")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_placeholder("Select a partition").or_(page.get_by_text("Select a partition or create one")).click()
    page.locator("text='ua' >> visible=true").last.click()
    page.keyboard.press("Escape")
    picture(page, "choose-account")
    page.get_by_role("button", name=re.compile("Launch")).last.click()

    (exported,) = within(60, store.exports)
    assert (exported.rows, exported.account) == (197, "ua")
    open_event(server, page, "exports/contacts", export_id=exported.export_id, sha256=exported.sha256)
    expect(page.locator("a[href^='http://127.0.0.1:'][href$='/export']").first).to_be_visible()
    picture(page, "export")


def test_the_progress_of_an_export_is_watched(server: Server, page: Page) -> None:
    config = "ops:\n  exports__contacts:\n    config:\n      part_rows: 20\n"
    launch(server, page, "export_contacts", config, account="ua")
    wait_for_text(page, "rows_done")
    picture(page, "progress-run")
    ended(page, "Success")

    page.goto(f"{server.url}/assets/exports/contacts?view=events")
    page.get_by_role("img", name="observation").first.click()
    wait_for_text(page, "rows_done")
    picture(page, "progress")


def test_a_batch_is_rolled_back_by_its_id_and_the_page_shows_the_conflict(
    server: Server, store: RecordStore, page: Page, tmp_path: Path
) -> None:
    first = batch(store, BatchStatus.COMMITTED).batch_id
    later = server.records(
        "import", str(write_csv(tmp_path / "later.csv", [contact(1, status="customer")])), "-a", "ua", "-t", "contacts"
    )

    launch(server, page, "roll_back_batch", f"account: ua\nbatch_id: {first}\n")
    ended(page, "Failure")
    wait_for_text(page, f"1 record of batch {first} was modified since")
    wait_for_text(page, "on_modified: keep")
    expect(page.get_by_text("Traceback")).to_have_count(0)
    expect(page.get_by_text("store_resource.py")).to_have_count(0)
    picture(page, "conflict")

    launch(server, page, "roll_back_batch", f"account: ua\non_modified: keep\nbatch_id: {first}\n")
    ended(page, "Success")
    assert batch(store, BatchStatus.ROLLED_BACK).batch_id == first
    rollback, imported = store.batches(status=BatchStatus.COMMITTED)
    assert imported.batch_id == later["batch_id"]
    assert rollback.undone is not None
    assert (rollback.undone.counts.removed, rollback.undone.counts.modified) == (196, 1)
    picture(page, "rolled-back")


def test_a_file_with_mistakes_is_dropped_corrected_imported_and_rolled_back(
    server: Server, store: RecordStore, page: Page, tmp_path: Path
) -> None:
    store.add_account("acme", "olga")
    inbox = server.home / "inbox/acme/contacts"
    assert within(60, inbox.is_dir)
    rows = [contact(1), contact(2, amount="-5"), contact(3)]
    write_csv(inbox / "in.csv.part", rows).rename(inbox / "in.csv")

    assert within(90, lambda: [*server.home.glob("quarantine/acme/contacts/*/WHY.txt")])
    waiting = batch(store, BatchStatus.PREVIEWED).batch_id
    (why,) = server.home.glob("quarantine/acme/contacts/*/WHY.txt")
    assert waiting in why.read_text()
    open_event(server, page, "records/contacts", batch_id=waiting, status="previewed")
    wait_for_text(page, "must be 0 or more")
    with page.expect_download() as saved:
        page.locator("a[href^='http://127.0.0.1:'][href$='/rejects_file']").first.click(modifiers=["Alt"])
    rejects = tmp_path / "in.rejects.csv"
    saved.value.save_as(rejects)

    launch(server, page, "commit_batch", f"account: acme\non_invalid: skip\nbatch_id: {waiting}\n")
    ended(page, "Success")
    corrected = re.sub("'?-5(?=,)", "5", rejects.read_text())  # an id may contain it, with more text behind it
    (inbox / "corrected.csv.part").write_text(corrected)
    (inbox / "corrected.csv.part").rename(inbox / "corrected.csv")

    assert within(90, lambda: [*server.home.glob("archive/acme/contacts/*/corrected.csv")])
    done = batch(store, BatchStatus.COMMITTED)
    assert (done.file_name, done.counts.created, done.parent) == ("corrected.csv", 1, waiting)
    open_event(server, page, "records/contacts", batch_id=done.batch_id, status="committed")
    picture(page, "corrected")

    launch(server, page, "roll_back_batch", f"account: acme\nbatch_id: {done.batch_id}\n")
    ended(page, "Success")
    assert batch(store, BatchStatus.ROLLED_BACK).batch_id == done.batch_id


def test_an_export_at_seven_every_morning_is_shown_with_its_next_time(server: Server, page: Page) -> None:
    (server.home / "exports.yaml").write_text(
        "exports:\n- name: acme-morning\n  account: acme\n  type: contacts\n  at: 07:00\n  time_zone: Europe/Berlin\n"
    )
    page.goto(f"{server.url}/locations/__repository__@records/schedules/daily_exports")
    expect(page.get_by_text("daily_exports").first).to_be_visible()
    page.get_by_role("button", name=re.compile("Preview tick result")).click()
    page.get_by_role("button", name="Continue").click()
    wait_for_text(page, re.compile(r"acme-morning at \d{4}-\d\d-\d\d 07:00 Europe/Berlin"))
    picture(page, "schedule")


def test_when_the_web_server_is_killed_all_end(server: Server) -> None:
    """A daemon that lives on would do everything twice, beside the daemon of the next start."""
    require_end(server, "pipelines.web.server:main")
