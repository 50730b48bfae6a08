"""`Stores`: open stores for the threads that answer requests."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue

from resources.record_store import Databases, RecordStore
from resources.settings import Settings

_MOST = 6
"""How many stores are open at most. Another thread waits until one is free."""


class Stores:
    """Lends each thread a store of its own, and keeps it open for the next one.

    Opening a store takes longer than most reads.
    """

    def __init__(self, settings: Settings, most: int = _MOST) -> None:
        self._settings = settings
        self._databases = Databases()
        self._free: LifoQueue[RecordStore | None] = LifoQueue()
        for _ in range(most):
            self._free.put(None)

    @contextmanager
    def lent(self) -> Iterator[RecordStore]:
        """Yields a store that no other thread uses meanwhile."""
        store = self._free.get()
        try:
            if store is None:
                store = RecordStore(self._settings, databases=self._databases)
            yield store
        finally:
            self._free.put(store)

    def close(self) -> None:
        """Close all stores that no thread uses."""
        with suppress(Empty):
            while True:
                store = self._free.get_nowait()
                if store is not None:
                    store.__exit__()
