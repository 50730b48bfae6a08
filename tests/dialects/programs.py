"""Files as programs write them, by kind: exports of shops and banks, reports, logs, tables that people edit.

They are not damaged. Many have lines that are no records: titles, notes, totals.
"""

import csv
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.dialects import Damaged, Table, text

_FIRST = ["Ana", "Bo", "Chloé", "Dai", "Eva", "Finn", "Gül", "Hana", "Ivo", "Jørn"]
_LAST = ["Muñoz", "Lee", "O'Neil", "García", "Müller", "D'Angelo", "Novak", "Smith", "Østby", "Petrov"]
_TOWNS = ["Berlin", "Oslo", "Porto", "Kraków", "Leeds", "Nice"]
_NOTES = [
    "",
    "called, no answer",
    'wants the 24" model',
    "see e-mail of 3/4",
    "OK",
    "first line\nsecond line",
    "VIP; call back",
    'said "soon", twice',
]


def as_programs_write(rows: int, seed: int = 0) -> Iterator[Damaged]:
    """Yield a file of each kind."""
    random = Random(seed)
    for make in (_contacts, _money, _reports, _tables, _logs, _lists):
        yield from make(random, rows)


def _people(random: Random, rows: int, *, notes: bool = True) -> Table:
    made = [["Record ID", "First Name", "Last Name", "Email", "Phone", "Created", "Notes"][: 7 if notes else 6]]
    for number in range(rows):
        first, last = random.choice(_FIRST), random.choice(_LAST)
        row = [
            str(4_000_000 + number * 17),
            first,
            last,
            f"{first.lower()}{number}@example.org",
            random.choice(["", f"+49 30 {random.randrange(10**6)}"]),
            f"2024-{random.randrange(1, 13):02}-{random.randrange(1, 29):02} {random.randrange(24):02}:30",
            random.choice(_NOTES),
        ]
        made.append(row if notes else row[:6])
    return made


def _amounts(random: Random, rows: int, names: list[str], *, comma: bool) -> Table:
    """Return a header of date, text, party, amount and balance, and records."""
    made, balance = [names], 500_000
    for number in range(rows):
        amount = random.choice([-1, 1]) * random.randrange(100, 300_000)
        balance += amount
        day, month = random.randrange(1, 29), random.randrange(1, 13)
        values = [f"{it / 100:,.2f}" for it in (amount, balance)]
        if comma:
            values = [it.replace(",", "_").replace(".", ",").replace("_", ".") for it in values]
        date = f"{day:02}.{month:02}.2024" if comma else f"{month:02}/{day:02}/2024"
        text_ = random.choice(["Invoice 4711, May", "Card payment", "RENT; 3rd floor", "Refund", "SEPA-Überweisung"])
        made.append([date, text_, f"{random.choice(_FIRST)} {random.choice(_LAST)}", *values])
        made[-1] = [*made[-1], f"R{number:04}"][: len(names)]
    return made


