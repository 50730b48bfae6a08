"""A staged file is compared with itself: duplicates, contradictions, and too many records of one key."""

import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resources.file_reader import ReadLimits
from resources.importing.importer import Importer
from resources.record_store import RecordStore, Staging
from resources.record_store.problems import PROBLEMS
from resources.settings import Settings
from schemas.batches import OnDuplicate
from schemas.errors import UnreadableFile
from tests.examples import tried
from tests.records import contact, contacts_of, write_csv

ROOT = Path(__file__).parents[1]
SCHEMA = pa.schema(
    {
        "_record": pa.int64(),
        "_line": pa.int64(),
        "_valid": pa.bool_(),
        "_unread": pa.string(),
        "external_id": pa.string(),
        "first_name": pa.string(),
    }
)
FIELDS = ("external_id", "first_name")

TEXT = st.sampled_from([None, "a", "b"])

Row = tuple[str | None, str | None, str | None]
"""Key, value, and the texts that break a rule."""


def _staged(folder: Path, rows: list[Row]) -> Staging:
    records = [(at, at + 1, unread is None, unread, key, name) for at, (key, name, unread) in enumerate(rows, 1)]
    staging = Staging(folder, FIELDS)
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, record, strict=True)) for record in records], SCHEMA)
    pq.write_table(table, staging.records)
    return staging


def _outcomes(rows: list[Row], on_duplicate: OnDuplicate) -> tuple[dict[int, str], dict[int, str]]:
    """Return the outcome of each record that is not written, and the problem of each that contradicts another one."""
    excluded = {at: "rejected" for at, (*_, unread) in enumerate(rows, 1) if unread is not None}
    problems = {}
    of_key = defaultdict(list)
    for at, (key, *_) in enumerate(rows, 1):
        if key is not None:
            of_key[key].append(at)
    for members in of_key.values():
        valid = [at for at in members if at not in excluded]
        if on_duplicate is OnDuplicate.REJECT and len({rows[at - 1] for at in members}) > 1:
            more = f" and {len(members) - 2:,} more" if len(members) > 2 else ""
            for at in members:
                problems[at] = f"the key of record {members[at == members[0]]:,}{more}"
            excluded |= dict.fromkeys(valid, "rejected")
        elif valid:
            valid.remove(max(valid) if on_duplicate is OnDuplicate.LAST else min(valid))
            excluded |= dict.fromkeys(valid, "duplicate")
    return excluded, problems


@settings(max_examples=tried(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, st.sampled_from([None, None, "x", "y"])), max_size=9),
    on_duplicate=st.sampled_from(OnDuplicate),
)
@example(rows=[("a", "1", None)] * 1200 + [("a", "2", None)], on_duplicate=OnDuplicate.REJECT)
def test_records_of_one_key_have_the_outcome_that_plain_python_gives_them(
    store: RecordStore, tmp_path: Path, rows: list[Any], on_duplicate: OnDuplicate
) -> None:
    staging = _staged(tmp_path, rows)
    record_type, snapshot = store.pin("contacts")
    with store.account("acme").compare(record_type, staging, snapshot) as file:
        problems = pa.Table.from_batches(file.exclude_repeated_keys(on_duplicate, 10_000), PROBLEMS).to_pylist()
        file.compare()
    excluded = pq.read_table(staging.excluded).to_pylist()
    found = (
        {row["_record"]: row["_outcome"] for row in excluded},
        {row["record"]: row["value"] for row in problems},
    )
    assert found == _outcomes(rows, on_duplicate)
    assert len(excluded) == len(found[0])


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ("111", "All 3 records have the same key (external_id). A key may have 2 (RECORDS_MAX_RECORDS_PER_KEY)."),
        ("12121", "3 of 5 records have the same key (external_id). A key may have 2 (RECORDS_MAX_RECORDS_PER_KEY)."),
    ],
)
@pytest.mark.parametrize("policy", OnDuplicate)
def test_a_column_that_tells_no_records_apart_is_said_not_to_be_the_key(
    store: RecordStore, settings: Settings, tmp_path: Path, keys: str, refused: str, policy: OnDuplicate
) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(int(key), company=f"X{at}") for at, key in enumerate(keys)])
    limits = ReadLimits(records_per_key=2)
    with RecordStore(replace(settings, limits=limits)) as limited, pytest.raises(UnreadableFile) as raised:
        Importer(limited, "tester").preview(contacts_of(path, on_duplicate=policy))
    assert (raised.value.message, raised.value.quoted) == (refused, "The key is 'C-000001'.")
    assert "--map HEADER=FIELD" in raised.value.hint
    assert Importer(store, "tester").preview(contacts_of(path, on_duplicate=policy)).batch.counts.read == len(keys)


def test_many_records_of_one_key_take_no_more_memory_than_duckdb_may_use(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Window functions took 800 MB here, whatever DuckDB's limit."""
    numbers = pa.array(range(1, 2_000_001))
    size = len(numbers)
    columns = [numbers, numbers, pa.repeat(True, size), pa.nulls(size), pa.repeat("K", size), numbers.cast(pa.string())]
    pq.write_table(pa.table(columns, schema=SCHEMA), Staging(tmp_path, FIELDS).records)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from resources.record_store import RecordStore, Staging\n"
        "from resources.settings import Settings\n"
        "from schemas.batches import OnDuplicate\n"
        "with RecordStore(Settings.from_environment()) as store:\n"
        "    record_type, snapshot = store.pin('contacts')\n"
        f"    staging = Staging(Path(sys.argv[1]), {FIELDS})\n"
        "    with store.account('acme').compare(record_type, staging, snapshot) as file:\n"
        "        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "        problems = file.exclude_repeated_keys(OnDuplicate.REJECT, 10**9)\n"
        "        rows = sum(batch.num_rows for batch in problems)\n"
        "        print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    monkeypatch.setenv("RECORDS_DUCKDB_MEMORY", "100MB")
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == size
    assert megabytes < 300
