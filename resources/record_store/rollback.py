"""Rolls back a batch: each of its records becomes what it was before the batch, unless it was modified since.

"Before the batch" leaves out the values that rolled-back batches wrote. Example: batch A creates a record, and batch B
changes it. A is rolled back with `keep`, then B is rolled back. The record is removed, because A is rolled back too.
The rule:

1. Take the record from the snapshot directly before the batch.
2. Leave out each batch A that was in force at that time and is rolled back now, newest first.
   - If the record is as A left it, take it as it was before A. It may not have existed.
   - If it has changed since A, and A had updated it: each field that still has A's value gets the value from before A.
     Other fields stay, because a later batch or a user wrote them.
   - If it has changed since A, and A had created it: it stays. It rests on A if any value of A is left.

The rule compares snapshots. The batch id in a record is not enough: SQL edits do not change it, and rollbacks restore
an older one. A batch that was rolled back before that time is not left out, because that rollback chose what remained.
A rollback is a batch too. A rollback that was rolled back is left out, unless its own batch is rolled back again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from resources.record_store.lake import Connection
from resources.record_store.snapshots import commits_since, images_of
from resources.record_store.sorting import key_ranges, parts_to_sort
from resources.record_store.sql_text import identifier, literal
from resources.record_store.staging import same_key
from resources.record_store.tables import OWN_COLUMNS, sql_type, table
from schemas.batches import Batch
from schemas.errors import Unaccounted
from schemas.record_type import RecordType
from schemas.rollbacks import Conflict, Decision, RollbackCounts

_UNTOUCHED = "((_left_by AND _present AND _same) OR (_was_there AND NOT (_left_by OR _present)))"
_GONE = "(NOT _present AND (_left_by OR NOT _was_there))"
_MODIFIED = f"NOT ({_UNTOUCHED} OR {_GONE})"
_COMMITS_SEARCHED = 50


@dataclass(frozen=True)
class Images:
    """The snapshots directly before and after a batch's commit. An import marks what it writes with its id."""

    batch_id: str
    before: int
    after: int
    is_import: bool

    @classmethod
    def of(cls, connection: Connection, batch: Batch) -> Self | None:
        """Return the images of a batch's commit; None if they are no longer kept."""
        snapshots = images_of(connection, batch.batch_id)
        return None if snapshots is None else cls(batch.batch_id, *snapshots, is_import=batch.undone is None)


