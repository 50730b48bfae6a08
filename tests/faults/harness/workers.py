"""Processes in which faults happen. Each is forked for one call, from a process that has imported the slow modules."""

import gc
import importlib
import os
import pickle
import queue
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.faults.harness import shim
from tests.faults.harness.shim import NOTHING, Orders

_IMPORTED = (
    *("duckdb", "pandas", "pyarrow.parquet", "psycopg2", "sqlite3", "hypothesis", "s3fs", "upath"),
    *("pandera.backends.pandas.register", "pandera.backends.pandas.builtin_checks"),
    *(
        "resources.importing.importer",
        "resources.importing.stager",
        "resources.report_writer.page",
        "resources.importing.rejects_writer",
    ),
    *(
        "resources.upkeep.maintenance",
        "resources.migration.migration",
        "resources.export_writer",
        "resources.inbox.arrivals",
    ),
    *("resources.record_store.comparison", "resources.record_store.rollback", "resources.file_reader.child"),
    *("resources.file_reader.delimited", "schemas.contacts", "schemas.flights"),
    *("tests.forked_reading", "tests.faults.harness.kinds"),
)
_WORKERS = 6
"""The number of calls at the same time."""

_SECONDS = 180.0
"""Seconds after which a call counts as hung."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with a value, with an error, or with the death of its process."""

    value: Any = None
    error: str = ""
    """The error's class."""
    code: str = ""
    """The code of an error of the project."""
    message: str = ""
    trace: str = ""
    died: str = ""
    seconds: float = 0.0

    @property
    def ended_well(self) -> bool:
        """Return whether there is a value."""
        return not self.error and not self.died

    @property
    def refused(self) -> bool:
        """Return whether the error is one of the project's, with a message for the user."""
        return bool(self.code)

    def __str__(self) -> str:
        if self.died:
            return self.died
        return f"{self.error}: {' '.join(self.message.split())}"[:400] if self.error else "ended well"


class Workers:
    """Forks a process for each call, from a process that has imported the slow modules."""

    def __init__(self, count: int = _WORKERS) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        pairs = [(socket.socketpair(), socket.socketpair()) for _ in range(count)]
        theirs = [(calls[1].fileno(), pauses[1].fileno()) for calls, pauses in pairs]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECORDS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.faults.harness import workers; workers.main({theirs})"],
            env=environment | {"LD_PRELOAD": str(shim.built())},
            pass_fds=[number for pair in theirs for number in pair],
        )
        self._all = [_Worker(Connection(calls[0].detach()), pauses[0]) for calls, pauses in pairs]
        for worker, (calls, pauses) in zip(self._all, pairs, strict=True):
            calls[1].close()
            pauses[1].close()
            self._idle.put(worker)

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        orders: Orders = NOTHING,
        environment: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
        on_pause: Callable[[], None] | None = None,
    ) -> Outcome:
        """Call the function in a process of its own that follows the orders; returns its outcome.

        The process pauses where the orders say so, and `on_pause` is called then.
        """
        worker = self._idle.get()
        try:
            return worker.call((function, arguments, orders, dict(environment or {}), seconds), on_pause)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Wait until all processes have ended."""
        for worker in self._all:
            worker.close()
        self._process.wait(30)


@contextmanager
def workers() -> Iterator[Workers]:
    """Yield workers that have ended afterwards."""
    started = Workers()
    try:
        yield started
    finally:
        started.close()


@dataclass(frozen=True)
class _Worker:
    """The connection to a process that forks another for each call, and the socket on which that one pauses."""

    connection: Connection
    pause: socket.socket

    def call(self, asked: Any, on_pause: Callable[[], None] | None) -> Outcome:
        self.connection.send(asked)
        while True:
            waited: list[Any] = [self.connection, self.pause]
            ready = select.select(waited, [], [])[0]
            if self.pause in ready:
                self.pause.recv(1)
                try:
                    if on_pause is not None:
                        on_pause()
                finally:
                    self.pause.send(b"g")
            elif self.connection in ready:
                outcome: Outcome = self.connection.recv()
                return outcome

    def close(self) -> None:
        self.connection.close()
        self.pause.close()


def main(pairs: Sequence[tuple[int, int]]) -> None:
    """Fork a process for each worker. It answers calls until its connection is closed."""
    warnings.simplefilter("ignore")
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    processes = []
    for mine in pairs:
        process = os.fork()
        if not process:
            for number in {number for pair in pairs for number in pair} - set(mine):
                os.close(number)
            _answer(*mine)
            os._exit(0)
        processes.append(process)
    for number in {number for pair in pairs for number in pair}:
        os.close(number)
    for process in processes:
        os.waitpid(process, 0)


def _answer(asking: int, pause: int) -> None:
    """Fork a process for each call, until the connection is closed."""
    asked = Connection(asking)
    while True:
        try:
            function, arguments, orders, environment, seconds = asked.recv()
        except EOFError:
            return
        began = time.monotonic()
        receiver, sender = os.pipe()
        process = os.fork()
        if not process:
            asked.close()
            os.close(receiver)
            os.setpgid(0, 0)
            _do(function, arguments, orders, environment, pause, sender)
        os.close(sender)
        answer = _read(receiver, began + seconds)
        is_hung = answer is None
        with suppress(ProcessLookupError):
            if is_hung:
                os.killpg(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        with suppress(ProcessLookupError):  # its own children
            os.killpg(process, signal.SIGKILL)
        took = time.monotonic() - began
        if is_hung:
            asked.send(Outcome(died=f"hung for {seconds:.0f} s", seconds=took))
        elif answer:
            asked.send(Outcome(**pickle.loads(answer), seconds=took))
        else:
            ended = os.waitstatus_to_exitcode(status)
            died = f"died by {signal.Signals(-ended).name}" if ended < 0 else f"exited with {ended}"
            asked.send(Outcome(died=died, seconds=took))


def _read(receiver: int, until: float) -> bytes | None:
    """Return everything written until the pipe is closed, or None if that is too late."""
    parts: list[bytes] = []
    while select.select([receiver], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(receiver, 1 << 20)
        if not part:
            os.close(receiver)
            return b"".join(parts)
        parts.append(part)
    os.close(receiver)
    return None


def _do(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    orders: Orders,
    environment: Mapping[str, str],
    pause: int,
    sender: int,
) -> None:
    """Call the function, send the result, and end the process."""
    from resources.system_errors import system_error

    os.environ.update(environment)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    if orders.pause_at:
        orders = Orders(**{**vars(orders), "pause": (pause, pause)})
    shim.give(orders)
    result: dict[str, Any]
    try:
        result = {"value": function(*arguments)}
    except BaseException as error:
        result = {"error": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
        translated = system_error(error)  # as the command line and Dagster's runs report it
        if translated is not None:
            result |= {"code": translated.code, "message": str(translated)}
    shim.end()
    with os.fdopen(sender, "wb") as answer:
        answer.write(pickle.dumps(result))
    os._exit(0)
