"""`Work`: what takes longer than an answer may, in a few threads of the server, with its progress."""

import logging
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from resources.defects import defect, keep_details
from resources.file_reader import end_reading

_WORKERS = 2
_QUICK_SECONDS = 0.5
_CLOSING_SECONDS = 2.0
"""How long the end of the server waits for tasks. A task that takes longer is killed with the server."""


class ServerEnds(BaseException):
    """The server ends, so a task must end too. It is no error: the next server does the task again."""


class Cancelled(BaseException):
    """A person has cancelled the task. It is no error: what was begun is cleared away."""


@dataclass
class Task:
    """Something in the works. `records` of about `expected` are done; it has begun at `began`, a monotonic time.

    cancelled: whether a person wants it to end. server_ends: whether the server does.
    """

    what: str
    server_ends: Event
    began: float = field(default_factory=time.monotonic)
    records: int = 0
    expected: int | None = None
    cancelled: bool = False
    future: "Future[None] | None" = None

    def progress(self, records: int, expected: int | None) -> None:
        """Take the number of records done, and an estimate of all.

        Raises ServerEnds if the server ends, and Cancelled if a person wants the task to end.
        """
        self.require_server()
        if self.cancelled:
            raise Cancelled
        if records < self.records:  # another stage of the work, with a rate of its own
            self.began = time.monotonic()
        self.records, self.expected = records, expected

    def require_server(self) -> None:
        """Raises ServerEnds if the server ends."""
        if self.server_ends.is_set():
            raise ServerEnds

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
        self._ends = Event()

    def start(self, key: Hashable, what: str, function: Callable[[Task], None]) -> Task:
        """Starts a task, or returns the one that runs under the key already.

        The function must keep its result and its errors where they can be found again.
        """
        with self._turn:
            running = self._tasks.get(key)
            if running is not None:
                return running
            task = self._tasks[key] = Task(what, self._ends)
            task.future = self._threads.submit(self._run, key, task, function)
        return task

    def runs(self, key: Hashable) -> bool:
        """Returns whether a task runs under a key, at once."""
        return key in self._tasks

    def of(self, key: Hashable) -> Task | None:
        """Returns the task that runs under a key, after waiting a little for one that is quick."""
        task = self._tasks.get(key)
        if task is not None and task.future is not None:
            wait([task.future], timeout=_QUICK_SECONDS)
        return self._tasks.get(key)

    def close(self) -> None:
        """End the running tasks, and start no more. Waits for them, but not for long."""
        self._ends.set()
        end_reading()
        with self._turn:
            running = [task.future for task in self._tasks.values() if task.future is not None]
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait(running, timeout=_CLOSING_SECONDS)

    def _run(self, key: Hashable, task: Task, function: Callable[[Task], None]) -> None:
        try:
            function(task)
        except (ServerEnds, Cancelled):
            pass
        except Exception as error:
            keep_details(error, self._home)
            logging.getLogger(__name__).error("%s has failed: %s.", task.what, defect(error))
        finally:
            with self._turn, suppress(KeyError):
                del self._tasks[key]
