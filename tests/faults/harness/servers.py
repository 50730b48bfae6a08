"""PostgreSQL is restarted, ends sessions or stands still, at any point of a write or an export."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psutil

from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS
from tests.faults.harness.kills import unexplained
from tests.faults.harness.shim import Kind, Orders
from tests.faults.harness.testbed import Fault, Testbed, spread

_ACTIONS = ("import", "rollback", "export", "maintain", "expire")
_STILL = 2.0


def _restart(testbed: Testbed) -> None:
    testbed.server.restart(signal.SIGQUIT)  # at once, like a crash


def _cut(testbed: Testbed) -> None:
    testbed.server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'store%'")


def _stand_still(testbed: Testbed) -> None:
    processes = [testbed.server.process, *testbed.server.process.children(recursive=True)]
    for process in processes:
        process.suspend()
    time.sleep(_STILL)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


_HOW: dict[str, Callable[[Testbed], None]] = {"restarted": _restart, "cut": _cut, "still": _stand_still}


def servers(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Pause each action at an operation or before it sends data. Cases run one at a time: all share the server."""
    for action in _ACTIONS[:count]:
        operations = testbed.reference(action, "postgres", sends=True).operations
        numbers = [it.number for it in operations if it.kind not in (Kind.MARK, Kind.SEND)]
        sends = [it.number for it in operations if it.kind is Kind.SEND]
        share = -(-count // len(_ACTIONS))
        for number in [*spread(chance, sends, share - share // 4), *spread(chance, numbers, share // 4)]:
            how = chance.choice(("restarted", "restarted", "cut", "cut", "still"))
            happens = partial(_happens, testbed, action, number, how, random.Random(chance.random()))
            yield Fault(f"{action}, PostgreSQL {how} at {number}", happens)


def _happens(testbed: Testbed, action: str, number: int, how: str, chance: random.Random) -> list[str]:
    with testbed.copy("postgres") as (place, template):
        orders = Orders(root=place.root, pause_at=number, sends=True, eras=template.eras)
        outcome = testbed.call(
            actions.do, ACTIONS[action], place, orders=orders, on_pause=lambda: _HOW[how](testbed), seconds=90.0
        )
        after = testbed.reference(action, "postgres").after
        before = replace(after, exports=template.before.exports) if outcome.ended_well else template.before
        return [*unexplained(outcome), *testbed.verify(place, before, after, template.eras, chance)]
