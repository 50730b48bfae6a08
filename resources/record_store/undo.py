"""A batch taken back: each of its records as it was before, where nobody has modified it since."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from resources.record_store.databases import literal
from resources.record_store.lake import Connection, identifier
from resources.record_store.snapshots import commits_since
from resources.record_store.sorting import key_ranges, parts_to_sort
from resources.record_store.staging import same_key
from resources.record_store.tables import OWN_COLUMNS, sql_type, table
from schemas.errors import Unaccounted
from schemas.record_type import RecordType
from schemas.rollbacks import Conflict, OnModified, RollbackCounts

_UNTOUCHED = "((left_by AND present AND same) OR NOT (left_by OR present))"
_GONE = "(left_by AND NOT present)"
_MODIFIED = f"NOT ({_UNTOUCHED} OR {_GONE})"
_COMMITS_SEARCHED = 50


class Undo:
    """The records that a batch touched, at three moments: before it, after it, and now.

    They are compared once, into a temporary table `undo`, with a row for the key of each record whose state after
    the batch is another than before: `was_there` before, `left_by` the batch, `present` now and the `same` as the
    batch left it. `images` are those that were there, as they were; without `whole` no more than their keys, which is
    enough to count what is not to be merged. Nothing is written but by `apply`.
    """

    def __init__(
        self,
        connection: Connection,
        record_type: RecordType,
        account: str,
        batch_id: str,
        *,
        before: int,
        after: int,
        is_import: bool,
        whole: bool,
    ) -> None:
        self._connection = connection
        self._type = record_type
        self._account = account
        self._batch_id = batch_id
        self._after = after
        self._is_import = is_import
        self._columns = (*OWN_COLUMNS, *record_type.field_names)
        self._before_sql = self._at(before)
        self._after_sql = self._at(after)
        self._now_sql = f"SELECT * FROM {table(record_type.name)} WHERE _account = ?"
        columns = self._columns if whole else self._type.key
        self._image = ", ".join(map(identifier, columns))
        self._compare_import() if is_import else self._compare_any()

    def counts(self, on_modified: OnModified) -> RollbackCounts:
        """What becomes of the records with this choice; with STOP, of those that were not modified."""
        row = self._connection.fetch_one(
            f"""
            SELECT count(*) FILTER (NOT was_there AND {_UNTOUCHED}), count(*) FILTER (was_there AND {_UNTOUCHED}),
                count(*) FILTER ({_MODIFIED}), count(*) FILTER ({_GONE}),
                count(*) FILTER ({_MODIFIED} AND NOT was_there AND present)
            FROM undo
            """
        )
        removed, restored, modified, gone, modified_creations = row
        if on_modified is OnModified.OVERWRITE:
            removed, restored = removed + modified_creations, restored + modified - modified_creations
        merged = self._mergeable() if on_modified is OnModified.MERGE else 0
        kept = modified - merged if on_modified in (OnModified.KEEP, OnModified.MERGE) else 0
        return RollbackCounts(removed, restored, modified, merged, kept, gone)

    def conflicts(self, records: int) -> list[Conflict]:
        """The first records that were modified since, at most so many, by key."""
        keys = [identifier(name) for name in self._type.key]
        differing = ", ".join(
            f"CASE WHEN a.{column} IS DISTINCT FROM c.{column} THEN {literal(name)} END"
            for name, column in ((name, identifier(name)) for name in self._type.field_names)
        )
        rows = self._connection.execute(
            f"""
            WITH u AS MATERIALIZED (
                    SELECT * FROM undo WHERE {_MODIFIED} ORDER BY {", ".join(keys)} LIMIT {int(records)}
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

    def apply(self, on_modified: OnModified, rollback_id: str) -> RollbackCounts:
        """The records are as `counts` says for this choice. Raises Unaccounted, before any commit, when they are not.

        A record that is merged bears the rollback's id; one that is restored bears what it bore before.
        """
        counts = self.counts(on_modified)
        total = self._count()
        chosen = f"({_UNTOUCHED} OR {_MODIFIED})" if on_modified is OnModified.OVERWRITE else _UNTOUCHED
        if counts.merged:
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE merged AS {self._merged_sql()}", [self._account] * 2
            )
        # What nobody has touched bears the batch still, and lies where few others do.
        untouched_import = self._is_import and on_modified is not OnModified.OVERWRITE
        still = f"t._batch = {literal(self._batch_id)}" if untouched_import else "true"
        removed = updated = inserted = merged = 0
        if counts.removed:
            keys = ", ".join(map(identifier, self._type.key))
            (removed,) = self._connection.fetch_one(
                f"DELETE FROM {table(self._type.name)} t WHERE _account = ? AND {still} AND ({keys}) IN "
                f"(SELECT ({keys}) FROM undo WHERE NOT was_there AND present AND {chosen})",
                [self._account],
            )
        if counts.restored:
            updated = self._update(f"FROM {self._images_of(f'present AND {chosen}')}", "s._batch", still)
            if updated < counts.restored:
                inserted = self._insert(self._images_of(f"NOT present AND {chosen}"))
        if counts.merged:
            merged = self._update("FROM merged", literal(rollback_id), "true")
        done = RollbackCounts(removed, updated + inserted, counts.modified, merged, counts.kept, counts.gone)
        if done != counts or self._count() != total - removed + inserted:
            raise Unaccounted(
                f"Taking {self._batch_id} back would have {done} where {counts} was planned. Nothing was written.",
                "This is a defect of records; please report it.",
            )
        return done

    def _at(self, snapshot: int) -> str:
        """The account's records in a snapshot, with nulls in the columns that came later; binds the account."""
        name = table(self._type.name, self._connection.snapshot(snapshot))
        there = set(self._connection.execute(f"SELECT * FROM {name} LIMIT 0").columns)
        types = {name: sql_type(self._type.field(name).type) for name in self._type.field_names}
        columns = [
            identifier(name) if name in there else f"NULL::{types[name]} AS {identifier(name)}"
            for name in self._columns
        ]
        return f"SELECT {', '.join(columns)} FROM {name} WHERE _account = ?"

    def _compare_import(self) -> None:
        """Every record that an import wrote bears its id, before anyone modifies it, and lies where few others do.

        The many records of the account are looked up in the few of the batch, never the other way round; those of now
        only where any commit came after, and then only for records that no longer bear the batch.
        """
        keys = [identifier(name) for name in self._type.key]
        listed = ", ".join(keys)
        changed_since = bool(commits_since(self._connection, self._type, self._after))
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE wrote AS SELECT {'*' if changed_since else listed} "
            f"FROM ({self._after_sql} AND _batch = ?)",
            [self._account, self._batch_id],
        )
        self._take_images("wrote")
        was_there = f"""
            SELECT {", ".join(f"a.{key}" for key in keys)}, b.there IS NOT NULL AS was_there, true AS left_by
            FROM wrote a LEFT JOIN (SELECT {listed}, true AS there FROM images) b ON {same_key(self._type, "a", "b")}
        """
        if not changed_since:
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE undo AS SELECT *, true AS present, true AS same FROM ({was_there})"
            )
            return
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE undo AS
            WITH c AS MATERIALIZED ({self._now_sql} AND _batch = ?),
                lost AS MATERIALIZED (FROM wrote a ANTI JOIN c ON {same_key(self._type, "a", "c")}),
                n AS (
                    SELECT {listed}, true AS there
                    FROM ({self._now_sql}) n SEMI JOIN lost ON {same_key(self._type, "lost", "n")}
                )
            SELECT u.*, c._account IS NOT NULL OR n.there IS NOT NULL AS present,
                c._account IS NOT NULL AND NOT ({self._differs("a", "c")}) AS same
            FROM ({was_there}) u
            JOIN wrote a ON {same_key(self._type, "u", "a")}
            LEFT JOIN c ON {same_key(self._type, "u", "c")}
            LEFT JOIN n ON {same_key(self._type, "u", "n")}
            """,
            [self._account, self._batch_id, self._account],
        )

    def _take_images(self, touched: str) -> None:
        """The records with the keys of a table, as they were before the batch."""
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE images AS SELECT {self._image} FROM ({self._before_sql}) b "
            f"SEMI JOIN {touched} t ON {same_key(self._type, 't', 'b')}",
            [self._account],
        )

    def _compare_any(self) -> None:
        """A rollback leaves no mark on what it restored: all records before it are compared with those after."""
        keys = [identifier(name) for name in self._type.key]
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE undo AS
            WITH touched AS (
                SELECT {", ".join(f"coalesce(a.{key}, b.{key}) AS {key}" for key in keys)},
                    b._account IS NOT NULL AS was_there, a._account IS NOT NULL AS left_by
                FROM ({self._after_sql}) a FULL JOIN ({self._before_sql}) b ON {same_key(self._type, "a", "b")}
                WHERE a._account IS NULL OR b._account IS NULL OR {self._differs("a", "b")}
            )
            SELECT t.*, c._account IS NOT NULL AS present,
                a._account IS NOT NULL AND c._account IS NOT NULL AND NOT ({self._differs("a", "c")}) AS same
            FROM touched t
            LEFT JOIN ({self._after_sql}) a ON {same_key(self._type, "t", "a")}
            LEFT JOIN ({self._now_sql}) c ON {same_key(self._type, "t", "c")}
            """,
            [self._account] * 4,
        )
        self._take_images("undo")

    def _differs(self, left: str, right: str) -> str:
        """A condition that two rows differ in any column, the store's own included."""
        return " OR ".join(
            f"{left}.{column} IS DISTINCT FROM {right}.{column}" for column in map(identifier, self._columns)
        )

    def _update(self, source: str, batch: str, condition: str) -> int:
        """The records `t` of the source's keys have its values, and bear the batch; returns how many there were.

        condition: what is known of all of them.
        """
        others = [identifier(name) for name in self._type.field_names if name not in self._type.key]
        assignments = ", ".join([*(f"{column} = s.{column}" for column in others), f"_batch = {batch}"])
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
        """The records `s` of the source are there, as they are; returns how many there were."""
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
        """The images `s` of the records that were there and meet a condition, as what follows FROM; more may follow."""
        keys = ", ".join(map(identifier, self._type.key))
        wanted = f"SELECT {keys} FROM undo WHERE was_there AND {condition}"
        return f"images s SEMI JOIN ({wanted}) u ON {same_key(self._type, 's', 'u')} WHERE true"

    def _merged_sql(self) -> str:
        """The modified records of which a part can be taken back, as they are then; binds the account twice."""
        fields = [identifier(name) for name in self._type.field_names if name not in self._type.key]
        restorable = {
            column: f"(a.{column} IS DISTINCT FROM b.{column} AND c.{column} IS NOT DISTINCT FROM a.{column})"
            for column in fields
        }
        keys = [f"u.{identifier(name)}" for name in self._type.key]
        merged = [f"CASE WHEN {test} THEN b.{it} ELSE c.{it} END AS {it}" for it, test in restorable.items()]
        return f"""
            SELECT {", ".join([*keys, *merged])}
            FROM undo u
            JOIN images b ON {same_key(self._type, "u", "b")}
            JOIN ({self._after_sql}) a ON {same_key(self._type, "u", "a")}
            JOIN ({self._now_sql}) c ON {same_key(self._type, "u", "c")}
            WHERE {_MODIFIED} AND ({" OR ".join(restorable.values()) or "false"})
        """

    def _with_causes(self, found: Sequence[tuple[Sequence[Any], Conflict]]) -> list[Conflict]:
        """The conflicts with the snapshot in which each record came to be as it is.

        A later batch's snapshot names it. Any other is looked for among the commits that name none, newest first.
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
        """Those of the keys whose record is another one in the snapshot than in the one before."""
        wanted = " OR ".join(
            "(" + " AND ".join(f"{identifier(name)} = ?" for name in self._type.key) + ")" for _ in keys
        )
        names = ", ".join(map(identifier, self._type.key))
        values = [self._account, *(value for key in keys for value in key)]
        new, old = (f"SELECT * FROM ({self._at(it)}) WHERE {wanted}" for it in (snapshot, snapshot - 1))
        return self._connection.execute(
            f"SELECT DISTINCT {names} FROM ((({new}) EXCEPT ({old})) UNION ALL (({old}) EXCEPT ({new})))", values * 4
        ).fetch_all()

    def _mergeable(self) -> int:
        number: int = self._connection.fetch_one(f"SELECT count(*) FROM ({self._merged_sql()})", [self._account] * 2)[0]
        return number

    def _count(self) -> int:
        number: int = self._connection.fetch_one(f"SELECT count(*) FROM ({self._now_sql})", [self._account])[0]
        return number
