"""`DagsterHistory`: values of erased records removed from the storage of Dagster.

Events show examples of changed values, warnings and names of files. The configuration of runs has what people typed:
filters, mappings and paths. Logs can quote them. Dagster has no call to change one event, so rows are changed where
Dagster keeps them, as the ledger's rows are. Runs and their events stay, with masks in place of the values.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.partitions import ACCOUNTS
from pipelines.runs import ACCOUNT, TAGS
from resources.erasure.run_history import InHistory
from resources.record_store.ledger_erasure import Values
from resources.settings import Settings
from schemas.errors import StoreBusy, StoreUnreachable

if TYPE_CHECKING:
    import dagster as dg
    import sqlalchemy as sa

_COLUMNS = {
    "event_logs": ("event",),
    "asset_keys": ("last_materialization", "asset_details", "tags", "cached_status_data"),
    "asset_event_tags": ("value",),
    "asset_check_executions": ("evaluation_event",),
    "runs": ("run_body",),
    "run_tags": ("value",),
    "bulk_actions": ("body",),
    "backfill_tags": ("value",),
    "daemon_heartbeats": ("body",),
    "kvs": ("value",),
    "jobs": ("job_body",),
    "instigators": ("instigator_body",),
    "job_ticks": ("tick_body",),
    "asset_daemon_asset_evaluations": ("asset_evaluation_body",),
}
"""The columns of Dagster's tables that have texts of people or of records. The others have names and numbers."""

_FREE_COLUMNS = {"value": "tags", "tags": "tags"}
"""The columns of which the whole text is free, with the field that they have in Dagster's objects."""

_CURSOR, _PATHS = "cursor", "paths in a cursor"
_CONFIG = ("run_config", "run_config_data")
_MAPS = ("column_map", "value_map")
_FREE = (
    *_CONFIG,
    *("metadata", "metadata_entries", "run_config_yaml", "tags", "description", "user_message", "message"),
    *("error", "error_info", "errors", _CURSOR, "skip_reason", "label", "failure_data", "user_failure_data"),
    *("stack", "cause", "context"),
)
"""The fields of Dagster's objects below which texts are free. What the others have, Dagster needs to find things."""

_KEPT = ("__class__", "__enum__")
_NAMES = (
    *("account", "record_type", "actor", "batch_id", "export_id", "bundle", "names", "preset", "columns", "order_by"),
    *("mode", "on_invalid", "on_duplicate", "on_modified", "format", "pack", "encoding", "delimiter", "due_at"),
)
"""The fields of run configurations that have names of the store and its choices. A run needs them to run again."""

_OF_ACCOUNT = (ACCOUNT, "dagster/partition")
"""The tags that say of which account a run is."""

_DAGSTERS_OWN = re.compile(r"\.?dagster/")
_SQLITE = b"SQLite format 3\0"
_LOGS = (".err", ".out")

_Texts = Mapping[str, str | None]
"""The texts of a row, by their column."""


