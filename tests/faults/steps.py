"""Runs a process that counts its changes of the store, and dies by SIGKILL at a step that a test chooses."""

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
from tests.duckdb_opening import open_quickly
from tests.forked_reading import FORKED
from tests.forks import ForkServer

Action = Callable[[RecordStore], object]

_PRELOAD = [
    *(
        "duckdb",
        "resources.importing.stager",
        "resources.importing.importer",
        "resources.report_writer.page",
        "resources.upkeep.maintenance",
    ),
    "schemas.contacts",
    *("pipelines.web.application", "starlette.testclient"),
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
"""Starting a process polls all others. A second thread that polls at the same time would get no exit code."""
_CHANGES_OF_FILES = ("rename", "replace", "unlink", "rmdir")


class _Process(ForkServerProcess):
    """A process with the environment of its starter, not of its server.

    It opens stores fast too, and has the processes that read files forked.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._environment = dict(os.environ)
        self._reading = FORKED.address

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        open_quickly()
        setattr(reader, "subprocess", ForkServer(address=self._reading))  # noqa: B010
        super().run()


class _Context(ForkServerContext):
    Process = _Process


def processes() -> ForkServerContext:
    """Return a context of processes that start fast, because their server has imported the slow modules."""
    context = _Context()
    context.set_forkserver_preload(_PRELOAD)
    return context


def settings_of(home: Path, catalog: str = "") -> Settings:
    return Settings.from_environment({"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester", "RECORDS_CATALOG": catalog})


def run(action: Action, settings: Settings, fatal: int | None = None, *, from_first_rename: bool = False) -> int:
    """Perform the action on the store in a process of its own; returns the number of its steps.

    With a fatal step the process was killed directly after that step.
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
    counted: int = receiver.recv()
    return counted


def _act(action: Action, settings: Settings, fatal: int | None, from_first_rename: bool, result: Connection) -> None:
    steps = Steps(fatal, from_first_rename)
    steps.count_changes_of_files()
    with RecordStore(settings, databases=Databases(steps.connect)) as store:
        action(store)
    result.send(steps.counted)


class Steps:
    """Counts steps, or those from the first rename on; kills the process directly after the one numbered `fatal`.

    A step is a rename or removal of a file or folder, or a statement that may have an effect beyond its connection.
    To die after anything else is the same as to die after the step before it. The first step is number 1.
    """

    def __init__(self, fatal: int | None, from_first_rename: bool) -> None:
        self._fatal = fatal
        self._counting = not from_first_rename
        self._process = os.getpid()  # its forks do not count
        self.counted = 0

    def done(self, what: str) -> None:
        """Count a step of this kind."""
        if os.getpid() != self._process:
            return
        self._counting = self._counting or what in ("rename", "replace")
        if self._counting:
            self.counted += 1
            if self.counted == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, **options: Any) -> Any:
        """A DuckDB connection on which each statement with an effect is a step."""
        return CountedConnection(duckdb.connect(**options), self)

    def count_changes_of_files(self) -> None:
        """Count the steps of this process, which must be a test's own."""
        for name in _CHANGES_OF_FILES:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, change: Callable[..., None]) -> Callable[..., None]:
        @wraps(change)
        def changed(*arguments: Any, **options: Any) -> None:
            change(*arguments, **options)
            self.done(name)

        return changed


class CountedConnection:
    """A DuckDB connection that counts its statements and passes everything else on."""

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
        """Return another connection to the same database, which counts too."""
        return CountedConnection(self._connection.cursor(), self._steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
