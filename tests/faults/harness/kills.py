"""A process is killed at an operation, also inside a COMMIT; its disk is full from one on, or does not flush."""

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS
from tests.faults.harness.bench import Bench, Fault, spread
from tests.faults.harness.crew import Outcome
from tests.faults.harness.shim import How, Kind, Kinds, Operation, Orders

_POSTPONES = ("arrivals",)
"""What ends well though it has left some of it to the next time, as it should."""

_ON_SERVER = ("import", "rollback", "export", "maintain", "expire")


def kills(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """Each action on a laptop is killed before, after and amid operations."""
    yield from _kills(bench, chance, count, "laptop", tuple(ACTIONS))


def kills_on_server(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """The same with the catalog in PostgreSQL, where what is sent to it counts too."""
    yield from _kills(bench, chance, count, "postgres", _ON_SERVER)


def _kills(bench: Bench, chance: random.Random, count: int, setting: str, names: tuple[str, ...]) -> Iterator[Fault]:
    for action in names[:count]:
        numbers = [it.number for it in _operations(bench, action, setting)]
        points = [(number, how) for number in numbers for how in How]
        for number, how in spread(chance, points, -(-count // len(names))):
            orders = Orders(kill_at=number, kill_how=how, sends=setting == "postgres")
            happens = partial(_happens, bench, action, setting, orders, random.Random(chance.random()))
            yield Fault(f"{action} on {setting} killed {how.name.lower()} {number}", happens)


def full_disks(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """At each operation that needs room there is none, from then on; half of the first write is done, or nothing."""
    for action in list(ACTIONS)[:count]:
        wanted = [it.number for it in _operations(bench, action) if Kinds.ROOM & (1 << it.kind)]
        points = [(number, kinds) for number in wanted for kinds in (Kinds.ROOM, Kinds.ROOM | Kinds.SHORT)]
        for number, kinds in spread(chance, points, -(-count // len(ACTIONS))):
            orders = Orders(fail_from=number, error=errno.ENOSPC, kinds=kinds)
            happens = partial(_happens, bench, action, "laptop", orders, random.Random(chance.random()))
            yield Fault(f"{action}: disk full from {number}{' amid it' if kinds & Kinds.SHORT else ''}", happens)


def failing_disks(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """A flush, or a write, fails once, as on a disk that is about to die."""
    for action in list(ACTIONS)[:count]:
        operations = [it for it in _operations(bench, action) if it.kind in (Kind.SYNC, Kind.WRITE)]
        flushes = [it for it in operations if it.kind is Kind.SYNC]
        share = -(-count // len(ACTIONS))
        for it in [*spread(chance, flushes, -(-share // 2)), *spread(chance, operations, share // 2)]:
            orders = Orders(fail_from=it.number, fail_to=it.number, error=errno.EIO, kinds=1 << it.kind)
            happens = partial(_happens, bench, action, "laptop", orders, random.Random(chance.random()))
            yield Fault(f"{action}: {it.kind.name.lower()} {it.number} fails", happens)


def _operations(bench: Bench, action: str, setting: str = "laptop") -> list[Operation]:
    found = bench.reference(action, setting, sends=setting == "postgres").operations
    return [it for it in found if it.kind is not Kind.MARK]


def _happens(bench: Bench, action: str, setting: str, orders: Orders, chance: random.Random) -> list[str]:
    with bench.copy(setting) as (place, template):
        orders = replace(orders, root=place.root, eras=template.eras)
        outcome = bench.call(actions.do, ACTIONS[action], place, orders=orders)
        after = bench.reference(action, setting).after
        is_done = outcome.ended_well and action not in _POSTPONES
        before = replace(after, exports=template.before.exports) if is_done else template.before
        found = bench.verify(place, before, after, template.eras, chance)
        return [*untold(outcome), *found]


def untold(outcome: Outcome) -> list[str]:
    """What is no sentence of ours though it was no kill: an error as it came, or a process that died of it."""
    if outcome.died and "SIGKILL" not in outcome.died:
        return [outcome.died]
    return [f"not told: {outcome}"] if outcome.error and not outcome.refused else []
