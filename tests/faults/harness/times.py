"""One process has another clock or another window than all others: the store keeps its promises."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from resources.record_store import RecordStore
from schemas.rollbacks import OnModified, RollbackRequest
from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS, Place, State, named, opened, state_of
from tests.faults.harness.checks import Findings, damaged_exports, go_on, missing_files
from tests.faults.harness.kills import unexplained
from tests.faults.harness.shim import Orders
from tests.faults.harness.testbed import Eras, Fault, Testbed, chosen

_SHIFTS = {"a year": 365 * 86400.0, "two days": 2 * 86400.0, "an hour": 3600.0}
_DONE = ("import", "commit", "export", "expire", "maintain")
_PROMISED = {"ua/fresh.csv": "committed", "dl/fresh-dl.csv": "committed", "ua/waiting.csv": "previewed"}
_MINUTE = 60.0


def clocks(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Let a process with a clock ahead or behind do one or two things; then others go on. Files have real times."""
    cases = [
        (f"{name} {'ahead' if sign > 0 else 'behind'}", sign * shift, done)
        for name, shift in _SHIFTS.items()
        for sign in (1, -1)
        for done in [(one,) for one in _DONE] + [("import", "maintain"), ("export", "maintain"), ("expire", "import")]
    ]
    cases.sort(key=lambda case: case[2] != ("export", "maintain"))
    for name, shift, done in chosen(chance, cases, count):
        happens = partial(_happens, testbed, done, shift, 24.0, False)
        yield Fault(f"{', '.join(done)} with a clock {name}", happens)


def windows(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """A minute later, let a process with a window of four seconds do one or two things; then others go on."""
    cases = [("expire", "maintain"), ("import", "maintain"), *((one,) for one in (*_DONE, "rollback"))]
    for done in chosen(chance, cases, count):
        yield Fault(
            f"{', '.join(done)} with a window of seconds", partial(_happens, testbed, done, _MINUTE, 0.001, True)
        )


def _happens(testbed: Testbed, done: Sequence[str], shift: float, hours: float, files: bool) -> list[str]:
    found = []
    with testbed.copy() as (place, template):
        wrong: Eras = (*template.eras, (time.time(), shift))
        for name in done:
            outcome = testbed.call(
                actions.do, ACTIONS[name], replace(place, hours=hours), orders=Orders(eras=wrong, files=files)
            )
            found += unexplained(outcome)
        right = Orders(eras=wrong if files else template.eras)
        return [*found, *testbed.findings(partial(kept_promises, done, template.before), place, right)]


def kept_promises(done: Sequence[str], before: State, place: Place, orders: Orders) -> list[str]:
    """Return the broken promises: what the store promised before a process had a wrong clock."""
    found = Findings()
    with found.during("the store"), opened(place) as store:
        now = state_of(store)
        for name, status in _PROMISED.items():
            allowed = {status}
            allowed |= {"committed"} if name == "ua/waiting.csv" and "commit" in done else set()
            allowed |= {"rolled_back"} if name == "ua/fresh.csv" and "rollback" in done else set()
            if now.statuses.get(name) not in allowed:
                found.append(f"{name} is {now.statuses.get(name)}, and was promised to be {status} for a day")
        if "import" not in done and "commit" not in done and "rollback" not in done and now.records != before.records:
            found.append("records have changed")
        found += missing_files(store)
        found += damaged_exports(place, replace(now, exports=before.exports))
        promised: dict[str, Callable[[RecordStore], object]] = {
            "the rollback of fresh-dl.csv": lambda store: store.account("dl").roll_back(
                RollbackRequest("dl", named(store, "fresh-dl.csv").batch_id, OnModified.OVERWRITE), "tester", None
            ),
            "the plan of the rollback of fresh.csv": lambda store: store.account("ua").plan_rollback(
                RollbackRequest("ua", named(store, "fresh.csv").batch_id, OnModified.KEEP)
            ),
        }
        if now.statuses.get("ua/waiting.csv") == "previewed" and "import" not in done:
            promised["the commit of waiting.csv"] = lambda store: actions.commit_waiting(store, place)
        for what, act in promised.items():
            with found.during(what):
                act(store)
    return [*found, *go_on(place, orders, days=(0, 3))]
