"""`Settings`: one frozen value, which a program reads from the environment once, when it starts."""

import getpass
import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from resources.file_reader import ReadLimits
from resources.file_storage import OBJECTS, location
from schemas.errors import InvalidRequest
from schemas.location import Location

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.=-]+)*/?")
"""A bucket and a prefix of letters, digits and . _ = -. No library reads these characters as a pattern."""

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")
"""A host name or an address; an IPv6 address is in brackets."""

_BETWEEN = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")
"""The separator of addresses. A comma can also be part of an address."""

IN_PROCESS, MULTIPROCESS, CELERY, K8S = EXECUTORS = ("in_process", "multiprocess", "celery", "k8s")
"""Where steps are executed: in the run's process, in a process each, by Celery's workers, or in pods of Kubernetes."""


def _cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


OPERATORS = ("exports.yaml", "inbox.yaml", "quotas.yaml", "web.yaml")
"""The files that an operator writes into the home."""
NOTES = ("last-backup.json", "last-check.json", "last-space.json", "measurements.json", "ui.json")
"""The files in the home that say what was found or done last, or what runs."""


@dataclass(frozen=True)
class Settings:
    """The places of a store, the actor, and the limits.

    `schemas` reads two other settings, RECORDS_TYPES and RECORDS_SHIPPED_TYPES, because record types exist before any
    store does.
    """

    home: Path
    """RECORDS_HOME: the folder of the catalog and of Dagster's files. Default: `records` where the user has data."""
    data: Location
    """RECORDS_DATA: where the lake and the accounts' files are, a folder or s3://BUCKET/PREFIX. Default: the home."""
    actor: str
    """RECORDS_ACTOR: the name that the history shows. Default: the operating system's user."""
    postgres: str | None = field(default=None, repr=False)
    """RECORDS_CATALOG: the address of the catalog's database. It may contain a password. Default: SQLite."""
    rollback_hours: float = 24.0
    """RECORDS_ROLLBACK_HOURS: how long a commit can be rolled back, and a preview committed."""
    export_days: timedelta = timedelta(days=7)
    """RECORDS_EXPORT_DAYS: how long files in the accounts' export folders are kept."""
    archive_days: timedelta = timedelta(days=30)
    """RECORDS_ARCHIVE_DAYS: how long files from the inbox are kept in the archive and in quarantine."""
    trash_days: timedelta = timedelta(days=7)
    """RECORDS_TRASH_DAYS: how long files stay in the trash."""
    lock_seconds: float = 600.0
    """RECORDS_LOCK_SECONDS: how long to wait for another writer of the store, or of the folder of an export."""
    limits: ReadLimits = field(default_factory=ReadLimits)
    """RECORDS_MAX_…: limits on files to import."""
    upload_mb: int = 20_000
    """RECORDS_UPLOAD_MB: the size of a file that can be uploaded in a browser, in 10⁶ bytes."""
    background_rows: int = 10_000
    """RECORDS_BACKGROUND_ROWS: a running deployment makes an export of this many records or more."""
    executor: str = IN_PROCESS
    """RECORDS_EXECUTOR: where the steps of Dagster's runs are executed, one of EXECUTORS."""
    processes: int = field(default_factory=_cores)
    """RECORDS_PROCESSES: how many steps at a time: of a run (multiprocess, k8s) or of a worker (celery)."""
    broker: str | None = field(default=None, repr=False)
    """RECORDS_BROKER: the address of the Redis that passes steps to Celery's workers. It may contain a password."""
    dagster_url: str | None = None
    """RECORDS_DAGSTER_URL: the address of the deployment. Default: what `records ui` wrote to ui.json."""
    web_url: str | None = None
    """RECORDS_WEB_URL: the address of the web pages, for links to them. Default: what `records ui` wrote to ui.json."""
    notify: tuple[str, ...] = field(default=(), repr=False)
    """RECORDS_NOTIFY: who receives notices, as addresses of Apprise. They are secrets."""
    duckdb_memory: str = "512MB"
    """RECORDS_DUCKDB_MEMORY: DuckDB's memory in each process. If that is full, DuckDB uses the disk."""
    ui_hosts: tuple[str, ...] = ()
    """RECORDS_UI_HOSTS: host names by which browsers reach the UI, besides those of the loopback interface."""
    export_roots: tuple[Path, ...] = ()
    """RECORDS_EXPORT_ROOTS: folders for exports through Dagster, besides the accounts' own export folders."""
    log: str = "text"
    """RECORDS_LOG: the form of the servers' logs, text or json."""
    metrics_accounts: bool = False
    """RECORDS_METRICS_ACCOUNTS: whether the metrics name accounts."""
    umask: int | None = None
    """RECORDS_UMASK: the permissions that files outside the store lack. Default: as when the process started."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Returns the settings of the environment. Raises InvalidRequest if one of them is not valid."""
        home = home_of(environment)
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
            upload_mb=int(_number(environment, "RECORDS_UPLOAD_MB", cls.upload_mb, "megabytes")),
            background_rows=int(_number(environment, "RECORDS_BACKGROUND_ROWS", cls.background_rows, "records")),
            executor=_one_of(environment, "RECORDS_EXECUTOR", EXECUTORS),
            processes=_processes(environment),
            broker=_broker(environment.get("RECORDS_BROKER") or None),
            dagster_url=(environment.get("RECORDS_DAGSTER_URL") or "").rstrip("/") or None,
            web_url=(environment.get("RECORDS_WEB_URL") or "").rstrip("/") or None,
            notify=tuple(filter(None, _BETWEEN.split(environment.get("RECORDS_NOTIFY", "").strip(" ,\t\r\n")))),
            duckdb_memory=environment.get("RECORDS_DUCKDB_MEMORY") or cls.duckdb_memory,
            ui_hosts=tuple(map(_host, _listed(environment, "RECORDS_UI_HOSTS", ","))),
            export_roots=tuple(map(_root, _listed(environment, "RECORDS_EXPORT_ROOTS", os.pathsep))),
            log=_one_of(environment, "RECORDS_LOG", ("text", "json")),
            metrics_accounts=_one_of(environment, "RECORDS_METRICS_ACCOUNTS", ("no", "yes")) == "yes",
            umask=_umask(environment.get("RECORDS_UMASK") or None),
        )

    @property
    def log_format(self) -> str:
        """Returns Dagster's name for the form of the logs."""
        return "json" if self.log == "json" else "colored"

    @property
    def rollback_window(self) -> timedelta:
        """Returns how long a commit can be rolled back."""
        return timedelta(hours=self.rollback_hours)

    @property
    def catalog(self) -> Path:
        """Returns the file of the catalog. A catalog in PostgreSQL has none."""
        return self.home / "catalog.sqlite"

    @property
    def place(self) -> str:
        """Returns the place of the store in words, without a password."""
        return str(self.home) if self.postgres is None else "the database that RECORDS_CATALOG names"

    @property
    def lake(self) -> Location:
        """Returns the folder of the lake's Parquet files."""
        return self.data / "lake"

    @property
    def accounts(self) -> Location:
        """Returns the folder in which each account has its own folder."""
        return self.data / "accounts"

    @property
    def inbox(self) -> Location:
        """Returns the folder in which files arrive, each in the folder of its account and record type."""
        return self.data / "inbox"

    @property
    def processing(self) -> Location:
        """Returns the folder of files from the inbox during their import."""
        return self.data / "processing"

    @property
    def archive(self) -> Location:
        """Returns the folder of files from the inbox after their import."""
        return self.data / "archive"

    @property
    def quarantine(self) -> Location:
        """Returns the folder of files from the inbox that were not imported, each beside a text that says why."""
        return self.data / "quarantine"

    @property
    def erasures(self) -> Location:
        """Returns the folder of the receipts of erasures."""
        return self.data / "erasures"

    @property
    def steps(self) -> Location:
        """Returns the folder of what steps of Dagster's runs pass on to each other."""
        return self.data / "steps"

    @property
    def trash(self) -> Location:
        """Returns the folder of files that the store no longer needs."""
        return self.data / "trash"

    @property
    def uploads(self) -> Path:
        """Returns the folder of files that people upload in a browser. It is on this machine."""
        return self.home / "uploads"

    @property
    def scratch(self) -> Path:
        """Returns the folder for temporary files of DuckDB, and for files on their way to an object store."""
        return self.home / "tmp"

    def path_below_data(self, place: Location) -> str:
        """Returns the path of a file or folder below RECORDS_DATA, as the ledger records it."""
        return str(place).removeprefix(str(self.data)).lstrip("/")

    def folder(self, account: str, kind: str) -> Location:
        """Returns the account's folder of that kind: staging, reports, rejects or exports."""
        return self.accounts / account / kind


