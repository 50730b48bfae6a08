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


def literal(text: str | Path) -> str:
    """Return a text as SQL, for places where DuckDB takes no bound value: file names and options."""
    return "'" + str(text).replace("'", "''") + "'"


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
        the package index as DuckDB itself does. `records check` verifies them: see `is_signed`.
        """
        settings.scratch.mkdir(parents=True, exist_ok=True)
        database = self._connect(
            config={
                "allow_unsigned_extensions": "true",
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


def is_signed(extension: str) -> bool:
    """Return whether a DuckDB extension is as DuckDB signed it. Raises StoreNotReady if it is not installed."""
    path = extension_path(extension)
    with duckdb.connect() as database:
        try:
            database.execute(f"LOAD {literal(path)}")
        except (duckdb.Error, OSError):
            return False
    return True


def extension_package(name: str) -> str:
    """Return the name of the Python package that has a DuckDB extension."""
    return f"duckdb-extension-{name.replace('_', '-')}"


def extension_path(name: str) -> Path:
    """Return the file of a DuckDB extension, in the Python package that has it."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise StoreNotReady(
            f"DuckDB's extension {name} is not installed.",
            f"Install it: pip install {extension_package(name)}=={duckdb.__version__}.",
        )
    return Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