class DagsterHistory:
    """The history in the storage of a Dagster instance: SQLite below its home, or PostgreSQL."""

    def __init__(self, instance: "dg.DagsterInstance") -> None:
        self._instance = instance

    def find(self, values: Values) -> InHistory:
        """Returns how many rows and files have one of the values. Changes nothing."""
        return self._masked(values, changes=False)

    def erase(self, values: Values) -> InHistory:
        """Mask the values in rows and files, and write the tables anew, so that no removed byte stays."""
        found = self._masked(values, changes=True)
        self._vacuum()
        return found

    def delete_account(self, account: str, file_names: Collection[str]) -> InHistory:
        """Delete the runs and events of an account, its partition, and the names of its files in what others share.

        Other accounts can have files of the same names. So only what names the account loses them: its files among
        those of a run or of a cursor, and the configuration of a run that never began.
        """
        import dagster as dg

        deleted, beyond = 0, []
        for tag in _OF_ACCOUNT:
            for run in self._instance.get_runs(dg.RunsFilter(tags={tag: account})):
                if run.is_finished:
                    shutil.rmtree(Path(self._instance.storage_directory()) / run.run_id, ignore_errors=True)
                    self._instance.delete_run(run.run_id)
                    deleted += 1
                else:
                    beyond.append(_unfinished(run.run_id, "is of the account"))
        self._instance.delete_dynamic_partition(ACCOUNTS.name or "", account)
        for url in self._urls():
            with _changing(url) as connection:
                deleted += _delete_partition(connection, account)
        masked, left = self._without_files(account, file_names)
        self._vacuum()
        if left:
            beyond.append(
                "What Dagster has of no account, or of several, stays. It has a name of a file of the account, or a "
                f"similar text, in this number of rows and logs: {left:,}."
            )
        return InHistory(deleted + masked, tuple(beyond))

    def _without_files(self, account: str, file_names: Collection[str]) -> tuple[int, int]:
        """Mask the names of an account's files where a row names the account.

        Returns how many rows were changed, and how many rows and logs that are not of one account have a name.
        """
        values, whole = Values(file_names), Values([name for name in file_names if "." in name])
        open_runs = self._open_runs()
        shared = {run.run_id for run in self._instance.get_runs() if not run.tags.keys() & _OF_ACCOUNT}
        changed = left = 0

        def change(texts: _Texts) -> dict[str, str]:
            masked = {name: _own_masked(text, account, values) for name, text in texts.items() if text}
            return {name: text for name, text in masked.items() if text != texts[name]}

        for url in self._urls():
            with _changing(url) as connection:
                for table, columns in _tables(connection):
                    for key, run_id, texts in _rows(connection, table, columns):
                        if run_id not in open_runs:
                            changed += _mask_row(connection, table, key, texts, change, changes=True)
                        if run_id in shared or (run_id is None and table.name != "asset_keys"):
                            left += any(whole.has(text) for text in (texts | change(texts)).values())
        logs = [path for path in self._logs() if path.parts[-3] in shared]
        return changed, left + sum(whole.has(path.read_text("utf-8", "replace")) for path in logs)

    def _open_runs(self) -> set[str]:
        """Returns the ids of the runs that have not ended."""
        import dagster as dg

        return {run.run_id for run in self._instance.get_runs(dg.RunsFilter(statuses=_unfinished_statuses()))}

    def _masked(self, values: Values, *, changes: bool) -> InHistory:
        open_runs = self._open_runs()
        number, waiting = 0, set[str]()
        for url in self._urls():
            with _changing(url) as connection:
                for table, columns in _tables(connection):
                    change = partial(_changes, table.name, values)
                    for key, run_id, texts in _rows(connection, table, columns):
                        if run_id not in open_runs:
                            number += _mask_row(connection, table, key, texts, change, changes=changes)
                        elif run_id is not None and change(texts):
                            waiting.add(run_id)
        for path in self._logs():
            text = path.read_text("utf-8", "replace")
            if values.has(text):
                if path.parts[-3] in open_runs:
                    waiting.add(path.parts[-3])
                    continue
                number += 1
                if changes:
                    _write(path, values.masked(text))
        return InHistory(number, tuple(_unfinished(it, "shows a value of the records") for it in sorted(waiting)))

    def _logs(self) -> Iterator[Path]:
        """Yields what runs have printed, as far as it is on this machine."""
        root = Path(self._instance.storage_directory())
        yield from (path for path in root.glob("*/compute_logs/*") if path.suffix in _LOGS and path.is_file())

    def _urls(self) -> list[str]:
        """Returns the addresses of the databases."""
        storages = (self._instance.run_storage, self._instance.event_log_storage, self._instance.schedule_storage)
        urls = {getattr(it, "postgres_url", None) for it in storages} - {None}
        files = sorted(Path(self._instance.root_directory).rglob("*.db"))
        return [*map(str, urls), *(f"sqlite:///{path}" for path in files if path.is_file() and _is_sqlite(path))]

    def _vacuum(self) -> None:
        """Write the tables anew, without the bytes of what was changed."""
        import sqlalchemy as sa

        for url in self._urls():
            with (
                _engine(url) as engine,
                engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
            ):
                if engine.dialect.name == "sqlite":
                    connection.execute(sa.text("VACUUM"))
                    is_busy, *_ = connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)")).one()
                    if is_busy:
                        raise StoreBusy(
                            f"Dagster reads {engine.url.database}, so that its log still has what was removed.",
                            "Give the same command again when its run has ended.",
                        )
                else:
                    for table, _ in _tables(connection):
                        connection.execute(sa.text(f"VACUUM (FULL, ANALYZE) {table.name}"))


