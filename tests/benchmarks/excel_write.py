"""Writes the records of a plain DuckDB file to a workbook, by openpyxl's write-only mode; prints {"rows": …}.

Run it by path, not as a module of this package. So it imports only what it uses.
"""

import json
import sys
from typing import Any

import duckdb
import openpyxl


def main() -> None:
    """Write the records of the database to the workbook that the arguments name."""
    database, file = sys.argv[1:]
    rows = 0
    with duckdb.connect(database, read_only=True) as connection:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("Records")
        found = connection.execute("FROM contacts ORDER BY external_id")
        sheet.append([column[0] for column in found.description or []])
        while chunk := found.fetchmany(10_000):
            for row in chunk:
                sheet.append([_cell(value) for value in row])
            rows += len(chunk)
        book.save(file)
    print(json.dumps({"rows": rows}))


def _cell(value: Any) -> Any:
    """Excel knows no offsets from UTC."""
    return value.replace(tzinfo=None) if getattr(value, "tzinfo", None) is not None else value


if __name__ == "__main__":
    main()
