"""What a process that reads a file does. Only `tests.forks` imports this module, into the server that forks it."""

import importlib
import sys

from resources.process_state import hide_pandas

hide_pandas()  # before the modules below, which would import it
for _name in (
    *("resources.file_reader.delimited", "resources.file_reader.excel", "resources.file_reader.json_records"),
    *(
        "resources.file_reader.parquet",
        "resources.file_reader.duckdb_reader",
        "duckdb",
        "dateutil.relativedelta",
        "numpy.ma",
    ),
):
    importlib.import_module(_name)


def main() -> None:
    """Read the file that the last argument of the process describes."""
    from resources.file_reader import child

    del sys.argv[1:-1]  # Python's options
    child.main()
