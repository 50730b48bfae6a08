"""What the project is compared with: each baseline is a whole process that prints {"rows": …}.

They run by path, not as a module of this package. So a baseline imports only what it uses.
"""

import argparse
import json
from collections.abc import Callable

import duckdb


def duckdb_import(file: str, database: str, table: str) -> int:
    """Create a DuckDB file with a table of the CSV file, with the types that DuckDB detects."""
    with duckdb.connect(database) as connection:
        # The path is in the text, because binding any value makes DuckDB import pandas, which takes half a second.
        connection.execute(f"CREATE TABLE {table} AS FROM read_csv('{file}', nullstr = ['', 'NA'])")
        return _one_number(connection, f"SELECT count(*) FROM {table}")


def duckdb_export(database: str, table: str, key: str, file: str) -> int:
    """Write all rows of the table to the CSV file, in the order of the key."""
    with duckdb.connect(database, read_only=True) as connection:
        return _one_number(connection, f"COPY (FROM {table} ORDER BY {key}) TO '{file}' (FORMAT csv, HEADER)")


def duckdb_export_limited(database: str, table: str, order: str, file: str, file_format: str) -> int:
    """Write all rows of the table to the file within 512 MB of memory, in the given order if there is one."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "512MB",
        "temp_directory": f"{file}.tmp",
    }
    with duckdb.connect(database, read_only=True, config=config) as connection:
        if not order:
            connection.execute("SET preserve_insertion_order = false")
        rows = f"FROM {table}" + (f" ORDER BY {order}" if order else "")
        options = "FORMAT csv, HEADER" if file_format == "csv" else f"FORMAT json, ARRAY {file_format == 'json'}"
        return _one_number(connection, f"COPY ({rows}) TO '{file}' ({options})")


def _one_number(connection: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Run the baseline that the arguments name."""
    baselines: dict[str, Callable[..., int]] = {
        "duckdb_import": duckdb_import,
        "duckdb_export": duckdb_export,
        "duckdb_export_limited": duckdb_export_limited,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("baseline", choices=baselines)
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    print(json.dumps({"rows": baselines[given.baseline](*given.arguments)}))


if __name__ == "__main__":
    main()
