"""Settings: one frozen value, read from the environment once, where a program starts."""

import getpass
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from resources.file_reader import ReadLimits
from resources.file_storage import OBJECTS, location
from schemas.errors import InvalidRequest
from schemas.location import Location

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.=-]+)*/?")
"""A bucket and a prefix of letters, digits and . _ = -, which no reader of addresses takes for a pattern."""

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
"""A host name or address, an IPv6 address in brackets."""

_BETWEEN = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")
"""What stands between addresses; a comma can also be in one."""


@dataclass(frozen=True)
class Settings:
    """Where things lie, who is acting, and the limits to keep."""

    home: Path
    """RECORDS_HOME: the catalog and Dagster's files. Default `./.records`."""
    data: Location
    """RECORDS_DATA: the lake and the accounts' files, a folder or s3://BUCKET/PREFIX. Default: inside the home."""
    actor: str
    """RECORDS_ACTOR: who is acting. Default: the operating system's user."""
    postgres: str | None = field(default=None, repr=False)
    """RECORDS_CATALOG: the address of the catalog's database. It may have a password in it. Default: SQLite."""
    rollback_hours: float = 24.0
    """RECORDS_ROLLBACK_HOURS: how long a commit can be taken back, and a preview committed."""
    export_days: timedelta = timedelta(days=7)
    """RECORDS_EXPORT_DAYS: how long files in the accounts' export folders are kept."""
    archive_days: timedelta = timedelta(days=30)
    """RECORDS_ARCHIVE_DAYS: how long files that arrived are kept in the archive and in quarantine."""
    trash_days: timedelta = timedelta(days=7)
    """RECORDS_TRASH_DAYS: how long files that are no longer needed lie in the trash before they are deleted."""
    lock_seconds: float = 600.0
    """RECORDS_LOCK_SECONDS: how long to wait for another writer."""
    limits: ReadLimits = field(default_factory=ReadLimits)
    """RECORDS_MAX_…: limits on the files to import."""
    background_rows: int = 10_000
    """RECORDS_BACKGROUND_ROWS: an export of so many records, or more, is left to a deployment that runs."""
    export_processes: int = 1
    """RECORDS_EXPORT_PROCESSES: how many processes of one run make an export's parts at a time. 1: the run's own."""
    dagster_url: str | None = None
    """RECORDS_DAGSTER_URL: where the deployment is. Default: what `records ui` wrote to ui.json."""
    notify: tuple[str, ...] = field(default=(), repr=False)
    """RECORDS_NOTIFY: whom to tell of what happens, as Apprise's addresses. They are secrets."""
    duckdb_memory: str = "512MB"
    """RECORDS_DUCKDB_MEMORY: DuckDB's share of memory in each process; beyond it DuckDB uses the disk."""
    ui_hosts: tuple[str, ...] = ()
    """RECORDS_UI_HOSTS: names under which browsers reach the UI, besides those of loopback."""
    export_roots: tuple[Path, ...] = ()
    """RECORDS_EXPORT_ROOTS: folders for exports through Dagster, besides the accounts' own export folders."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that the environment gives; InvalidRequest when one of them cannot be meant."""
        home = Path(environment.get("RECORDS_HOME") or ".records").absolute()
        return cls(
            home=home,
            data=_data(environment.get("RECORDS_DATA") or str(home)),
            actor=environment.get("RECORDS_ACTOR") or _user(),
            postgres=_postgres(environment.get("RECORDS_CATALOG") or None),
            limits=ReadLimits.from_environment(environment),
            rollback_hours=_number(environment, "RECORDS_ROLLBACK_HOURS", cls.rollback_hours, "hours"),
            export_days=_days(environment, "RECORDS_EXPORT_DAYS", cls.export_days),
            archive_days=_days(environment, "RECORDS_ARCHIVE_DAYS", cls.archive_days),
            trash_days=_days(environment, "RECORDS_TRASH_DAYS", cls.trash_days),
            lock_seconds=_number(environment, "RECORDS_LOCK_SECONDS", cls.lock_seconds, "seconds"),
            background_rows=int(_number(environment, "RECORDS_BACKGROUND_ROWS", cls.background_rows, "records")),
            export_processes=int(_number(environment, "RECORDS_EXPORT_PROCESSES", cls.export_processes, "processes")),
            dagster_url=(environment.get("RECORDS_DAGSTER_URL") or "").rstrip("/") or None,
            notify=tuple(filter(None, _BETWEEN.split(environment.get("RECORDS_NOTIFY", "").strip(" ,\t\r\n")))),
            duckdb_memory=environment.get("RECORDS_DUCKDB_MEMORY") or cls.duckdb_memory,
            ui_hosts=tuple(map(_host, _listed(environment, "RECORDS_UI_HOSTS", ","))),
            export_roots=tuple(map(_root, _listed(environment, "RECORDS_EXPORT_ROOTS", os.pathsep))),
        )

    @property
    def rollback_window(self) -> timedelta:
        """How long a commit can be taken back."""
        return timedelta(hours=self.rollback_hours)

    @property
    def catalog(self) -> Path:
        """The file of the lake's catalog, where that is not in PostgreSQL."""
        return self.home / "catalog.sqlite"

    @property
    def place(self) -> str:
        """Where the store is, as a person is told."""
        return str(self.home) if self.postgres is None else "the database that RECORDS_CATALOG names"

    @property
    def lake(self) -> Location:
        """The folder of the lake's Parquet files."""
        return self.data / "lake"

    @property
    def accounts(self) -> Location:
        """Where each account has a folder of its own."""
        return self.data / "accounts"

    @property
    def inbox(self) -> Location:
        """Where files arrive, in a folder for each account and record type."""
        return self.data / "inbox"

    @property
    def processing(self) -> Location:
        """Where files that arrived lie while they are imported."""
        return self.data / "processing"

    @property
    def archive(self) -> Location:
        """Where files that arrived lie after their import."""
        return self.data / "archive"

    @property
    def quarantine(self) -> Location:
        """Where files that arrived and were not imported lie, each beside a text that says why."""
        return self.data / "quarantine"

    @property
    def trash(self) -> Location:
        """Where files that the store no longer needs lie for some days before they are deleted."""
        return self.data / "trash"

    @property
    def scratch(self) -> Path:
        """Where DuckDB puts what does not fit its memory, and files are on their way to an object store."""
        return self.home / "tmp"

    def path_below_data(self, place: Location) -> str:
        """Returns the path of a file or folder below RECORDS_DATA, as the ledger records it."""
        return str(place).removeprefix(str(self.data)).lstrip("/")

    def folder(self, account: str, kind: str) -> Location:
        """The account's own folder of staging, reports or exports."""
        return self.accounts / account / kind


