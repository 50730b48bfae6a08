"""A process that counts what it does to the store, and dies by SIGKILL at a step that a test chooses."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any, Self

import duckdb

from tests.duckdb_opening import quick

_PRELOAD = ["duckdb", "resources.stager", "resources.importer", "schemas.contacts"]


def processes() -> ForkServerContext:
    """Processes that start in a tenth of a second, for their server has imported what is slow."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


class Steps:
    """Counts steps from the first rename on; the process is gone directly after the one numbered `fatal` (from 1).

    A step is a rename, or a statement that does not only read: to die after one that does is to die after the step
    before it.
    """

    def __init__(self, fatal: int | None) -> None:
        self._fatal = fatal
        self.taken = 0

    def statement_done(self) -> None:
        """A statement is done; before the first rename nothing that matters has happened."""
        if self.taken:
            self._done()

    def _done(self) -> None:
        self.taken += 1
        if self.taken == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, **options: Any) -> Any:
        """A DuckDB connection each of whose statements is a step."""
        return CountedConnection(quick(duckdb.connect)(**options), self)

    def count_renames(self) -> None:
        """In this process, which must be a test's own, each rename is a step."""
        os.rename = self._counted(os.rename)
        os.replace = self._counted(os.replace)

    def _counted(self, rename: Callable[..., None]) -> Callable[..., None]:
        def renamed(*arguments: Any, **options: Any) -> None:
            rename(*arguments, **options)
            self._done()

        return renamed


class CountedConnection:
    """A DuckDB connection that counts its statements; everything else is the connection's own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, steps: Steps) -> None:
        self._connection = connection
        self._steps = steps

    def execute(self, statement: str, *arguments: Any) -> "CountedConnection":
        """Execute, then count."""
        self._connection.execute(statement, *arguments)
        if not statement.lstrip().upper().startswith(("SELECT", "SET", "LOAD")):
            self._steps.statement_done()
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
