"""Damaged files of delimited text, by kind, and how they are read: right, rejected, asked about, refused or altered.

The kinds are those of published benchmarks: one damage to an ordinary file, in each row and column where it fits.
"""

import csv
import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from resources.file_reader import ReadLimits, ReadOptions
from resources.file_reader.delimited import DelimitedFile
from schemas.errors import UnreadableFile

Table = list[list[str]]
NAMES = ["DATE", "TIME", "Qty", "PRODUCTID", "Price", "ProductType", "ProductDescription", "URL", "Comments"]
_SECOND = ["(day)", "(hour)", "(pieces)", "(code)", "(euro)", "(text)", "(text)", "(address)", "(text)"]


@dataclass(frozen=True)
class Damaged:
    """A damaged file. `truth` is the header row and the records. `also` are other readings of single records."""

    kind: str
    content: str
    truth: Table
    also: tuple[tuple[str, ...], ...] = ()
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Outcome:
    """How a file was read, its score, and how many seconds of processor time it took to detect its dialect.

    asked: the preview asks, or says that it left lines out. altered: a record has other values than in truth, or is
    gone, without a word.
    """

    kind: str
    outcome: str
    score: float
    detection: float


def table(rows: int, seed: int) -> Table:
    """Return a header and records: dates, numbers, texts, some with delimiters and quotation marks, addresses."""
    random = Random(seed)
    texts = [
        "Oak table, large",
        "Plain chair",
        'Pipe 5" wide',
        'Screen, 24", flat',
        'The "Big" lamp, red',
        "Désk, old",
        "Rug",
    ]
    comments = ["", "", "in stock, soon", "O'Neil asked", "ok", "a; b", "see C:\\temp"]
    made = []
    for number in range(rows):
        made.append(
            [
                f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}",
                f"{number % 24:02}:{random.randrange(60):02}",
                str(random.randrange(1, 500)),
                f"P-{random.randrange(10_000):05}",
                f"{random.randrange(1, 900)}.{random.randrange(100):02}",
                random.choice(["Home", "Office", "Garden"]),
                texts[number % len(texts)],
                f"https://shop.example/{random.randrange(10_000)}",
                comments[random.randrange(len(comments))],
            ]
        )
    return [NAMES, *made]


def text(rows: Sequence[Sequence[str]], **dialect: Any) -> str:
    """Return the rows as Python writes them."""
    written = io.StringIO(newline="")
    csv.writer(written, **{"lineterminator": "\n", **dialect}).writerows(rows)
    return written.getvalue()


def damaged(rows: int, seed: int = 0) -> Iterator[Damaged]:
    """Yield files of every kind of damage, one in each row and column of an ordinary file."""
    truth = table(rows, seed)
    yield from _files(truth)
    yield from _rows(truth, delimiter=",")
    yield from _cells(truth, delimiter=",")


def damaged_in_dialects(rows: int, seed: int = 0) -> Iterator[Damaged]:
    """Yield files with the same damages to rows and cells in other dialects, with fewer columns in some."""
    truth = table(rows, seed)
    narrow = [[row[at] for at in (3, 6, 8)] for row in truth]
    escapes = {"doublequote": False, "escapechar": "\\"}
    dialects: list[tuple[Table, dict[str, Any]]] = [
        (truth, {"delimiter": ",", "quoting": csv.QUOTE_ALL}),
        (truth, {"delimiter": ";"}),
        (truth, {"delimiter": "\t"}),
        (truth, {"delimiter": ",", "quoting": csv.QUOTE_ALL, **escapes}),
        (narrow, {"delimiter": ","}),
        (narrow, {"delimiter": ";", "quoting": csv.QUOTE_ALL}),
        ([row[1:] for row in narrow], {"delimiter": ","}),
    ]
    for rows_, dialect in dialects:
        yield from _rows(rows_, **dialect)
        yield from _cells(rows_, **dialect)