def _data(told: str) -> Location:
    """The folder, or the prefix of an object store."""
    if told.startswith(OBJECTS) and _BUCKET.fullmatch(told):
        return location(told.rstrip("/"))
    if "://" in told:
        raise InvalidRequest(f"RECORDS_DATA is {told!r}.", "Give a local folder, or s3://BUCKET/PREFIX.")
    return Path(told).absolute()


def _postgres(address: str | None) -> str | None:
    """The address as it is; it is never quoted, for it may have a password in it."""
    if address is not None and not address.startswith(("postgresql://", "postgres://")):
        raise InvalidRequest(
            "RECORDS_CATALOG is no address of a PostgreSQL database.",
            "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or nothing for SQLite in RECORDS_HOME.",
        )
    return address


def _listed(environment: Mapping[str, str], name: str, separator: str) -> Iterator[str]:
    return filter(None, map(str.strip, environment.get(name, "").split(separator)))


def _host(told: str) -> str:
    """The name in small letters, without the brackets of an IPv6 address."""
    if not _HOST.fullmatch(told):
        raise InvalidRequest(
            f"RECORDS_UI_HOSTS has {told!r}, which is no host name.",
            "Give names as the browser shows them, without scheme and port, and commas between: records.example.org.",
        )
    return told.lower().strip("[]")


def _root(told: str) -> Path:
    root = Path(told)
    if not root.is_absolute() or ".." in root.parts:
        raise InvalidRequest(
            f"RECORDS_EXPORT_ROOTS has {told!r}, which is no whole path of a folder.",
            f"Give paths from / on, without '..', and {os.pathsep!r} between: /srv/exports.",
        )
    return root


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _days(environment: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    return timedelta(days=_number(environment, name, default / timedelta(days=1), "days"))


def _number(environment: Mapping[str, str], name: str, default: float, unit: str) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InvalidRequest(f"{name} is {text!r}.", f"Give a number of {unit}, 0 or more.")
    return number
