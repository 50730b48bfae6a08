import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.report_writer.details import details_of, with_details
from resources.report_writer.page import Link, render
from resources.report_writer.visible import LONGEST, as_html
from schemas import load_model
from schemas.batches import (
    Basis,
    Batch,
    BatchStatus,
    ChangedValue,
    ImportReport,
    Mode,
    OnDuplicate,
    ProblemCount,
    Remembered,
    RowProblem,
)
from schemas.columns import Column, Reason
from schemas.counts import Counts
from schemas.reading import Differing, Question
from schemas.record_type import RecordType
from schemas.warnings import BatchWarning, WarningCode

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
UNDERSTOOD = (("Format", "CSV"), ("Encoding", "UTF-8, certain"), ("Delimiter", "comma"))
VOID = {"meta", "link", "br", "hr", "img", "input"}


def column(position: int, header: str, field: str | None, reason: Reason, score: int | None = None) -> Column:
    return Column(position, header, field, reason, score, ("C-000001", "C-000002") if field == "external_id" else ())


def realistic(file_name: str = "kontakte märz.csv", **counts: int) -> ImportReport:
    """Return a preview of 12,640 contacts with every kind of problem and warning."""
    batch = Batch(
        batch_id="b-20260105-093000000-4fd1a9",
        account="acme",
        record_type="contacts",
        status=BatchStatus.PREVIEWED,
        actor="ada",
        at=AT,
        file_name=file_name,
        file_sha256="5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        counts=Counts(**(counts or {
            "read": 12640, "created": 8000, "updated": 1234, "unchanged": 3280, "rejected": 121, "duplicate": 5
        })),
        problems=(
            ProblemCount("email", "str_matches", "must be an e-mail address", 96),
            ProblemCount("amount", "greater_than_or_equal_to", "must be 0 or more", 24),
            ProblemCount(None, "field_count", "must have 6 fields, as the header has", 2),
        ),
        cleared={"phone": 1017, "notes": 3},
        basis=Basis("0" * 64, ("external_id", "email", "phone", "amount", "notes"), Mode.UPSERT, OnDuplicate.REJECT, 7),
        remembered=Remembered("0" * 64, {}, remembered_from="b-20251201-081500000-0aa1b2"),
        warnings=(
            BatchWarning(
                WarningCode.DATE_ORDER,
                "birthday",
                1204,
                "`birthday`: 1,204 dates could be day first or month first. Say which: --date-order dmy or mdy.",
            ),
            BatchWarning(
                WarningCode.LOOKS_LIKE_FLOAT,
                "external_id",
                2,
                "`external_id`: 2 values have .0 at the end, as if a program had read them as numbers.",
                ("1001.0", "1002.0"),
            ),
        ),
    )  # fmt: skip
    return ImportReport(
        batch,
        columns=(
            column(0, "external_id", "external_id", "name"),
            column(1, "E-Mail <work>", "email", "given"),
            column(2, "telephone", "phone", "alias"),
            column(3, "amnt", "amount", "likeness", score=92),
            column(4, "Bemerkung", "notes", "remembered"),
            column(5, "Faxnummer", None, "ignored"),
        ),
        samples=(
            RowProblem(17, 19, "email", "str_matches", "must be an e-mail address", "ada(at)example.org"),
            RowProblem(4812, 4815, "amount", "greater_than_or_equal_to", "must be 0 or more", "-5.00"),
            RowProblem(4900, 4903, None, "field_count", "must have 6 fields, as the header has", "7 fields"),
            RowProblem(5001, 5004, "email", "required", "must be there for a new record", None),
        ),
        open_until=AT + timedelta(days=1),
    )


CHANGES = (
    ChangedValue(3, "C-000003", "phone", "+44 20 7946 0000", None),
    ChangedValue(3, "C-000003", "amount", "10.00", "12.50"),
    ChangedValue(4, "C-000004", "notes", None, "Prefers to be called."),
)