def _files(truth: Table) -> Iterator[Damaged]:
    plain = text(truth)
    yield Damaged("ordinary", plain, truth)
    for end in ("\r\n", "\r"):
        yield Damaged("line end", text(truth, lineterminator=end), truth)
    yield Damaged("end of file", plain.rstrip("\n"), truth)
    yield Damaged("end of file", plain + "\n\n", truth)
    yield Damaged("header alone", text(truth[:1]), truth[:1])
    yield Damaged("one record", text(truth[:2]), truth[:2])
    for delimiter in ";\t| ^~":
        yield Damaged("delimiter", text(truth, delimiter=delimiter), truth)
        yield Damaged("delimiter", text(truth, delimiter=delimiter, quoting=csv.QUOTE_ALL), truth)
    simple = [[cell.translate(str.maketrans("", "", "\",;'\\")) for cell in row] for row in truth]
    yield Damaged("space after the delimiter", text(simple).replace(",", ", "), simple)
    yield Damaged("space after the delimiter", text(truth, quoting=csv.QUOTE_ALL).replace('","', '", "'), truth)
    marked = [row if at % 3 else [*row[:6], "Oak, large", *row[7:]] for at, row in enumerate(simple)]
    marked[0] = simple[0]
    lines = [", ".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in marked]
    yield Damaged("space after the delimiter", "\n".join(lines) + "\n", marked)
    free = [[cell.replace("'", "") for cell in row] for row in truth]
    free = [[cell.replace('"', "") for cell in row] for row in free]
    yield Damaged("apostrophe as mark", text(free, quotechar="'"), free)
    yield Damaged("apostrophe as mark", text(free, quotechar="'", quoting=csv.QUOTE_ALL), free)
    yield Damaged("marks around all", text(truth, quoting=csv.QUOTE_ALL), truth)
    yield Damaged("escapes", text(truth, doublequote=False, escapechar="\\", quoting=csv.QUOTE_ALL), truth)
    loose = text(free, quoting=csv.QUOTE_ALL).replace("Plain chair", 'Plain \\"chair\\"')
    fitting = [[cell.replace("Plain chair", 'Plain "chair"') for cell in row] for row in free]
    yield Damaged("escapes", loose, fitting)
    yield Damaged("no header", text(truth[1:]), truth)
    yield Damaged("second header row", text([truth[0], _SECOND, *truth[1:]]), truth)
    yield Damaged("second header row", text([truth[0], [name.lower() for name in NAMES], *truth[1:]]), truth)
    for above in ("Report", "Report, 2024", "Report of\n\nof 2024", ",,,\nA,B\n", "Report\nof, all, 2024"):
        yield Damaged("lines above the header", f"{above}\n{plain}", truth)
    yield Damaged("delimiter at the end of each record", plain.replace("\n", ",\n").replace(",\n", "\n", 1), truth)
    yield Damaged("delimiter at the end of the header", plain.replace("\n", ",\n", 1), truth)
    yield Damaged("two tables", plain + "\n" + text([["a", "b", "c"], ["1", "2", "3"]]), truth)
    yield Damaged("two tables", plain + "\n" + text([_SECOND, truth[1]]), truth)
    yield Damaged("two tables", plain + "\n" + text([[*NAMES, "x"], [*truth[1], "y"]]), truth)


def _rows(truth: Table, **dialect: Any) -> Iterator[Damaged]:
    for at in range(len(truth)):
        before, row, after = text(truth[:at], **dialect), truth[at], text(truth[at + 1 :], **dialect)

        def other(kind: str, line: str, also: tuple[tuple[str, ...], ...] = ()) -> Damaged:
            return Damaged(kind, f"{before}{line}{after}", truth, also)  # noqa: B023 - called in this turn

        for delimiter in {*",;\t|"} - {dialect["delimiter"]}:
            yield other("another delimiter in a row", text([row], **{**dialect, "delimiter": delimiter}))
        for end in ("\r\n", "\r"):
            yield other("another line end in a row", text([row], **dialect, lineterminator=end))
        marked = text([row], **{**dialect, "quotechar": "'", "quoting": csv.QUOTE_ALL})
        yield other("another mark in a row", marked)
        escaped = text([row], **{**dialect, "doublequote": False, "escapechar": "\\"})
        yield other("escapes in a row", escaped, _as_written(escaped, dialect))
        spaced = f"{dialect['delimiter']} ".join(_cell(cell, dialect) for cell in row) + "\n"
        yield other("space in a row", spaced, _as_written(spaced, dialect))
        if at:
            names = text(truth[:1], **dialect)
            yield other("header again", names + text([row], **dialect))
            yield other("header again", "\ufeff" + names + text([row], **dialect))


def _cells(truth: Table, **dialect: Any) -> Iterator[Damaged]:
    between = dialect["delimiter"]
    for at, row in enumerate(truth):
        before, after = text(truth[:at], **dialect), text(truth[at + 1 :], **dialect)
        cells = [_cell(cell, dialect) for cell in row]
        for column in range(len(row)):
            for kind, cell, also in _damages(cells[column], row[column], dialect):
                line = between.join([*cells[:column], cell, *cells[column + 1 :]])
                other = ((*row[:column], it, *row[column + 1 :]) for it in also)
                yield Damaged(kind, f"{before}{line}\n{after}", truth, tuple(other))
            if column:  # the delimiter before it
                line = between.join(cells[:column]) + between.join(cells[column:])
                yield Damaged("delimiter missing", f"{before}{line}\n{after}", truth)


