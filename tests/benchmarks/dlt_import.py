"""Measures dlt: it merges a CSV file into DuckDB by key, through Arrow, without validation.

Run it by path, with the interpreter of dlt's own environment. It prints {"rows": …}.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import pyarrow as pa
import pyarrow.csv

_BLOCK = 16 << 20


def main(file: str, key: str) -> None:
    """Create a DuckDB file in the working folder with the file's records, one for each key."""
    logging.getLogger("dlt").setLevel(logging.ERROR)

    def records() -> Iterator[pa.RecordBatch]:
        options = pyarrow.csv.ReadOptions(block_size=_BLOCK)
        with pyarrow.csv.open_csv(file, options, pyarrow.csv.ParseOptions(newlines_in_values=True)) as reader:
            yield from reader

    pipeline = dlt.pipeline(
        "benchmark", "pipelines", destination=dlt.destinations.duckdb("contacts.duckdb"), dataset_name="bench"
    )
    pipeline.run(dlt.resource(records, name="contacts", primary_key=key, write_disposition="merge"))
    print(json.dumps({"rows": pipeline.last_trace.last_normalize_info.row_counts["contacts"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
