"""Files that can be read in several ways: what is asked, what was said, and what is remembered."""

import json
import os
import pty
import re
import select
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from resources.export_writer import ExportWriter
from resources.file_reader import FileReader
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from schemas.batches import ImportRequest
from schemas.errors import InvalidRequest, Uncertain, UnreadableFile
from schemas.exports import ExportRequest
from schemas.footers import Footer
from schemas.reading import DateOrder, Differing, Question, ReadOptions, is_answered
from tests.forked_commands import COMMAND_LINE
from tests.records import contacts_of, stored

COMMAND = str(Path(sys.executable).with_name("records"))
NAMES = ("Núñez", "Ibáñez", "Peña", "Muñoz", "Gómez", "Pérez", "Avendaño", "Zúñiga")


def spanish(path: Path, start: int = 0, header: str = "external_id,last_name,status", encoding: str = "cp1252") -> Path:
    rows = [f"C-{start + number},{name},lead" for number, name in enumerate(NAMES)]
    path.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return path


def request(path: Path, account: str = "ua", **options: object) -> ImportRequest:
    return ImportRequest(path, account, "contacts", **options)  # type: ignore[arg-type]


def names(store: RecordStore, account: str = "ua") -> list[str]:
    return sorted({record["last_name"] for record in stored(store, account=account)})


