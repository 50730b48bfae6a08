"""Databases of DuckDB to which the lake can be attached."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

import duckdb

from resources.file_storage import is_local
from resources.record_store.catalog import Catalog
from resources.record_store.extensions import LOADING, extension_path
from resources.record_store.sql_text import literal
from resources.settings import Settings

if TYPE_CHECKING:
    from resources.record_store.object_store import ObjectFiles

Connect = Callable[..., duckdb.DuckDBPyConnection]


class Databases:
    """Opens databases with their extensions, for stores that share what they read from an object store. Thread-safe."""

    def __init__(self, connect: Connect = duckdb.connect) -> None:
        self._connect = connect
        self._objects: dict[str, ObjectFiles] = {}
        self._turn = Lock()

    def objects(self, settings: Settings) -> "ObjectFiles | None":
        """Return the file system by which databases read the lake in an object store; None for a lake in a folder."""
        if is_local(settings.data):
            return None
        from resources.record_store.object_store import ObjectFiles

        with self._turn:
            return self._objects.setdefault(str(settings.data), ObjectFiles(settings))

    def open(self, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        """Return a database with the extensions that the settings need, without an attached lake.

        DuckDB does not verify the signatures of the extensions here, which takes 0.3 s of CPU each time. They come from
        the package index as DuckDB itself does. `records check` verifies them: see `extensions.is_signed`.
        """
        settings.scratch.mkdir(parents=True, exist_ok=True)
        database = self._connect(
            config={
                **LOADING,
                "enable_external_file_cache": "false",  # the operating system has a cache, and frees it when needed
                "partitioned_write_flush_threshold": 20_000,  # rows that each thread holds outside the memory limit
                "memory_limit": settings.duckdb_memory,
                "temp_directory": str(settings.scratch),
            }
        )
        try:
            for extension in (catalog.scanner, "ducklake"):
                database.execute(f"LOAD {literal(extension_path(extension))}")
            database.execute("SET allow_unsigned_extensions = false")
            objects = self.objects(settings)
            if objects is not None:
                database.register_filesystem(objects)
            for statement in catalog.preparation:
                database.execute(statement)
        except BaseException:
            database.close()
            raise
        return database
