"""Reads all cells of a workbook, by this project or by openpyxl; prints {"rows": …}.

Run it by path, not as a module of this package. So each side imports only what it uses.
"""

import argparse
import json
from pathlib import Path


def read_by_records(path: Path) -> int:
    """Read every record from the reading process. Returns their number."""
    from resources.file_reader import FileReader

    with FileReader(path) as reader:
        for _ in reader.chunks():
            pass
        return reader.read


def read_by_openpyxl(path: Path) -> int:
    """Read every value with openpyxl's read-only mode. Returns the number of rows below the header."""
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    cells = rows = 0
    for row in book.worksheets[0].iter_rows(values_only=True):
        rows += 1
        for _ in row:
            cells += 1
    book.close()
    return rows - 1


def main() -> None:
    """Read the file that the arguments name."""
    readers = {"records": read_by_records, "openpyxl": read_by_openpyxl}
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=readers)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    print(json.dumps({"rows": readers[given.reader](given.file)}))


if __name__ == "__main__":
    main()
