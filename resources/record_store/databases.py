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
"""The number of uses after which all kept databases are closed.

Each attached lake leaves 0.2 MB in its database (DuckLake 1.0, found here).
"""


def literal(text: str | Path) -> str:
    """Return a text as SQL, for places where DuckDB takes no bound value: file names and options."""
    return "'" + str(text).replace("'", "''") + "'"


class Databases:
    """Opens databases with their extensions, and keeps some for the next store with the same settings. Thread-safe.

    Loading the extensions takes 0.2 s, because DuckDB verifies their signatures each time.

    keep: how many databases to keep.
    """

    def __init__(self, connect: Connect = duckdb.connect, *, keep: int = 0) -> None:
        self._connect = connect
        self._keep = keep
        self._idle: list[tuple[Settings, duckdb.DuckDBPyConnection]] = []
        self._objects: dict[str, ObjectFiles] = {}
        self._uses = 0
        self._turn = Lock()

    def take(self, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        """Return a database with the extensions that the settings need, without an attached lake."""
        settings.scratch.mkdir(parents=True, exist_ok=True)
        with self._turn:
            for place, (their_settings, database) in enumerate(self._idle):
                if their_settings == settings:
                    del self._idle[place]
                    return database
        return self._open(settings, catalog)

    def objects(self, settings: Settings) -> "ObjectFiles | None":
        """Return the file system by which databases read the lake in an object store; None for a lake in a folder."""
        if is_local(settings.data):
            return None
        from resources.record_store.object_store import ObjectFiles

        with self._turn:
            return self._objects.setdefault(str(settings.data), ObjectFiles(settings))

    def give_back(self, settings: Settings, database: duckdb.DuckDBPyConnection) -> None:
        """Keep a database without an attached lake for the next store, or close it."""
        with self._turn:
            self._idle.append((settings, database))
            self._uses += 1
            most = self._keep if self._uses % _USES else 0
            surplus = [self._idle.pop(0) for _ in self._idle[most:]]
        for _, oldest in surplus:
            oldest.close()

    def _open(self, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        database = self._connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_file_cache": "false",  # the operating system has a cache, and frees it when needed
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
    """Return the file of a DuckDB extension, in the Python package that has it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise StoreNotReady(
            f"DuckDB's extension {name} is not installed.",
            f"Install it: pip install duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}.",
        )
    return Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
