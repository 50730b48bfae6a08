"""All cells of a workbook are read, by this project or by openpyxl; prints {"rows": …}.

Run by path, not as a module of this package, so that each pays for what it uses and nothing else.
"""

import argparse
import json
from pathlib import Path


def read_by_records(path: Path) -> int:
    """Every record was taken from the process that reads the file; how many there are."""
    from resources.file_reader import FileReader

    with FileReader(path) as reader:
        for _ in reader.chunks():
            pass
        return reader.read


def read_by_openpyxl(path: Path) -> int:
    """Every value was taken from openpyxl's read-only mode; how many rows there are below the header."""
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
    """The file that the arguments name was read."""
    readers = {"records": read_by_records, "openpyxl": read_by_openpyxl}
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=readers)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    print(json.dumps({"rows": readers[given.reader](given.file)}))


if __name__ == "__main__":
    main()