@contextmanager
def _engine(url: str) -> "Iterator[sa.Engine]":
    """Yields the engine of a database. Raises StoreUnreachable, without a text of a row, if the database refuses."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    try:
        yield engine
    except sa.exc.OperationalError as error:
        raise StoreUnreachable(
            f"The storage of Dagster cannot be changed: {type(error.orig).__name__}.",
            "Check that its database answers, and stop runs that write to it for long. Then erase again.",
        ) from None
    finally:
        engine.dispose()


@contextmanager
def _changing(url: str) -> "Iterator[sa.Connection]":
    """Yields a transaction on a database."""
    import sqlalchemy as sa

    with _engine(url) as engine, engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(sa.text("PRAGMA secure_delete = ON"))
        yield connection


@contextmanager
def dagster_history(settings: Settings) -> Iterator[DagsterHistory | None]:
    """Yields the history of the Dagster that DAGSTER_HOME names, or that `records ui` has started; None without one."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.home / "dagster")
    if not home.is_dir():
        yield None
        return
    import dagster as dg

    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except Exception as error:
        raise StoreUnreachable(
            f"The storage of Dagster in {home} cannot be opened: {type(error).__name__}.",
            "Erasures must reach it. Check DAGSTER_HOME, and that its database answers.",
        ) from None
    with instance:
        yield DagsterHistory(instance)


def _unfinished_statuses() -> "list[dg.DagsterRunStatus]":
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    return [*NOT_FINISHED_STATUSES]


def _unfinished(run_id: str, what: str) -> str:
    return f"The run {run_id} of Dagster has not ended and {what}: erase again when it has ended."


def _tables(connection: "sa.Connection") -> "Iterator[tuple[sa.Table, tuple[str, ...]]]":
    """Yields the tables of a database that can have values, with their columns."""
    import sqlalchemy as sa

    known = sa.inspect(connection).get_table_names()
    for name, columns in _COLUMNS.items():
        if name in known:
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            yield table, tuple(column for column in columns if column in table.c)


def _rows(
    connection: "sa.Connection", table: "sa.Table", columns: tuple[str, ...]
) -> Iterator[tuple[int, str | None, dict[str, str | None]]]:
    """Yields the id, the run and the texts of each row, without tags of Dagster and of the store."""
    import sqlalchemy as sa

    others = [name for name in ("run_id", "key") if name in table.c]
    last = 0
    while True:
        query = (
            sa.select(*(table.c[name] for name in ("id", *others, *columns)))
            .where(table.c.id > last)
            .order_by(table.c.id)
            .limit(500)
        )
        rows = [row._asdict() for row in connection.execute(query)]
        for row in rows:
            tag = row["key"] or "" if table.name in ("run_tags", "backfill_tags") else ""
            if tag in TAGS or _DAGSTERS_OWN.match(tag):
                continue
            yield row["id"], row.get("run_id"), {name: row[name] for name in columns}
        if not rows:
            return
        last = rows[-1]["id"]


def _changes(table: str, values: Values, texts: _Texts) -> dict[str, str]:
    """Returns the texts of a row that have values, with masks."""
    masked = {name: _masked(text, values, _field(table, name)) for name, text in texts.items() if text}
    return {name: text for name, text in masked.items() if text != texts[name]}


def _mask_row(
    connection: "sa.Connection",
    table: "sa.Table",
    key: int,
    texts: _Texts,
    change: Callable[[_Texts], dict[str, str]],
    *,
    changes: bool,
) -> bool:
    """Change a row. If Dagster has changed it since it was read, it is read again. Returns whether it has values."""
    import sqlalchemy as sa

    while masked := change(texts):
        if not changes:
            return True
        same = [table.c[name] == texts[name] for name in masked]
        if connection.execute(table.update().where(table.c.id == key, *same).values(masked)).rowcount:
            return True
        row = connection.execute(sa.select(*(table.c[name] for name in texts)).where(table.c.id == key)).one_or_none()
        texts = {} if row is None else row._asdict()
    return False