def home_of(environment: Mapping[str, str]) -> Path:
    """Returns the folder of the store's catalog: RECORDS_HOME, else `records` in the folder of the user's data."""
    named = environment.get("RECORDS_HOME")
    return Path(named).absolute() if named else users_data(environment) / "records"


def users_data(environment: Mapping[str, str]) -> Path:
    """Returns the folder in which programs keep the user's data: XDG_DATA_HOME, else `~/.local/share`.

    A relative XDG_DATA_HOME is ignored, as its specification says. Raises InvalidRequest if the user has no home.
    """
    named = Path(environment.get("XDG_DATA_HOME") or ".")
    if named.is_absolute():
        return named
    try:
        return Path(environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir).absolute() / ".local" / "share"
    except KeyError:  # a container's user without a name
        raise InvalidRequest(
            "This user has no home folder, so the store has no default place.", "Name a folder in RECORDS_HOME."
        ) from None


def _data(text: str) -> Location:
    """Returns the folder, or the prefix of an object store."""
    if text.startswith(OBJECTS) and _BUCKET.fullmatch(text):
        return location(text.rstrip("/"))
    if "://" in text:
        raise InvalidRequest(f"RECORDS_DATA is {text!r}.", "Give a local folder, or s3://BUCKET/PREFIX.")
    return Path(text).absolute()


