"""Small inputs made after public reports of wrong imports, each with what is right.

A new case is a file in `tests/cases/` and a line in `CASES`. All values are invented.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas import load_record_types
from schemas.batches import ImportRequest, OnInvalid
from schemas.errors import RecordsError, Uncertain
from schemas.footers import Footer
from schemas.warnings import BatchWarning
from tests.records import stored

FOLDER = Path(__file__).with_name("cases")
ANSI = {"encoding": "cp1252"}
SHOWN = {"as_shown": True}


@dataclass(frozen=True)
class Case:
    """A file of contacts or of another type, and how its import ends.

    file: in tests/cases. counts: the outcomes of its records. options: what is said about the file. after: a file that
    was imported before. refused: a pattern of the sentence that refuses the file. asked: the encoding that is proposed.
    cleaned: as the report says it. proposed: the options that map texts to values, in alphabetical order.
    warnings: a code and a field each. problems: a field, a rule and a number of records each. cleared: by field.
    values: what is stored then, by field, sorted by key. The rejected records are skipped.
    """

    file: str
    counts: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    refused: str = ""
    asked: str = ""
    type: str = "contacts"
    cleaned: tuple[str, ...] = ()
    proposed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    cleared: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the name of the test."""
        return " ".join([self.file, *map(str, self.options.values())])


def keys(*values: str) -> dict[str, tuple[str, ...]]:
    return {"external_id": values}


def last_names(*values: str) -> dict[str, tuple[str, ...]]:
    return {"last_name": values}


def items(file: str, counts: str, **expected: Any) -> Case:
    return Case(f"50-types/{file}", counts, type="items", **expected)


def code_page(name: str, encoding: str, *values: str) -> tuple[Case, Case]:
    """Return a case in which the encoding is asked, and one in which it is said."""
    file, counts = f"42-code-pages/{name}.csv", f"{len(values)} created"
    return (
        Case(file, counts, asked=encoding, values=last_names(*values)),
        Case(file, counts, {"encoding": encoding}, values=last_names(*values)),
    )


FLOAT, SCIENCE, QUOTED = "looks_like_float", "scientific_notation", "equals_quoted"
SEVERAL = ("shown_otherwise external_id", "shown_otherwise notes", "shown_otherwise notes", "shown_otherwise phone")
NOT_READ = r"Nothing was read from it\. "
COMMA = "decimal_style amount"
CASE = tuple(f"2 {name}: {done}" for name in ("country", "status") for done in ("spaces removed", "case changed"))
MAPPED = {"value_map": {"status": {"kunde": "customer"}, "country": {"Germany": "DE", "D": "DE"}}}

