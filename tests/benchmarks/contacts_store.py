"""Makes a store and a plain DuckDB file with synthetic contacts, by SQL: an import would take minutes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from resources.record_store import RecordStore, ledger
from resources.settings import Settings
from schemas import load_record_types

COLUMNS = (
    *("external_id", "first_name", "last_name", "email", "phone", "country", "status", "amount", "birthday"),
    *("signed_up", "notes"),
)
_AT_ONCE = 500_000
_CONTACTS = """
SELECT 'C-' || lpad(i::VARCHAR, 8, '0') AS external_id,
    ['Ada', 'Alan', 'Anaïs', 'Björn', 'Chloé', 'Dmitri'][1 + (hash(i, 1) % 6)::INT] AS first_name,
    ['Babbage', 'Curie', 'Dijkstra', 'Euler', 'O''Brien', 'von Neumann'][1 + (hash(i, 2) % 6)::INT] AS last_name,
    'contact' || i || '@mail.example.org' AS email,
    '+44 20 ' || lpad((hash(i, 4) % 10000000)::VARCHAR, 7, '0') AS phone,
    ['GB', 'DE', 'US', 'FR'][1 + (hash(i, 5) % 4)::INT] AS country,
    ['lead', 'prospect', 'customer', 'churned'][1 + (hash(i, 6) % 4)::INT] AS status,
    ((hash(i, 7) % 9000000) / 100)::DECIMAL(18,2) AS amount, DATE '1940-01-01' + (hash(i, 9) % 20000)::INT AS birthday,
    TIMESTAMPTZ '2015-01-01 00:00:00Z' + to_seconds((hash(i, 10) % 300000000)::INT) AS signed_up,
    'Prefers to be called in the morning, ' || (hash(i, 11) % 1000) AS notes
FROM {numbers} t(i)
"""


def fill(folder: Path, count: int, *, interleaved: int = 0) -> None:
    """Write so many contacts of account `all` to `store`, and the same ones to the plain file `contacts.duckdb`.

    They are written in the order of their keys. With `interleaved` there are that many imports, and the keys of
    each are spread over the whole range.
    """
    numbers = [f"range({number}, {count}, {interleaved})" for number in range(interleaved)] or in_order(count)
    fill_store({"RECORDS_HOME": str(folder / "store")}, numbers)
    with duckdb.connect(str(folder / "contacts.duckdb")) as plain:
        for number, each in enumerate(numbers):
            made = "INSERT INTO contacts" if number else "CREATE TABLE contacts AS"
            plain.execute(f"{made} {_CONTACTS.format(numbers=each)}")


def fill_store(environment: Mapping[str, str], numbers: Sequence[str]) -> None:
    """Write the contacts of each of these ranges of numbers to the store, in one commit for each range."""
    settings = Settings.from_environment({**environment, "RECORDS_ACTOR": "benchmark"})
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
        with store.transaction("fill", "benchmark") as transaction:
            transaction.append(ledger.append_account, transaction.at, "all", "benchmark")
        for each in numbers:
            with store.transaction("fill", "benchmark") as transaction:
                transaction.connection.execute(
                    "INSERT INTO lake.records.contacts BY NAME SELECT 'all' AS _account, 'b-fill' AS _batch, * "
                    f"FROM ({_CONTACTS.format(numbers=each)})"
                )


def in_order(count: int) -> list[str]:
    """Return the ranges of the numbers of so many contacts, in the order of their keys."""
    return [f"range({start}, {min(start + _AT_ONCE, count)})" for start in range(0, count, _AT_ONCE)]