def _postgres(address: str | None) -> str | None:
    """Returns the address unchanged. No message quotes it, because it may contain a password."""
    if address is not None and not address.startswith(("postgresql://", "postgres://")):
        raise InvalidRequest(
            "RECORDS_CATALOG is not the address of a PostgreSQL database.",
            "Give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or nothing for SQLite in RECORDS_HOME.",
        )
    return address


def _broker(address: str | None) -> str | None:
    """Returns the address unchanged. No message quotes it, because it may contain a password."""
    if address is not None and not address.startswith(("redis://", "rediss://")):
        raise InvalidRequest(
            "RECORDS_BROKER is not the address of a Redis server.",
            "Give redis://:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS.",
        )
    return address


def _processes(environment: Mapping[str, str]) -> int:
    number = _number(environment, "RECORDS_PROCESSES", _cores(), "processes")
    if number < 1 or number != int(number):
        raise InvalidRequest(
            f"RECORDS_PROCESSES is {environment['RECORDS_PROCESSES']!r}.",
            "Give a whole number of processes, 1 or more.",
        )
    return int(number)


def _listed(environment: Mapping[str, str], name: str, separator: str) -> Iterator[str]:
    return filter(None, map(str.strip, environment.get(name, "").split(separator)))


def _host(text: str) -> str:
    """Returns the name in lower case, without the brackets of an IPv6 address."""
    if not _HOST.fullmatch(text):
        raise InvalidRequest(
            f"RECORDS_UI_HOSTS has {text!r}, which is not a host name.",
            "Give host names without scheme and port, separated by commas, for example records.example.org.",
        )
    return text.lower().strip("[]")


def _root(text: str) -> Path:
    root = Path(text)
    if not root.is_absolute() or ".." in root.parts:
        raise InvalidRequest(
            f"RECORDS_EXPORT_ROOTS has {text!r}, which is not an absolute path.",
            f"Give paths that begin with /, without '..', separated by {os.pathsep!r}, for example /srv/exports.",
        )
    return root


def _one_of(environment: Mapping[str, str], name: str, valid: Sequence[str]) -> str:
    """Returns the text of a setting; the first valid one is the default."""
    text = environment.get(name) or valid[0]
    if text not in valid:
        raise InvalidRequest(f"{name} is {text!r}.", f"Give {', '.join(valid[:-1])} or {valid[-1]}.")
    return text


def _umask(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-7]{1,4}", text):
        raise InvalidRequest(f"RECORDS_UMASK is {text!r}.", "Give an octal number, for example 027.")
    return int(text, 8) & 0o777


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
