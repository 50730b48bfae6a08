"""Heartbeats: each process that executes runs or steps counts upwards, and a watcher sees which counters stand still.

No clock is compared with another one. A watcher measures by its own clock how long a counter has stood still.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from resources.machines.database import SCHEMA, WorkTables
from resources.settings import Settings
from schemas.errors import RecordsError

BEAT_SECONDS = 5.0
GONE_SECONDS = 40.0
"""How long a counter stands still before its process counts as gone."""

_LOOKS = 3


def process_name(number: int | None = None) -> str:
    """Returns the name of a process, by default this one: machine, id and start time, because ids are used again."""
    number = os.getpid() if number is None else number
    return f"{socket.gethostname()}:{number}:{psutil.Process(number).create_time():.2f}"


def machine_of(process: str) -> str:
    """Returns the machine in the name of a process."""
    return process.rsplit(":", 2)[0]


def is_running(process: str) -> bool | None:
    """Returns whether a process of this machine runs; None for a process of another machine."""
    host, number, _ = process.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(int(number))
        return found.status() != psutil.STATUS_ZOMBIE and process_name(found.pid) == process
    return False


@contextmanager
def beating(settings: Settings, process: str, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Count upwards for this process until the block ends. Without PostgreSQL there is one machine and no counter.

    If a step of this process is revoked meanwhile, the process is killed: nothing else stops every kind of step.
    """
    if settings.postgres is None:
        yield
        return
    ended = threading.Event()
    tables = WorkTables(settings)
    with suppress(RecordsError):  # an unreachable server is for the work itself to report
        _beat(tables, process)
    thread = threading.Thread(target=_beat_until, args=(ended, tables, process, seconds), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(RecordsError):
            tables.execute(f"DELETE FROM {SCHEMA}.processes WHERE process = %s", [process])
        tables.close()


def beats_of(tables: WorkTables, processes: Iterable[str]) -> dict[str, int | None]:
    """Returns the counter of each process; None for one without a counter."""
    names = list(processes)
    found = dict(tables.execute(f"SELECT process, beat FROM {SCHEMA}.processes WHERE process = ANY(%s)", [names]))
    return {name: found.get(name) for name in names}


class Watch:
    """Finds the counters that stand still, by a clock that only this process reads."""

    def __init__(self, seconds: float = GONE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def still(self, counters: Mapping[str, int | None]) -> set[str]:
        """Returns the names with a counter that has stood still long enough, at three looks or more.

        A name that is not given any more is forgotten.
        """
        now = self._clock()
        for name, counter in counters.items():
            seen = self._seen.get(name)
            is_same = seen is not None and seen.counter == counter
            self._seen[name] = (
                _Seen(counter, seen.since, seen.looks + 1) if seen and is_same else _Seen(counter, now, 1)
            )
        self._seen = {name: self._seen[name] for name in counters}
        return {name for name, seen in self._seen.items() if now - seen.since >= self._seconds and seen.looks >= _LOOKS}

    def forget(self) -> None:
        """Begin anew: after an error of the database, counters may have stood still only because of it."""
        self._seen.clear()


@dataclass(frozen=True)
class _Seen:
    counter: int | None
    since: float
    looks: int


def _beat_until(ended: threading.Event, tables: WorkTables, process: str, seconds: float) -> None:
    while not ended.wait(seconds):
        with suppress(RecordsError):
            if _beat(tables, process):
                os.kill(os.getpid(), signal.SIGKILL)


def _beat(tables: WorkTables, process: str) -> bool:
    """Count one up, at first from a random number. Returns whether a step of the process is revoked.

    A worker counts anew for each step. From 1, the counters of many short steps would look like one that stands still.
    """
    ((is_revoked,),) = tables.execute(
        f"WITH counted AS (INSERT INTO {SCHEMA}.processes (process, beat) "
        "VALUES (%(process)s, floor(random() * 1e15)::bigint) "
        f"ON CONFLICT (process) DO UPDATE SET beat = {SCHEMA}.processes.beat + 1, "
        "beaten_at = clock_timestamp() RETURNING 1) "
        f"SELECT EXISTS (SELECT FROM {SCHEMA}.steps WHERE process = %(process)s AND is_revoked AND outcome IS NULL) "
        "FROM counted",
        {"process": process},  # type: ignore[arg-type]
    )
    return bool(is_revoked)
