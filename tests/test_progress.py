"""The expected number of records while a file is read."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.file_reader import FileReader
from resources.importing.progress import observed_chunks

ROWS = 120_000


def write(path: Path) -> Path:
    """Write a file of so many rows, in the format or encoding that its name says."""
    rows = [(str(number), "ü" + "n" * 170) for number in range(ROWS)]
    text = "id,note\n" + "".join(f"{number},{note}\n" for number, note in rows)
    lines = [json.dumps({"id": number, "note": note}) for number, note in rows]
    match path.suffix:
        case ".csv":
            path.write_bytes(text.encode(path.stem))
        case ".gz":
            path.write_bytes(gzip.compress(text.encode(), 1))
        case ".parquet":
            pq.write_table(pa.table({"id": [it for it, _ in rows], "note": [it for _, it in rows]}), path)
        case ".json":
            path.write_text("[" + ",".join(lines) + "]")
        case ".ndjson":
            path.write_text("\n".join(lines))
    return path


@pytest.mark.usefixtures("quick_reading")
@pytest.mark.parametrize(
    "name", ["utf-8.csv", "utf-16.csv", "utf-32.csv", "cp1252.csv", "a.csv.gz", "a.json", "a.ndjson", "a.parquet"]
)
def test_about_as_many_are_expected_as_there_are_from_the_first_chunk_on(tmp_path: Path, name: str) -> None:
    reported: list[tuple[int, int | None]] = []
    with FileReader(write(tmp_path / name)) as reader:
        for _ in observed_chunks(reader, lambda records, expected: reported.append((records, expected))):
            pass
    *before, last = reported
    assert len(before) > 1
    assert before == sorted(before)
    assert [expected for _, expected in before] == [pytest.approx(ROWS, rel=0.05)] * len(before)
    assert last == (ROWS, ROWS)