def test_an_encoding_that_is_not_certain_is_asked_and_nothing_is_written(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    with pytest.raises(Uncertain, match=r"spanish\.csv can be read in several ways, so nothing was written") as raised:
        importer.import_file(request(spanish(tmp_path / "spanish.csv")))
    (batch,) = store.batches("ua")
    assert stored(store) == []
    assert "Say which: --encoding cp1252 or --encoding cp1257 or --encoding cp1250 or" in raised.value.hint
    assert f"records commit {batch.batch_id}" in raised.value.hint
    (question,) = batch.questions
    assert (question.option, question.candidates) == ("encoding", ("cp1252", "cp1257", "cp1250", "mac_roman"))
    assert question.values[0].header == "last_name"
    assert question.values[0].texts == ("•••úñ•••", "•••śń•••", "•••úń•••", "•••˙Ò•••"), (
        "a personal value is masked in the ledger"
    )
    assert store.account("ua").report(batch.batch_id).to_dict()["uncertain"] is True


def test_all_values_of_the_question_differ_and_are_of_the_file(importer: Importer, tmp_path: Path) -> None:
    (question,) = importer.preview(request(spanish(tmp_path / "spanish.csv"))).questions
    assert {value.texts[0] for value in question.values} == {*NAMES}
    assert all(len({*value.texts}) > 1 for value in question.values)


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250"])
def test_the_answer_is_asked_before_the_file_is_read_and_remembered_with_its_header_row(
    importer: Importer, store: RecordStore, tmp_path: Path, encoding: str
) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> str:
        asked.append(question)
        return encoding

    right = [name.encode("cp1252").decode(encoding) for name in NAMES]
    importer.import_file(request(spanish(tmp_path / "1.csv")), ask=answer)
    second = importer.import_file(request(spanish(tmp_path / "2.csv", start=100))).batch
    assert len(asked) == 1
    assert names(store) == sorted(right)
    assert second.questions == ()
    assert second.remembered is not None
    assert second.remembered.options.encoding == encoding
    assert second.remembered.remembered_from is not None


def test_who_accepts_a_text_has_not_chosen_between_encodings_that_give_the_same(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def file(name: str) -> Path:
        path = tmp_path / f"{name}.csv"
        path.write_bytes(f"external_id,last_name,status\nC-{name},{name},lead\n".encode("cp1252"))
        return path

    preview = importer.preview(request(file("Müller"))).batch
    (question,) = preview.questions
    assert question.proposed == "cp1252", "the usual encoding of those that give the same text"
    assert question.alike[0] == ("cp1250", "cp1254", "cp1257", "latin-1")
    importer.commit("ua", preview.batch_id)
    importer.import_file(request(file("Köhler")))
    with pytest.raises(Uncertain):
        importer.import_file(request(file("Lefèvre")))
    importer.import_file(request(file("Lefèvre"), encoding="cp1252"))
    importer.import_file(request(file("Ørsted")))
    assert names(store) == ["Köhler", "Lefèvre", "Müller", "Ørsted"]


def test_who_chooses_another_text_has_not_chosen_between_its_encodings_either(tmp_path: Path) -> None:
    def asked(name: str, likely: str) -> Question:
        path = tmp_path / "in.csv"
        path.write_bytes(f"name\n{name}\n".encode("cp850"))
        with FileReader(path, ReadOptions(likely_encoding=likely)) as reader:
            return reader.questions[0]

    question = asked("Köhler", "mac_roman")
    assert (question.proposed, question.group("cp850")) == ("mac_roman", ("cp850", "cp852"))
    said = ReadOptions().with_answers({question: "cp850"})
    assert (said.encoding, said.or_encodings) == ("cp850", ("cp852",))
    assert is_answered(asked("Müller", "cp850"), said)
    assert not is_answered(asked("Peña", "cp850"), said), "it is another text in cp852"


def test_letters_that_speak_for_another_encoding_than_was_said_are_asked_about_once(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    importer.import_file(request(spanish(tmp_path / "1.csv"), encoding="mac_roman"))
    with pytest.raises(Uncertain, match="Its letters speak for cp1252, not for mac_roman"):
        importer.import_file(request(spanish(tmp_path / "2.csv", start=100)))
    importer.import_file(request(spanish(tmp_path / "2.csv", start=100)), ask=lambda _: "mac_roman")
    importer.import_file(request(spanish(tmp_path / "3.csv", start=200)))
    assert names(store) == sorted(name.encode("cp1252").decode("mac_roman") for name in NAMES)


def test_a_commit_of_an_uncertain_preview_accepts_and_remembers_what_it_shows(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    preview = importer.preview(request(spanish(tmp_path / "1.csv"))).batch
    importer.commit("ua", preview.batch_id)
    importer.import_file(request(spanish(tmp_path / "2.csv", start=100)))
    assert names(store) == sorted(NAMES)


def test_what_was_said_counts_for_no_other_account_or_header_row_but_is_proposed_first(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    importer.import_file(request(spanish(tmp_path / "1.csv"), encoding="cp1257"))
    with pytest.raises(Uncertain):
        importer.import_file(request(spanish(tmp_path / "2.csv"), account="dl"))
    other = spanish(tmp_path / "3.csv", header="external_id,last_name,phone")
    assert importer.preview(request(other)).questions[0].candidates[0] == "cp1257"


def test_a_remembered_encoding_is_not_used_for_a_file_in_utf8(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    importer.import_file(request(spanish(tmp_path / "1.csv"), encoding="cp1252"))
    importer.import_file(request(spanish(tmp_path / "2.csv", start=100, encoding="utf-8")))
    assert names(store) == sorted(NAMES)


def test_an_encoding_is_remembered_with_a_header_row_that_is_not_ascii(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """The header row has another text in the encoding that is proposed without the answer."""
    header, mapped = "código,señor,status", {"código": "external_id", "señor": "last_name"}
    importer.import_file(
        request(spanish(tmp_path / "1.csv", header=header), column_map={
            name.encode("cp1252").decode("mac_roman"): field for name, field in mapped.items()
        }),
        ask=lambda _: "mac_roman",
    )  # fmt: skip
    second = importer.import_file(request(spanish(tmp_path / "2.csv", start=100, header=header))).batch
    assert second.remembered is not None
    assert second.remembered.options.encoding == "mac_roman"


def test_delimiter_date_order_and_unescape_are_remembered(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def file(number: int) -> Path:
        path = tmp_path / f"{number}.txt"
        path.write_text(f"external_id~last_name~birthday~status\nC-{number}~'=O,{number}~03/04/1980~lead\n")
        return path

    said = request(file(1), delimiter="~", date_order=DateOrder.MDY, unescape=True)
    importer.import_file(said)
    importer.import_file(request(file(2)))
    assert [(it["last_name"], f"{it['birthday']:%m-%d}") for it in stored(store)] == [
        ("=O,1", "03-04"),
        ("=O,2", "03-04"),
    ]
    third = importer.import_file(request(file(3), unescape=False)).batch
    assert third.remembered is not None
    assert third.remembered.options == ReadOptions(delimiter="~", date_order=DateOrder.MDY, unescape=False), (
        "what is said now counts before what was said"
    )
    assert stored(store)[-1]["last_name"] == "'=O,3"


@pytest.mark.parametrize("first_sheet", [["Note"], []], ids=["text", "empty"])
def test_a_sheet_is_remembered_and_a_workbook_without_it_is_read_as_usual(
    importer: Importer, store: RecordStore, tmp_path: Path, first_sheet: list[str]
) -> None:
    def file(number: int, title: str) -> Path:
        workbook = Workbook()
        assert workbook.active is not None
        if first_sheet:
            workbook.active.append(first_sheet)
        sheet = workbook.create_sheet(title)
        sheet.append(["external_id", "status"])
        sheet.append([f"C-{number}", "lead"])
        workbook.save(tmp_path / f"{number}.xlsx")
        return tmp_path / f"{number}.xlsx"

    importer.import_file(request(file(1, "Data"), sheet="Data"))
    importer.import_file(request(file(2, "Data")))
    assert [record["external_id"] for record in stored(store)] == ["C-1", "C-2"]
    with pytest.raises(Exception, match="external_id" if first_sheet else "no header|empty"):
        importer.import_file(request(file(3, "Other")))


def test_a_rejects_file_is_read_as_was_said_for_the_file_that_it_comes_from(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    file = tmp_path / "in.csv"
    file.write_text("Nr,born,state\nC-1,13/11/1980,wrong\n")
    said = request(
        file, date_order=DateOrder.DMY, column_map={"Nr": "external_id", "born": "birthday", "state": "status"}
    )
    preview = importer.preview(said)
    assert preview.rejects_file is not None
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(Path(str(preview.rejects_file)).read_text("utf-8-sig").replace("wrong", "lead"))
    batch = importer.import_file(request(corrected)).batch
    assert (batch.counts.created, batch.parent) == (1, preview.batch.batch_id)
    assert f"{stored(store)[0]['birthday']}" == "1980-11-13"


@pytest.fixture
def writer(store: RecordStore) -> ExportWriter:
    return ExportWriter(store, "tester")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "shift_jis", "utf-16"])
def test_the_encoding_of_an_export_is_known(
    importer: Importer, store: RecordStore, writer: ExportWriter, tmp_path: Path, encoding: str
) -> None:
    text = "日本" if encoding == "shift_jis" else "Übergröße"
    source = tmp_path / "in.csv"
    source.write_text(f"external_id,last_name,status\nC-1,{text},lead\n")
    importer.import_file(request(source))
    manifest = writer.export(ExportRequest("ua", "contacts", path=tmp_path / "out.csv", encoding=encoding))
    preview = importer.preview(request(Path(str(manifest.path))))
    assert preview.questions == ()
    assert (preview.batch.counts.unchanged, preview.batch.counts.updated) == (1, 0)


def test_a_file_that_cannot_be_opened_is_refused_with_its_own_reason(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes("external_id,status\nC-1,Größe\nC-2,Maß\n".encode() + b"C-3,\xfc\n")
    with pytest.raises(UnreadableFile, match="except for 1 byte"):
        importer.preview(request(path))


def test_a_delimiter_in_doubt_is_asked_about_and_remembered(importer: Importer, tmp_path: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text("external_id^status\nC-1^lead\nC-2^lead\n")
    second.write_text("external_id^status\nC-3^lead\nC-4^lead\n")
    with pytest.raises(Uncertain) as raised:
        importer.import_file(request(first))
    assert "Say which: --delimiter '^'; or accept" in raised.value.hint
    said = importer.import_file(request(first, delimiter="^")).batch
    later = importer.import_file(request(second)).batch
    assert (said.counts.created, later.counts.created, later.questions) == (2, 2, ())


def test_a_file_without_a_header_row_is_said_to_have_none(importer: Importer, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("1,Ann,ann@example.org\n2,Bo,bo@example.org\n3,Cy,cy@example.org\n")
    with pytest.raises(
        InvalidRequest, match="The first line looks like a record: the file seems to have no header row"
    ):
        importer.preview(request(path))


WITHOUT_EFFECT = "Options without effect"


def workbook(path: Path) -> Path:
    book = Workbook()
    assert book.active is not None
    for row in (["external_id", "status"], ["C-1", "lead"]):
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "said", "shown"),
    [
        ("in.csv", {"sheet": "Data", "as_shown": True, "date_order": DateOrder.DMY}, "--sheet Data --as-shown"),
        ("in.xlsx", {"encoding": "cp1252", "delimiter": "tab"}, "--encoding cp1252 --delimiter tab"),
        ("in.json", {"encoding": "cp1252", "sheet": "Data"}, "--encoding cp1252 --sheet Data"),
    ],
)  # fmt: skip
def test_options_that_say_nothing_about_a_format_are_said_to_have_no_effect(
    importer: Importer, tmp_path: Path, name: str, said: dict[str, Any], shown: str
) -> None:
    path = tmp_path / name
    if name.endswith("xlsx"):
        workbook(path)
    else:
        path.write_text('[{"external_id": "C-1"}]' if name.endswith("json") else "external_id,status\nC-1,lead\n")
    understood = dict(importer.preview(request(path, **said)).batch.understood)
    assert understood[WITHOUT_EFFECT] == f"{shown} (for files of other formats)"


def test_a_preview_lists_of_an_earlier_file_what_this_one_needs(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    said = ReadOptions("cp1252", ",", "Data", DateOrder.DMY, unescape=True, as_shown=True, time_zone="UTC", decimal=",")
    importer.import_file(request(spanish(tmp_path / "1.csv"), **{k: v for k, v in said.said().items() if k != "sheet"}))
    needed = {}
    for encoding in ("cp1252", "utf-8"):
        batch = importer.preview(request(spanish(tmp_path / f"{encoding}.csv", start=100, encoding=encoding))).batch
        assert batch.remembered is not None
        assert WITHOUT_EFFECT not in dict(batch.understood)
        needed[encoding] = batch.remembered.from_earlier.flags
        assert store.account("ua").batch(batch.batch_id).remembered == batch.remembered
    assert needed == {
        "cp1252": ("--encoding cp1252", "--delimiter ,", "--unescape"),
        "utf-8": ("--delimiter ,", "--unescape"),
    }


def test_an_answer_is_kept_if_the_file_is_previewed_again(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """The first answer comes after another file was committed, so the first preview is outdated."""
    asked: list[Question] = []

    def answer(question: Question) -> str:
        asked.append(question)
        other = tmp_path / "other.csv"
        other.write_text(f"external_id,status\nC-{len(asked)},lead\n")
        importer.import_file(request(other))
        return "yes"

    path = tmp_path / "in.csv"
    path.write_text('external_id,status,notes\nC-1,lead,"a\nC-2,lead,b\nC-3,lead,c"\n')
    report = importer.import_file(request(path), ask=answer)
    assert (len(asked), report.batch.counts.updated) == (1, 1)
    assert len(store.batches("ua")) == 3


def test_what_was_said_for_other_files_is_not_for_an_export_of_ours(
    importer: Importer, store: RecordStore, writer: ExportWriter, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    header = "external_id,first_name,last_name,signed_up,amount,status"
    source.write_text(f'{header}\nC-1,Love,Ada,2024-05-31 09:30,"1,5",lead\n')
    swapped = {"first_name": "last_name", "last_name": "first_name"}
    importer.import_file(request(source, time_zone="Europe/Berlin", decimal=",", column_map=swapped))
    columns = tuple(header.split(","))
    for format_ in ("csv", "excel", "json", "ndjson", "parquet"):
        path = tmp_path / f"out.{format_}"
        export = ExportRequest("ua", "contacts", columns=columns, path=path, format=format_)
        manifest = writer.export(export)
        preview = importer.preview(request(Path(str(manifest.path))))
        assert (format_, preview.batch.counts.unchanged) == (format_, 1)


@pytest.mark.parametrize(
    ("said", "flag"), [({"decimal": ","}, "--decimal ,"), ({"column_map": {"notes": ""}}, "--map notes=")]
)
def test_a_file_that_can_be_an_edited_export_or_like_an_earlier_file_is_asked_about(
    importer: Importer, store: RecordStore, writer: ExportWriter, tmp_path: Path, said: dict[str, Any], flag: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("external_id,notes,amount,status\nC-1,x,5,lead\n")
    importer.import_file(request(source, **said))
    columns = ("external_id", "notes", "amount", "status")
    manifest = writer.export(ExportRequest("ua", "contacts", columns=columns, path=tmp_path / "out.csv"))
    edited = tmp_path / "edited.csv"
    edited.write_text(Path(str(manifest.path)).read_text().replace("5.00", "6.00"))
    (question,) = importer.preview(request(edited)).questions
    assert f"It is read as was said for the batch: {flag}. If it comes from" in question.sentence
    batch = importer.import_file(request(edited, of=manifest.export_id)).batch
    assert (batch.counts.updated, batch.questions) == (1, ())


def test_how_an_export_is_written_is_not_remembered_as_said(
    importer: Importer, store: RecordStore, writer: ExportWriter, tmp_path: Path
) -> None:
    importer.import_file(request(spanish(tmp_path / "in.csv", encoding="utf-8")))
    columns = ("external_id", "last_name", "status")
    export = ExportRequest("ua", "contacts", columns=columns, path=tmp_path / "out.csv", encoding="cp1252")
    again = importer.import_file(request(Path(str(writer.export(export).path)))).batch
    assert again.remembered is not None
    assert again.remembered.for_others == ReadOptions()


def test_a_remembered_delimiter_is_for_files_in_which_it_gives_the_same_header_row(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    first.write_text("external_id;status;notes\nC-1;lead;x\n")
    second.write_text("external_id,status,notes\nC-2,lead,a;b\n")
    importer.import_file(request(first, delimiter=";"))
    importer.import_file(request(second))
    assert [record["notes"] for record in stored(store)] == ["x", "a;b"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_an_encoding_that_the_file_is_not_in_is_refused_with_a_sentence(
    importer: Importer, tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("external_id,status\nC-1,lead\n")
    with pytest.raises(UnreadableFile, match=f"is not {encoding.upper()}"):
        importer.preview(request(path, encoding=encoding))


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("山田", "iso2022_jp"), ("ﾔﾏﾀﾞ", "iso2022_jp_ext"), ("김철수", "iso2022_kr"), ("王小明", "hz")],
)
def test_text_of_mail_in_ascii_is_asked_about(importer: Importer, tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(f"external_id,last_name,status\nC-1,{name},lead\n".encode(encoding))
    (question,) = importer.preview(request(path)).questions
    assert question.candidates == (encoding, "utf-8")
    assert question.values[0].texts[0] == name


def test_a_mask_keeps_what_differs() -> None:
    value = Differing("name", ("Núñez", "Núńez", "N˙Òez"))
    assert value.masked().texts == ("•••úñ•••", "•••úń•••", "•••˙Ò•••")
    assert Differing("name", ("ab", "cd")).masked().texts == ("ab", "cd")


def test_options_are_shown_as_the_command_takes_them() -> None:
    options = ReadOptions(
        "cp1252",
        "\t",
        "My data",
        DateOrder.DMY,
        unescape=False,
        as_shown=True,
        time_zone="UTC",
        decimal=",",
        footer=Footer.SKIP,
        blank="keep,notes=clear",
        at="data.items",
        likely_encoding="cp1250",
    )
    assert " ".join(options.flags) == (
        "--encoding cp1252 --delimiter tab --sheet 'My data' --date-order dmy --no-unescape --as-shown "
        "--time-zone UTC --decimal , --footer skip --blank keep --blank notes=clear --at data.items"
    )


def test_local_times_are_read_in_the_zone_that_is_said_and_remembered(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def file(number: int) -> Path:
        path = tmp_path / f"{number}.csv"
        path.write_text(f"external_id,signed_up,status\nC-{number},2024-05-01 09:30,lead\n")
        return path

    (problem,) = importer.preview(request(file(1))).samples
    assert "(without an offset only with --time-zone)" in problem.expected
    report = importer.import_file(request(file(1), time_zone="Europe/Berlin"))
    assert ("Timestamps without an offset", "are in Europe/Berlin, as --time-zone says") in report.batch.understood
    importer.import_file(request(file(2)))
    assert {f"{record['signed_up']:%H:%M}" for record in stored(store)} == {"07:30"}
    with pytest.raises(InvalidRequest, match="There is no time zone 'Berlin'"):
        request(file(3), time_zone="Berlin")


def test_options_survive_the_ledger() -> None:
    options = ReadOptions("cp1252", ";", "Data", DateOrder.DMY, False)
    assert ReadOptions.from_said({**options.said(), "of_a_later_version": 1}) == options
    assert ReadOptions(delimiter=",").or_else(options).said() == {**options.said(), "delimiter": ","}


def test_a_question_survives_the_ledger_also_of_earlier_versions() -> None:
    question = Question("?", "encoding", ("cp1252", "cp850"), (Differing("name", ("ü", "³")),), (("latin-1",), ()))
    written = json.loads(json.dumps(asdict(question)))
    assert Question.from_dict(written) == question
    assert Question.from_dict({**written, "alike": ["latin-1"]}).group("cp1252") == ("cp1252", "latin-1")
    assert ReadOptions().with_answers({question: "cp850"}) == ReadOptions("cp850", not_encodings=("cp1252", "latin-1"))


def test_the_first_value_is_found_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1\n2,x\n3,y\n")
    with FileReader(path) as reader:
        assert reader.first_value("b") == "x"
        assert sum(len(chunk.records) + len(chunk.malformed) for chunk in reader.chunks()) == 3


@pytest.mark.parametrize(("command", "answer"), [("preview", "cp1250\n"), ("import", "3\n")], ids=["preview", "import"])
def test_the_command_asks_on_a_terminal(ready: None, tmp_path: Path, command: str, answer: str) -> None:
    arguments = [command, str(spanish(tmp_path / "in.csv")), "-a", "ua", "-t", "contacts", "--show-values"]
    shown, code = on_a_terminal(arguments, answers={"Which encoding": answer})
    assert code == 0
    assert "Núñez" in shown
    candidates = "1 for cp1252, 2 for cp1257, 3 for cp1250, 4 for mac_roman"
    assert f"Which encoding is right? ({candidates}): {answer.strip()}" in shown
    assert "encoding cp1250" in shown


def test_a_narrow_terminal_shows_whole_ids_and_says_what_it_leaves_out(ready: None, tmp_path: Path) -> None:
    arguments = ["import", str(spanish(tmp_path / "in.csv", encoding="utf-8")), "-a", "ua", "-t", "contacts", "--json"]
    done = COMMAND_LINE.run([COMMAND, *arguments], capture_output=True, text=True, check=True)
    shown, _ = on_a_terminal(["batches"], {}, columns=80)
    assert f"\n {json.loads(done.stdout)['batch_id']} " in shown
    left_out = "By, Duplicate, Unchanged, Since (UTC), Read, Type, Account, Time left"
    assert f"Left out, because the terminal is too narrow: {left_out}\r\n" in shown
    assert re.search(r" Status +File +Created +Updated +Rejected", re.sub(r"\x1b\[[0-9]*m", "", shown))
    assert "Left out" not in on_a_terminal(["batches"], {}, columns=220)[0]
    narrow = {**os.environ, "COLUMNS": "80"}
    piped = COMMAND_LINE.run([COMMAND, "batches"], capture_output=True, text=True, check=True, env=narrow)
    assert "Duplicate" in piped.stdout


def test_the_command_ends_with_3_where_nobody_can_be_asked(ready: None, tmp_path: Path) -> None:
    arguments = ["preview", str(spanish(tmp_path / "in.csv")), "-a", "ua", "-t", "contacts"]
    done = COMMAND_LINE.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Uncertain: The file is not UTF-8" in done.stdout
    assert "•••úñ•••" in done.stdout
    assert "Núñez" not in done.stdout + done.stderr
    assert "records commit b-" in done.stderr
    done = COMMAND_LINE.run([COMMAND, *arguments, "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["uncertain"]) == (3, True)


def test_a_terminal_asks_about_proposed_values_and_reads_the_file_as_answered(ready: None, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("id,status\nC-1,Kunde\nC-2,lead\nC-3,custmer\n")
    arguments = ["import", str(file), "-a", "ua", "-t", "contacts"]
    shown, code = on_a_terminal(arguments, {"Which of them are right?": "none\n"})
    assert code == 3
    assert re.search(r"\n +1 +--value status:Kunde=customer +1 record, a name of the value", shown), shown
    shown, code = on_a_terminal(arguments, {"Which of them are right?": "1, 2-3\n", "The numbers go": "2\n"})
    assert (code, "1 of 3 records is rejected" in shown) == (3, True)
    shown, code = on_a_terminal(arguments, {"Which of them are right?": "all\n"})
    assert (code, "Cleaned: 2 status: mapped to another value" in shown) == (0, True)


def on_a_terminal(arguments: list[str], answers: dict[str, str], columns: int = 160) -> tuple[str, int]:
    """Run the command with a terminal, and type each answer when its question is printed. Returns what it printed."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": f"{columns}", "TERM": "xterm", "NO_COLOR": "1"}
    with COMMAND_LINE.Popen(
        [COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the process has closed the terminal
                break
            for question in [it for it in answers if it.encode() in shown]:
                os.write(ours, answers.pop(question).encode())
    os.close(ours)
    return shown.decode(), process.returncode


def test_a_file_of_which_every_record_is_rejected_is_not_said_to_be_acceptable(
    importer: Importer, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("external_id,email,last_name\nK-1,ann,Müller\n".encode("cp1252"))
    with pytest.raises(Uncertain) as refused:
        importer.import_file(contacts_of(path))
    assert "Say which: --encoding cp1252" in refused.value.hint
    assert "records commit" not in refused.value.hint
