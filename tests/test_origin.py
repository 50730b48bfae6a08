"""Exports that come home: edited in another program, they are known as ours and change what was edited, no more."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from resources.export_writer import ExportWriter
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.arrivals import Arrival, CommitPolicy
from schemas.batches import ImportReport, ImportRequest, OnInvalid
from schemas.counts import Counts
from schemas.errors import InvalidRequest, NotFound, Uncertain
from schemas.exports import EXPORT_PROPERTY, ExportManifest, ExportRequest, Packing
from schemas.reading import Differing, Question
from tests.editing import Row, edit
from tests.examples import tried
from tests.object_server import on_disk
from tests.records import put, stored, values, write_csv

pytestmark = pytest.mark.runs_on("laptop")

ANY = ("=1+1", "'=1", "''", "'+34 600", "+34 600", "-5", "+4", "@x", "a\nb", '"', "a;b", "a,b\tc|d", "00123", "null")
TEXTS = {
    "utf-8": (*ANY, "Ünï ©", "日本", "\x0b\x01", "_x0041_", " x "),
    "cp1252": (*ANY, "Núñez", "Ibáñez", "Müller", "Ärger"),
    "latin-1": (*ANY, "Núñez", "Ibáñez", "Müller", "Ärger"),
    "shift_jis": (*ANY, "日本", "東京タワー", "ｱｲｳ"),
}
EDITS = ("Edited", "=2+2", "'quoted", "+49 30 1")
CSV = [("csv", encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1", "shift_jis")]
FORMATS = [*CSV, *((name, "utf-8") for name in ("json", "ndjson", "excel", "parquet"))]
DELIMITERS = (",", ";", "\t", "|")


def fill(store: RecordStore, texts: tuple[str, ...]) -> None:
    """Put a contact for each text into the store."""
    rows = ", ".join(
        f"('C-{at:02}', 'lead', {_sql(text)}, {_sql(text)}, {at}.50, DATE '1980-01-01' + {at}, "
        f"TIMESTAMPTZ '2024-05-31 09:30:00.{at:03}Z')"
        for at, text in enumerate(texts)
    )
    put(
        store,
        f"SELECT * FROM (VALUES {rows}) t(external_id, status, company, notes, amount, birthday, signed_up)",
    )


def _sql(text: str) -> str:
    return "concat(" + ", ".join(f"chr({ord(character)})" for character in text) + ")"


def export(store: RecordStore, **options: object) -> ExportManifest:
    return ExportWriter(store, "tester").export(ExportRequest("ua", "contacts", **options))  # type: ignore[arg-type]


def request(path: Path, **options: object) -> ImportRequest:
    return ImportRequest(path, "ua", "contacts", **options)  # type: ignore[arg-type]


def edited(manifest: ExportManifest, target: Path, record: int, field: str, text: str) -> Path:
    """Edit one cell of an export."""
    of = manifest.request
    assert of is not None
    path = on_disk(manifest.path)

    def change(rows: list[Row]) -> None:
        rows[record][field] = text

    return edit(path, change, target / f"edited-{path.name}", of.encoding, of.delimiter)


@pytest.mark.parametrize(("format_", "encoding"), FORMATS)
@settings(max_examples=tried(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(record=0, field="company", text="Edited", delimiter=";", packed=False)
@given(
    record=st.integers(0, len(ANY) - 1),
    field=st.sampled_from(["company", "notes"]),
    text=st.sampled_from(EDITS),
    delimiter=st.sampled_from(DELIMITERS),
    packed=st.booleans(),
)
def test_an_export_edited_in_one_cell_is_one_update_and_nothing_else(
    store: RecordStore,
    importer: Importer,
    tmp_path: Path,
    format_: str,
    encoding: str,
    record: int,
    field: str,
    text: str,
    delimiter: str,
    packed: bool,
) -> None:
    if not stored(store):
        fill(store, TEXTS.get(encoding, TEXTS["utf-8"]))
    before = values(store, field)
    options = {"delimiter": delimiter, "encoding": encoding} if format_ == "csv" else {}
    if packed and format_ in ("csv", "json", "ndjson"):
        options["packing"] = Packing.GZ
    manifest = export(store, format=format_, **options)
    escaped = "'" if format_ == "csv" and text.startswith(("=", "'=")) else ""

    report = importer.preview(request(edited(manifest, tmp_path, record, field, escaped + text)))

    number = len(before)
    assert report.questions == ()
    if before[f"C-{record:02}"] == text:
        assert report.batch.counts == Counts(read=number, unchanged=number)
        return
    assert report.batch.counts == Counts(read=number, updated=1, unchanged=number - 1), report.samples
    assert [(it.field, it.old, it.new) for it in report.changes] == [(field, before[f"C-{record:02}"], text)]


def edited_text(manifest: ExportManifest, target: Path, old: str = "Acme", new: str = "Edited") -> Path:
    data = on_disk(manifest.path).read_bytes()
    path = target / "edited.csv"
    path.write_bytes(data.replace(old.encode(), new.encode()))
    assert path.read_bytes() != data
    return path


PHONES = (
    "SELECT 'C-' || i AS external_id, 'lead' AS status, 'Acme' AS company, '+34-60' || i AS phone FROM range(3) t(i)"
)
"""Telephone numbers that a spreadsheet computes, so that an export escapes them."""


def test_a_text_typed_without_an_escape_among_escaped_ones_is_what_it_says(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    report = importer.preview(request(edited_text(export(store), tmp_path, "'+34-600", "+34-999")))
    assert report.batch.counts == Counts(read=3, updated=1, unchanged=2)


def test_an_export_of_earlier_versions_with_escaped_telephone_numbers_is_read(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES.replace("+34-60", "+34 60"))
    manifest = export(store)
    text = on_disk(manifest.path).read_text()
    earlier = tmp_path / "earlier.csv"
    for content, counts in (
        (text.replace("+34", "'+34"), Counts(read=3, unchanged=3)),
        (text.replace("+34 600", "'+34 600"), Counts(read=3, updated=1, unchanged=2)),  # somebody typed that
    ):
        earlier.write_text(content)
        assert importer.preview(request(earlier)).batch.counts == counts


def test_what_is_known_of_an_edited_file_is_said_and_can_be_refused(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    manifest = export(store)
    path = edited_text(manifest, tmp_path)
    report = importer.preview(request(path))
    label, why = "Texts like '=1+1", f"its columns and texts are as in the export {manifest.export_id}"
    assert (label, f"lose the ', because {why}") in report.batch.understood
    assert report.batch.counts == Counts(read=3, updated=3)
    assert {it.field for it in report.changes} == {"company"}
    kept = importer.preview(request(path, unescape=False))
    assert {it.field for it in kept.changes} == {"company", "phone"}


def test_a_file_of_others_with_the_same_header_row_keeps_its_texts(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    manifest = export(store)
    rows = list(csv.DictReader(io.StringIO(on_disk(manifest.path).read_text())))
    theirs = [{**row, "phone": phone} for row, phone in zip(rows, ("+1 5", "+1 6", "'+1 7"), strict=True)]
    importer.import_file(request(write_csv(tmp_path / "theirs.csv", theirs)))
    assert list(values(store, "phone").values()) == ["+1 5", "+1 6", "'+1 7"]


def test_what_a_user_said_for_the_header_row_counts_before_what_exports_with_it_are_like(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    manifest = export(store)
    importer.import_file(request(edited_text(manifest, tmp_path), unescape=False))
    assert values(store, "phone")["C-0"] == "'+34-600"
    path = edited_text(manifest, tmp_path, new="Other")
    report = importer.preview(request(path))
    assert {it.field for it in report.changes} == {"company"}, "the escapes are kept, as was said"
    assert {it.field for it in importer.preview(request(path, of=manifest.export_id)).changes} == {"company", "phone"}


def test_an_export_is_named_if_its_columns_were_changed_too(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES.replace("Acme", "Größe"))
    manifest = export(store, encoding="cp1252", delimiter=";")
    text = on_disk(manifest.path).read_bytes().decode("cp1252")
    rows = [
        {name: row[name] for name in ("phone", "company", "external_id")}
        for row in csv.DictReader(io.StringIO(text), delimiter=";")
    ]
    path = tmp_path / "edited.csv"
    path.write_bytes(write_csv(path, rows).read_text("utf-8").encode("cp1252"))
    with pytest.raises(Uncertain):
        importer.import_file(request(path))
    report = importer.import_file(request(path, of=manifest.export_id))
    assert report.batch.counts == Counts(read=3, unchanged=3)
    assert ("Texts like '=1+1", f"lose the ', because it comes from the export {manifest.export_id}") in (
        report.batch.understood
    )


def test_the_delimiter_of_a_named_export_is_known(store: RecordStore, importer: Importer, tmp_path: Path) -> None:
    """The header row alone does not tell the delimiter, because the text has more commas."""
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status, repeat('a,b,c', 9) AS notes")
    manifest = export(store, delimiter="|", columns=("external_id", "notes"))
    path = tmp_path / "edited.csv"
    path.write_text(on_disk(manifest.path).read_text().replace("external_id|notes", "external_id|notes,"))
    path.write_text(path.read_text().replace("notes,", "notes").replace("C-1|a", "C-1|Z"))
    assert importer.preview(request(path, of=manifest.export_id)).batch.counts == Counts(read=1, updated=1)


def test_an_encoding_of_one_of_several_exports_is_asked_for(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES.replace("Acme", "Größe Acme"))
    exports = [export(store, encoding=encoding) for encoding in ("cp1252", "shift_jis", "cp1252")[:1]]
    put(store, "SELECT 'C-9' AS external_id, 'lead' AS status, '日本' AS company")
    exports.append(export(store, encoding="shift_jis", filters=("external_id = C-9",)))
    path = edited_text(exports[0], tmp_path)
    assert importer.preview(request(path)).questions[0].option == "encoding"
    report = importer.preview(request(path, of=exports[0].export_id))
    assert (report.questions, report.batch.counts.updated) == ((), 3)


def test_an_export_counts_only_for_its_own_account_and_type(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    manifest = export(store)
    path = edited_text(manifest, tmp_path)
    for account in ("dl", "new"):
        with pytest.raises(NotFound, match=f"There is no export '{manifest.export_id}'"):
            importer.preview(replace(request(path, of=manifest.export_id), account=account))
    with pytest.raises(NotFound):
        importer.preview(request(path, of="e-none"))
    with pytest.raises(InvalidRequest, match="is an export of contacts, not of flights"):
        importer.preview(replace(request(path, of=manifest.export_id), record_type="flights"))
    elsewhere = importer.preview(replace(request(path), account="dl"))
    assert ("Texts like '=1+1") not in dict(elsewhere.batch.understood)


def named(path: Path) -> dict[str, object]:
    """Return the custom properties of a workbook, as openpyxl reads them."""
    book: Any = openpyxl.load_workbook(path)  # its type stubs do not have the properties
    return {it.name: it.value for it in book.custom_doc_props.props}


def test_a_workbook_names_its_export_also_after_it_was_saved(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    manifest = export(store, format="excel")
    assert named(on_disk(manifest.path)) == {EXPORT_PROPERTY: manifest.export_id}
    path = edited(manifest, tmp_path, 0, "company", "Edited")
    assert named(path) == {EXPORT_PROPERTY: manifest.export_id}
    importer.import_file(
        request(write_csv(tmp_path / "said.csv", [dict.fromkeys(manifest.columns, "")]), unescape=True), OnInvalid.SKIP
    )
    report = importer.preview(request(edited(manifest, tmp_path, 1, "phone", "'+34 quoted")))
    assert [(it.field, it.new) for it in report.changes] == [("phone", "'+34 quoted")], "its texts have no escapes"
    assert ("Comes from", f"the export {manifest.export_id}, edited since") in report.batch.understood


def test_the_id_in_a_workbook_counts_for_no_other_account(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    path = edited(export(store, format="excel"), tmp_path, 0, "company", "Edited")
    report = importer.preview(replace(request(path), account="dl"))
    assert report.batch.counts == Counts(read=3, created=3)
    assert "Comes from" not in dict(report.batch.understood)


@pytest.mark.parametrize("damage", [b"<Properties", b"not XML", b'<!DOCTYPE x [<!ENTITY a "b">]><x/>'])
def test_a_workbook_with_damaged_properties_is_read_without_them(
    store: RecordStore, importer: Importer, tmp_path: Path, damage: bytes
) -> None:
    from zipfile import ZipFile

    put(store, PHONES)
    manifest = export(store, format="excel")
    path = tmp_path / "damaged.xlsx"
    with ZipFile(on_disk(manifest.path)) as old, ZipFile(path, "w") as new:
        for part in old.namelist():
            new.writestr(part, damage if part == "docProps/custom.xml" else old.read(part))
    assert importer.preview(request(path)).batch.counts == Counts(read=3, unchanged=3)


def test_the_rejects_of_an_edited_export_are_escaped_once(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES.replace("Acme", "Größe"))
    manifest = export(store, encoding="cp1252", delimiter=";")

    def spoil(rows: list[Row]) -> None:
        rows[0]["status"] = "VIP"

    path = edit(on_disk(manifest.path), spoil, tmp_path / "edited.csv", "cp1252", ";")
    report: ImportReport = importer.import_file(request(path), OnInvalid.SKIP)
    assert report.rejects_file is not None

    def correct(rows: list[Row]) -> None:
        assert rows[0]["phone"] == "'+34-600"
        rows[0]["status"] = "customer"

    again = edit(on_disk(report.rejects_file), correct, tmp_path / "again.csv", "cp1252", ";")
    child = importer.import_file(request(again))
    assert [(it.field, it.new) for it in child.changes] == [("status", "customer")]


def test_an_unchanged_export_is_read_in_its_encoding_even_if_its_bytes_are_utf_8(
    store: RecordStore, importer: Importer
) -> None:
    put(store, "SELECT 'C-1' AS external_id, 'lead' AS status, 'Â©' AS company")
    report = importer.preview(request(on_disk(export(store, encoding="cp1252").path)))
    assert report.batch.counts == Counts(read=1, unchanged=1)


ASKED = "which has a ' before texts such as"


def foreign(path: Path, phones: tuple[str, ...], company: str = "Acme", encoding: str = "utf-8") -> Path:
    """Write a file of others that has the header row of an export of PHONES, and other values."""
    header = "external_id,status,company,phone"
    rows = [f"D-{at},lead,{company},{phone}" for at, phone in enumerate(phones)]
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def columns_of_phones(store: RecordStore, **options: object) -> ExportManifest:
    return export(store, columns=("external_id", "status", "company", "phone"), **options)


@pytest.mark.parametrize("phones", [("'+1 5", "'+1 6"), ("'+1 5", "1 6")])
def test_a_file_known_by_its_header_row_alone_is_asked_about_before_it_loses_a_character(
    store: RecordStore, importer: Importer, tmp_path: Path, phones: tuple[str, ...]
) -> None:
    put(store, PHONES)
    manifest = columns_of_phones(store)
    path = foreign(tmp_path / "theirs.csv", phones)
    with pytest.raises(Uncertain, match=ASKED) as raised:
        importer.import_file(request(path))
    assert "Say which: --unescape or --no-unescape; or accept" in raised.value.hint
    (question,) = importer.preview(request(path)).questions
    assert question.values[0] == Differing("phone", ("+1 5", "'+1 5"))
    assert importer.preview(request(path, of=manifest.export_id)).questions == ()
    importer.import_file(request(path, unescape=False))
    assert values(store, "phone")["D-0"] == "'+1 5"
    later = foreign(tmp_path / "later.csv", ("'+1 7",))
    assert importer.import_file(request(later)).batch.questions == (), "the answer is remembered"
    assert values(store, "phone")["D-0"] == "'+1 7"


def test_a_file_of_the_inbox_waits_for_the_answer_and_its_rejects_file_leaves_it_open(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES)
    columns_of_phones(store)
    path = foreign(tmp_path / "theirs.csv", ("'+1 5", "'+1 6"))
    path.write_text(path.read_text().replace("D-1,lead", "D-1,VIP"))
    arrived = replace(request(path), arrival=Arrival("a-1", CommitPolicy(commit="100%"), since=0))
    waiting = importer.import_file(arrived)
    assert (waiting.batch.waits, [it.option for it in waiting.batch.questions]) == (True, ["unescape"])

    def correct(rows: list[Row]) -> None:
        assert rows[0]["phone"] == "+1 6", "as the preview proposes; no spreadsheet computes it"
        rows[0]["status"] = "lead"

    assert waiting.rejects_file is not None
    corrected = edit(on_disk(waiting.rejects_file), correct, tmp_path / "corrected.csv", "utf-8-sig", ",")
    with pytest.raises(Uncertain, match=ASKED):
        importer.import_file(request(corrected))
    importer.commit("ua", waiting.batch.batch_id, OnInvalid.SKIP)
    importer.import_file(request(corrected))
    assert [values(store, "phone")[key] for key in ("D-0", "D-1")] == ["+1 5", "+1 6"]


@pytest.mark.parametrize(("answer", "phone"), [("yes", "+1 5"), ("no", "'+1 5")])
def test_the_answer_is_asked_for_once(
    store: RecordStore, importer: Importer, tmp_path: Path, answer: str, phone: str
) -> None:
    put(store, PHONES)
    columns_of_phones(store)
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        return answer

    report = importer.import_file(request(foreign(tmp_path / "theirs.csv", ("'+1 5",))), ask=ask)
    assert [question.option for question in asked] == ["unescape"]
    assert (values(store, "phone")["D-0"], report.questions) == (phone, ())
    importer.import_file(request(foreign(tmp_path / "later.csv", ("'+1 5",), company="Later")))
    assert values(store, "phone")["D-0"] == phone


def test_an_encoding_known_by_the_header_row_alone_is_asked_about(
    store: RecordStore, importer: Importer, tmp_path: Path
) -> None:
    put(store, PHONES.replace("Acme", "Größe"))
    manifest = columns_of_phones(store, encoding="cp1252")
    path = foreign(tmp_path / "theirs.csv", ("1 5",), "Łódź", "cp1250")
    (question,) = importer.preview(request(path)).questions
    assert (question.option, question.proposed) == ("encoding", "cp1252")
    assert importer.import_file(request(path, encoding="cp1250")).batch.questions == ()
    assert values(store, "company")["D-0"] == "Łódź"
    edited = edited_text(manifest, tmp_path, "'+34-600", "'+34-999")
    assert importer.preview(request(edited, of=manifest.export_id)).questions == ()
