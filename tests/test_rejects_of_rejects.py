"""A rejects file that is corrected in part gives a rejects file of its own, and so on, until all records are in."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.commands.cli import main
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.arrivals import Outcome
from schemas.batches import ImportReport, ImportRequest, Mode, OnInvalid
from schemas.counts import Counts
from schemas.mapping import REJECTS_COLUMNS
from schemas.reading import DateOrder
from tests.editing import Row, edit, rows_of
from tests.inbox import import_all, lands, places, take
from tests.object_server import on_disk
from tests.records import contact, stored

pytestmark = pytest.mark.runs_on("laptop")

RECORDS = 11
TEXTS = ("+34 600 111 222", "=1+1", "'=x", "''", "'plain", "-5", "@home", 'a "b"', "line\none", " x ", "caf\u00e9")
HEADERS = ("Nr", "state", "born", "phone", "notes", "company")
MAPPED = {"Nr": "external_id", "state": "status", "born": "birthday"}


def sent(number: int) -> Row:
    """Return a record as it was sent. Its status is wrong."""
    text = TEXTS[number % len(TEXTS)]
    return dict(zip(HEADERS, (f"C-{number:02}", f"VIP {number}", "31/12/1980", text, text, "Caf\u00e9"), strict=True))


def write(path: Path, rows: list[Row], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    """Write a file of rows of text in the format that its name says."""
    seed = path.with_name(f"seed-{path.name}")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("json", "ndjson"):
        seed.write_text("[]" if kind == "json" else "")
        if path.suffix == ".gz":
            import gzip

            seed.write_bytes(gzip.compress(seed.read_bytes()))
        return edit(seed, lambda made: made.extend(rows), path)
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if kind == "xlsx":
        from resources.file_reader.excel.rejects import RejectsWorkbook

        with RejectsWorkbook(path, HEADERS) as book:
            for row in rows:
                book.writerow(list(row.values()))
        return path
    seed.write_bytes((delimiter.join(HEADERS) + "\r\n").encode(encoding))
    return edit(seed, lambda made: made.extend(rows), path, encoding, delimiter)


@pytest.mark.parametrize(
    ("name", "encoding", "delimiter", "rounds"),
    [
        ("in.csv", "utf-8", ",", 10),
        ("in.csv", "utf-8-sig", ";", 3),
        ("in.csv", "cp1252", ";", 3),
        ("in.csv", "mac_roman", "|", 3),
        ("in.txt", "utf-16", "\t", 3),
        ("in.csv", "utf-8", "~", 3),
        ("in.json", "utf-8", ",", 3),
        ("in.ndjson", "utf-8", ",", 3),
        ("in.parquet", "utf-8", ",", 3),
        ("in.xlsx", "utf-8", ",", 10),
    ],
)
def test_a_rejects_file_corrected_ten_times_over_ends_as_one(
    importer: Importer, store: RecordStore, tmp_path: Path, name: str, encoding: str, delimiter: str, rounds: int
) -> None:
    """Each round corrects one record, the last one all. What was said about the first file holds to the end."""
    records = [sent(number) for number in range(RECORDS)]
    if name.endswith(".txt"):
        (tmp_path / "seed.csv").write_bytes("\t".join(HEADERS).encode(encoding))
        file = edit(tmp_path / "seed.csv", lambda made: made.extend(records), tmp_path / name, encoding, delimiter)
    else:
        file = write(tmp_path / name, records, encoding, delimiter)
    said = ImportRequest(
        file,
        "ua",
        "contacts",
        column_map=MAPPED,
        encoding=encoding if encoding in ("cp1252", "mac_roman") else None,
        delimiter="~" if delimiter == "~" else None,
        date_order=DateOrder.DMY,
    )
    report = importer.import_file(said, OnInvalid.SKIP)
    assert report.batch.counts == Counts(read=RECORDS, rejected=RECORDS)
    for number in range(rounds):
        assert report.rejects_file is not None
        rejects = on_disk(report.rejects_file)
        written = "utf-8-sig" if encoding == "utf-8" and rejects.suffix == ".csv" else encoding
        rows = rows_of(rejects, written, delimiter)
        assert list(rows[0]) == [*HEADERS, *REJECTS_COLUMNS]
        assert {row["_batch"] for row in rows} == {report.batch.batch_id}
        assert [row["Nr"] for row in rows] == [f"C-{left:02}" for left in range(number, RECORDS)]

        corrected = 1 if number < rounds - 1 else RECORDS - number

        def correct(rows: list[Row], corrected: int = corrected) -> None:
            for row in rows[:corrected]:
                row["state"] = "lead"

        again = edit(rejects, correct, tmp_path / f"{number}-{rejects.name[-20:]}", written, delimiter)
        parent, needed = report.batch.batch_id, "~" if delimiter == "~" else None
        report = importer.import_file(ImportRequest(again, "ua", "contacts", delimiter=needed), OnInvalid.SKIP)
        assert report.batch.parent == parent
        assert report.batch.counts == Counts(RECORDS - number, corrected, rejected=RECORDS - number - corrected)

    assert report.rejects_file is None
    assert [(it["external_id"], it["phone"], it["notes"], f"{it['birthday']}") for it in stored(store)] == [
        (row["Nr"], row["phone"], row["notes"], "1980-12-31") for row in records
    ]
    assert {it["company"] for it in stored(store)} == {"Caf\u00e9"}


@pytest.mark.parametrize("unescape", [True, False])
def test_what_was_said_about_escapes_holds_for_the_file_and_not_for_its_rejects(
    importer: Importer, store: RecordStore, tmp_path: Path, unescape: bool
) -> None:
    file = tmp_path / "in.csv"
    file.write_text("external_id,status,notes\nC-1,VIP,'=1\nC-2,VIP,''=2\nC-3,VIP,=3\n")
    report = importer.preview(ImportRequest(file, "ua", "contacts", unescape=unescape))
    for _ in range(2):
        assert report.rejects_file is not None
        report = importer.preview(ImportRequest(on_disk(report.rejects_file), "ua", "contacts"))
    assert report.rejects_file is not None
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(on_disk(report.rejects_file).read_text("utf-8-sig").replace(",VIP,", ",lead,"))
    importer.import_file(ImportRequest(corrected, "ua", "contacts"))
    expected = ["=1", "'=2", "=3"] if unescape else ["'=1", "''=2", "=3"]
    assert [it["notes"] for it in stored(store)] == expected


def test_a_column_of_the_file_that_is_named_as_one_of_ours_and_feeds_a_field_stays(
    importer: Importer, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_text("external_id,status,_line,_record\nC-1,VIP,mine,other\n")
    report = importer.preview(ImportRequest(file, "ua", "contacts", column_map={"_line": "company"}))
    assert report.rejects_file is not None
    (row,) = rows_of(on_disk(report.rejects_file), "utf-8-sig")
    assert list(row) == ["external_id", "status", "_line", "_batch", "_record", "_problems"]
    assert (row["_line"], row["_record"]) == ("mine", "1")


def test_problems_are_written_in_an_encoding_that_lacks_their_characters(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes("external_id;status;company\n C-1;lead;Café\n".encode("cp1252"))
    report = importer.preview(ImportRequest(file, "ua", "contacts", encoding="cp1252"))
    assert report.rejects_file is not None
    (row,) = rows_of(on_disk(report.rejects_file), "cp1252", ";")
    assert row["company"] == "Café"
    assert "\\u2423C-1" in row["_problems"]


def test_a_rejects_file_of_a_preview_with_an_open_question_has_the_question_too(
    importer: Importer, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes("external_id;status;company\nC-1;VIP;Núñez\n".encode("cp1252"))
    parent = importer.preview(ImportRequest(file, "ua", "contacts"))
    assert parent.rejects_file is not None
    child = importer.preview(ImportRequest(on_disk(parent.rejects_file), "ua", "contacts"))
    assert [it.questions[0].proposed for it in (parent, child)] == ["cp1252", "cp1252"]
    assert child.batch.parent == parent.batch.batch_id
    importer.commit("ua", parent.batch.batch_id, OnInvalid.SKIP)  # which accepts what the preview shows
    assert importer.preview(ImportRequest(on_disk(parent.rejects_file), "ua", "contacts")).questions == ()


def corrected_in_place(report: ImportReport) -> None:
    assert report.rejects_file is not None
    file = on_disk(report.rejects_file)
    edit(file, lambda rows: rows[0].update(status="lead"), file, "cp1252", ";")


@pytest.mark.parametrize("place", ["terminal", "page"])
def test_the_printed_command_imports_the_corrected_file(
    importer: Importer, store: RecordStore, tmp_path: Path, place: str
) -> None:
    importer.import_file(ImportRequest(write_contacts(tmp_path / "1.csv", "lead", "A"), "ua", "contacts"))
    file = write_contacts(tmp_path / "it's [in].csv", "VIP", "Café")
    command = ["preview", str(file), "-a", "ua", "-t", "contacts", "--encoding", "cp1252", "--mode", "update"]
    shown = CliRunner().invoke(main, command, catch_exceptions=False)
    assert shown.exit_code == 0
    (report,) = [store.account("ua").report(it.batch_id) for it in store.batches("ua") if it.file_name == file.name]
    if place == "terminal":
        (line,) = [line for line in shown.stdout.splitlines() if line.startswith("When they are corrected: ")]
        printed = line.removeprefix("When they are corrected: ")
    else:
        import html
        import re

        assert report.report_file is not None
        page = on_disk(report.report_file).read_text("utf-8")
        printed = next(html.unescape(it) for it in re.findall(r"<pre><code>(.*?)</code></pre>", page) if "import" in it)
    program, *arguments = shlex.split(printed)
    assert program == "records"
    corrected_in_place(report)
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert [it["company"] for it in stored(store)] == ["Café"]
    (child,) = [it for it in store.batches("ua") if it.parent == report.batch.batch_id]
    assert child.basis is not None
    assert child.basis.mode is Mode.UPDATE


def test_the_command_beside_a_refused_file_imports_its_corrected_rejects(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_account("ua", "tester")
    lands(store, "it's in.csv", [contact(1, status="VIP")])
    take(store)
    assert import_all(store)["it's in.csv"].outcome is Outcome.QUARANTINED
    monkeypatch.chdir(on_disk(store.settings.data) / places(store)["WHY.txt"][0])
    rejects = Path("it's in.rejects.csv")
    rejects.write_text(rejects.read_text("utf-8-sig").replace("VIP", "lead"))
    line = next(it for it in Path("WHY.txt").read_text().splitlines() if "rejects.csv" in it and "records import" in it)
    program, *arguments = shlex.split(line[line.index("records import") :])
    assert (program, CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code) == ("records", 0)
    assert [it["external_id"] for it in stored(store)] == ["C-000001"]


def write_contacts(path: Path, status: str, company: str) -> Path:
    path.write_bytes(f"external_id;status;company\nC-1;{status};{company}\n".encode("cp1252"))
    return path


@pytest.mark.parametrize(("said", "options"), [("~", " --delimiter '~'"), ("tab", ""), (None, "")])
def test_the_command_says_a_delimiter_that_is_not_found_otherwise(
    importer: Importer, tmp_path: Path, said: str | None, options: str
) -> None:
    delimiter = {"tab": "\t", None: ","}.get(said, said) or ","
    file = tmp_path / "in.csv"
    file.write_text(f"external_id{delimiter}status\nC-1{delimiter}VIP\n")
    report = importer.preview(ImportRequest(file, "ua", "contacts", delimiter=said))
    assert report.rejects_command == f"records import {report.rejects_file} -a ua -t contacts{options}"


def test_a_rejects_file_without_a_batch_of_the_account_is_read_as_any_file(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("external_id,status\nC-1,VIP\n")
    report = importer.preview(ImportRequest(file, "ua", "contacts"))
    assert report.rejects_file is not None
    foreign = tmp_path / "foreign.csv"
    foreign.write_bytes(on_disk(report.rejects_file).read_bytes())
    other = importer.preview(replace(ImportRequest(foreign, "dl", "contacts")))
    assert (other.batch.parent, other.batch.counts) == (None, Counts(read=1, rejected=1))