def _cell(value: str, dialect: dict[str, Any]) -> str:
    """Return the value as it is written among others."""
    return text([[value, ""]], **dialect).rstrip("\n").removesuffix('""').removesuffix(dialect["delimiter"])


def _damages(cell: str, value: str, dialect: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the kind of damage, the damaged cell, and the values as which it may be read."""
    middle = len(cell) // 2
    yield "delimiter too many", f"{cell}{dialect['delimiter']}", []
    yield "quotation mark before", f'"{cell}', []
    yield "quotation mark inside", f'{cell[:middle]}"{cell[middle:]}', [f'{cell[:middle]}"{cell[middle:]}']
    yield "quotation mark after", f'{cell}"', [f'{cell}"']
    broken = f"{cell[:middle]}\n{cell[middle:]}"
    yield "line end inside", broken, [*_as_written(broken, dialect)[0]] if cell.startswith('"') else []
    if cell.startswith('"'):
        yield "first quotation mark missing", cell[1:], [cell[1:], cell[1:].replace('\\"', '"').replace("\\\\", "\\")]
        yield "last quotation mark missing", cell[:-1], []
    yield "space before", f" {cell}", [f" {value}"]


def _as_written(line: str, dialect: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the record as it stands there, with every character."""
    return tuple(map(tuple, csv.reader(io.StringIO(line, newline=""), **dialect)))


def outcome(file: Damaged, folder: Path) -> Outcome:
    """Return how the file is read."""
    path = folder / "in.csv"
    path.write_bytes(file.content.encode(file.encoding))
    accepted: list[tuple[str, ...]] = []
    start, detection = time.process_time(), 0.0
    try:
        reading = DelimitedFile(path, path.name, ReadOptions(), ReadLimits())
        detection = time.process_time() - start
        for chunk in reading.chunks():
            accepted += (
                zip(*(column.to_pylist() for column in chunk.values.columns), strict=True) if len(chunk.records) else []
            )
    except UnreadableFile:
        return Outcome(file.kind, "refused", 0.0, detection or time.process_time() - start)
    headers, *records = map(tuple, file.truth)
    named = [at for at, name in enumerate(reading.headers) if name]
    names = tuple(reading.headers[at] for at in named)
    accepted = [tuple(row[at] for at in named) for row in accepted]
    wrong = Counter(accepted) - Counter(records) - Counter(file.also)
    same_names = names == headers or names in file.also
    if same_names and not wrong and len(accepted) == len(records):
        how = "right"
    elif reading.questions or reading.dialect.skipped_lines:  # the preview says them
        how = "asked"
    elif wrong or reading.read < len(records) or (accepted and not same_names):
        how = "altered"
    else:
        how = "rejected"
    return Outcome(file.kind, how, _score(reading.headers, accepted, headers, records), detection)


def _score(
    names: Sequence[str], rows: Sequence[tuple[str, ...]], headers: Sequence[str], records: Sequence[tuple[str, ...]]
) -> float:
    """Return 1 for a file that is read, and 3 each for its header, records and cells: precision, recall and F1."""
    parts = (
        (Counter(filter(None, names)), Counter(headers)),
        (Counter(rows), Counter(records)),
        (Counter(cell for row in rows for cell in row), Counter(cell for row in records for cell in row)),
    )
    return 1 + sum(map(_agreement, *zip(*parts, strict=True)))


def _agreement(found: Counter[object], truth: Counter[object]) -> float:
    shared = (found & truth).total()
    precision = shared / found.total() if found else float(not truth)
    recall = shared / truth.total() if truth else float(not found)
    return precision + recall + (2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def report(files: Iterator[Damaged], show: Callable[[Damaged, Outcome], None] | None = None) -> Iterator[str]:
    """Yield the lines of a table in Markdown: for each kind of damage how its files are read."""
    outcomes: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            result = outcome(file, Path(folder))
            outcomes.setdefault(file.kind, []).append(result)
            if show is not None:
                show(file, result)
    hows = ("right", "rejected", "asked", "refused", "altered")
    yield "| damage | files | " + " | ".join(hows) + " | score of 10 |"
    yield "| --- | ---: |" + " ---: |" * (len(hows) + 1)
    every = [it for results in outcomes.values() for it in results]
    for kind, results in [*outcomes.items(), ("all", every)]:
        counts = Counter(it.outcome for it in results)
        cells = " | ".join(f"{counts[how]:,}" for how in hows)
        yield f"| {kind} | {len(results):,} | {cells} | {sum(it.score for it in results) / len(results):.2f} |"
    yield f"\nMedian: the dialect of a file is detected in {median(it.detection for it in every) * 1000:.1f} ms."