class Rollback:
    """Rolls back the records that a batch touched. Call `compare` first. Only `apply` writes.

    rolled_back: the images of the batches to leave out, newest first: see the module's docstring.
    """

    def __init__(
        self,
        connection: Connection,
        record_type: RecordType,
        account: str,
        images: Images,
        rolled_back: Sequence[Images],
    ) -> None:
        self._connection = connection
        self._type = record_type
        self._account = account
        self._batch_id = images.batch_id
        self._after = images.after
        self._is_import = images.is_import
        self._rolled_back = rolled_back
        self._columns = (*OWN_COLUMNS, *record_type.field_names)
        self._others = [identifier(name) for name in record_type.field_names if name not in record_type.key]
        self._before_sql = self._at(images.before)
        self._after_sql = self._at(images.after)
        self._now_sql = f"SELECT * FROM {table(record_type.name)} WHERE _account = ?"

    def compare(self, *, whole: bool) -> Self:
        """Compare the records before the batch, after it, and now. Returns itself.

        The temporary table `compared` has a row for each record that the batch changed, with these flags:
        it `_was_there` before the batch, was `_left_by` the batch, is `_present` now, and is the `_same` as the batch
        left it. A record `_rests` if its image still has values of a batch that is left out. Fields cannot have such
        names, so the flags are clear in every join.

        The temporary table `images` has the records that were there before, as they were.

        whole: if False, `images` has only keys. That is enough to count, if no values are compared.
        """
        columns = self._columns if whole or self._rolled_back else self._type.key
        self._image = ", ".join(map(identifier, columns))
        self._compare_import() if self._is_import else self._compare_any()
        return self

    def counts(self, decision: Decision) -> RollbackCounts:
        """Return what becomes of the records with this decision. If it refuses, only unmodified records count."""
        row = self._connection.fetch_one(
            f"""
            SELECT count(*) FILTER (NOT _was_there AND {_UNTOUCHED}), count(*) FILTER (_was_there AND {_UNTOUCHED}),
                count(*) FILTER ({_MODIFIED}), count(*) FILTER ({_GONE}),
                count(*) FILTER ({_MODIFIED} AND NOT _was_there AND _present),
                count(*) FILTER (_rests AND {_chosen(decision)})
            FROM compared
            """
        )
        removed, restored, modified, gone, modified_creations, resting = row
        merged = kept = 0
        if decision.restores:
            removed, restored = removed + modified_creations, restored + modified - modified_creations
        elif modified and not decision.refuses:
            mergeable, showing = self._modified_with_values()
            merged = mergeable if decision.merges else 0
            kept = modified - merged
            resting += showing - merged
        return RollbackCounts(removed, restored, modified, merged, kept, gone, resting)

    def conflicts(self, records: int) -> list[Conflict]:
        """Return at most so many of the records that were modified since, the first by key."""
        keys = [identifier(name) for name in self._type.key]
        differing = ", ".join(
            f"CASE WHEN a.{column} IS DISTINCT FROM c.{column} THEN {literal(name)} END"
            for name, column in ((name, identifier(name)) for name in self._type.field_names)
        )
        rows = self._connection.execute(
            f"""
            WITH u AS MATERIALIZED (
                    SELECT * FROM compared WHERE {_MODIFIED} ORDER BY {", ".join(keys)} LIMIT {int(records)}
                ), c AS (
                    FROM ({self._now_sql}) c SEMI JOIN u ON {same_key(self._type, "u", "c")}
                ), a AS (
                    FROM ({self._after_sql}) a SEMI JOIN u ON {same_key(self._type, "u", "a")}
                )
            SELECT {", ".join(f"u.{key}" for key in keys)}, concat_ws(' · ', {", ".join(f"u.{key}" for key in keys)}),
                list_filter([{differing}], name -> name IS NOT NULL), c._batch
            FROM u JOIN c ON {same_key(self._type, "u", "c")} LEFT JOIN a ON {same_key(self._type, "u", "a")}
            ORDER BY {", ".join(f"u.{key}" for key in keys)}
            """,
            [self._account, self._account],
        ).fetch_all()
        width = len(keys)
        found = [
            (row[:width], Conflict(row[width], tuple(row[width + 1]), None if row[-1] == self._batch_id else row[-1]))
            for row in rows
        ]
        return self._with_causes(found) if found else []

    def modified_by(self) -> dict[str, int]:
        """Return how many modified records each later batch wrote last, most first."""
        rows = self._connection.execute(
            f"""
            SELECT c._batch, count(*) AS records FROM ({self._now_sql}) c
            SEMI JOIN (FROM compared WHERE {_MODIFIED}) u ON {same_key(self._type, "u", "c")}
            WHERE c._batch <> ? GROUP BY c._batch ORDER BY records DESC, c._batch
            """,
            [self._account, self._batch_id],
        ).fetch_all()
        return dict(rows)

    def apply(self, decision: Decision, rollback_id: str) -> RollbackCounts:
        """Restore the records as `counts` says for this decision. Raises Unaccounted, before the commit, if it differs.

        A record that is merged, or restored without some of its values, gets the rollback's id as its batch. Any other
        restored record gets the batch id that it had before.
        """
        counts = self.counts(decision)
        total = self._count()
        chosen = _chosen(decision)
        if self._rolled_back:
            self._connection.execute("UPDATE images SET _batch = ? WHERE _batch IS NULL", [rollback_id])
        if counts.merged:
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE merged AS {self._merged_sql()}", [self._account] * 2
            )
        # Untouched records still have the id of the batch, so that DuckDB finds them in few files.
        untouched_import = self._is_import and not decision.restores
        still = f"t._batch = {literal(self._batch_id)}" if untouched_import else "true"
        removed = updated = inserted = merged = 0
        if counts.removed:
            keys = ", ".join(map(identifier, self._type.key))
            (removed,) = self._connection.fetch_one(
                f"DELETE FROM {table(self._type.name)} t WHERE _account = ? AND {still} AND ({keys}) IN "
                f"(SELECT ({keys}) FROM compared WHERE NOT _was_there AND _present AND {chosen})",
                [self._account],
            )
        if counts.restored:
            updated = self._update(f"FROM {self._images_of(f'_present AND {chosen}')}", "s._batch", still)
            if updated < counts.restored:
                inserted = self._insert(self._images_of(f"NOT _present AND {chosen}"))
        if counts.merged:
            merged = self._update("FROM merged", literal(rollback_id), "true")
        done = replace(counts, removed=removed, restored=updated + inserted, merged=merged)
        if done != counts or self._count() != total - removed + inserted:
            raise Unaccounted(
                f"Rolling {self._batch_id} back would have {done} where {counts} was planned. Nothing was written.",
                "This is a defect of records; please report it.",
            )
        return done

    def _at(self, snapshot: int) -> str:
        """Return SQL for the account's records in a snapshot. Later columns are null. Binds the account."""
        name = table(self._type.name, self._connection.snapshot(snapshot))
        there = set(self._connection.execute(f"SELECT * FROM {name} LIMIT 0").columns)
        types = {name: sql_type(self._type.field(name).type) for name in self._type.field_names}
        columns = [
            identifier(name) if name in there else f"NULL::{types[name]} AS {identifier(name)}"
            for name in self._columns
        ]
        return f"SELECT {', '.join(columns)} FROM {name} WHERE _account = ?"

    def _compare_import(self) -> None:
        """Compare the records of an import. Its snapshot marks each record that it wrote with its id.

        The records of the account are looked up among the few of the batch, never the other way round. The present
        records are read only if a commit came after, and only for records that have another batch id now.
        """
        listed = ", ".join(map(identifier, self._type.key))
        changed_since = bool(commits_since(self._connection, self._type, self._after))
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE wrote AS SELECT {'*' if changed_since else listed} "
            f"FROM ({self._after_sql} AND _batch = ?)",
            [self._account, self._batch_id],
        )
        self._take_images("wrote")
        touched = self._was_there("(SELECT *, true AS _left_by FROM wrote)")
        if not changed_since:
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE compared AS SELECT *, true AS _present, true AS _same FROM ({touched})"
            )
            return
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE compared AS
            WITH c AS MATERIALIZED ({self._now_sql} AND _batch = ?),
                lost AS MATERIALIZED (FROM wrote a ANTI JOIN c ON {same_key(self._type, "a", "c")}),
                n AS (
                    SELECT {listed}, true AS _there
                    FROM ({self._now_sql}) n SEMI JOIN lost ON {same_key(self._type, "lost", "n")}
                )
            SELECT u.*, c._account IS NOT NULL OR n._there IS NOT NULL AS _present,
                c._account IS NOT NULL AND NOT ({self._differs("a", "c")}) AS _same
            FROM ({touched}) u
            JOIN wrote a ON {same_key(self._type, "u", "a")}
            LEFT JOIN c ON {same_key(self._type, "u", "c")}
            LEFT JOIN n ON {same_key(self._type, "u", "n")}
            """,
            [self._account, self._batch_id, self._account],
        )

    def _compare_any(self) -> None:
        """Compare all records before a rollback with those after. A rollback does not mark what it restored."""
        keys = ", ".join(f"coalesce(a.{key}, b.{key}) AS {key}" for key in map(identifier, self._type.key))
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE touched AS
            SELECT {keys}, a._account IS NOT NULL AS _left_by
            FROM ({self._after_sql}) a FULL JOIN ({self._before_sql}) b ON {same_key(self._type, "a", "b")}
            WHERE a._account IS NULL OR b._account IS NULL OR {self._differs("a", "b")}
            """,
            [self._account] * 2,
        )
        self._take_images("touched")
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE compared AS
            SELECT u.*, c._account IS NOT NULL AS _present,
                a._account IS NOT NULL AND c._account IS NOT NULL AND NOT ({self._differs("a", "c")}) AS _same
            FROM ({self._was_there("touched")}) u
            LEFT JOIN ({self._after_sql}) a ON {same_key(self._type, "u", "a")}
            LEFT JOIN ({self._now_sql}) c ON {same_key(self._type, "u", "c")}
            """,
            [self._account] * 2,
        )

    def _take_images(self, touched: str) -> None:
        """Make the table of images: the records with the keys of a table, as they were before the batch."""
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE images AS SELECT {self._image}, false AS _rests FROM ({self._before_sql}) b "
            f"SEMI JOIN {touched} t ON {same_key(self._type, 't', 'b')}",
            [self._account],
        )
        for images in self._rolled_back:
            self._leave_out(images, touched)

    def _leave_out(self, images: Images, touched: str) -> None:
        """Remove the values that a batch wrote from the images. An image of several versions has no batch id."""
        mark, marks = (" AND _batch = ?", [images.batch_id]) if images.is_import else ("", [])
        (number,) = self._connection.fetch_one(
            f"CREATE OR REPLACE TEMP TABLE theirs AS FROM ({self._at(images.after)}{mark}) a "
            f"SEMI JOIN {touched} t ON {same_key(self._type, 't', 'a')}",
            [self._account, *marks],
        )
        if images.is_import and not number:
            return
        same = f"NOT ({self._differs('i', 'a')})"
        updated = "(a._account IS NOT NULL AND b._account IS NOT NULL)"
        its_values = self._its_values("i")
        any_of_its = f"({' OR '.join(its_values.values()) or 'false'})"
        columns = [
            f"CASE WHEN {same} THEN b._account ELSE i._account END AS _account",
            f"CASE WHEN {same} THEN b._batch WHEN {updated} AND {any_of_its} THEN NULL ELSE i._batch END AS _batch",
            *(f"t.{identifier(name)}" for name in self._type.key),
            *(
                f"CASE WHEN {same} OR ({updated} AND {test}) THEN b.{it} ELSE i.{it} END AS {it}"
                for it, test in its_values.items()
            ),
            f"NOT {same} AND (i._rests OR (b._account IS NULL AND a._account IS NOT NULL AND {any_of_its})) AS _rests",
        ]
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE images AS
            WITH b AS MATERIALIZED (
                FROM ({self._at(images.before)}) b
                SEMI JOIN {"theirs" if images.is_import else touched} t ON {same_key(self._type, "t", "b")}
            )
            SELECT {", ".join(columns)} FROM {touched} t
            LEFT JOIN images i ON {same_key(self._type, "t", "i")}
            LEFT JOIN theirs a ON {same_key(self._type, "t", "a")}
            LEFT JOIN b ON {same_key(self._type, "t", "b")}
            WHERE CASE WHEN {same} THEN b._account IS NOT NULL ELSE i._account IS NOT NULL END
            """,
            [self._account],
        )

    def _was_there(self, touched: str) -> str:
        """Return SQL for the keys of a table, each with the flags of its image."""
        listed = ", ".join(map(identifier, self._type.key))
        return f"""
            SELECT {", ".join(f"t.{identifier(name)}" for name in self._type.key)}, t._left_by,
                b._there IS NOT NULL AS _was_there, coalesce(b._rests, false) AS _rests
            FROM {touched} t
            LEFT JOIN (SELECT {listed}, _rests, true AS _there FROM images) b ON {same_key(self._type, "t", "b")}
        """

    def _differs(self, left: str, right: str) -> str:
        """Return a condition that two rows differ in any column, including the store's own."""
        return " OR ".join(
            f"{left}.{column} IS DISTINCT FROM {right}.{column}" for column in map(identifier, self._columns)
        )

    def _update(self, source: str, batch: str, condition: str) -> int:
        """Give the records `t` with the source's keys its values and a batch id. Returns how many there were.

        condition: a condition that all of them meet, for speed.
        """
        assignments = ", ".join([*(f"{column} = s.{column}" for column in self._others), f"_batch = {batch}"])
        number: int = self._connection.fetch_one(
            f"""
            MERGE INTO {table(self._type.name)} t USING ({source}) s
            ON t._account = ? AND {condition} AND {same_key(self._type, "t", "s")}
            WHEN MATCHED THEN UPDATE SET {assignments}
            """,
            [self._account],
        )[0]
        return number

    def _insert(self, source: str) -> int:
        """Insert the records `s` of the source unchanged. Returns how many there were."""
        columns = ", ".join(map(identifier, self._columns))
        (size,) = self._connection.fetch_one(
            f"SELECT count(*) * avg(strlen(s::VARCHAR)) FILTER (hash(s) % 100 = 0) FROM {source}"
        )
        ranges = parts_to_sort(int(size or 0))
        return sum(
            self._connection.fetch_one(
                f"INSERT INTO {table(self._type.name)} ({columns}) SELECT {columns} FROM {source} AND {condition}",
                bounds,
            )[0]
            for condition, bounds in key_ranges(self._connection, self._type, source, ranges)
        )

    def _images_of(self, condition: str) -> str:
        """Return SQL, to follow FROM, for the images `s` of records that were there and meet a condition."""
        keys = ", ".join(map(identifier, self._type.key))
        wanted = f"SELECT {keys} FROM compared WHERE _was_there AND {condition}"
        return f"images s SEMI JOIN ({wanted}) u ON {same_key(self._type, 's', 'u')} WHERE true"

    def _merged_sql(self) -> str:
        """Return SQL for the modified records that can be merged, as they are after it. Binds the account twice."""
        keys = [f"u.{identifier(name)}" for name in self._type.key]
        merged = [f"CASE WHEN {test} THEN b.{it} ELSE c.{it} END AS {it}" for it, test in self._its_values("c").items()]
        return f"SELECT {', '.join([*keys, *merged])} {self._modified_with_values_sql()} AND u._was_there"

    def _modified_with_values(self) -> tuple[int, int]:
        """Count the modified records with values of the batch: those that were there before it, and all."""
        there, everywhere = self._connection.fetch_one(
            f"SELECT count(*) FILTER (u._was_there), count(*) {self._modified_with_values_sql()}", [self._account] * 2
        )
        return there, everywhere

    def _modified_with_values_sql(self) -> str:
        """Return SQL, to follow SELECT, for the modified records with values of the batch. Binds the account twice."""
        return f"""
            FROM compared u
            LEFT JOIN images b ON {same_key(self._type, "u", "b")}
            JOIN ({self._after_sql}) a ON {same_key(self._type, "u", "a")}
            JOIN ({self._now_sql}) c ON {same_key(self._type, "u", "c")}
            WHERE {_MODIFIED} AND ({" OR ".join(self._its_values("c").values()) or "false"})
        """

    def _its_values(self, record: str) -> dict[str, str]:
        """Return a condition for each field: the record has the value that the batch, from `b` to `a`, gave it."""
        return {
            it: f"(a.{it} IS DISTINCT FROM b.{it} AND {record}.{it} IS NOT DISTINCT FROM a.{it})" for it in self._others
        }

    def _with_causes(self, found: Sequence[tuple[Sequence[Any], Conflict]]) -> list[Conflict]:
        """Return the conflicts, each with the snapshot that last changed its record.

        The snapshot of a later batch names that batch. Other changes are searched for in the commits that name no
        batch, newest first.
        """
        commits = commits_since(self._connection, self._type, self._after)
        explained: dict[Sequence[Any], Conflict] = {}
        for key, conflict in found:
            named = [commit for commit in commits if conflict.batch_id and commit[1] == conflict.batch_id]
            if named:
                snapshot, _, at, author = named[0]
                explained[key] = replace(conflict, snapshot=snapshot, at=at, actor=author)
        for snapshot, _, at, author in [commit for commit in commits if commit[1] is None][:_COMMITS_SEARCHED]:
            unknown = [key for key, _ in found if key not in explained]
            for key in self._changed_in(snapshot, unknown) if unknown else ():
                conflict = dict(found)[key]
                explained[key] = replace(conflict, snapshot=snapshot, at=at, actor=author)
        return [explained.get(key, conflict) for key, conflict in found]

    def _changed_in(self, snapshot: int, keys: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """Return the keys of records that a snapshot changed."""
        wanted = " OR ".join(
            "(" + " AND ".join(f"{identifier(name)} = ?" for name in self._type.key) + ")" for _ in keys
        )
        names = ", ".join(map(identifier, self._type.key))
        values = [self._account, *(value for key in keys for value in key)]
        new, old = (f"SELECT * FROM ({self._at(it)}) WHERE {wanted}" for it in (snapshot, snapshot - 1))
        return self._connection.execute(
            f"SELECT DISTINCT {names} FROM ((({new}) EXCEPT ({old})) UNION ALL (({old}) EXCEPT ({new})))", values * 4
        ).fetch_all()

    def _count(self) -> int:
        number: int = self._connection.fetch_one(f"SELECT count(*) FROM ({self._now_sql})", [self._account])[0]
        return number


def _chosen(decision: Decision) -> str:
    """Return a condition on `compared`: the records to restore."""
    return f"({_UNTOUCHED} OR {_MODIFIED})" if decision.restores else _UNTOUCHED