class Page(HTMLParser):
    """Parses a page: every element with its attributes, and the text in each."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == [], "every element that was opened was closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("caption", "dd", "dt", "li", "p", "small", "td", "th"):
            self.texts.append(("", " "))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        words = "".join(text for tag, text in self.texts if tag not in ("style", "title"))
        return re.sub(r"\s+", " ", words)

    def text_of(self, tag: str) -> str:
        return "".join(text for owner, text in self.texts if owner == tag)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


@pytest.fixture(scope="module")
def contacts() -> RecordType:
    return load_model("contacts").record_type()


def write_report(
    path: Path,
    report: ImportReport,
    record_type: RecordType,
    *,
    understood: Sequence[tuple[str, str]] = UNDERSTOOD,
    changes: Sequence[ChangedValue] = CHANGES,
) -> None:
    report = replace(report, batch=replace(report.batch, understood=tuple(understood)), changes=tuple(changes))
    path.write_text(render(report, record_type), "utf-8")


def written(
    path: Path, report: ImportReport, record_type: RecordType, changes: tuple[ChangedValue, ...] = CHANGES
) -> str:
    write_report(path, report, record_type, changes=changes)
    return path.read_text("utf-8")


def test_every_fact_of_the_preview_is_on_the_page(tmp_path: Path, contacts: RecordType) -> None:
    page = Page(written(tmp_path / "report.html", realistic(), contacts))
    text = page.text
    assert page.text_of("title") == "kontakte märz.csv · preview"
    for heading in (
        "How the file was read", "What would happen", "Problems", "First problems", "Changed values", "What to do next",
    ):  # fmt: skip
        assert heading in page.text_of("h2")
    for fact in (
        "kontakte märz.csv", "Account acme", "By ada", "Record type contacts", "2026-01-05 09:30:00 UTC",
        "b-20260105-093000000-4fd1a9", "121 of 12,640 records are rejected.", "Nothing has been written yet.",
        "would clear 1,020 stored values", "This preview can be committed until 2026-01-06 09:30:00 UTC.",
        "Format CSV", "Encoding UTF-8, certain", "Delimiter comma",
        "5 of 6 mapped to a field", "1 external_id external_id C-000001 C-000002 the field's name",
        "2 E-Mail <work> email — empty as the user said", "3 telephone phone — empty another name of the field",
        "4 amnt amount — empty like a name of the field (92% alike)", "6 Faxnummer ignored — empty no field takes it",
        "Required, but no column feeds them, so no new record can be created: status",
        "No column feeds these fields, so their stored values stay as they are: first_name, last_name, company, ",
        "Created their key is new 8,000 63.3%", "differs 1,234 9.8%", "differs 3,280 25.9%",
        "they break a rule 121 1.0%", "earlier record of the file 5 < 0.1%", "Read 12,640",
        "phone telephone 1,017", "notes Bemerkung 3",
        "5 Bemerkung notes — empty as for an earlier file with this header row",
        "It is read as was said for the file of batch b-20251201-081500000-0aa1b2.",
        "Warning: `birthday`: 1,204 dates could be day first or month first. Say which: --date-order dmy or mdy.",
        "Warning: `external_id`: 2 values have .0 at the end, as if a program had read them as numbers. For example: "
            "1001.0, 1002.0 looks_like_float",
        "email column E-Mail <work> must be an e-mail address str_matches 96",
        "the record must have 6 fields, as the header has field_count 2",
        "The first 4 of 122 problems", "17 line 19 email ada(at)example.org must be an e-mail address 1",
        "4,812 line 4,815 amount -5.00 must be 0 or more 1",
        "5,001 line 5,004 email — empty must be there for a new record 1",
        "The first 2 of 1,234 updated records",
        "3 C-000003 phone +44 20 7946 0000 → — cleared", "amount 10.00 → 12.50",
        "4 C-000004 notes — null → Prefers to be called.",
        "records commit b-20260105-093000000-4fd1a9 --on-invalid skip",
        "leave out the 121 rejected and write the rest: 8,000 created, 1,234 updated.",
        "Correct the 121 rejected records in your file, and import it again.",
        "records discard b-20260105-093000000-4fd1a9",
    ):  # fmt: skip
        assert fact in text
    assert [attributes["class"] for tag, attributes in page.elements if tag == "td" and attributes.get("class")].count(
        "wrong"
    ) == 4


def asking(report: ImportReport) -> ImportReport:
    """Return the report of a file that can be read in several ways."""
    texts = {"Nachname": ("Núñez", "Núńez"), None: ("Straße", "Straźe"), "": ("é", "\u202e")}
    values = tuple(Differing(header, pair) for header, pair in texts.items())
    which = Question("Which texts are right?", "encoding", ("cp1252", "cp1250"), values)
    questions = (which, Question("Line 7 has a stray quotation mark."))
    return replace(report, questions=questions, batch=replace(report.batch, questions=questions))


def test_a_page_shows_what_must_be_decided(tmp_path: Path, contacts: RecordType) -> None:
    text = Page(written(tmp_path / "report.html", asking(realistic()), contacts, changes=())).text
    for fact in (
        "Which texts are right? Nothing has been written yet.",
        "Column --encoding cp1252 --encoding cp1250 Nachname Núñez Núńez header Straße Straźe — not known é U+202E",
        "é U+202E Line 7 has a stray quotation mark.",
        "records import FILE -a acme -t contacts --encoding cp1252",
        "leave out the 121 rejected and write the rest",
    ):
        assert fact in text


def test_a_preview_without_problems_says_so_and_can_be_committed_as_it_is(tmp_path: Path, contacts: RecordType) -> None:
    report = realistic(read=1, created=1)
    report = replace(
        report,
        batch=replace(report.batch, problems=(), cleared={}, warnings=(), basis=None, remembered=None),
        samples=(),
    )
    text = Page(written(tmp_path / "report.html", report, contacts, changes=())).text
    assert "No record is rejected: 1 would be created, 0 updated." in text
    assert "Problems None was found." in text
    assert "records commit b-20260105-093000000-4fd1a9 " in text
    for absent in (
        "--on-invalid",
        "First problems",
        "Changed values",
        "would clear",
        "records preview",
        "Warning",
        "as for b-",
    ):
        assert absent not in text


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"read": 0}, "The file has no records."),
        (
            {"read": 2, "unchanged": 1, "duplicate": 1},
            "Nothing would change: the store already has what the file says.",
        ),
        ({"read": 1, "rejected": 1}, "1 of 1 record is rejected."),
    ],
)
def test_the_verdict_fits_the_counts(
    tmp_path: Path, contacts: RecordType, counts: dict[str, int], verdict: str
) -> None:
    report = realistic("contacts.csv", **counts)
    assert verdict in Page(written(tmp_path / "report.html", report, contacts)).text


STATES = [
    (
        BatchStatus.COMMITTED,
        ["Import", "8,000 created, 1,234 updated. 121 of 12,640 records are rejected and left out."],
        [
            *(
                "Written to the store at 2026-01-05 10:30:00 UTC. It can be rolled back until 2026-01-06",
                "What happened",
            ),
            *(
                "Empty cells cleared 1,020 stored values.",
                "Correct the 121 rejected records in your file, and import it again.",
            ),
            "records rollback b-20260105-093000000-4fd1a9 --dry-run",
        ],
    ),
    (
        BatchStatus.ROLLED_BACK,
        ["Import, rolled back", "This import was rolled back."],
        ["The records are as they were before it, except where", "records show b-20260105-093000000-4fd1a9"],
    ),
    (BatchStatus.DISCARDED, ["Discarded preview", "This preview was discarded."], ["Nothing was written."]),
    (BatchStatus.EXPIRED, ["Import", "8,000 created, 1,234 updated."], ["It can no longer be rolled back."]),
]


@pytest.mark.parametrize(("status", "begins", "says"), STATES, ids=lambda value: value if type(value) is str else "")
def test_each_status_has_its_own_words(
    contacts: RecordType, status: BatchStatus, begins: list[str], says: list[str]
) -> None:
    report = realistic()
    batch = replace(report.batch, status=status, committed_at=AT + timedelta(hours=1))
    until = report.open_until if status is BatchStatus.COMMITTED else None
    page = Page(render(replace(report, batch=batch, open_until=until), contacts))
    for words in [*begins, *says]:
        assert words in page.text
    assert page.text.strip().startswith(begins[0])
    for absent in ("Nothing has been written yet", "records commit", "What would happen", "would clear"):
        assert absent not in page.text


def test_where_every_record_is_rejected_there_is_nothing_to_commit(contacts: RecordType) -> None:
    text = Page(render(realistic("bad.csv", read=3, rejected=3), contacts)).text
    assert "Correct the 3 rejected records in your file, and import it again." in text
    assert "records commit" not in text
    assert "records discard" in text


def test_without_details_the_page_says_what_the_ledger_knows(contacts: RecordType) -> None:
    """An earlier version made the preview, or its details are damaged."""
    text = Page(render(ImportReport(realistic().batch), contacts)).text
    assert "email must be an e-mail address str_matches 96" in text
    assert "No column feeds" not in text, "the columns are not known, so neither is what they leave out"


def test_the_rejects_file_is_named(tmp_path: Path, contacts: RecordType) -> None:
    report = replace(realistic(), rejects_file=Path("/data/accounts/acme/rejects/kontakte.csv"))
    text = Page(written(tmp_path / "r.html", report, contacts)).text
    assert "Correct the 121 rejected records in this file" in text
    assert "records import /data/accounts/acme/rejects/kontakte.csv -a acme -t contacts" in text


def test_the_page_can_do_nothing(tmp_path: Path, contacts: RecordType) -> None:
    source = written(tmp_path / "report.html", realistic(), contacts)
    page = Page(source)
    assert source.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    assert metas[1]["http-equiv"] == "Content-Security-Policy"
    digest = base64.b64encode(hashlib.sha256(page.text_of("style").encode()).digest()).decode()
    assert metas[1]["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert {"name": "referrer", "content": "no-referrer"} in metas
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert not page.tags() & {"script", "link", "img", "a", "form", "iframe", "object", "embed", "svg", "base"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not names & {"style", "src", "href", "srcdoc", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in page.text_of("style")
    assert "@import" not in page.text_of("style")


def test_bars_are_as_wide_as_their_share(tmp_path: Path, contacts: RecordType) -> None:
    style = Page(written(tmp_path / "report.html", realistic(read=8, created=6, updated=2), contacts)).text_of("style")
    widths = dict(re.findall(r"#(\w+) i { width: ([\d.]+)% }", style))
    assert widths == {
        "created": "75.00", "updated": "25.00", "unchanged": "0.00", "rejected": "0.00", "duplicate": "0.00",
    }  # fmt: skip


MARKUP = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} {% raw %} &lt;b&gt;"


def test_markup_is_text_wherever_it_stands(tmp_path: Path, contacts: RecordType) -> None:
    problem = RowProblem(1, 2, MARKUP, MARKUP, MARKUP, MARKUP)
    report = realistic(MARKUP)
    batch = replace(
        report.batch,
        account=MARKUP,
        actor=MARKUP,
        batch_id=MARKUP,
        file_sha256=MARKUP,
        record_type=MARKUP,
        cleared={MARKUP: 1},
        warnings=(BatchWarning(WarningCode.IN_QUOTES, MARKUP, 1, MARKUP, (MARKUP,)),),
        remembered=Remembered(MARKUP, {}, remembered_from=MARKUP),
        problems=(ProblemCount(MARKUP, MARKUP, MARKUP, 1),),
    )
    report = replace(
        report, batch=batch, columns=(column(0, MARKUP, MARKUP, "likeness", score=50),), samples=(problem,),
        rejects_file=Path(MARKUP),
    )  # fmt: skip
    path = tmp_path / "report.html"
    write_report(path, report, contacts, understood=[(MARKUP, MARKUP)], changes=[ChangedValue(1, *[MARKUP] * 4)])
    naughty, plain = Page(path.read_text("utf-8")), Page(written(tmp_path / "plain.html", realistic(), contacts))
    assert naughty.tags() <= plain.tags() | {"del", "ins"}
    assert naughty.text_of("title") == f"{MARKUP} · preview"
    assert naughty.text.count(MARKUP) > 20
    assert "49" not in naughty.text.replace(MARKUP, "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\0b", "aNULb"),
        ("\x1b[31mred\x7f", "ESC[31mredDEL"),
        ("one\r\ntwo\tthree", "oneCRLFtwoTABthree"),
        ("gnp.\u202eexe", "gnp.U+202Eexe"),
        ("\u2066\u2069\u200f", "U+2066U+2069U+200F"),
        ("zero\u200bwidth\ufeff", "zeroU+200BwidthU+FEFF"),
        ("10\u00a0000", "10U+00A0000"),
        (" lead  er ", "SPlead  erSP"),
        ("   ", "SPSPSP"),
        ("soft\u00adhyphen", "softU+00ADhyphen"),
        ("a\u200db\ufe0f", "aU+200DbU+FE0F"),
        ("\udce4.csv", "U+DCE4.csv"),
        ("\u3164", "U+3164"),
        ("\U000e0041", "U+E0041"),
        ("\ue000\uffff", "U+E000U+FFFF"),
        ("❤\ufe0f\u200d🔥 👩🏽\u200d🚀", "❤\ufe0f\u200d🔥 👩🏽\u200d🚀"),
        ("❤\ufe0f\ufe01\ufe02", "❤\ufe0fU+FE01U+FE02"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001
        ("Zoë 東京 שלום", "Zoë 東京 שלום"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_shown(tmp_path: Path, contacts: RecordType, value: str, shown: str) -> None:
    changes = (ChangedValue(1, "C-1", "notes", "before", value),)
    source = written(tmp_path / "report.html", realistic(f"{value}.csv"), contacts, changes)
    inserted = re.findall(r"<ins>(.*)</ins>", source)
    assert re.sub(r"<[^>]*>", "", inserted[0]) == shown


def test_a_file_name_that_is_no_text_can_be_reported(tmp_path: Path, contacts: RecordType) -> None:
    """POSIX file names are bytes. Invalid UTF-8 reaches Python as surrogates, which UTF-8 cannot encode."""
    page = Page(written(tmp_path / "report.html", realistic(os.fsdecode(b"M\xe4rz\n\xff.csv")), contacts))
    assert page.text_of("title") == "MU+DCE4rzLFU+DCFF.csv · preview"


def test_a_long_value_is_abbreviated_in_the_middle(tmp_path: Path, contacts: RecordType) -> None:
    value = "begin" + "x" * 5_000_000 + "end"
    source = written(tmp_path / "r.html", realistic(value), contacts, (ChangedValue(1, value, "notes", value, value),))
    assert len(source) < 40_000
    assert re.search(
        r"<ins>.*>begin(x+)<span class=\"cut\">… 5,000,008 characters, the middle left out …</span>(x+)end<", source
    )
    assert re.search(r"<title>beginx+…x+end · preview</title>", source)


def test_a_value_of_the_greatest_length_is_whole(tmp_path: Path, contacts: RecordType) -> None:
    value = "y" * LONGEST
    assert value in written(tmp_path / "r.html", realistic(), contacts, (ChangedValue(1, "C-1", "notes", None, value),))


CONTROLS = {
    "NUL": "\0", "SOH": "\x01", "STX": "\x02", "ETX": "\x03", "EOT": "\x04", "ENQ": "\x05", "ACK": "\x06",
    "BEL": "\a", "BS": "\b", "TAB": "\t", "LF": "\n", "VT": "\v", "FF": "\f", "CR": "\r", "SO": "\x0e", "SI": "\x0f",
    "DLE": "\x10", "DC1": "\x11", "DC2": "\x12", "DC3": "\x13", "DC4": "\x14", "NAK": "\x15", "SYN": "\x16",
    "ETB": "\x17", "CAN": "\x18", "EM": "\x19", "SUB": "\x1a", "ESC": "\x1b", "FS": "\x1c", "GS": "\x1d",
    "RS": "\x1e", "US": "\x1f", "SP": " ", "DEL": "\x7f",
}  # fmt: skip
CHARACTERS = st.characters(exclude_categories=[])


@given(st.text(CHARACTERS, max_size=LONGEST))
def test_the_shown_text_determines_the_value(value: str) -> None:
    """Reversing the replacements gives the value back. What remains can be encoded and hides nothing."""
    html = str(as_html(value))
    html.encode("utf-8")
    page = Page(f"<b>{html}</b>")
    restored = "".join(_character(text) if tag == "span" else text for tag, text in page.texts)
    assert restored == value
    assert not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", html)


@given(st.text(st.characters(max_codepoint=0x7F), max_size=LONGEST - 3))
def test_a_text_is_shown_like_its_characters_one_by_one(value: str) -> None:
    """A text of plain characters is escaped at once. Beside another character, all are looked at one by one."""
    text = f".{value}."
    one_by_one = str(as_html(f"{text}é")).removesuffix("é")
    assert str(as_html(text)) == one_by_one
    assert str(as_html(f"{text} ")) == f'{one_by_one}<span class="char" title="U+0020 SPACE">SP</span>'


def _character(shown: str) -> str:
    """Return the character that a code or short name stands for."""
    if shown.startswith("U+"):
        return chr(int(shown[2:], 16))
    return CONTROLS[shown]


def test_times_are_shown_in_utc(contacts: RecordType) -> None:
    report = realistic()
    late = replace(report, batch=replace(report.batch, at=AT.astimezone(timezone(timedelta(hours=-8)))))
    assert "Status previewed since 2026-01-05 09:30:00 UTC" in Page(render(late, contacts)).text


def test_the_details_come_back_with_long_texts_as_excerpts(contacts: RecordType) -> None:
    """A report is written anew from the details: the page is the same. A value of megabytes is not kept twice."""
    value = "begin" + "x" * 5_000_000 + "end"
    report = replace(realistic(), changes=(*CHANGES, ChangedValue(9, "C-9", "notes", value, "short")))
    details = details_of(report)
    again = with_details(ImportReport(report.batch, open_until=report.open_until), details)
    assert render(again, contacts) == render(report, contacts)
    assert len(details) < 20_000
    assert replace(again, changes=again.changes[:-1]) == replace(report, changes=CHANGES)


def test_equal_problems_share_a_row(contacts: RecordType) -> None:
    vip = RowProblem(17, 19, "status", "isin", "must be one of lead, customer", "VIP", records=96)
    text = Page(render(replace(realistic(), samples=(vip,)), contacts)).text
    assert "The first 96 of 122 problems" in text
    assert "17 line 19 status VIP must be one of lead, customer 96" in text


def test_a_server_adds_links_and_a_page_in_a_file_has_none(contacts: RecordType) -> None:
    links = (Link("Rejected records", "rejects_file"), Link("History", 'http://127.0.0.1:3000/a?b=c&d="><script>'))
    page = Page(render(realistic(), contacts, links))
    addresses = [attributes.get("href") for tag, attributes in page.elements if tag == "a"]
    assert addresses == [link.address for link in links]
    assert "script" not in page.tags()
    assert "a" not in Page(render(realistic(), contacts)).tags()


def packed(strings: list[str]) -> Iterator[str]:
    """Combine the strings, as many as one page shows whole, because a page for each would take long."""
    name, *others = strings
    for text in others:
        if len(name) + 1 + len(text) > LONGEST:
            yield name
            name = text
        else:
            name = f"{name} {text}"
    yield name


def test_the_naughty_strings_are_text(tmp_path: Path, contacts: RecordType) -> None:
    corpora = Path(os.environ.get("RECORDS_CORPORA", Path(__file__).parent.parent.parent / "shared" / "corpora"))
    if not (corpora / "blns").is_dir():
        pytest.skip(f"no corpora in {corpora}: set RECORDS_CORPORA")
    strings: list[str] = json.loads((corpora / "blns" / "blns.json").read_text("utf-8"))
    tags = Page(written(tmp_path / "plain.html", realistic(), contacts)).tags()
    changes = tuple(ChangedValue(i, text, "notes", text, text) for i, text in enumerate(strings))
    assert Page(written(tmp_path / "report.html", realistic(), contacts, changes)).tags() == tags
    for name in packed(strings):
        page = Page(written(tmp_path / "report.html", realistic(name), contacts))
        assert page.tags() == tags
        assert page.text_of("title").endswith(" · preview")


@pytest.mark.parametrize(("form", "place"), [("Excel workbook, 1900 date system", "row"), ("Delimited text", "line")])
def test_a_problem_of_a_workbook_names_its_row(contacts: RecordType, form: str, place: str) -> None:
    report = realistic()
    report = replace(report, batch=replace(report.batch, understood=(("Format", form),)))
    assert f"{place} 19" in Page(render(report, contacts)).text
