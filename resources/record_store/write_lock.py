"""Locks: `WriteLock` lets one writer at a time write to a store."""

import fcntl
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import filelock

from resources.measurements import Measurements, Work
from resources.record_store.server_errors import is_ended, retried, server_error
from schemas.errors import StoreBusy, StoreUnreachable

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session  # noqa: N812  # psycopg2 names its classes so

_KEY = 0x7265636F726473
"""The number of the writers' advisory lock. Each database of PostgreSQL, so each catalog, has its own numbers."""

_LONGEST = 2**31 - 1
"""The most milliseconds that PostgreSQL can wait."""

_LOOK = 0.05
"""How many seconds pass before a process looks again whether a folder is free."""

_RESTART = 10.0
"""How many seconds a waiting writer retries after the server ended its session."""

_LOCKS_OF_THE_SESSION = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
"""


class WriteLock(Protocol):
    """A lock that is held during each transaction that writes. Its holder can take it again.

    Without it, commits to a SQLite catalog fail (ducklake#1309), and two upserts of one new key both succeed
    (ducklake#1393). It is released if its holder dies.
    """

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        ...

    def prove(self) -> None:
        """Raise StoreBusy if the lock was lost."""
        ...


class MeasuredLock:
    """A write lock that adds each wait for it to the measurements of the home."""

    def __init__(self, lock: WriteLock, measurements: Measurements) -> None:
        self._lock = lock
        self._measurements = measurements
        self._depth = 0

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait."""
        began = time.monotonic()
        try:
            self._lock.__enter__()
        except StoreBusy:
            self._measurements.add(Work.LOCK_BUSY, time.monotonic() - began)
            raise
        if not self._depth:
            self._measurements.add(Work.LOCK_TAKEN, time.monotonic() - began)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._depth -= 1
        self._lock.__exit__(kind, error, trace)

    def prove(self) -> None:
        """Raise StoreBusy if the lock was lost."""
        self._lock.prove()


class FileLock:
    """A lock on a file. The operating system releases it if its holder dies."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._lock = filelock.FileLock(path, timeout=seconds)
        self._seconds = seconds

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait."""
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise _busy(self._seconds) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._lock.release()

    def prove(self) -> None:
        """Do nothing: a living process cannot lose a lock on a file."""


class FolderLock:
    """A lock on a folder, against all processes of this machine, whichever store they have. It leaves no file there."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._descriptor = -1

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait."""
        deadline = time.monotonic() + self._seconds
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while not self._taken():
                if time.monotonic() >= deadline:
                    raise _busy(self._seconds, str(self._folder))
                time.sleep(_LOOK)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class AdvisoryLock:
    """An advisory lock of PostgreSQL, on a session of its own that lasts as long as the lock is held.

    The server releases it when the session ends, which may be before its holder ends. So call `prove` before a COMMIT.

    session: the session, while the lock is held.
    """

    def __init__(
        self, open_session: "Callable[[], Session]", seconds: float, name: str = "", *, where: str = "the store"
    ) -> None:
        self._open = open_session
        self._key = _KEY + zlib.crc32(name.encode())
        self._seconds = seconds
        self._where = where
        self.session: Session | None = None
        self._depth = 0

    def __enter__(self) -> None:
        """Take the lock. Raises StoreBusy after the seconds to wait."""
        if not self._depth:
            self.session = self._acquired()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock. A closed session alone would keep it until the server notices."""
        import psycopg2

        self._depth -= 1
        if not self._depth and self.session is not None:
            with suppress(psycopg2.Error), self.session.cursor() as cursor:  # the session may be cut
                cursor.execute("SELECT pg_advisory_unlock(%s)", [self._key])
            self.session.close()
            self.session = None

    def prove(self) -> None:
        """Raise StoreBusy if the session was cut, because another writer may have the lock since."""
        import psycopg2

        locks = 0
        if self.session is not None:
            with suppress(psycopg2.Error), self.session.cursor() as cursor:
                cursor.execute(_LOCKS_OF_THE_SESSION)
                ((locks,),) = cursor.fetchall()
        if not locks:
            raise StoreBusy(
                "The session that held the store's write lock was cut; nothing was written.",
                "Try again. If it happens often, find what ends sessions: PostgreSQL's log, a proxy or a firewall.",
            )

    def _acquired(self) -> "Session":
        """Return a session that has the lock. If the server ends the first one, take another: nothing is done yet."""
        import psycopg2

        deadline = time.monotonic() + self._seconds
        try:
            try:
                return self._locked(self._open(), deadline)
            except psycopg2.Error as error:
                if not is_ended(error):
                    raise
            return retried(
                lambda: self._locked(self._open(), deadline),
                lambda error: isinstance(error, StoreUnreachable),
                _RESTART,
            )
        except psycopg2.Error as error:
            raise server_error(error) from None

    def _locked(self, session: "Session", deadline: float) -> "Session":
        import psycopg2

        seconds = deadline - time.monotonic()
        try:
            with session.cursor() as cursor:
                # With these, the server finds within a minute that the holder's machine is lost.
                cursor.execute("SET tcp_keepalives_idle = 30")
                cursor.execute("SET tcp_keepalives_interval = 10")
                cursor.execute("SET tcp_keepalives_count = 3")
                cursor.execute("SET idle_session_timeout = 0")
                cursor.execute("SET lock_timeout = %s", [min(max(1, round(seconds * 1000)), _LONGEST)])
                cursor.execute("SET statement_timeout = 0")
                cursor.execute("SELECT pg_advisory_lock(%s)", [self._key])
        except psycopg2.errors.LockNotAvailable:
            session.close()
            raise _busy(self._seconds, self._where) from None
        except BaseException:
            session.close()
            raise
        return session


def _busy(seconds: float, where: str = "the store") -> StoreBusy:
    return StoreBusy(
        f"Another process has been writing to {where} for {seconds:g} seconds.",
        "Try again, or wait longer: RECORDS_LOCK_SECONDS.",
    )
