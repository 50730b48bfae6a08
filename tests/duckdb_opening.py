"""DuckDB as tests open it in their own process: sooner, and with one thread."""

from typing import Any

import duckdb

from resources.record_store import Databases
from resources.record_store.catalog import Catalog
from resources.record_store.databases import Connect
from resources.settings import Settings

ORDINARY = Databases._open


def quick(connect: Connect) -> Connect:
    """The same connection, but for what costs a small test more than its work does.

    The signatures of 70 MB of extensions are not checked; the commands that tests start check them. There is one
    thread, for another would only spin: DuckDB shares out no less than a row group of 122,880 rows.
    """

    def opened(*, config: dict[str, str], **options: Any) -> Any:
        return connect(config={**config, "allow_unsigned_extensions": "true", "threads": "1"}, **options)

    return opened


def quick_databases(databases: Databases, settings: Settings, catalog: Catalog) -> duckdb.DuckDBPyConnection:
    """In place of `Databases._open`: a database that is opened so."""
    return ORDINARY(Databases(quick(databases._connect)), settings, catalog)
