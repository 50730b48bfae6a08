"""`Corrections`: the rejected records of a preview while a person corrects them, in a small database of their own.

Each correction is on the disk before it is confirmed. The preview stays as it is: the corrected records become a batch
of their own. The preview's batch is its parent.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from resources.file_reader.formats import format_named
from resources.importing.rejected_records import make_database
from resources.importing.repairs import Repair, repairs
from resources.record_store import RecordStore
from schemas import load_model
from schemas.batches import ImportReport, ImportRequest
from schemas.cleaning import CleanedValues
from schemas.decimals import fits_sign
from schemas.errors import InvalidRequest, NotFound, Refused
from schemas.mapping import REJECTS_COLUMNS
from schemas.reading import ReadOptions
from schemas.spellings import with_point
from schemas.validation import validate
from schemas.values import as_map

_MOST_TEXTS = 2_000
"""For how many different wrong texts of a field a repair is sought."""
_CONFLICT = "key_conflict"


@dataclass(frozen=True)
class CellProblem:
    """What is wrong with a value of a record; with the whole record if `field` is None."""

    field: str | None
    rule: str
    expected: str


@dataclass(frozen=True)
class Row:
    """A rejected record as it is now.

    texts: one for each column. changed: the columns that a person has changed. is_odd: it has another number of
    values than the file has columns, so it cannot be corrected here. rivals: other records with the same key.
    contested: the columns in which those that are not left out have other texts.
    """

    record: int
    line: int
    texts: tuple[str, ...]
    changed: frozenset[int]
    problems: tuple[CellProblem, ...]
    left_out: bool
    is_odd: bool
    rivals: tuple[int, ...] = ()
    contested: frozenset[int] = frozenset()

    @property
    def is_ready(self) -> bool:
        """Returns whether nothing is known to be wrong with it any more."""
        return not self.left_out and not self.problems


@dataclass(frozen=True)
class ProblemGroup:
    """A rule that records break in a field, and how many."""

    field: str | None
    rule: str
    expected: str
    records: int


@dataclass(frozen=True)
class Progress:
    """How many records are ready, left out, or still have problems."""

    ready: int
    left_out: int
    open: int


class Corrections:
    """The rejected records of a preview. `path` is the file of the database."""

    def __init__(self, store: RecordStore, report: ImportReport, path: Path) -> None:
        self._store = store
        self._report = report
        self._path = path
        with FileLock(f"{path}.lock"):  # of two requests, one builds it
            if not path.exists():
                make_database(store, report, path)
                is_new = True
            else:
                is_new = False
            with self._opened() as database:
                headers, fields, options = database.execute("SELECT * FROM about").fetchone()
            self.headers: tuple[str, ...] = tuple(json.loads(headers))
            self.fields: Mapping[str, int] = json.loads(fields)
            self._options: Mapping[str, Any] = json.loads(options)
            self._model = load_model(report.batch.record_type)
            if is_new:
                self._take_over()

    def groups(self) -> list[ProblemGroup]:
        """Returns the problems that are still there, most frequent first."""
        with self._opened() as database:
            found = database.execute(
                "SELECT field, rule, expected, count(DISTINCT record) FROM problems JOIN records USING (record) "
                "WHERE NOT left_out GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2"
            ).fetchall()
        return [ProblemGroup(*row) for row in found]

    def progress(self) -> Progress:
        """Returns how far the person is."""
        with self._opened() as database:
            left_out, open_, total = database.execute(
                "SELECT coalesce(sum(left_out), 0), coalesce(sum(NOT left_out AND EXISTS ("
                "SELECT 1 FROM problems p WHERE p.record = records.record)), 0), count(*) FROM records"
            ).fetchone()
        return Progress(total - left_out - open_, left_out, open_)

    def rows(self, offset: int, limit: int, group: tuple[str, str] | None = None) -> list[Row]:
        """Returns some records, by their key if they contradict each other, else in the order of the file.

        group: the field ("" for the whole record) and the rule of a problem that the records must have.
        """
        conditions, values = ["1"], []
        if group is not None:
            conditions.append(
                "EXISTS (SELECT 1 FROM problems p WHERE p.record = r.record "
                "AND coalesce(p.field, '') = ? AND p.rule = ?)"
            )
            values += [*group]
        # Records of one key stand beside each other, where the first of them is in the file.
        order = "coalesce((SELECT min(record) FROM records k WHERE k.key = r.key AND r.key <> ''), record), record"
        with self._opened() as database:
            found = database.execute(
                f"SELECT record FROM records r WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ? OFFSET ?",
                [*values, limit, offset],
            ).fetchall()
            return [self._row(database, record) for (record,) in found]

    def row(self, record: int) -> Row:
        """Returns one record. Raises NotFound if it is not one of the rejected ones."""
        with self._opened() as database:
            return self._row(database, record)

    def correct(self, record: int, column: int, text: str, actor: str, *, everywhere: bool = False) -> list[int]:
        """Set a value, and check the record again. Returns the changed records.

        everywhere: set it in all records that have the same text in this column.
        Raises Refused for a record that cannot be corrected here, and InvalidRequest for a column that is not there.
        """
        if not 0 <= column < len(self.headers):
            raise InvalidRequest(f"There is no column {column + 1}.", "Look at the page again.")
        with self._opened() as database:
            row = self._row(database, record)
            if row.is_odd:
                raise Refused("This row has too many or too few values.", "Correct it in the downloaded file.")
            same = self._with_text(database, column, row.texts[column]) if everywhere else [record]
            self._set(database, column, dict.fromkeys(same, text), actor)
        return same

    def repairs(self) -> list[Repair]:
        """Returns how wrong values can be corrected at once, what concerns most records first."""
        with self._opened() as database:
            found = [it for name in self.fields for it in self._repairs(database, name)]
        return sorted(found, key=lambda it: -it.records)

    def repair(self, field: str, kind: str, actor: str) -> int:
        """Correct all values that a repair mends. Returns how many records were changed."""
        changed = 0
        with self._opened() as database:
            for it in self._repairs(database, field) if field in self.fields else ():
                if it.kind == kind:
                    column = self.fields[field]
                    texts = {
                        record: right
                        for wrong, right in it.texts.items()
                        for record in self._with_text(database, column, wrong)
                    }
                    self._set(database, column, texts, actor)
                    changed += len(texts)
        return changed

    def _repairs(self, database: sqlite3.Connection, field: str) -> list[Repair]:
        wrong = database.execute(
            "SELECT json_extract(texts, ?) AS text, count(DISTINCT record) FROM problems JOIN records USING (record) "
            "WHERE field = ? AND NOT left_out AND json_array_length(texts) = ? GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?",
            [f"$[{self.fields[field]}]", field, len(self.headers), _MOST_TEXTS],
        ).fetchall()
        if not wrong:
            return []
        proposed = as_map(it for it in self._report.proposals if it.value is not None)
        return repairs(self._model, field, dict(wrong), self._read_options, proposed)

    def _with_text(self, database: sqlite3.Connection, column: int, text: str) -> list[int]:
        """Returns the records that have a text in a column."""
        found = database.execute(
            "SELECT record FROM records WHERE json_extract(texts, ?) = ? AND json_array_length(texts) = ?",
            [f"$[{column}]", text, len(self.headers)],
        )
        return [record for (record,) in found]

    def _set(self, database: sqlite3.Connection, column: int, values: Mapping[int, str], actor: str) -> None:
        """Set a value of records, and check them again."""
        for record, text in values.items():
            texts = [*self._row(database, record).texts]
            texts[column] = text
            database.execute(
                "UPDATE records SET texts = ?, key = ?, by = ? WHERE record = ?",
                [json.dumps(texts), self._key(texts), actor, record],
            )
        self._check(database, [*values])

    def leave_out(self, record: int, *, left_out: bool = True) -> None:
        """Leave a record out, or take it in again. Raises NotFound if it is not one of the rejected ones."""
        with self._opened() as database:
            row = self._row(database, record)
            database.execute("UPDATE records SET left_out = ? WHERE record = ?", [int(left_out), record])
            self._check(database, [record, *row.rivals])

    def keep_only(self, record: int) -> None:
        """Leave out the other records with the same key."""
        with self._opened() as database:
            row = self._row(database, record)
            for rival in row.rivals:
                database.execute("UPDATE records SET left_out = 1 WHERE record = ?", [rival])
            database.execute("UPDATE records SET left_out = 0 WHERE record = ?", [record])
            self._check(database, [record, *row.rivals])

    def leave_out_open(self, group: tuple[str, str] | None = None) -> None:
        """Leave out all records that still have problems, or those that have one. `group`: see `rows`."""
        condition, values = ("TRUE", []) if group is None else ("coalesce(field, '') = ? AND rule = ?", [*group])
        with self._opened() as database:
            database.execute(
                f"UPDATE records SET left_out = 1 WHERE record IN (SELECT record FROM problems WHERE {condition})",
                values,
            )

    def write(self, path: Path) -> int:
        """Write the records that are ready to a file that names the batch. Returns how many there are.

        The file is UTF-8 text with commas, like a rejects file.
        """
        form = format_named("delimited")
        written = 0
        with (
            self._opened() as database,
            form.write_rejects(path, [*self.headers, *REJECTS_COLUMNS], ReadOptions()) as file,
        ):
            found = database.execute("SELECT record FROM records WHERE NOT left_out ORDER BY record").fetchall()
            for (record,) in found:
                row = self._row(database, record)
                if row.is_ready:
                    notes = (self._report.batch.batch_id, str(row.record), str(row.line), "")
                    file.writerow([*map(form.escaped, row.texts), *notes])
                    written += 1
        return written

    def write_workbook(self, path: Path) -> None:
        """Write the records that still have problems to a workbook, to be corrected there and uploaded.

        Its numbers have a decimal point, because a workbook has numbers of its own.
        """
        form, record_type, decimal = format_named("excel"), self._model.record_type(), self._options["decimal"]
        numbers = [at for name, at in self.fields.items() if record_type.field(name).is_number and decimal is not None]
        with (
            self._opened() as database,
            form.write_rejects(path, [*self.headers, *REJECTS_COLUMNS], ReadOptions()) as file,
        ):
            found = database.execute(
                "SELECT record FROM records WHERE NOT left_out AND record IN (SELECT record FROM problems) ORDER BY 1"
            ).fetchall()
            for (record,) in found:
                row, texts = self._row(database, record), [*self._row(database, record).texts]
                for at in () if row.is_odd else numbers:
                    if fits_sign(pa.array([texts[at].strip()]), decimal)[0].as_py():
                        texts[at] = with_point(pa.array([texts[at].strip()]), decimal)[0].as_py()
                problems = "; ".join(f"{it.field or 'The row'} {it.expected}" for it in row.problems)
                notes = (self._report.batch.batch_id, str(row.record), str(row.line), problems)
                width = len(self.headers)
                cells = [*texts[:width], *[""] * (width - len(texts)), *notes, *texts[width:]]
                file.writerow([form.escaped(text) for text in cells])

    def request(self, path: Path, actor_request: ImportRequest) -> ImportRequest:
        """Returns the request to import the file of `write`: what was said for the whole file counts for it too."""
        return ImportRequest(
            path,
            actor_request.account,
            actor_request.record_type,
            mode=actor_request.mode,
            on_duplicate=actor_request.on_duplicate,
            encoding="utf-8-sig",
            delimiter=",",
            time_zone=self._options["time_zone"],
            date_order=ReadOptions.from_said({"date_order": self._options["date_order"]}).date_order,
            decimal=self._options["decimal"],
        )

    def _row(self, database: sqlite3.Connection, record: int) -> Row:
        found = database.execute(
            "SELECT line, texts, first_texts, left_out, key FROM records WHERE record = ?", [record]
        ).fetchone()
        if found is None:
            raise NotFound(f"Record {record:,} is not one of the rejected ones.", "Look at the page again.")
        line, texts, first, left_out, key = found
        now, before = json.loads(texts), json.loads(first)
        problems = database.execute(
            "SELECT field, rule, expected FROM problems WHERE record = ? ORDER BY field, rule", [record]
        ).fetchall()
        rivals, contested = [], set()
        for rival, its, its_left_out in database.execute(
            "SELECT record, texts, left_out FROM records WHERE key = ? AND key <> '' AND record <> ? "
            "ORDER BY record LIMIT 50",
            [key, record],
        ):
            rivals.append(rival)
            if not its_left_out:
                contested |= {
                    at for at, (mine, other) in enumerate(zip(now, json.loads(its), strict=False)) if mine != other
                }
        return Row(
            record,
            line,
            tuple(now),
            frozenset(at for at, (one, other) in enumerate(zip(now, before, strict=True)) if one != other),
            tuple(CellProblem(*problem) for problem in problems),
            bool(left_out),
            len(now) != len(self.headers),
            tuple(rivals),
            frozenset(contested),
        )

    def _check(self, database: sqlite3.Connection, records: Sequence[int]) -> None:
        """Find the problems of records anew, as far as they concern single values or rivals among the records here."""
        rows = [row for row in (self._row(database, record) for record in records) if not row.is_odd]
        if not rows:
            return
        failing = self._failing(rows)
        for at, row in enumerate(rows):
            kept = [
                problem
                for problem in database.execute(
                    "SELECT field, rule, expected, value FROM problems WHERE record = ?", [row.record]
                )
                if not self._is_checked(problem[0], problem[1]) and self._still_holds(database, row, *problem[:2])
            ]
            database.execute("DELETE FROM problems WHERE record = ?", [row.record])
            database.executemany(
                "INSERT INTO problems VALUES (?, ?, ?, ?, ?)",
                [(row.record, *problem) for problem in [*kept, *failing.get(at, [])]],
            )

    def _is_checked(self, field: str | None, rule: str) -> bool:
        """Returns whether the rule concerns a value alone, so that it can be checked here."""
        checks = {check.name for column in self._model.to_schema().columns.values() for check in column.checks}
        return field in self.fields and rule in {"type", "unseen", "required", *checks}

    def _still_holds(self, database: sqlite3.Connection, row: Row, field: str | None, rule: str) -> bool:
        """Returns whether a rule that cannot be checked here may still be broken. Saving checks all of them again."""
        if rule != _CONFLICT:
            return (
                not row.changed if field is None or field not in self.fields else self.fields[field] not in row.changed
            )
        rivals = [self._row(database, rival) for rival in row.rivals]
        return any(not rival.left_out for rival in rivals)

    def _failing(self, rows: Sequence[Row]) -> dict[int, list[tuple[str | None, str, str, str]]]:
        """Returns the problems of values, by the position of their row."""
        texts = pa.table(
            {name: pa.array([row.texts[at] for row in rows], pa.string()) for name, at in self.fields.items()}
        )
        options = self._read_options
        remembered = self._report.batch.remembered
        _, failures = validate(
            self._model,
            texts,
            time_zone=options.time_zone,
            date_order=options.date_order,
            decimal=options.decimal,
            cleaned=CleanedValues(remembered.value_map if remembered else {}),
        )
        found: dict[int, list[tuple[str | None, str, str, str]]] = {}
        for failure in failures:
            for at, value in zip(failure.rows.to_pylist(), failure.values.to_pylist(), strict=True):
                found.setdefault(at, []).append((failure.field, failure.rule, failure.expected, value or ""))
        return found

    @property
    def _read_options(self) -> ReadOptions:
        """How the texts are read."""
        return ReadOptions.from_said({name: value for name, value in self._options.items() if value is not None})

    def _key(self, texts: Sequence[str]) -> str:
        key = [texts[self.fields[name]] for name in self._model.record_type().key if name in self.fields]
        return json.dumps(key) if all(key) else ""

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yields the database in a transaction, which is flushed to the disk at the end."""
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            database.execute("PRAGMA synchronous = FULL")
            yield database

    def _take_over(self) -> None:
        """Repeat what was corrected in an earlier preview of the same file, in the records that are still rejected."""
        earlier = sorted(set(self._path.parent.glob(f"*{self._path.suffix}")) - {self._path})
        if not earlier:
            return
        with closing(sqlite3.connect(earlier[-1], timeout=30)) as before, self._opened() as database:
            changed = before.execute(
                "SELECT texts, left_out, by, record, first_texts FROM records WHERE left_out OR texts <> first_texts"
            ).fetchall()
            done = []
            for texts, left_out, by, record, first in changed:
                updated = database.execute(
                    "UPDATE records SET texts = ?, key = ?, left_out = ?, by = ? WHERE record = ? AND first_texts = ?",
                    [texts, self._key(json.loads(texts)), left_out, by, record, first],
                )
                done += [record] if updated.rowcount else []
            self._check(database, done)
