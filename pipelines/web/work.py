"""`Work`: what takes longer than an answer may, in a few threads of the server, with its progress."""

import logging
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from resources.defects import defect, keep_details

_WORKERS = 2
_QUICK_SECONDS = 0.5


@dataclass
class Task:
    """Something in the works. `records` of about `expected` are done; it has begun at `began`, a monotonic time.

    cancelled: whether a person wants it to end.
    """

    what: str
    began: float = field(default_factory=time.monotonic)
    records: int = 0
    expected: int | None = None
    cancelled: bool = False
    future: "Future[None] | None" = None

    def progress(self, records: int, expected: int | None) -> None:
        """Take the number of records done, and an estimate of all."""
        self.records, self.expected = records, expected

    @property
    def rate(self) -> float:
        """Returns how many records are done in a second."""
        return self.records / max(time.monotonic() - self.began, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """Returns about how many seconds are left; None if that is not known yet."""
        if not self.records or self.expected is None:
            return None
        return max(0.0, self.expected - self.records) / self.rate


class Work:
    """Runs tasks in a bounded number of threads. Each has a key, and a key has at most one task at a time."""

    def __init__(self, home: Path, workers: int = _WORKERS) -> None:
        self._home = home
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="work")
        self._tasks: dict[Hashable, Task] = {}
        self._turn = Lock()

    def start(self, key: Hashable, what: str, function: Callable[[Task], None]) -> Task:
        """Starts a task, or returns the one that runs under the key already.

        The function must keep its result and its errors where they can be found again.
        """
        with self._turn:
            running = self._tasks.get(key)
            if running is not None:
                return running
            task = self._tasks[key] = Task(what)
            task.future = self._threads.submit(self._run, key, task, function)
        return task

    def of(self, key: Hashable) -> Task | None:
        """Returns the task that runs under a key, after waiting a little for one that is quick."""
        task = self._tasks.get(key)
        if task is not None and task.future is not None:
            wait([task.future], timeout=_QUICK_SECONDS)
        return self._tasks.get(key)

    def close(self) -> None:
        """Let the running tasks end, and start no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, key: Hashable, task: Task, function: Callable[[Task], None]) -> None:
        try:
            function(task)
        except Exception as error:
            keep_details(error, self._home)
            logging.getLogger(__name__).error("%s has failed: %s.", task.what, defect(error))
        finally:
            with self._turn, suppress(KeyError):
                del self._tasks[key]
