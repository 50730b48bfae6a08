"""The page that asks how a file is read, by plain forms."""

import io
import json
import re

from openpyxl import Workbook

from tests.web.visitor import Visitor


def workbook(**sheets: list[list[str]]) -> bytes:
    made = Workbook()
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    made.remove(made.worksheets[0])
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def chosen(page: str) -> list[str]:
    """The answers that count now: options that are selected and boxes that are checked."""
    return re.findall(r'value="([^"]*)" (?:selected|checked)>', page)


def test_another_sheet_of_a_workbook_is_read(visitor: Visitor) -> None:
    notes, people = [["About"], ["by Olga"]], [["external_id", "status"], ["A", "lead"]]
    upload = visitor.upload(workbook(Notes=notes, People=people), "people.xlsx")
    assert visitor.step(upload) == f"import/{upload}/columns"
    page = visitor.get("import", upload, "reading").text
    assert "Which sheet?" in page
    assert "Notes" in chosen(page)

    visitor.post("import", upload, "reading", data={"sheet": "People", "was_sheet": "Notes"})

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "People" in chosen(visitor.get("import", upload, "reading").text)


def test_the_sheet_is_asked_if_the_first_one_is_empty(visitor: Visitor) -> None:
    upload = visitor.upload(workbook(Empty=[], People=[["external_id", "status"], ["A", "lead"]]), "people.xlsx")
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert "People" in page
    assert '<input name="sheet"' in page

    visitor.post("import", upload, "reading", data={"sheet": "People", "was_sheet": ""})

    assert visitor.step(upload) == f"import/{upload}/preview"


def test_the_list_of_a_json_file_is_chosen(visitor: Visitor) -> None:
    people = [{"external_id": "A", "status": "lead"}]
    content = {"people": people, "orders": [{"external_id": "1", "status": "x"}] * 3}
    upload = visitor.upload(json.dumps(content).encode(), "export.json")
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert chosen(page) == ["orders"]
    assert "--at" not in page

    visitor.post("import", upload, "reading", data={"at": "people"})

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "people" in chosen(visitor.get("import", upload, "reading").text)


