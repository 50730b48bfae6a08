"""Compares a staged file with itself and with the records, to find the outcome of each record."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from resources.record_store.lake import Connection
from resources.record_store.problems import PROBLEMS
from resources.record_store.refusals import key_of_too_many
from resources.record_store.sql_text import identifier, literal
from resources.record_store.staging import Comparison, Staging, differs, same_key
from schemas.batches import ChangedValue, Mode, OnDuplicate
from schemas.blanks import Blank, Blanks
from schemas.characters import code_points
from schemas.record_type import RecordType

_HASHES_AT_ONCE = 1_000_000
"""How many hashes of keys are counted together, so that memory does not grow with the file."""


class StagedFile:
    """Compares a staged file with itself and with an account's records, on a connection that cannot write them.

    records: the table of the records, as SQL.
    """

    def __init__(
        self, connection: Connection, records: str, record_type: RecordType, account: str, staging: Staging
    ) -> None:
        self._connection = connection
        self._records = records
        self._type = record_type
        self._account = account
        self._staging = staging
        self._keys = ", ".join(map(identifier, record_type.key))
        connection.execute(f"CREATE TEMP VIEW staged AS FROM read_parquet({literal(staging.records)})")
        connection.execute(
            "CREATE TEMP TABLE excluded AS SELECT _record, 'rejected' AS _outcome FROM staged WHERE NOT _valid"
        )

    def resolve_blanks(self, blanks: Blanks) -> None:
        """Puts stored values in the place of empty ones, and of those that only fill."""
        chosen = self._not_cleared(blanks)
        if not chosen:
            return
        values = ", ".join(
            f"coalesce({first}.{field}, {second}.{field}) AS {field}"
            for name, choice in chosen.items()
            for field, first, second in [(identifier(name), *(("s", "t") if choice is Blank.KEEP else ("t", "s")))]
        )
        file, resolved = self._staging.records, self._staging.records.with_suffix(".resolved")
        self._connection.execute(
            f"""
            COPY (
                SELECT s.* REPLACE ({values}) FROM staged s
                LEFT JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")} ORDER BY s._record
            ) TO {literal(resolved)} (FORMAT parquet, COMPRESSION lz4_raw)
            """,
            [self._account],
        )
        resolved.replace(file)

    def exclude_unfilled(self, blanks: Blanks) -> Iterator[pa.RecordBatch]:
        """Excludes records with an empty required field and no stored value for it; yields their problems."""
        for name in self._not_cleared(blanks):
            if self._type.field(name).required:
                missing = f"FROM staged ANTI JOIN excluded USING (_record) WHERE {identifier(name)} IS NULL"
                yield from self._problems(
                    f"SELECT _record, _line, ?, 'required', 'must be there for a new record', NULL {missing} "
                    "ORDER BY _record",
                    [name],
                )
                self._connection.execute(f"INSERT INTO excluded SELECT _record, 'rejected' {missing}")

    def _not_cleared(self, blanks: Blanks) -> dict[str, Blank]:
        """Returns what empty cells of a field do, for each field of the file where they do not clear."""
        chosen = {name: blanks.of(name) for name in self._staging.fields if name not in self._type.key}
        return {name: choice for name, choice in chosen.items() if choice is not Blank.CLEAR}

    def exclude_repeated_keys(self, on_duplicate: OnDuplicate, most: int) -> Iterator[pa.RecordBatch]:
        """Excludes duplicates and contradictions; yields the problems of the records that contradict another one.

        A duplicate equals an earlier record. A record that breaks a rule can contradict too, if its key could be read:
        only the user knows which of the two is right. Raises UnreadableFile if more than `most` records have one key.
        """
        known = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in self._type.key)
        # If a hash occurs once, its key is not repeated. Counting hashes takes half the memory of counting keys.
        self._connection.execute("CREATE TEMP TABLE suspects (_hash UBIGINT)")
        (records,) = self._connection.fetch_one("SELECT count(*) FROM staged")
        slices = 1 + records // _HASHES_AT_ONCE
        for slice_ in range(slices):
            self._connection.execute(
                f"""
                INSERT INTO suspects SELECT hash({self._keys}) AS _hash FROM staged
                WHERE {known} AND hash({self._keys}) % {slices} = {slice_} GROUP BY ALL HAVING count(*) > 1
                """
            )
        chosen = {
            OnDuplicate.REJECT: "min(_record)",
            OnDuplicate.FIRST: "min(_record) FILTER (_valid)",
            OnDuplicate.LAST: "max(_record) FILTER (_valid)",
        }[on_duplicate]
        self._connection.execute(
            f"""
            CREATE TEMP TABLE repeated AS
            SELECT {self._keys}, {chosen} AS _chosen, count(*) AS _members, min(_record, 2) AS _first,
                false AS _conflict
            FROM staged SEMI JOIN suspects ON hash({self._keys}) = suspects._hash WHERE {known}
            GROUP BY {self._keys} HAVING count(*) > 1
            """
        )
        if not self._connection.fetch_one("SELECT count(*) FROM repeated")[0]:
            return
        self._check_members(records, most)
        of_one_key = same_key(self._type, "s", "r")
        if on_duplicate is OnDuplicate.REJECT:
            # A window function holds all records of a key in memory, and so does a join that hashes them.
            differ = differs(self._type, self._staging.fields, "s", "f")
            self._connection.execute(
                f"""
                CREATE TEMP TABLE firsts AS SELECT t.* FROM staged t SEMI JOIN repeated r ON t._record = r._chosen;
                UPDATE repeated SET _conflict = true WHERE _chosen IN (
                    SELECT DISTINCT f._record FROM staged s JOIN firsts f ON {same_key(self._type, "s", "f")}
                    WHERE {differ} OR s._unread IS DISTINCT FROM f._unread
                )
                """
            )
        self._connection.execute(
            f"""
            INSERT INTO excluded
            SELECT s._record, CASE WHEN r._conflict THEN 'rejected' ELSE 'duplicate' END
            FROM staged s JOIN repeated r ON {of_one_key} WHERE s._valid AND (r._conflict OR s._record <> r._chosen)
            """
        )
        yield from self._problems(
            f"""
            SELECT s._record, s._line, NULL, 'key_conflict',
                'must be the only one with its key, or equal to the others',
                format('the key of record {{:,}}', r._first[CASE WHEN s._record = r._first[1] THEN 2 ELSE 1 END])
                || CASE WHEN r._members > 2 THEN format(' and {{:,}} more', r._members - 2) ELSE '' END
            FROM staged s JOIN repeated r ON {of_one_key} WHERE r._conflict ORDER BY s._record
            """
        )

    def _check_members(self, records: int, most: int) -> None:
        """Raises UnreadableFile if more than `most` records have the same key."""
        members, *key = self._connection.fetch_one(
            f"SELECT _members, {self._keys} FROM repeated ORDER BY _members DESC LIMIT 1"
        )
        if members > most:
            raise key_of_too_many(members, records, self._type.key, key, most)

    def exclude_other_forms(self) -> Iterator[pa.RecordBatch]:
        """Excludes records with a key that equals another one but for its Unicode normal form; yields their problems.

        The other key is in the file or stored. Of two such keys, at least one is not in the form NFC. Most files and
        stores have no such key: then nothing else is compared.
        """
        texts = [name for name in self._type.key if self._type.field(name).type == "text"]
        if not texts:
            return
        normal = {name: f"nfc_normalize({name})" for name in map(identifier, texts)}
        keys = [identifier(name) for name in self._type.key]
        form = f"struct_pack({', '.join(f'{name} := {normal.get(name, name)}' for name in keys)})"
        spelling = f"struct_pack({', '.join(f'{name} := {name}' for name in keys)})"
        is_other = " OR ".join(f"{normalised} <> {name}" for name, normalised in normal.items())
        self._connection.execute(
            f"""
            CREATE TEMP TABLE forms AS
            SELECT {form} AS form FROM staged WHERE _valid AND ({is_other})
            UNION SELECT {form} FROM ({self._stored()}) WHERE {is_other}
            """,
            [self._account],
        )
        if not self._connection.fetch_one("SELECT count(*) FROM forms")[0]:
            return
        self._connection.execute(
            f"""
            CREATE TEMP TABLE other_forms AS
            WITH spellings AS (
                SELECT {form} AS form, {spelling} AS spelling, _record FROM staged WHERE _valid
                UNION ALL SELECT {form}, {spelling}, NULL FROM ({self._stored()})
            )
            SELECT form, spelling, min(_record) AS _record FROM spellings SEMI JOIN forms USING (form)
            GROUP BY form, spelling QUALIFY count(*) OVER (PARTITION BY form) > 1
            """,
            [self._account],
        )
        key = ", ' · ', ".join(f"s.{identifier(name)}::VARCHAR" for name in self._type.key)
        self._connection.execute(
            f"""
            CREATE TEMP TABLE in_other_form AS
            SELECT s._record, s._line, concat({key}) AS key, min(other._record) AS other
            FROM (FROM staged ANTI JOIN excluded USING (_record)) s
            JOIN other_forms mine ON {spelling} = mine.spelling
            JOIN other_forms other ON other.form = mine.form AND other.spelling <> mine.spelling
            GROUP BY ALL
            """
        )
        self._connection.execute("INSERT INTO excluded SELECT _record, 'rejected' FROM in_other_form")
        expected = "must not have a key that equals another one but for its Unicode normal form"
        yield pa.RecordBatch.from_pylist(
            [
                {
                    "record": record,
                    "line": line,
                    "rule": "key_form",
                    "expected": expected,
                    "value": f"{code_points(key)}, as {'a stored key' if other is None else f'record {other:,}'}",
                }
                for record, line, key, other in self._connection.execute(
                    "FROM in_other_form ORDER BY _record"
                ).fetch_all()
            ],
            PROBLEMS,
        )

    def exclude_forbidden(self, mode: Mode, missing_required: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Excludes records that the mode forbids, and new records without a required field; yields their problems."""
        if mode is Mode.INSERT:
            yield from self._exclude(
                "SEMI", None, "exists", "must be new: the import only inserts", "a key that exists"
            )
        if mode is Mode.UPDATE:
            yield from self._exclude(
                "ANTI", None, "unknown", "must exist already: the import only updates", "a key that does not exist"
            )
        elif missing_required:
            yield from self._exclude("ANTI", missing_required[0], "required", "must be there for a new record", None)

    def compare(self) -> Comparison:
        """Returns what a commit would do with the other records. Writes the excluded ones to a file."""
        self._connection.execute(f"COPY excluded TO {literal(self._staging.excluded)} (FORMAT parquet)")
        fields = self._staging.fields
        clearable = [name for name in fields if name not in self._type.key]
        texts = [name for name in clearable if self._type.field(name).type == "text"]
        cleared = "".join(
            f", count(*) FILTER (t.{identifier(name)} IS NOT NULL AND s.{identifier(name)} IS NULL)"
            for name in clearable
        )
        shortened = "".join(f", count(*) FILTER ({_loses_zeros(name)})" for name in texts)
        row = self._connection.fetch_one(
            f"""
            SELECT count(*) FILTER (t._account IS NULL),
                count(*) FILTER (t._account IS NOT NULL AND ({differs(self._type, fields, "s", "t")})),
                count(*) {cleared} {shortened}
            FROM ({self._staging.included_sql}) s
            LEFT JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")}
            """,
            [self._account],
        )
        created, updated, included, *numbers = row
        # A created record has no stored value, so only updates can clear one.
        outcomes = dict(self._connection.execute("SELECT _outcome, count(*) FROM excluded GROUP BY ALL").fetch_all())
        return Comparison(
            created=created,
            updated=updated,
            unchanged=included - created - updated,
            rejected=outcomes.get("rejected", 0),
            duplicate=outcomes.get("duplicate", 0),
            cleared={name: number for name, number in zip(clearable, numbers, strict=False) if number},
            without_zeros={
                name: number for name, number in zip(texts, numbers[len(clearable) :], strict=True) if number
            },
        )

    def with_point_zero(self) -> int:
        """Returns how many keys of the file would be a stored key without the `.0` at their end."""
        return self._alike("regexp_extract(key, '^(.*)\\.0$', 1)", "key", "true")[0]

    def without_zeros(self) -> tuple[int, list[str]]:
        """Returns how many new keys of the file are a stored key without its leading zeros, and the first of them."""
        return self._alike("key", "ltrim(key, '0')", "key LIKE '0%'")

    def losing_zeros(self, name: str) -> list[str]:
        """Returns the first values of a field that would replace stored ones with zeros at their beginning."""
        rows = self._connection.execute(
            f"""
            SELECT s.{identifier(name)} FROM ({self._staging.included_sql}) s
            JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")}
            WHERE {_loses_zeros(name)} ORDER BY s._record LIMIT 3
            """,
            [self._account],
        ).fetch_all()
        return [value for (value,) in rows]

    def stored_values(self, name: str, records: Sequence[int]) -> int:
        """Returns in how many of these records of the file a field has the value that is stored."""
        field, numbers = identifier(name), ", ".join(map(str, records))
        (number,) = self._connection.fetch_one(
            f"""
            SELECT count(*) FROM (SELECT * FROM staged WHERE _record IN ({numbers})) s
            JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")} WHERE s.{field} = t.{field}
            """,
            [self._account],
        )
        return int(number)

    def _alike(self, staged: str, stored: str, condition: str) -> tuple[int, list[str]]:
        """Returns how many new keys of the file equal stored ones if both are written alike, and the first of them.

        staged, stored: the ways to write a `key` of the file and a stored one, as SQL.
        condition: which stored keys are compared, as SQL.

        A key of several fields, or of another type than text, is not compared.
        """
        name, *others = self._type.key
        if others or self._type.field(name).type != "text":
            return 0, []
        keys = f"SELECT {identifier(name)} AS key FROM"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE alike AS SELECT {stored} AS other FROM ({keys} ({self._stored()})) "
            f"WHERE {condition}",
            [self._account],
        )
        if not self._connection.fetch_one("SELECT count(*) FROM alike")[0]:
            return 0, []
        number, examples = self._connection.fetch_one(
            f"""
            SELECT count(*), (list(key ORDER BY _record))[:3] FROM (
                FROM (SELECT {identifier(name)} AS key, _record FROM staged) s
                SEMI JOIN alike ON {staged} = other
                ANTI JOIN ({keys} ({self._stored()})) t ON s.key = t.key
            )
            """,
            [self._account],
        )
        return number, examples or []

    def changes(self, records: int) -> list[ChangedValue]:
        """Returns the changed values of at most so many records, each with the stored and the new value."""
        rows = self._connection.execute(self._changes_sql(f"LIMIT {int(records)}"), [self._account]).fetch_all()
        return [ChangedValue(*row) for row in rows]

    def write_changes(self, path: Path) -> None:
        """Write all changed values to a Parquet file, with the columns of `ChangedValue`."""
        self._connection.execute(f"COPY ({self._changes_sql()}) TO {literal(path)} (FORMAT parquet)", [self._account])

    def _changes_sql(self, limit: str = "") -> str:
        """Returns a query of all changed values, in the order of the file. `limit` restricts the records."""
        fields = [name for name in self._staging.fields if name not in self._type.key]
        values = "NULL::STRUCT(place INTEGER, field VARCHAR, old VARCHAR, new VARCHAR)" + "".join(
            f", CASE WHEN s.{identifier(name)} IS DISTINCT FROM t.{identifier(name)} THEN "
            f"{{'place': {place}, 'field': {literal(name)}, "
            f"'old': t.{identifier(name)}::VARCHAR, 'new': s.{identifier(name)}::VARCHAR}} END"
            for place, name in enumerate(fields)
        )
        key = ", ' · ', ".join(f"s.{identifier(name)}::VARCHAR" for name in self._type.key)
        return f"""
            SELECT record, key, change.field, change.old, change.new FROM (
                SELECT record, key, unnest(list_filter(changes, lambda it: it IS NOT NULL)) AS change FROM (
                    SELECT s._record AS record, concat({key}) AS key, [{values}] AS changes
                    FROM ({self._staging.included_sql}) s
                    JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")}
                    WHERE {differs(self._type, fields, "s", "t")} ORDER BY s._record {limit}
                )
            ) ORDER BY record, change.place
            """

    def _stored(self) -> str:
        columns = ", ".join(["_account", *map(identifier, self._staging.fields)])
        return f"SELECT {columns} FROM {self._records} WHERE _account = ?"

    def _exclude(
        self, join: str, field: str | None, rule: str, expected: str, value: str | None
    ) -> Iterator[pa.RecordBatch]:
        self._connection.execute(
            f"""
            CREATE TEMP TABLE forbidden AS
            SELECT s._record, s._line FROM (SELECT * FROM staged ANTI JOIN excluded USING (_record)) s
            {join} JOIN ({self._stored()}) t ON {same_key(self._type, "s", "t")}
            """,
            [self._account],
        )
        self._connection.execute("INSERT INTO excluded SELECT _record, 'rejected' FROM forbidden")
        yield from self._problems(
            "SELECT _record, _line, ?, ?, ?, ? FROM forbidden ORDER BY _record", [field, rule, expected, value]
        )
        self._connection.execute("DROP TABLE forbidden")

    def _problems(self, query: str, values: Sequence[str | None] = ()) -> Iterator[pa.RecordBatch]:
        for batch in self._connection.execute(query, list(values)).to_arrow_reader(100_000):
            yield batch.rename_columns(PROBLEMS.names).cast(PROBLEMS)


def _loses_zeros(name: str) -> str:
    """Returns a condition that a staged text `s` is the stored one `t` without the zeros at its beginning, as SQL."""
    field = identifier(name)
    return f"starts_with(t.{field}, '0') AND ltrim(t.{field}, '0') = s.{field}"
