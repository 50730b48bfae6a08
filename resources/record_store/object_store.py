"""How DuckDB reaches the object store: with whatever credentials AWS's usual chain of providers finds."""

from functools import cache
from urllib.parse import urlsplit

import duckdb

from resources.file_storage import OBJECTS, unreachable
from resources.settings import Settings

EXTENSIONS = ("httpfs", "aws")
"""DuckDB's extensions that read S3, and that find credentials for it."""


def prepare(database: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """The database can read and write the data. It asks the providers itself, so that no statement has a secret in it.

    Credentials that end, as those of a role, are asked for anew when they are refused.
    """
    bucket = str(settings.data).removeprefix(OBJECTS).partition("/")[0]
    options = ["TYPE s3", "PROVIDER credential_chain", "REFRESH auto", f"SCOPE '{OBJECTS}{bucket}'"]
    endpoint = _endpoint()
    if endpoint:
        address = urlsplit(endpoint)
        if "'" in endpoint or not address.hostname:
            raise unreachable("AWS_ENDPOINT_URL is no address of a server")
        place = f"{address.hostname}{f':{address.port}' if address.port else ''}{address.path.rstrip('/')}"
        use_ssl = str(address.scheme != "http").lower()
        options += [f"ENDPOINT '{place}'", "URL_STYLE path", f"USE_SSL {use_ssl}"]
    database.execute("SET enable_external_file_cache = true")  # the operating system has no copy of what is read there
    try:
        database.execute(f"CREATE SECRET data ({', '.join(options)})")
    except duckdb.Error as error:
        raise refusal(error) from None


def refusal(error: duckdb.Error) -> Exception:
    """What to raise where the object store refused DuckDB, in its answer's first line; the error itself elsewhere."""
    told = str(error).splitlines()[0].rstrip(". ")
    return unreachable(told) if "HTTP" in told or "Secret" in told else error


@cache
def _endpoint() -> str | None:
    """The address of a server that is not Amazon's, as AWS's settings name it."""
    import botocore.session  # type: ignore[import-untyped]

    session = botocore.session.Session()
    region = session.get_config_variable("region") or "us-east-1"
    found: str = session.create_client("s3", region_name=region).meta.endpoint_url
    host = urlsplit(found).hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else found