def _field(table: str, column: str) -> str | None:
    """Returns the free field that is the whole column; None if only some fields of its objects are free."""
    return _CURSOR if table == "kvs" else _FREE_COLUMNS.get(column)


def _masked(text: str, values: Values, field: str | None) -> str:
    """Returns a text of Dagster with masks in place of the values; the same text if it has none.

    field: the free field that has the text. None if only some fields of the text's object are free.
    """
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            found = json.loads(text)
            masked = _masked_object(found, values, _PATHS if field == _CURSOR else field)
            return text if masked == found else json.dumps(masked)
    if field == _CURSOR:  # a number, such as 57:57, which can look like a value
        return text
    masked_text: str = values.masked(text)
    return masked_text


def _masked_object(value: Any, values: Values, field: str | None) -> Any:
    if isinstance(value, dict):
        is_of_people = field is not None and field not in _CONFIG and "__class__" not in value
        return {
            _masked_leaf(name, values, field) if is_of_people and not _is_kept(name, field) else name: each
            if _is_kept(name, field)
            else _masked_object(each, values, name if name in _FREE or (field in _CONFIG and name in _MAPS) else field)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_masked_object(each, values, field) for each in value]
    return _masked_leaf(value, values, field) if isinstance(value, str) and field is not None else value


def _is_kept(name: str, field: str | None) -> bool:
    """Returns whether a name and its value are Dagster's own or the store's, in the given field."""
    is_of_config = field in _CONFIG and name in _NAMES
    return is_of_config or name in _KEPT or name in TAGS or bool(_DAGSTERS_OWN.match(name))


def _masked_leaf(text: str, values: Values, field: str | None) -> str:
    """Returns a text of a free field with masks. Of a path in a cursor, only the last name is free."""
    masked: str = values.masked_name(text) if field == _PATHS else _masked(text, values, field)
    return masked


def _own_masked(value: Any, account: str, values: Values) -> Any:
    """Returns an object of Dagster, or its text, with masks in what names the account, and without its waiting files.

    A table of files has the account of each. A cursor has their paths, such as `ua/contacts/a.csv`, with a size.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            found = json.loads(value)
            masked = _own_masked(found, account, values)
            return value if masked == found else json.dumps(masked)
    if isinstance(value, list):
        return [_own_masked(each, account, values) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("account") == account:
        return {
            name: each if name in _NAMES else _masked_object(each, values, "message") for name, each in value.items()
        }
    return {
        name: _own_masked(each, account, values)
        for name, each in value.items()
        if not (name.startswith(f"{account}/") and isinstance(each, list))
    }


def _delete_partition(connection: "sa.Connection", account: str) -> int:
    """Delete the events of an account, and what Dagster remembers of the last of them. Returns the number of rows."""
    import sqlalchemy as sa

    deleted = 0
    for table, _ in _tables(connection):
        if table.name == "asset_keys":
            for key, _, texts in _rows(connection, table, ("last_materialization",)):
                if f'"partition": {json.dumps(account)}' in (texts["last_materialization"] or ""):
                    connection.execute(table.update().where(table.c.id == key).values(last_materialization=None))
                    deleted += 1
        elif "partition" in table.c and table.name in ("event_logs", "asset_check_executions"):
            if table.name == "event_logs" and "asset_event_tags" in sa.inspect(connection).get_table_names():
                tags = sa.Table("asset_event_tags", sa.MetaData(), autoload_with=connection)
                events = sa.select(table.c.id).where(table.c.partition == account)
                connection.execute(tags.delete().where(tags.c.event_id.in_(events)))
            deleted += connection.execute(table.delete().where(table.c.partition == account)).rowcount
    return deleted


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _write(path: Path, text: str) -> None:
    """Write a log anew beside the old one, and put it in its place."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with made.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
