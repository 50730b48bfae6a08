"""PostgreSQL is restarted, ends sessions or stands still, at any moment of a write or an export."""

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
from tests.faults.harness.bench import Bench, Fault, spread
from tests.faults.harness.kills import untold
from tests.faults.harness.shim import Kind, Orders

_ACTIONS = ("import", "rollback", "export", "maintain", "expire")
_STILL = 2.0


def _restart(bench: Bench) -> None:
    bench.server.restart(signal.SIGQUIT)  # at once, as when it dies


def _cut(bench: Bench) -> None:
    bench.server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'store%'")


def _stand_still(bench: Bench) -> None:
    processes = [bench.server.process, *bench.server.process.children(recursive=True)]
    for process in processes:
        process.suspend()
    time.sleep(_STILL)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


_HOW: dict[str, Callable[[Bench], None]] = {"restarted": _restart, "cut": _cut, "still": _stand_still}


def servers(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """Each action, at operations on files and before what is sent; one at a time, for all share the server."""
    for action in _ACTIONS[:count]:
        operations = bench.reference(action, "postgres", sends=True).operations
        numbers = [it.number for it in operations if it.kind is not Kind.MARK]
        sends = sorted(set(range(1, max(numbers, default=1))) - set(numbers))  # what is sent is in no record
        share = -(-count // len(_ACTIONS))
        for number in [*spread(chance, sends, share - share // 4), *spread(chance, numbers, share // 4)]:
            how = chance.choice(("restarted", "restarted", "cut", "cut", "still"))
            happens = partial(_happens, bench, action, number, how, random.Random(chance.random()))
            yield Fault(f"{action}, PostgreSQL {how} at {number}", happens)


def _happens(bench: Bench, action: str, number: int, how: str, chance: random.Random) -> list[str]:
    with bench.copy("postgres") as (place, template):
        orders = Orders(root=place.root, pause_at=number, sends=True, eras=template.eras)
        outcome = bench.call(
            actions.do, ACTIONS[action], place, orders=orders, on_pause=lambda: _HOW[how](bench), seconds=90.0
        )
        after = bench.reference(action, "postgres").after
        before = replace(after, exports=template.before.exports) if outcome.ended_well else template.before
        return [*untold(outcome), *bench.verify(place, before, after, template.eras, chance)]
