"""DuckDB's extensions, which come as Python packages."""

import importlib.util
from pathlib import Path

import duckdb

from resources.record_store.sql_text import literal
from schemas.errors import StoreNotReady

LOADING = {
    "allow_unsigned_extensions": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""Settings of a database that loads extensions of these packages, and downloads none."""


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


def is_signed(name: str) -> bool:
    """Return whether a DuckDB extension is as DuckDB signed it. Raises StoreNotReady if it is not installed."""
    path = extension_path(name)
    with duckdb.connect() as database:
        try:
            database.execute(f"LOAD {literal(path)}")
        except (duckdb.Error, OSError):
            return False
    return True
