"""What the project is compared with, each as a whole process that prints {"rows": …}.

Run by path, not as a module of this package, so that a baseline pays for what it uses and nothing else.
"""

import argparse
import json
from collections.abc import Callable

import duckdb


def duckdb_import(file: str, database: str, table: str) -> int:
    """A new plain DuckDB file has a table of the CSV file, types as DuckDB finds them."""
    with duckdb.connect(database) as connection:
        # Not bound: binding any value makes DuckDB import pandas, half a second that plain DuckDB does not need.
        connection.execute(f"CREATE TABLE {table} AS FROM read_csv('{file}', nullstr = ['', 'NA'])")
        return _one_number(connection, f"SELECT count(*) FROM {table}")


def duckdb_export(database: str, table: str, key: str, file: str) -> int:
    """The CSV file has all rows of the table, in the order of the key."""
    with duckdb.connect(database, read_only=True) as connection:
        return _one_number(connection, f"COPY (FROM {table} ORDER BY {key}) TO '{file}' (FORMAT csv, HEADER)")


def duckdb_export_limited(database: str, table: str, order: str, file: str, file_format: str) -> int:
    """The file has all rows of the table, as 512 MB of memory allow; in an order where one is given, else in none."""
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
    """The baseline that the arguments name has run."""
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
