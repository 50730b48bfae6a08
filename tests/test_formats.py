"""Import formats: how the format of a file is found. A new format is a module and an entry in the list."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.file_reader.formats import FORMATS, format_named, recognise
from resources.importing.importer import Importer
from schemas.counts import Counts
from schemas.errors import UnreadableFile
from tests.records import contacts_of
from tests.test_excel import book, changed

ROOT = Path(__file__).parent.parent

TOY = '''"""Cards: a line "key: value" for each field, and a blank line after each record."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from resources.file_reader.chunk import TextChunk
from resources.file_reader.formats.format import Candidate, Format, OpenedFile, RowWriter
from resources.file_reader.options import ReadLimits
from schemas.reading import ReadOptions


class Cards(Format):
    """Cards."""

    name = "cards"
    suffixes = (".cards",)

    def recognises(self, candidate: Candidate) -> bool:
        """By its name."""
        return candidate.suffix in self.suffixes

    def open(self, path: Path, name: str, options: ReadOptions, limits: ReadLimits) -> OpenedFile:
        """All of it at once."""
        return CardsFile(path.read_text("utf-8"))

    @contextmanager
    def write_rejects(self, path: Path, headers: Sequence[str], used: ReadOptions) -> Iterator[RowWriter]:
        """The same form."""
        with path.open("w", encoding="utf-8") as file:
            yield CardsWriter(file, headers)


class CardsFile:
    notes: tuple[str, ...] = ("Cards are read whole.",)
    understood = (("Format", "Cards"),)
    questions = ()
    number_formats = None
    float_columns = ()
    text_columns = ()
    used = ReadOptions()

    def __init__(self, text: str) -> None:
        self.cards = [dict(line.split(": ", 1) for line in card.splitlines()) for card in text.strip().split("\\n\\n")]
        self.headers = tuple(dict.fromkeys(key for card in self.cards for key in card))
        self.read, self.share_read = 0, 0.0

    def chunks(self) -> Iterator[TextChunk]:
        import pyarrow as pa

        columns = [pa.array([card.get(header, "") for card in self.cards]) for header in self.headers]
        numbers = pa.array(range(1, len(self.cards) + 1), pa.int64())
        self.read, self.share_read = len(self.cards), 1.0
        yield TextChunk(pa.table(columns, names=[str(at) for at in range(len(columns))]), numbers, numbers)


class CardsWriter:
    def __init__(self, file, headers: Sequence[str]) -> None:
        self.file, self.headers = file, headers

    def writerow(self, row: Sequence[str]) -> None:
        lines = [f"{header}: {text}\\n" for header, text in zip(self.headers, row, strict=True) if text]
        self.file.write("".join(lines) + "\\n")