def _contacts(random: Random, rows: int) -> Iterator[Damaged]:
    crlf: dict[str, Any] = {"lineterminator": "\r\n"}

    def people(kind: str, encoding: str = "utf-8", *, notes: bool = True, **dialect: Any) -> Damaged:
        truth = _people(random, rows, notes=notes)
        return Damaged(kind, text(truth, **dialect), truth, encoding=encoding)

    yield people("customers, quoted where needed", "utf-8-sig", **crlf)
    yield people("customers, all quoted", quoting=csv.QUOTE_ALL)
    yield people("customers, semicolons of a spreadsheet", "utf-8-sig", delimiter=";", **crlf)
    yield people("customers, code page of a spreadsheet", "cp1252", delimiter=";", notes=False, **crlf)
    yield people("customers, tabs in UTF-16", "utf-16", delimiter="\t", **crlf)
    yield people("customers, tabs", delimiter="\t")
    yield people("customers, old line ends", lineterminator="\r", quoting=csv.QUOTE_ALL)
    yield people("customers, vertical bars", delimiter="|")
    yield people("customers, backslashes before marks", quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
    named = _people(random, rows)
    yield Damaged("customers, delimiter named", "sep=;\r\n" + text(named, delimiter=";", **crlf), named)
    sparse = [named[0], *([row[0], *(random.choice(["", it]) for it in row[1:])] for row in named[1:])]
    yield Damaged("customers, mostly empty", text(sparse), sparse)
    plain = _people(random, rows, notes=False)
    yield Damaged("customers, space after commas", text(plain).replace(",", ", "), plain)
    short = ["\n".join(text([row]).rstrip("\n").rstrip(",") for row in plain)]
    yield Damaged("customers, empty ends cut", "".join(short) + "\n", plain)
    blank = text(plain).replace("\n", "\n\n")
    yield Damaged("customers, blank lines between", blank, plain)
    indexed = [["", *plain[0]], *([str(at), *row] for at, row in enumerate(plain[1:]))]
    unnamed = [indexed[0][1:], *(row[1:] for row in indexed[1:])]
    yield Damaged("customers, numbered by a program", text(indexed), unnamed)
    wide = [[*row, *[""] * 30] for row in plain]
    wide[0] = [*plain[0], *(f"Custom {at}" for at in range(30))]
    yield Damaged("customers, many empty columns", text(wide), wide)


def _money(random: Random, rows: int) -> Iterator[Damaged]:
    german = ["Buchungstag", "Verwendungszweck", "Empfänger", "Betrag", "Saldo"]
    english = ["Date", "Description", "Payee", "Amount", "Balance", "Reference"]
    statement = _amounts(random, rows, german, comma=True)
    body = text(statement, delimiter=";", quoting=csv.QUOTE_ALL)
    yield Damaged("statement", body, statement)
    above = '"Umsätze Girokonto";"Zeitraum: 30 Tage";\n"Kontostand:";"1.234,50 EUR";\n\n'
    yield Damaged("statement, lines of two fields above", above + body, statement)
    above = "Kontonummer:;DE12 3456 7890\nVon:;01.01.2024\nBis:;31.12.2024\nSaldo:;1.234,50 EUR\n\n"
    yield Damaged("statement, names and values above", above + text(statement, delimiter=";"), statement)
    yield Damaged(
        "statement, code page",
        body.replace("Überweisung", "Uberweisung"),
        _replaced(statement, "Ü", "U"),
        encoding="cp1252",
    )
    us = _amounts(random, rows, english, comma=False)
    above = "Account Name : Checking\nAccount Number : 000123\nDate Range : 01/01/2024-12/31/2024\n"
    yield Damaged("statement, lines with colons above", above + text(us), us)
    yield Damaged("statement, amounts in quotation marks", text(us, quoting=csv.QUOTE_NONNUMERIC), us)
    yield Damaged("statement, delimiter at each end", text([[*row, ""] for row in us]), us)
    dollars = [us[0], *([*row[:3], f"${row[3]}", f"${row[4]}", row[5]] for row in us[1:])]
    yield Damaged("orders, currencies", text(dollars), dollars)
    debit = [
        [*english[:3], "Debit", "Credit"],
        *([*row[:3], *([row[3], ""] if at % 2 else ["", row[3]])] for at, row in enumerate(us[1:])),
    ]
    yield Damaged("statement, debit and credit", text(debit), debit)
    total = ["Total", "", "", "1,000.00", "", ""]
    yield Damaged("statement, total of as many fields", text([*us, total]), us, ((*total,),))


def _replaced(rows: Table, old: str, new: str) -> Table:
    return [[cell.replace(old, new) for cell in row] for row in rows]


def _reports(random: Random, rows: int) -> Iterator[Damaged]:
    years = [
        ["Town", "2021", "2022", "2023"],
        *([town, *(str(random.randrange(9999)) for _ in range(3))] for town in _TOWNS * 3),
    ]
    sales = [["Item", "Town", "Pieces", "Price"]]
    sales += [
        [f"Item {at}", random.choice(_TOWNS), str(random.randrange(90)), f"{random.randrange(900)}.50"]
        for at in range(rows)
    ]
    body = text(sales)
    yield Damaged("report, years as columns", text(years), years)
    yield Damaged("report, title above", f"Sales by town\n\n{body}", sales)
    yield Damaged("report, title and date above", f"Sales by town\nGenerated on 2024-06-01 09:30\n\n{body}", sales)
    yield Damaged("report, title of as many fields", f"Sales by town,,,\n,,,\n{body}", sales)
    yield Damaged("report, total below", f"{body}\nTotal,1234\n", sales)
    yield Damaged("report, note below", f"{body}\nSource: our shop\n", sales)
    yield Damaged("report, end below", f"{body}-- end of report --\n", sales)
    yield Damaged(
        "report, comments above",
        f"# ----------\n# Sales, by town\n# 2024-01-01 to 2024-06-01\n# ----------\n\n{body}",
        sales,
    )
    lines = body.splitlines(keepends=True)
    yield Damaged(
        "report, comments between", "".join([*lines[:4], "# checked by Bo, Ana and Eva\n", *lines[4:]]), sales
    )
    groups = "".join([lines[0], "North\n", *lines[1:5], "South\n", *lines[5:]])
    yield Damaged("report, groups between", groups, sales)
    units = ["(name)", "(name)", "(pieces)", "(euro)"]
    yield Damaged("report, units below the header", text([sales[0], units, *sales[1:]]), sales, ((*units,),))
    pages = lines[0] + "".join(lines[1:6]) + lines[0] + "".join(lines[6:])
    yield Damaged("report, header on each page", pages, sales)
    long = [
        ["Was it good, or bad?", 'Which "model"?', "Any other\nremark?"],
        *(["good", "A, B", "none"], ["bad", "", 'no, "never"']),
    ]
    yield Damaged("survey, questions as header", text(long), long)


def _tables(random: Random, rows: int) -> Iterator[Damaged]:
    table = [["id", "name", "price", "changed_at"]]
    table += [
        [str(at), f"Part {at}", f"{random.randrange(99)}.5", f"2024-05-{at % 28 + 1:02}T09:30:00Z"]
        for at in range(rows)
    ]
    psql = " | ".join(table[0]) + "\n" + "-+-".join("-" * len(it) for it in table[0]) + "\n"
    psql += "".join(" | ".join(row) + "\n" for row in table[1:]) + f"({rows} rows)\n"
    yield Damaged("database, as a terminal shows it", psql, table)
    nothing = [table[0], *([*row[:2], random.choice(["\\N", row[2]]), row[3]] for row in table[1:])]
    yield Damaged("database, tabs and words for nothing", text(nothing, delimiter="\t"), nothing)
    yield Damaged("database, carets", text(table, delimiter="^"), table)
    yield Damaged("database, tildes", text(table, delimiter="~"), table)
    yield Damaged("database, apostrophes as marks", text(table, quotechar="'", quoting=csv.QUOTE_NONNUMERIC), table)
    objects = [[*table[0], "detail"], *([*row, json.dumps({"a": [1, 2], "b": 'x "y"'})] for row in table[1:])]
    yield Damaged("database, JSON in a column", text(objects), objects)
    lists = [[*table[0], "tags"], *([*row, "['red', 'blue']"] for row in table[1:])]
    yield Damaged("program, lists in a column", text(lists), lists)
    pages = [[*table[0], "body"], *([*row, '<p class="x">Oak, big; 3 | 4</p>'] for row in table[1:])]
    yield Damaged("shop, HTML in a column", text(pages), pages)
    places = [[*table[0], "place"], *([*row, f"POINT ({at}.5 47.1)"] for at, row in enumerate(table[1:]))]
    yield Damaged("map, places in a column", text(places), places)
    inches = [table[0], *([row[0], f'{at + 1}" pipe', *row[2:]] for at, row in enumerate(table[1:]))]
    yield Damaged("shop, inches without marks", "".join(",".join(row) + "\n" for row in inches), inches)
    users = [
        ["user", "uid", "home", "shell"],
        *([f"u{at}", str(1000 + at), f"/home/u{at}", "/bin/sh"] for at in range(rows)),
    ]
    yield Damaged("system, colons", text(users, delimiter=":"), users)
    paths = [
        ["file", "size", "owner"],
        *([f"C:\\temp\\new {at}.txt", str(at * 10), f"DOMAIN\\u{at}"] for at in range(rows)),
    ]
    yield Damaged("system, paths with backslashes", text(paths, quoting=csv.QUOTE_ALL), paths)
    yield Damaged("one record", text(table[:2]), table[:2])
    one = "| " + " | ".join(table[0]) + " |\n|" + "---|" * 4 + "\n"
    one += "".join("| " + " | ".join(row) + " |\n" for row in table[1:])
    yield Damaged("page, bars around each line", one, table)


def _logs(random: Random, rows: int) -> Iterator[Damaged]:
    messages = ['GET "/a,b" failed', "ok", "user 'ann' logged in", "timeout; retry", 'value="5"', "a\tb"]
    log = [["time", "level", "message"]]
    log += [
        [f"2024-05-31T09:{at % 60:02}:00.123Z", random.choice(["INFO", "WARN"]), random.choice(messages)]
        for at in range(rows)
    ]
    yield Damaged("log, quoted where needed", text(log), log)
    yield Damaged("log, all quoted", text(log, quoting=csv.QUOTE_ALL), log)
    yield Damaged(
        "log, backslashes before marks", text(log, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"), log
    )
    bare = [[*row[:2], row[2].replace("\t", " ").replace('"', "")] for row in log]
    yield Damaged("log, tabs", text(bare, delimiter="\t"), bare)
    loose = [log[0], *([*row[:2], random.choice(["ok", "failed"])] for row in log[1:])]
    ragged = [text([row]) if at % 7 else f"{row[0]},WARN,lost, again, and again\n" for at, row in enumerate(loose[1:])]
    kept = [row for at, row in enumerate(loose[1:]) if at % 7]
    yield Damaged("log, commas in messages", text(loose[:1]) + "".join(ragged), [loose[0], *kept])


def _lists(random: Random, rows: int) -> Iterator[Damaged]:
    for kind, values in {
        "addresses": [f"a{at}@example.org" for at in range(rows)],
        "numbers": [str(random.randrange(10**6)) for _ in range(rows)],
        "names": [f"{random.choice(_FIRST)} {random.choice(_LAST)}" for _ in range(rows)],
        "sentences": [random.choice(["This is good, really.", "Bad", "One; two", "So, so"]) for _ in range(rows)],
    }.items():
        column = [["value"], *([value] for value in values)]
        yield Damaged(f"one column of {kind}", text(column), column)
    notes = [["Title", "Note"], *([f"Note {at}", random.choice(_NOTES) + "\n\n- a, b\n- c"] for at in range(rows))]
    yield Damaged("notes of several lines", text(notes), notes)
    words = [
        ["source", "target", "comment"],
        *([f"word {at}", f"Wort {at}", random.choice(["", "rare"])] for at in range(rows)),
    ]
    yield Damaged("words, tabs and no numbers", text(words, delimiter="\t"), words)
    nothing = [[f"{at}", f"P-{at}", f"{random.randrange(99)}.5"] for at in range(rows)]
    yield Damaged("no header", text(nothing), [nothing[0], *nothing[1:]])
