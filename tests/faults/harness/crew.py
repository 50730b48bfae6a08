"""Processes in which things go wrong: forked, each for one call, from processes that have imported what is slow."""

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
_HANDS = 6
"""How many calls there can be at once."""

_SECONDS = 60.0
"""After which a call has hung."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with a value, with an error, or with the process, by a signal or because it hung."""

    value: Any = None
    error: str = ""
    """The error's class."""
    code: str = ""
    """Of an error of ours."""
    told: str = ""
    trace: str = ""
    died: str = ""
    seconds: float = 0.0

    @property
    def ended_well(self) -> bool:
        """Whether there is a value."""
        return not self.error and not self.died

    @property
    def refused(self) -> bool:
        """Whether it was told in our own sentences."""
        return bool(self.code)

    def __str__(self) -> str:
        if self.died:
            return self.died
        return f"{self.error}: {' '.join(self.told.split())}"[:400] if self.error else "ended well"


class Crew:
    """Processes that fork another for each call: all are forked from one that has imported what is slow."""

    def __init__(self, hands: int = _HANDS) -> None:
        self._idle: queue.SimpleQueue[_Hand] = queue.SimpleQueue()
        pairs = [(socket.socketpair(), socket.socketpair()) for _ in range(hands)]
        theirs = [(calls[1].fileno(), pauses[1].fileno()) for calls, pauses in pairs]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RECORDS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.faults.harness import crew; crew.main({theirs})"],
            env=environment | {"LD_PRELOAD": str(shim.built())},
            pass_fds=[number for pair in theirs for number in pair],
        )
        self._all = [_Hand(Connection(calls[0].detach()), pauses[0]) for calls, pauses in pairs]
        for hand, (calls, pauses) in zip(self._all, pairs, strict=True):
            calls[1].close()
            pauses[1].close()
            self._idle.put(hand)

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        orders: Orders = NOTHING,
        environment: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
        on_pause: Callable[[], None] | None = None,
    ) -> Outcome:
        """What the function came to, in a process of its own that follows the orders.

        The process waits where the orders say to pause, and `on_pause` is called then.
        """
        hand = self._idle.get()
        try:
            return hand.call((function, arguments, orders, dict(environment or {}), seconds), on_pause)
        finally:
            self._idle.put(hand)

    def close(self) -> None:
        """All processes have ended."""
        for hand in self._all:
            hand.close()
        self._process.wait(30)


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew that has ended afterwards."""
    started = Crew()
    try:
        yield started
    finally:
        started.close()


@dataclass(frozen=True)
class _Hand:
    """How to reach a process that forks another for each call, and tells how it ended; and by which one waits."""

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


def main(hands: Sequence[tuple[int, int]]) -> None:
    """For each hand a process is forked that answers calls; all have ended when nobody asks any more."""
    warnings.simplefilter("ignore")
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    processes = []
    for mine in hands:
        process = os.fork()
        if not process:
            for number in {number for pair in hands for number in pair} - set(mine):
                os.close(number)
            _answer(*mine)
            os._exit(0)
        processes.append(process)
    for number in {number for pair in hands for number in pair}:
        os.close(number)
    for process in processes:
        os.waitpid(process, 0)


def _answer(asking: int, pause: int) -> None:
    """For each call that is asked for a process is forked; nobody asks any more at the end."""
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
        with suppress(ProcessLookupError):  # whom it has forked
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
    """All that is said until it is closed; None where that is later."""
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
    """The function is called, and the process gone."""
    from resources.system_errors import system_error

    os.environ.update(environment)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    if orders.pause_at:
        orders = Orders(**{**vars(orders), "pause": (pause, pause)})
    shim.give(orders)
    told: dict[str, Any]
    try:
        told = {"value": function(*arguments)}
    except BaseException as error:
        told = {"error": type(error).__name__, "told": str(error), "trace": traceback.format_exc()}
        said = system_error(error)  # as the command line and Dagster's runs say it
        if said is not None:
            told |= {"code": said.code, "told": str(said)}
    shim.end()
    with os.fdopen(sender, "wb") as answer:
        answer.write(pickle.dumps(told))
    os._exit(0)
