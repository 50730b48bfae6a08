"""Databases of DuckDB to which the lake can be attached."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import duckdb

from resources.file_storage import is_local
from resources.record_store.catalog import Catalog
from resources.settings import Settings
from schemas.errors import StoreNotReady

if TYPE_CHECKING:
    from resources.record_store.object_store import ObjectFiles

Connect = Callable[..., duckdb.DuckDBPyConnection]

_USES = 50
"""After so many, what is kept is closed: a lake that was attached leaves 0.2 MB behind (DuckLake 1.0, found here)."""


def literal(text: str | Path) -> str:
    """A text as SQL, for the few places where DuckDB takes no bound value: file names and options."""
    return "'" + str(text).replace("'", "''") + "'"


class Databases:
    """Databases with their extensions; so many are kept, empty, for the next store of the same settings.

    Loading the extensions costs 0.2 s, for DuckDB verifies their signatures each time. For any number of threads.
    """

    def __init__(self, connect: Connect = duckdb.connect, *, keep: int = 0) -> None:
        self._connect = connect
        self._keep = keep
        self._kept: list[tuple[Settings, duckdb.DuckDBPyConnection]] = []
        self._objects: dict[str, ObjectFiles] = {}
        self._uses = 0
        self._turn = Lock()

    def take(self, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        """A database with the extensions that the settings need; nothing is attached to it."""
        settings.scratch.mkdir(parents=True, exist_ok=True)
        with self._turn:
            for place, (kept_for, database) in enumerate(self._kept):
                if kept_for == settings:
                    del self._kept[place]
                    return database
        return self._open(settings, catalog)

    def objects(self, settings: Settings) -> "ObjectFiles | None":
        """The lake's files in an object store, as the databases see them; None where they lie in a folder."""
        if is_local(settings.data):
            return None
        from resources.record_store.object_store import ObjectFiles

        with self._turn:
            return self._objects.setdefault(str(settings.data), ObjectFiles(settings))

    def give_back(self, settings: Settings, database: duckdb.DuckDBPyConnection) -> None:
        """The database, to which nothing is attached, is kept for the next store, or closed."""
        with self._turn:
            self._kept.append((settings, database))
            self._uses += 1
            most = self._keep if self._uses % _USES else 0
            surplus = [self._kept.pop(0) for _ in self._kept[most:]]
        for _, oldest in surplus:
            oldest.close()

    def _open(self, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        database = self._connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_file_cache": "false",  # the operating system has one, and gives it back
                "partitioned_write_flush_threshold": 20_000,  # rows that each thread holds outside the memory limit
                "memory_limit": settings.duckdb_memory,
                "temp_directory": str(settings.scratch),
            }
        )
        try:
            for extension in (catalog.scanner, "ducklake"):
                database.execute(f"LOAD {literal(extension_path(extension))}")
            objects = self.objects(settings)
            if objects is not None:
                database.register_filesystem(objects)
            for statement in catalog.preparation:
                database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database


def extension_path(name: str) -> Path:
    """The file of a DuckDB extension, inside the Python package that brings it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise StoreNotReady(
            f"DuckDB's extension {name} is not installed.",
            f"Install it: pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}.",
        )
    return Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
