"""A process that counts what it does to the store, and dies by SIGKILL at a step that a test chooses."""

import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Self

import duckdb

from resources.file_reader import reader
from resources.record_store import Databases, RecordStore
from resources.settings import Settings
from tests.duckdb_opening import quick_databases

Action = Callable[[RecordStore], object]

_PRELOAD = [
    *(
        "duckdb",
        "resources.importing.stager",
        "resources.importing.importer",
        "resources.report_writer.page",
        "resources.upkeep.maintenance",
    ),
    *("resources.file_reader.child", "resources.file_reader.delimited", "resources.file_reader.excel"),
    *("resources.file_reader.json_records", "resources.file_reader.parquet", "schemas.contacts"),
    "pytest",  # a process of multiprocessing imports the program that starts it
]
_WITHOUT_EFFECT = (
    "SELECT",
    "FROM",
    "SET",
    "LOAD",
    "BEGIN",
    "ATTACH",
    "DETACH",
    "CREATE TEMP",
    "CREATE OR REPLACE TEMP",
)
_TURN = threading.Lock()
"""To start a process asks how all others have ended: whoever asks at the same time would be told nothing."""
_CHANGES_OF_FILES = ("rename", "replace", "unlink", "rmdir")


class _Process(ForkServerProcess):
    """A process with the environment of the one that starts it, not of its server's.

    It too opens stores soon, and forks the processes that read files.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        from tests.forked_reading import FORKED_HERE  # which asks this module for processes

        setattr(Databases, "_open", quick_databases)  # noqa: B010
        setattr(reader, "subprocess", FORKED_HERE)  # noqa: B010
        super().run()


class _Context(ForkServerContext):
    Process = _Process


def processes() -> ForkServerContext:
    """Processes that start in a tenth of a second, for their server has imported what is slow."""
    context = _Context()
    context.set_forkserver_preload(_PRELOAD)
    return context


def settings_of(home: Path, catalog: str = "") -> Settings:
    return Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester", "RECORDS_CATALOG": catalog})


def run(action: Action, settings: Settings, fatal: int | None = None, *, from_first_rename: bool = False) -> int:
    """The action is done with the store in a process of its own; returns how many steps it took.

    With a fatal step the process was killed directly after it, and had taken so many.
    """
    context = processes()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_act, args=(action, settings, fatal, from_first_rename, sender))
    with _TURN:
        process.start()
    sender.close()
    wait([process.sentinel])
    with _TURN:
        process.join()
    if fatal is not None:
        assert process.exitcode == -signal.SIGKILL, (fatal, process.exitcode)
        return fatal
    assert process.exitcode == 0
    taken: int = receiver.recv()
    return taken


def _act(action: Action, settings: Settings, fatal: int | None, from_first_rename: bool, result: Connection) -> None:
    steps = Steps(fatal, from_first_rename)
    steps.count_changes_of_files()
    with RecordStore(settings, databases=Databases(steps.connect)) as store:
        action(store)
    result.send(steps.taken)


class Steps:
    """Counts steps, or those from the first rename on; the process is gone directly after the one numbered `fatal`.

    A step is a rename or removal of a file or folder, or a statement that may have an effect beyond its connection:
    to die after another one is to die after the step before it. The first is number 1.
    """

    def __init__(self, fatal: int | None, from_first_rename: bool) -> None:
        self._fatal = fatal
        self._counting = not from_first_rename
        self._process = os.getpid()  # not those that it forks
        self.taken = 0

    def done(self, what: str) -> None:
        """A step of this kind has been taken."""
        if os.getpid() != self._process:
            return
        self._counting = self._counting or what in ("rename", "replace")
        if self._counting:
            self.taken += 1
            if self.taken == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, **options: Any) -> Any:
        """A DuckDB connection each of whose statements with an effect is a step."""
        return CountedConnection(duckdb.connect(**options), self)

    def count_changes_of_files(self) -> None:
        """In this process, which must be a test's own, each of them is a step."""
        for name in _CHANGES_OF_FILES:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, change: Callable[..., None]) -> Callable[..., None]:
        @wraps(change)
        def changed(*arguments: Any, **options: Any) -> None:
            change(*arguments, **options)
            self.done(name)

        return changed


class CountedConnection:
    """A DuckDB connection that counts its statements; everything else is the connection's own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        self._connection = connection
        self._steps = steps

    def execute(self, statement: str, *arguments: Any) -> "CountedConnection":
        """Execute, then count."""
        self._connection.execute(statement, *arguments)
        if not statement.lstrip().upper().startswith(_WITHOUT_EFFECT):
            self._steps.done("statement")
        return self

    def cursor(self) -> "CountedConnection":
        """Another connection to the same database, counted too."""
        return CountedConnection(self._connection.cursor(), self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