'''


IMPORT = """
import json
from pathlib import Path
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from schemas.batches import ImportRequest, OnInvalid

with RecordStore(Settings.from_environment()) as store:
    store.initialise(load_record_types())
    store.add_account("ua", "tester")
    importer = Importer(store, "tester")
    first = importer.import_file(ImportRequest(Path("in.cards").absolute(), "ua", "contacts"), OnInvalid.SKIP)
    text = first.rejects_file.read_text()
    Path("corrected.cards").write_text(text.replace(": VIP\\n", ": lead\\n").replace("amount: -1", "amount: 1"))
    second = importer.import_file(ImportRequest(Path("corrected.cards").absolute(), "ua", "contacts"))
    counts = first.batch.counts
    with store.reading() as connection:
        query = "SELECT external_id, company, notes FROM lake.records.contacts ORDER BY external_id"
        rows = connection.execute(query).fetch_all()
    print(json.dumps({
        "batch_id": first.batch.batch_id,
        "rejected": {
            "read": counts.read, "created": counts.created, "rejected": counts.rejected, "name": first.rejects_file.name
        },
        "rejects": text,
        "understood": first.batch.understood,
        "corrected": {
            "read": second.batch.counts.read, "created": second.batch.counts.created, "parent": second.batch.parent
        },
        "records": rows,
    }))
"""


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    """A copy of this project with one more import format: its module, and its entry in the list."""
    for folder in ("pipelines", "resources", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    formats = tmp_path / "resources" / "file_reader" / "formats"
    (formats / "cards.py").write_text(TOY)
    text = (formats / "__init__.py").read_text()
    for line, new in (
        ("    Delimited(),", "    Cards(),\n"),
        ("from resources.file_reader.formats.delimited", "from resources.file_reader.formats.cards import Cards\n"),
    ):
        assert text.count(line) == 1
        text = text.replace(line, new + line)
    (formats / "__init__.py").write_text(text)
    return tmp_path


def python(project: Path, code: str) -> Any:
    """Runs code in a process with a copy of the project; returns the JSON that it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


def test_a_format_in_one_file_and_a_line_is_imported_whole(project: Path) -> None:
    """Preview a file, correct its rejects in the same format and commit them, with the real importer and reader."""
    (project / "in.cards").write_text(
        "external_id: C-1\nstatus: lead\ncompany: Ada: & Co\n\n"
        "external_id: C-2\nstatus: VIP\nnotes: =1+1\n\n"
        "external_id: C-3\nstatus: lead\namount: -1\n"
    )
    shown = python(project, IMPORT)
    assert shown["rejected"] == {"read": 3, "created": 1, "rejected": 2, "name": "in.rejects.cards"}
    assert shown["rejects"] == (
        "external_id: C-2\nstatus: VIP\nnotes: =1+1\n_batch: {0}\n_record: 2\n_line: 2\n"
        "_problems: status must be one of lead, prospect, customer, churned [isin]: VIP\n\n"
        "external_id: C-3\nstatus: lead\namount: -1\n_batch: {0}\n_record: 3\n_line: 3\n"
        "_problems: amount must be 0 or more [greater_than_or_equal_to]: -1\n\n"
    ).format(shown["batch_id"])
    assert ["Format", "Cards"] in shown["understood"]
    assert ["Note", "Cards are read whole."] in shown["understood"]
    assert shown["corrected"] == {"read": 2, "created": 2, "parent": shown["batch_id"]}
    assert shown["records"] == [["C-1", "Ada: & Co", None], ["C-2", None, "=1+1"], ["C-3", None, None]]


def _zip(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def _workbook() -> bytes:
    content = io.BytesIO()
    openpyxl.Workbook().save(content)
    return content.getvalue()


def _parquet() -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"a": ["1"]}), content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"[a],b\n1,2\n", "delimited"),
        ("a.csv.gz", b"{a},b\n1,2\n", "delimited"),
        ("a.dat", b"a,b\n1,2\n", "delimited"),
        ("a", b"", "delimited"),
        ("a.csv", _workbook(), "excel"),
        ("a.json", _workbook(), "excel"),
        ("a.xlsx", _workbook()[:-100], "excel"),
        ("a.csv", _parquet(), "parquet"),
        ("a.json", b'{"a": 1}\n', "ndjson"),
        ("a.ndjson", b'\n [{"a": 1}]', "json"),
        ("a.jsonl", b"neither", "ndjson"),
        ("a.dat", b'\xef\xbb\xbf \n{"a": 1}\n', "ndjson"),
        ("a", b" " * (2 << 20) + b"[]", "json"),
        ("a.csv", b'\n{"a": 1}\n', "ndjson"),
        ("a.txt", '[{"a":"é"}]'.encode("utf-16"), "json"),
        ("a.dat", '[{"a":"é"}]'.encode("utf-32-be"), "json"),
        ("a.csv", b'{"a"},b\n1,2\n', "delimited"),
        ("a.json", b"id\n1\n", "delimited"),
        ("a.json.gz", b'"id";"name"\n1;2\n', "delimited"),
        ("a.ndjson", "id\tname\n1\tü\n".encode("utf-16"), "delimited"),
        ("a.json", b"[id],[name]\n1,2\n", "delimited"),
        ("a.json", b"[1,\n2]", "json"),
        ("a.json", b"[true, 1]", "json"),
        ("a.json", b"{'a': 1}", "ndjson"),
        ("a.json", b"", "ndjson"),
    ],
    ids=map(str, count()),  # a workbook contains the time, which differs from process to process
)
def test_a_format_is_known_by_the_content_and_else_by_the_name(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / "sent").write_bytes(content)
    assert recognise(tmp_path / "sent", name).name == expected


_CONTENTS = {
    "excel": _workbook(),
    "parquet": _parquet(),
    "json": b'[{"a": "1"}]',
    "ndjson": b'{"a": "1"}\n',
    "delimited": b"a,b\n1,2\n",
}


@pytest.mark.parametrize("name", [f"a{suffix}" for it in FORMATS for suffix in it.suffixes] + ["a.dat", "a"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, name: str) -> None:
    assert _CONTENTS.keys() == {it.name for it in FORMATS}
    for expected, content in _CONTENTS.items():
        (tmp_path / "sent").write_bytes(content)
        assert recognise(tmp_path / "sent", name).name == expected


@pytest.mark.parametrize(
    ("content", "message", "quoted"),
    [
        (_zip({"b.csv": b"", "a.csv": b"", "folder/": b""}), "a.xlsx is a ZIP archive with 2 files. Only", "'b.csv'"),
        (_zip({f"{n}.csv": b"" for n in range(9)}), "a.xlsx is a ZIP archive with 9 files", "'4.csv', …."),
        (_zip({}), "a.xlsx is a ZIP archive without a file.", ""),
        (_zip({"[Content_Types].xml": b"", "word/document.xml": b""}), "a.xlsx is a Word document.", ""),
        (_zip({"[Content_Types].xml": b"", "ppt/presentation.xml": b""}), "a.xlsx is a PowerPoint presentation.", ""),
        (_zip({"mimetype": b"", "META-INF/manifest.xml": b""}), "a.xlsx is an OpenDocument file, as .ods.", ""),
    ],
    ids=["files", "many files", "no file", "word", "powerpoint", "opendocument"],
)
def test_another_archive_is_refused_with_a_sentence_that_says_what_it_is(
    tmp_path: Path, content: bytes, message: str, quoted: str
) -> None:
    (tmp_path / "sent").write_bytes(content)
    with pytest.raises(UnreadableFile) as raised:
        recognise(tmp_path / "sent", "a.xlsx")
    assert raised.value.message.startswith(message)
    assert quoted in raised.value.quoted
    assert "4.csv" not in str(raised.value)  # no log has the name, which may be personal


def test_a_damaged_archive_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(_workbook()[:-100])
    with pytest.raises(UnreadableFile, match=r"^a.zip is a damaged ZIP archive. Send it again"):
        recognise(tmp_path / "sent", "a.zip")


def test_each_format_has_a_name_and_suffixes_of_its_own() -> None:
    assert [format_named(each.name) for each in FORMATS] == list(FORMATS)
    suffixes = [suffix for each in FORMATS for suffix in each.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_the_list_of_formats_brings_no_parser() -> None:
    """The command that starts a reader does without them, and so does the reader of another format."""
    code = (
        "import sys; import resources.file_reader.formats; "
        "print(*{'openpyxl', 'pyarrow', 'msgspec', 'duckdb', 'numpy'} & set(sys.modules))"
    )
    brought = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert brought.stdout.split() == []


def _contacts(name: pa.Array) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"external_id": ["C-1"], "status": ["lead"], "first_name": name}), file)
    return file.getvalue()


_HEADERS = ["external_id", "status", "first_name"]
_UNREADABLE = {
    "a.parquet": (
        _contacts(pa.array([86_400_000_000]).cast(pa.time64("us"))),
        "before 24:00:00; record 1 (line 1) has 86400000000 us",
    ),
    "b.parquet": (
        _contacts(pa.array([{"a": 1}])),
        "a single value; record 1 (line 1) has a value of type struct<a: int64>",
    ),
    "c.xlsx": (book([_HEADERS, ["C-1", "lead", "#N/A"]]), "a value, not an error; record 1 (line 2) has #N/A"),
    "d.json": (
        b'[{"external_id": "C-1", "status": "lead", "first_name": [1]}]',
        "a single value; record 1 (line 1) has [1]",
    ),
}


@pytest.mark.parametrize("name", _UNREADABLE)
def test_a_value_that_no_text_expresses_is_rejected_with_a_sentence(
    importer: Importer, tmp_path: Path, name: str
) -> None:
    """Arrow prints such a time as `<value out of range: 86400000000>`, which was imported."""
    content, sentence = _UNREADABLE[name]
    (tmp_path / name).write_bytes(content)
    report = importer.preview(contacts_of(tmp_path / name))
    assert report.batch.counts == Counts(read=1, rejected=1)
    assert [problem.message() for problem in report.samples] == [f"`first_name` must be {sentence}"]


def test_a_preview_says_that_the_number_formats_of_a_workbook_are_lost(importer: Importer, tmp_path: Path) -> None:
    rows: list[list[Any]] = [_HEADERS, ["C-1", "lead", date(2024, 5, 31)]]
    (tmp_path / "a.xlsx").write_bytes(changed(book(rows), {"xl/styles.xml": None}))
    report = importer.preview(contacts_of(tmp_path / "a.xlsx"))
    assert ("Note", "The workbook has no part of styles, or its link to it is broken.") in report.batch.understood
