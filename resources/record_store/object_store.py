"""How DuckDB reaches the object store: at the place and with the credentials that AWS's usual settings name."""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import duckdb

from resources.file_storage import OBJECTS, unreachable
from resources.settings import Settings

EXTENSION = "httpfs"
"""DuckDB's extension that reads and writes S3."""


class ObjectAccess:
    """A database's access to the bucket of the settings: renewed where the credentials are, as those of a role."""

    def __init__(self, database: duckdb.DuckDBPyConnection, settings: Settings) -> None:
        self._database = database
        self._bucket = str(settings.data).removeprefix(OBJECTS).partition("/")[0]
        self._keys: Any = None
        self.renew()
        database.execute("SET enable_external_file_cache = true")  # the system has no copy of what is read there

    def renew(self) -> None:
        """The database has the credentials that are valid now. No error and no view of DuckDB's shows the secret."""
        found = _session().get_credentials()
        if found is None:
            raise unreachable("Unable to locate credentials")
        keys = found.get_frozen_credentials()
        if keys == self._keys:
            return
        options = {
            "TYPE": "s3",
            "SCOPE": _literal(f"{OBJECTS}{self._bucket}"),
            "REGION": _literal(_region()),
            "KEY_ID": _literal(keys.access_key),
            "SECRET": _literal(keys.secret_key),
        }
        if keys.token:
            options["SESSION_TOKEN"] = _literal(keys.token)
        endpoint = _endpoint()
        if endpoint:
            address = urlsplit(endpoint)
            place = f"{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
            options |= {"ENDPOINT": _literal(place), "URL_STYLE": "path", "USE_SSL": str(address.scheme != "http")}
        told = ", ".join(f"{name} {value}" for name, value in options.items())
        with self._database.cursor() as cursor:
            cursor.execute(f"CREATE OR REPLACE SECRET data ({told})")
        self._keys = keys


def refusal(error: duckdb.Error) -> Exception:
    """What to raise where the object store refused DuckDB, in its answer's first line; the error itself elsewhere."""
    told = str(error).splitlines()[0].rstrip(". ")
    return unreachable(told) if "HTTP" in told else error


@cache
def _session() -> Any:
    import botocore.session  # type: ignore[import-untyped]

    return botocore.session.Session()


def _region() -> str:
    return _session().get_config_variable("region") or "us-east-1"


@cache
def _endpoint() -> str | None:
    """The address of a server that is not Amazon's, as AWS's settings name it."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        told = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if told:  # which wins; to ask for what files say takes a seventh of a second
            return told
    found: str = _session().create_client("s3", region_name=_region()).meta.endpoint_url
    host = urlsplit(found).hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else found


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