# ruff: noqa: E501, RUF001
# fmt: off
CASES = (
    Case("01-glued-bom/glued.csv", "3 created, 1 rejected", problems=("None repeated_header 1",), values=keys("G-1", "G-2", "G-3")),
    Case("01-glued-bom/glued_nohead.csv", "2 created, 1 rejected", problems=("external_id unseen 1",), values=keys("G-1", "G-2")),
    Case("04-json-wrapped/ids.json", "3 created", warnings=(f"{FLOAT} external_id",), values=keys("1001", "1001.0", "12345678901234567890")),
    Case("04-json-wrapped/nested.json", "1 rejected", problems=("email nested_value 1",)),
    Case("04-json-wrapped/wrapped.json", "3 created", values=keys("J-1", "J-2", "J-3")),
    Case("05-json-concatenated/comma.json", "3 created", values={"amount": ("1.50", "2.50", "3.50")}),
    Case("05-json-concatenated/pretty.json", "3 created", values={"amount": ("1.50", "2.50", "3.50")}),
    Case("05-json-concatenated/sameline.json", "3 created", values={"amount": ("1.50", "2.50", "3.50")}),
    Case("07-float-ids/first.csv", "2 created", values=keys("1001", "1002")),
    Case("07-float-ids/second_float.csv", "2 created", after="07-float-ids/first.csv", warnings=(f"{FLOAT} external_id 2 of them match", f"{FLOAT} phone"), values=keys("1001", "1001.0", "1002", "1002.0")),
    Case("07-float-ids/float.parquet", "2 updated, 1 rejected", after="07-float-ids/first.csv", warnings=(f"{FLOAT} external_id 2 of them match", f"{FLOAT} phone"), problems=("amount type 1", "external_id required 1"), cleared={"amount": 1}, values=keys("1001", "1002")),
    Case("08-sci-ids/sci.csv", "3 created", warnings=(f"{SCIENCE} external_id", f"{SCIENCE} phone"), values=keys("1.23457E+17", "4.91701E+11", "4.91702E+11")),
    Case("08-sci-ids/sci_same.csv", "1 created, 2 rejected", warnings=(f"{SCIENCE} external_id",), problems=("None key_conflict 2",), values=keys("5E-05")),
    Case("09-equals-quoted/eq.csv", "2 created", warnings=(f"{QUOTED} external_id", f"{QUOTED} phone"), values=keys('="00123"', '="00124"')),
    Case("09-equals-quoted/eq_quoted.csv", "1 created", warnings=(f"{QUOTED} external_id", f"{QUOTED} phone"), values=keys('="00123"')),
    Case("10-quoted-lines/wrapped.csv", refused=r"each line is in quotation marks as a whole"),
    Case("10-quoted-lines/wrapped_body.csv", refused=r"each line is in quotation marks as a whole"),
    Case("11-html-xls/biff.xls", refused=r"is encrypted, or a workbook of the older format \.xls\. .*Save it as \.xlsx"),
    Case("11-html-xls/report.csv", refused=r"is an HTML page\. .*save it as \.xlsx"),
    Case("11-html-xls/report.pdf", refused=r"is a PDF\. "),
    Case("11-html-xls/report.xls", refused=r"is an HTML page\. .*save it as \.xlsx"),
    Case("11-html-xls/xml2003.xls", refused=r"is an XML spreadsheet of Excel 2003\. .*save it as \.xlsx"),
    Case("11-html-xls/tabs.xls", "1 created", values=keys("T-1")),
    Case("13-zip/export.csv.zip", "1 created"),
    Case("13-zip/export.zip", "1 created"),
    Case("13-zip/ods.ods", refused=r"is an OpenDocument file, as \.ods\. .*Save it as \.xlsx or \.csv"),
    Case("14-offsets/offsets.csv", "13 created, 11 rejected", problems=("signed_up type 10", "signed_up type 1")),
    Case("14-offsets/pg.csv", "2 created", values={"signed_up": ("2020-12-31 19:25:58.745232+00:00", "2020-12-31 21:25:58+00:00")}),
    Case("16-date-spellings/dates.csv", "3 created, 16 rejected", warnings=("date_order birthday", "date_order birthday"), problems=("birthday type 16",), values={"birthday": ("1985-12-10",) * 3}),
    Case("16-date-spellings/dates.csv", "5 created, 14 rejected", {"date_order": "ymd"}, warnings=("date_order birthday",) * 2, problems=("birthday type 14",), values={"birthday": ("1985-12-10", "1985-01-05", *("1985-12-10",) * 3)}),
    Case("16-date-spellings/midnight.csv", "2 created", values={"birthday": ("1985-12-10", "1990-01-02")}),
    Case("18-number-formats/formats.xlsx", "2 created, 1 rejected", warnings=SEVERAL, problems=("credit_limit type 1",), values={"external_id": ("1", "7"), "phone": ("12", "301234567"), "amount": ("2.00", "1500.00"), "notes": ("0.5", "5")}),
    Case("18-number-formats/formats.xlsx", "2 created, 1 rejected", SHOWN, warnings=("shown_otherwise notes",), problems=("credit_limit type 1",), values={"external_id": ("00007", "C-000001"), "phone": ("0301234567", "12"), "amount": ("1500.00", "2.00")}),
    Case("24-invisible/invisible.csv", "6 rejected", problems=("email unseen 2", "external_id unseen 2", "status isin 2"), cleaned=("1 email: spaces removed",), proposed=("--value status:lead=lead",)),
    Case("24-invisible/invisible.csv", "1 created, 5 rejected", {"value_map": {"status": {"lead": "lead"}}}, problems=("email unseen 2", "external_id unseen 2", "status isin 1"), cleaned=("1 email: spaces removed", "1 status: mapped to another value"), values={"external_id": ("I-5",), "status": ("lead",)}),
    Case("24-invisible/key_twice.csv", "4 created, 3 rejected", warnings=("look_alike external_id",), problems=("external_id unseen 3",), values=keys("K-1", "K\u20111", "k-1", "\u041a-1")),
    Case("24-invisible/nbsp_header.csv", "1 created", values={"external_id": ("I-7",), "first_name": ("Ana",)}),
    Case("23-blank-headers/blank_data.csv", "2 created"),
    Case("23-blank-headers/blank_dup.csv", refused=r"'Email' and 'Email \(2\)' both stand for email\. .*--map 'Email \(2\)='"),
    Case("23-blank-headers/blank_dup.csv", "1 created", {"column_map": {"Email (2)": "email"}}, values={"email": ("b@ex.org",)}),
    Case("23-blank-headers/commas_rows.csv", "2 created"),
    Case("23-blank-headers/dup_unmapped.csv", "1 created"),
    Case("23-blank-headers/outlook_short.csv", "2 rejected", problems=("None field_count 2",)),
    Case("23-blank-headers/outlook_short.csv", "2 created", {"short_rows": "fill"}, values={"first_name": ("Ana", "Bo"), "last_name": ("None", "Kim")}),
    Case("23-blank-headers/trailing.csv", "2 created"),
    Case("23-blank-headers/trailing_head.csv", "2 created"),
    Case("27-decimal-spellings/german.csv", "7 rejected", warnings=("date_order birthday", COMMA, "decimal_style credit_limit"), problems=("amount type 7", "birthday type 7", "credit_limit type 7")),
    Case("27-decimal-spellings/german.csv", "7 created", {"decimal": ",", "date_order": "dmy"}, values={"amount": tuple(f"{n}234.50" for n in range(1, 8)), "birthday": tuple(f"1985-12-0{n}" for n in range(1, 8))}),
    Case("27-decimal-spellings/amounts.csv", "6 created, 23 rejected", warnings=(COMMA, "several_currencies amount $ (1), € (1)", f"{SCIENCE} amount"), problems=("amount type 23",), cleaned=("2 amount: currency signs removed",), values={"external_id": ("A-11", "A-15", "A-16", "A-25", "A-27", "A-7"), "amount": ("12.00", "1000.00", "5.00", "0.00", "12.34", "1234.50")}),
    # Case and ASCII spaces of a choice are cleaned and counted. Other white space is proposed as a mapping: 24-invisible.
    Case("29-choice-case/status.csv", "3 created, 2 rejected", problems=("country str_matches 2", "status isin 1"), cleaned=CASE, proposed=("--value country:Germany=DE", "--value status:Kunde=customer"), values={"status": ("lead", "customer", "lead"), "country": ("DE", "DE", "FR")}),
    Case("29-choice-case/status.csv", "5 created", MAPPED, cleaned=(*CASE, "1 status: mapped to another value", "2 country: mapped to another value"), values={"status": ("lead", "customer", "customer", "lead", "customer"), "country": ("DE", "DE", "DE", "FR", "DE")}),
    Case("30-blank-overwrite/second.csv", "1 updated, 1 rejected", after="30-blank-overwrite/first.csv", problems=("status required 1",), cleared={"first_name": 1, "phone": 1, "notes": 1}),
    Case("30-blank-overwrite/second.csv", "2 updated", {"blank": "keep"}, after="30-blank-overwrite/first.csv", values={"first_name": ("Ana", "Bo"), "status": ("customer", "lead"), "phone": ("+49 1", "+49 22"), "notes": ("likes tea", "None")}),
    Case("30-blank-overwrite/second.csv", "2 updated", {"blank": "keep,first_name=clear"}, after="30-blank-overwrite/first.csv", cleared={"first_name": 2}, values={"first_name": ("None", "None"), "phone": ("+49 1", "+49 22")}),
    Case("30-blank-overwrite/second.csv", "2 unchanged", {"blank": "fill"}, after="30-blank-overwrite/first.csv", values={"first_name": ("Ana", "Bo"), "status": ("lead", "lead"), "phone": ("+49 1", "+49 2")}),
    Case("30-blank-overwrite/second.csv", "1 created, 1 rejected", {"blank": "keep"}, problems=("status required 1",), values=keys("W-1")),
    Case("32-space-quote/all_space_quote.csv", "2 created", values={"first_name": ("Ana", "Bo"), "company": ("Kim, Lee & Co", "Plain")}),
    Case("32-space-quote/space_quote.csv", "2 created", values={"first_name": ("Ana", "Bo"), "company": ("Kim, Lee & Co", "Plain")}),
    Case("32-space-quote/after_quote.csv", refused=r"after the quotation mark that ends a field comes another character"),
    Case("41-mixed-encodings/mixed.csv", refused=r"is UTF-8, except for 3 bytes: line 3, byte 10 \(0xfc\)"),
    Case("41-mixed-encodings/mixed.csv", "2 created", ANSI, warnings=("wrong_encoding first_name 1 value has", "wrong_encoding last_name 1 value has"), values=last_names("NÃºÃ±ez", "Müller – Söhne")),
    *code_page("chinese_gbk", "gb18030", "王", "李"),
    *code_page("czech_cp1250", "cp1250", "Dvořák", "Růžička"),
    *code_page("dos_cp850", "cp850", "Müller", "Groß"),
    *code_page("korean_cp949", "cp949", "김"),
    *code_page("polish_cp1250", "cp1250", "Wiśniewska", "Dąbrowski", "Gęś"),
    *code_page("russian_cp1251", "cp1251", "Иванова", "Петров"),
    *code_page("turkish_cp1254", "cp1254", "Yılmaz", "Doğan"),
    Case("43-footer/footer.csv", "2 created, 1 rejected", warnings=("footer None The last line looks like no record",), problems=("None footer 1",), values=keys("T-1", "T-2")),
    Case("43-footer/footer.csv", "2 created", {"footer": Footer.SKIP}, values=keys("T-1", "T-2")),
    Case("43-footer/footer.csv", "2 created, 1 rejected", {"footer": Footer.KEEP}, problems=("status required 1",), values=keys("T-1", "T-2")),
    Case("43-footer/generated.csv", "1 created, 2 rejected", warnings=("footer None The last 2 lines look like no records",), problems=("None field_count 2",), values=keys("T-1")),
    Case("43-footer/generated.csv", "1 created", {"footer": Footer.SKIP}, values=keys("T-1")),
    Case("46-excel-ansi/french.csv", "60 created", asked="cp1252"),
    Case("46-excel-ansi/spanish.csv", "60 created", asked="cp1252"),
    Case("46-excel-ansi/one_bad_line.csv", refused=rf"is UTF-8, except for 4 bytes: line 301, .*{NOT_READ}Correct these places"),
    items("b2.csv", "2 created", values={"active": ("True", "False")}),
    items("bools.csv", "14 created, 9 rejected", problems=("active type 9",), cleaned=("1 active: spaces removed", "1 active: read by another text of the type"), proposed=tuple(f"--value active:{it}" for it in ("N=false", "VRAI=true", "Y=true", "off=false", "on=true", "oui=true")), values={"active": (*("True",) * 6, "False", "True", "True", "False", "True", "False", "True", "True")}),
    items("floats.csv", "9 created, 7 rejected", warnings=("decimal_style weight",), problems=("weight type 7",), values={"weight": ("0.001", "1.5", "0.0", "0.5", "5.0", "100000.0", "0.1", "1.7976931348623157e+308", "5e-324")}),
    items("i2.csv", "2 created", values={"qty": ("5", "None")}),
    items("ints.csv", "9 created, 10 rejected", warnings=("decimal_style qty", f"{SCIENCE} qty"), problems=("qty type 10",), cleaned=("1 qty: spaces removed",), values={"qty": ("5", "1", "5", "1000", "5", "5", "-5", "7", "9223372036854775807")}),
    items("j2.json", "3 created", values={"qty": ("5", "1000", "5")}),
    items("types.json", "4 created, 4 rejected", problems=("qty type 2", "seen type 2"), values={"qty": ("5", "5", "1000", "None"), "price": ("1.10", "1.10", "100.00", "1.00"), "active": ("True", "True", "True", "None")}),
    items("types.parquet", "1 created, 1 rejected", problems=("price type 1", "qty number_out_of_range 1"), values={"qty": ("5",), "price": ("1.10",), "active": ("True",)}),
    items("types.xlsx", "2 created, 4 rejected", warnings=("decimal_style price", "decimal_style weight"), problems=("price type 3", "active formula_without_value 1", "qty type 1", "weight type 1"), values={"qty": ("5", "5"), "price": ("1.10", "0.30"), "active": ("True", "True")}),
)
# fmt: on


