"""What a process that reads a file does. Only `tests.forks` imports this module, into the server that forks it."""

import importlib
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

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


def _warm() -> None:
    """Open a small file once, for what Arrow and the detection of formats prepare at their first use.

    This starts no thread, so that processes can be forked. Each of them then takes a quarter less CPU.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.file_reader.formats import recognise
    from resources.file_reader.options import ReadLimits
    from schemas.reading import ReadOptions

    texts = pa.table({"a": pc.cast(pa.array([1]), pa.string())})
    with pa.ipc.new_stream(pa.BufferOutputStream(), texts.schema) as stream:
        stream.write_table(texts)
    with NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("external_id,status\nC-1,lead\n")
        file.flush()
        recognise(Path(file.name), "a.csv").open(Path(file.name), "a.csv", ReadOptions(), ReadLimits())


_warm()


def main() -> None:
    """Read the file that the last argument of the process describes."""
    from resources.file_reader import child

    del sys.argv[1:-1]  # Python's options
    child.main()
