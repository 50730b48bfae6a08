"""All changes to the state of a whole process. Libraries read that state, and take no parameter instead.

Each function says which library needs the change, and what happens without it.
"""

import gc
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

USERS_UMASK = "RECORDS_UMASK"
_PRIVATE = 0o077
_turn = Lock()
_change = Lock()
_replaced: list[str | None] = []
"""The TMPDIR that `temporary_files_in` has replaced, while it has."""


@contextmanager
def pandas_hidden() -> Iterator[None]:
    """Hide pandas from imports until the block ends, unless it is imported already.

    DuckDB imports an installed pandas when it binds a value. A short command would wait for that import.
    """
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pandas"]


def hide_pandas() -> None:
    """Hide pandas from all imports of this process from now on.

    Arrow imports an installed pandas for its first array. That takes a quarter of a second and 40 MB, for nothing.
    Arrow treats any entry in `sys.modules` as an imported pandas, so a finder refuses it here.
    """
    sys.meta_path.insert(0, _Without("pandas"))


def hide_hypothesis() -> None:
    """Hide hypothesis from all imports of this process from now on, unless it is imported already.

    pandera imports an installed hypothesis, which generates data for tests. That is an eighth of all that an import of
    few records imports.
    """
    finder = _Without("hypothesis")
    if finder.hidden not in sys.modules and finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


@dataclass(frozen=True)
class _Without:
    """A finder of modules that comes first and refuses one."""

    hidden: str

    def find_spec(self, name: str, *_: object) -> None:
        """Raise ModuleNotFoundError for the hidden module; leave every other module to the next finder."""
        if name == self.hidden:
            raise ModuleNotFoundError(f"This process does not use {name}.", name=name)


def collect_rarely() -> None:
    """Let Python search for garbage a thirtieth as often as by default.

    Imports make many objects and no garbage. The searches take a twentieth of the time of an import of few records.
    """
    gc.set_threshold(20_000)


def keep_no_freed_memory() -> None:
    """Let Arrow allocate memory as the system does, if it is not imported yet, in a process that runs for long.

    Its own allocator keeps what is freed: 60 MB after the preview of a million records, found here.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def name_log_format(log_format: str) -> None:
    """Name the format of logs in the environment, for the processes that Dagster starts to load our code."""
    os.environ["DAGSTER_CLI_API_GRPC_LOG_FORMAT"] = log_format


def name_home(home: Path, dagster: Path | None = None) -> None:
    """Name the home of the store, and Dagster's, for this process and for those that it starts."""
    os.environ["RECORDS_HOME"] = str(home.absolute())
    if dagster is not None:
        os.environ["DAGSTER_HOME"] = str(dagster)


def keep_files_private() -> None:
    """Let this process, and those that it starts, make files and folders that only this user can read.

    DuckDB, SQLite and Dagster make files of their own, and take no parameter for their permissions. RECORDS_UMASK
    keeps the umask that was in force, for files that a user orders outside of the store.
    """
    before = os.umask(_PRIVATE)
    os.environ.setdefault(USERS_UMASK, f"{before:03o}")


@contextmanager
def private_files() -> Iterator[None]:
    """Keep files private until the block ends: see `keep_files_private`."""
    before, known = os.umask(_PRIVATE), os.environ.get(USERS_UMASK)
    os.environ.setdefault(USERS_UMASK, f"{before:03o}")
    try:
        yield
    finally:
        os.umask(before)
        if known is None:
            os.environ.pop(USERS_UMASK, None)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Set TMPDIR to the folder until the block ends. Other threads wait for their turn, because they share it.

    rustpy-xlsxwriter writes each sheet to a temporary file first. /tmp may be too small for it.
    """
    with _turn:
        tempfile.gettempdir()  # Python keeps its first answer, which must not be this folder
        with _change:
            _replaced.append(os.environ.get("TMPDIR"))
            os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            with _change:
                _set_temporary_folder(_replaced.pop())


def environment_for(names: Iterable[str]) -> dict[str, str]:
    """Returns the named variables of the environment for a new process, without what `temporary_files_in` changes.

    A process outlives the block in which it starts, and the folder does not.
    """
    with _change:
        environment = dict(os.environ)
        folder = _replaced[0] if _replaced else environment.get("TMPDIR")
    environment.pop("TMPDIR", None)
    if folder is not None:
        environment["TMPDIR"] = folder
    return {name: environment[name] for name in names if name in environment}


def _set_temporary_folder(folder: str | None) -> None:
    if folder is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = folder
