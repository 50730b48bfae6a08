"""Makes a store with a large account and a batch of 200,000 contacts: previewed in one home, committed in another.

Run as a module: python -m tests.benchmarks.large_account CONTACTS. It makes `previewed`, `committed` and `batch` in the
current folder. `batch` is a file with the batch's id.
"""

import csv
import shutil
import sys
from pathlib import Path

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import ImportRequest
from schemas.counts import Counts
from tests.benchmarks.contacts_file import HEADER

BATCH = 200_000
_CHUNK = 500_000
_COLUMNS = """
    format('C-{:08d}', i), 'Ada', 'Lovelace', 'Company ' || hash(i) % 10000, 'contact' || i || '@example.org',
    '+44 20 ' || hash(i) % 10000000, 'GB', 'lead', (hash(i) % 9000000) / 100, 500, DATE '1940-01-01' + (i % 20000)::INT,
    TIMESTAMPTZ '2015-01-01 00:00:00+00' + to_seconds(i), 'Prefers to be called.'
"""


def fill(store: RecordStore, account: str, contacts: int) -> None:
    """Write so many contacts of the account by SQL, in the order of their key, half a million a commit."""
    for start in range(0, contacts, _CHUNK):
        with store.transaction("fill", "benchmark") as transaction:
            transaction.connection.execute(
                f"INSERT INTO lake.records.contacts (_account, _batch, {', '.join(HEADER)}) "
                f"SELECT ?, 'b-none', {_COLUMNS} FROM range(?, ?) t(i)",
                [account, start, min(contacts, start + _CHUNK)],
            )


def write_batch(path: Path, contacts: int, size: int = BATCH) -> None:
    """Write a file: half of it changes contacts from all over the account, half adds new ones."""
    half = size // 2
    numbers = [*(position * contacts // half for position in range(half)), *range(contacts, contacts + size - half)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["external_id", "company", "status"])
        writer.writerows((f"C-{number:08}", "Changed Ltd", "customer") for number in numbers)


def main(contacts: int) -> None:
    """Make both homes."""
    here = Path.cwd()
    with RecordStore(_settings(here / "previewed")) as store:
        store.initialise(load_record_types())
        fill(store, "all", contacts)
        write_batch(here / "batch.csv", contacts)
        report = Importer(store, "benchmark").preview(ImportRequest(here / "batch.csv", "all", "contacts"))
        assert report.batch.counts == Counts(read=BATCH, created=BATCH // 2, updated=BATCH // 2), report.batch.counts
    shutil.copytree(here / "previewed", here / "committed")
    with RecordStore(_settings(here / "committed")) as store:
        Importer(store, "benchmark").commit("all", report.batch.batch_id)
    (here / "batch").write_text(report.batch.batch_id)


def _settings(home: Path) -> Settings:
    return Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "benchmark"})


if __name__ == "__main__":
    main(int(sys.argv[1]))
