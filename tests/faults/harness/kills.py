"""A process is killed at an operation, also inside a COMMIT; or its disk is full or fails from an operation on."""

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS
from tests.faults.harness.shim import How, Kind, Kinds, Operation, Orders
from tests.faults.harness.testbed import Fault, Testbed, spread
from tests.faults.harness.workers import Outcome

_POSTPONES = ("arrivals",)
"""The actions that may end well and leave some work to the next run."""

_ON_SERVER = ("import", "rollback", "export", "maintain", "expire")


def kills(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Kill each action on a laptop before, after and amid operations."""
    yield from _kills(testbed, chance, count, "laptop", tuple(ACTIONS))


def kills_on_server(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Do the same with the catalog in PostgreSQL, where data sent to the server counts as an operation too."""
    yield from _kills(testbed, chance, count, "postgres", _ON_SERVER)


def _kills(
    testbed: Testbed, chance: random.Random, count: int, setting: str, names: tuple[str, ...]
) -> Iterator[Fault]:
    for action in names[:count]:
        numbers = [it.number for it in _operations(testbed, action, setting)]
        points = [(number, how) for number in numbers for how in How]
        for number, how in spread(chance, points, -(-count // len(names))):
            orders = Orders(kill_at=number, kill_how=how, sends=setting == "postgres")
            happens = partial(_happens, testbed, action, setting, orders, random.Random(chance.random()))
            yield Fault(f"{action} on {setting} killed {how.name.lower()} {number}", happens)


def full_disks(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Make the disk full from an operation on; the first write is done by half, or not at all."""
    for action in list(ACTIONS)[:count]:
        wanted = [it.number for it in _operations(testbed, action) if Kinds.ROOM & (1 << it.kind)]
        points = [(number, kinds) for number in wanted for kinds in (Kinds.ROOM, Kinds.ROOM | Kinds.SHORT)]
        for number, kinds in spread(chance, points, -(-count // len(ACTIONS))):
            orders = Orders(fail_from=number, error=errno.ENOSPC, kinds=kinds)
            happens = partial(_happens, testbed, action, "laptop", orders, random.Random(chance.random()))
            yield Fault(f"{action}: disk full from {number}{' amid it' if kinds & Kinds.SHORT else ''}", happens)


def failing_disks(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Let one flush or write fail, as on a disk that is about to die."""
    for action in list(ACTIONS)[:count]:
        operations = [it for it in _operations(testbed, action) if it.kind in (Kind.SYNC, Kind.WRITE)]
        flushes = [it for it in operations if it.kind is Kind.SYNC]
        share = -(-count // len(ACTIONS))
        for it in [*spread(chance, flushes, -(-share // 2)), *spread(chance, operations, share // 2)]:
            orders = Orders(fail_from=it.number, fail_to=it.number, error=errno.EIO, kinds=1 << it.kind)
            happens = partial(_happens, testbed, action, "laptop", orders, random.Random(chance.random()))
            yield Fault(f"{action}: {it.kind.name.lower()} {it.number} fails", happens)


def _operations(testbed: Testbed, action: str, setting: str = "laptop") -> list[Operation]:
    found = testbed.reference(action, setting, sends=setting == "postgres").operations
    return [it for it in found if it.kind is not Kind.MARK]


def _happens(testbed: Testbed, action: str, setting: str, orders: Orders, chance: random.Random) -> list[str]:
    with testbed.copy(setting) as (place, template):
        orders = replace(orders, root=place.root, eras=template.eras)
        outcome = testbed.call(actions.do, ACTIONS[action], place, orders=orders)
        after = testbed.reference(action, setting).after
        is_done = outcome.ended_well and action not in _POSTPONES
        before = replace(after, exports=template.before.exports) if is_done else template.before
        found = testbed.verify(place, before, after, template.eras, chance)
        return [*unexplained(outcome), *found]


def unexplained(outcome: Outcome) -> list[str]:
    """Return an error that is not one of the project's, or a death other than the kill."""
    if outcome.died and "SIGKILL" not in outcome.died:
        return [outcome.died]
    return [f"not a message of the project: {outcome}"] if outcome.error and not outcome.refused else []