def request(file: str, record_type: str = "contacts", **options: Any) -> ImportRequest:
    return ImportRequest(FOLDER / file, "ua", record_type, **options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_ends_as_is_right(
    importer: Importer, store: RecordStore, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.type == "items":
        monkeypatch.setenv("RECORDS_TYPES", "tests.items:Items")
        store.initialise(load_record_types())
    if case.after:
        importer.import_file(request(case.after))
    before = stored(store, case.type)
    if case.refused:
        with pytest.raises(RecordsError) as raised:
            importer.preview(request(case.file, **case.options))
        error = raised.value
        assert re.search(case.refused, f"{error.message} {error.hint} {error.quoted}")
        assert stored(store) == before
        return

    report = importer.preview(request(case.file, case.type, **case.options))
    batch = report.batch

    assert str(batch.counts) == case.counts
    assert_warned(batch.warnings, case.warnings)
    assert totals(f"{it.field} {it.rule} {it.records}" for it in batch.problems) == totals(case.problems)
    assert batch.cleared == case.cleared
    assert sorted(map(str, batch.cleaned)) == sorted(case.cleaned)
    assert sorted(it.option for it in report.proposals if it.value is not None) == sorted(case.proposed)
    assert [question.proposed for question in batch.questions] == ([case.asked] if case.asked else [])
    if case.asked:
        with pytest.raises(Uncertain):
            importer.import_file(request(case.file, **case.options))
    assert stored(store, case.type) == before

    importer.commit("ua", batch.batch_id, OnInvalid.SKIP)
    key = "sku" if case.type == "items" else "external_id"
    rows = sorted(stored(store, case.type), key=lambda row: str(row[key]))
    assert {name: tuple(str(row[name]) for row in rows) for name in case.values} == case.values


def assert_warned(warnings: Sequence[BatchWarning], expected: Sequence[str]) -> None:
    """Assert that these are the warnings: a code, a field, and perhaps a part of the sentence."""
    wanted = sorted(tuple(it.split(maxsplit=2)) for it in expected)
    found = sorted((it.code.value, str(it.field), it.sentence) for it in warnings)
    assert [it[:2] for it in found] == [it[:2] for it in wanted]
    assert all("".join(part) in sentence for (*_, sentence), (_, _, *part) in zip(found, wanted, strict=True))


def totals(problems: Iterable[str]) -> dict[str, int]:
    """Return the records of each field and rule. A rule can be broken in several ways."""
    found: Counter[str] = Counter()
    for problem in problems:
        rule, _, records = problem.rpartition(" ")
        found[rule] += int(records)
    return dict(found)


def test_each_file_has_a_case() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert files == {case.file for case in CASES} | {case.after for case in CASES if case.after}
