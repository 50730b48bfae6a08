"""One writer at a time per store."""

from pathlib import Path
from types import TracebackType

import filelock

from schemas.errors import StoreBusy


class WriteLock:
    """A lock on a file beside the catalog, held around each transaction that writes.

    Without it commits to a SQLite catalog fail (ducklake#1309) and two upserts of one new key both
    succeed (ducklake#1393). The operating system frees it when its holder dies. It can be taken again
    by the one who holds it.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._lock = filelock.FileLock(path, timeout=seconds)
        self._seconds = seconds

    def __enter__(self) -> None:
        """Hold the lock, or raise StoreBusy after the seconds it was willing to wait."""
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise StoreBusy(
                f"Another process has been writing to the store for {self._seconds:g} seconds.",
                "Try again, or wait longer: RECORDS_LOCK_SECONDS.",
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next writer in."""
        self._lock.release()