def test_an_answer_that_does_not_fit_can_be_mended(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\n")
    visitor.step(upload)
    visitor.post("import", upload, "reading", data={"header_row": "9"})
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert "Line 9 of people.csv is blank, or beyond its end." in page
    assert "Row 2 names the columns" in page

    visitor.post("import", upload, "reading", data={"forget": "yes", "encoding": "utf-8", "was_encoding": "utf-8"})

    assert visitor.step(upload) == f"import/{upload}/preview"


def test_times_without_a_zone_are_asked_about(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status,signed_up\nA,lead,2024-05-31T14:00:00\n")
    visitor.step(upload)
    page = visitor.get("import", upload, "reading").text
    assert "2024-05-31T14:00:00 does not say in which time zone it is." in page

    visitor.post("import", upload, "reading", data={"time_zone": "Europe/Berlin", "was_time_zone": ""})

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "<ins>2024-05-31 12:00:00 UTC</ins>" in visitor.get("import", upload, "reading").text


def test_the_first_rows_are_shown_as_they_are_understood(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id;status;amount;birthday\nA;Lead;7.961,39;13/11/1980\nB;lead;x;14/11/1980\n")
    visitor.step(upload)
    page = visitor.get("import", upload, "reading").text
    assert "not understood" in page
    assert '<input type="hidden" name="date_order" value="dmy"><p>13/11/1980 is 13 November 1980.</p>' in page

    visitor.post("import", upload, "reading", data={"decimal": ",", "date_order": "dmy"})
    visitor.step(upload)

    page = visitor.get("import", upload, "reading").text
    assert "7.961,39<ins>7961.39</ins>" in page
    assert "13/11/1980<ins>13 November 1980</ins>" in page
    assert re.findall(r"<td[^>]*>x<span", page) == ['<td class="bad">x<span']


def test_an_encoding_has_an_example_of_the_file(visitor: Visitor) -> None:
    upload = visitor.upload("external_id,status,notes\nA,lead,Müller\n".encode())
    visitor.step(upload)

    page = visitor.get("import", upload, "reading").text

    assert "Unicode (UTF-8)" in page
    assert "<q>Müller</q>" in page


def test_last_lines_that_are_no_rows_are_left_out_or_kept(visitor: Visitor) -> None:
    rows = "".join(f"C-{number},lead,{number}\n" for number in range(5))
    upload = visitor.upload(f"external_id,status,amount\n{rows}Total,,10\n".encode())
    visitor.step(upload)
    page = visitor.get("import", upload, "reading").text
    assert "What about the last lines?" in page
    assert "<q>Total</q>" in page

    visitor.post("import", upload, "reading", data={"footer": "skip"})
    visitor.step(upload)

    assert "Save 5 records" in visitor.get("import", upload, "preview").text
    assert "skip" in chosen(visitor.get("import", upload, "reading").text)


def test_an_answer_of_nobody_is_refused_in_words(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status\nA,lead\n")
    visitor.step(upload)

    for name, value in (("header_row", "x"), ("date_order", "x"), ("footer", "x"), ("blank", "x"), ("time_zone", "x")):
        answer = visitor.post("import", upload, "reading", data={name: value})
        assert answer.status_code in (303, 422), name
        visitor.step(upload)


def test_what_an_empty_cell_does_is_said_beside_the_columns(visitor: Visitor) -> None:
    upload = visitor.upload(b"external_id,status,notes\nA,Kunde,\n")
    visitor.step(upload)
    page = visitor.get("import", upload, "columns").text
    assert "clear" in chosen(page)
    assert "status:Kunde=customer" in page

    form = {
        "header": ["external_id", "status", "notes"],
        "field": ["external_id", "status", "notes"],
        "proposed": ["external_id", "status", "notes"],
        "blank": "keep",
        "was_blank": "clear",
        "value": ["", "status:Kunde=customer"],
    }
    visitor.post("import", upload, "columns", data=form)

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "Save 1 record" in visitor.get("import", upload, "preview").text
    assert "keep" in chosen(visitor.get("import", upload, "columns").text)


TWO_HEADERS = b"external_id,status,amount\nKunde,Stand,Umsatz\nA1,lead,1\nB2,lead,2\nC3,lead,3\n"


def test_a_second_header_row_can_be_accepted_as_a_record(visitor: Visitor) -> None:
    upload = visitor.upload(TWO_HEADERS)
    assert visitor.step(upload) == f"import/{upload}/reading"
    page = visitor.get("import", upload, "reading").text
    assert "The first record looks like a second header row." in page
    assert "Yes, this is how my file is to be read" in page
    assert "Row 2 names the columns" in page

    sentence = "The first record looks like a second header row."
    visitor.post("import", upload, "reading", data={"accepted": sentence})
    assert visitor.step(upload) == f"import/{upload}/reading"  # it was not confirmed
    visitor.post("import", upload, "reading", data={"accepted": sentence, "sure": "yes"})

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "Yes, this is how my file is to be read" not in visitor.get("import", upload, "preview").text
    visitor.post("import", upload, "reading", data={"footer": "keep"})
    assert visitor.step(upload) == f"import/{upload}/preview"


def test_another_row_names_the_columns_instead_of_the_accepted_one(visitor: Visitor) -> None:
    rows = [["about", "these", "people"], ["external_id", "status", "amount"], ["A1", "lead", "1"], ["B2", "lead", "2"]]
    upload = visitor.upload(workbook(People=rows), "people.xlsx")
    assert visitor.step(upload) == f"import/{upload}/reading"

    said = {"accepted": "The first record looks like a second header row.", "sure": "yes", "header_row": "2"}
    visitor.post("import", upload, "reading", data=said)

    assert visitor.step(upload) == f"import/{upload}/preview"
    assert "Save 2 records" in visitor.get("import", upload, "preview").text


def test_a_doubt_about_a_file_with_unknown_columns_leads_on(visitor: Visitor) -> None:
    upload = visitor.upload(TWO_HEADERS.replace(b"external_id", b"Spalte A"))
    assert visitor.step(upload) == f"import/{upload}/reading"

    said = {"accepted": "The first record looks like a second header row.", "sure": "yes"}
    visitor.post("import", upload, "reading", data=said)

    assert visitor.step(upload) == f"import/{upload}/columns"
