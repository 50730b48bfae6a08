"""Files of JSON without records: an empty export of ours comes back as no change."""

import gzip
from pathlib import Path

import pytest

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportRequest
from schemas.counts import Counts
from schemas.errors import UnreadableFile
from schemas.exports import ExportRequest, Packing
from tests.object_server import on_disk
from tests.records import put

pytestmark = pytest.mark.runs_on("laptop")


@pytest.mark.parametrize(
    ("format_", "packing"),
    [
        *((name, packing) for name in ("csv", "json", "ndjson") for packing in (None, Packing.GZ, Packing.ZST)),
        *((name, None) for name in ("excel", "parquet")),
    ],
)
def test_an_export_without_records_is_no_change(
    store: RecordStore, importer: Importer, format_: str, packing: Packing | None
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status")
    of = ExportRequest("ua", "contacts", format=format_, packing=packing, filters=("external_id = none",))
    report = importer.import_file(ImportRequest(on_disk(ExportWriter(store, "x").export(of).path), "ua", "contacts"))
    assert (report.batch.counts, report.batch.problems) == (Counts(), ())


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf", b"\n \n"])
@pytest.mark.parametrize("name", ["in.jsonl", "in.NDJSON"])
def test_an_empty_file_that_is_named_as_lines_of_json_has_no_records(
    importer: Importer, tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert importer.preview(ImportRequest(path, "ua", "contacts")).columns == ()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("in.json", "", "the file is empty"),
        ("in.csv", "", "is empty"),
        ("in.json", "[{}]", "has no columns: its objects are empty"),
        ("in.ndjson", "{}\n", "has no columns: its objects are empty"),
    ],
)
def test_a_file_that_may_have_lost_its_records_is_refused(
    importer: Importer, tmp_path: Path, name: str, content: str, why: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UnreadableFile, match=why):
        importer.preview(ImportRequest(path, "ua", "contacts"))
