"""A catalog and data that do not belong together: another store's catalog, or an older one of the same store."""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from resources.record_store import RecordStore
from schemas import load_record_types
from tests.faults.harness import actions
from tests.faults.harness.actions import ACTIONS, Action, Place
from tests.faults.harness.checks import Findings
from tests.faults.harness.kills import unexplained
from tests.faults.harness.shim import Orders
from tests.faults.harness.testbed import Fault, Testbed, chosen, require

_TWO_DAYS = 2 * 86400.0


def _initialise(store: RecordStore, _: Place) -> None:
    store.initialise(load_record_types())


_ACTIONS: dict[str, Action] = {
    "init": _initialise,
    **{name: ACTIONS[name] for name in ("import", "expire", "maintain")},
}
_COMMANDS = (
    ("init", "maintain"),
    ("init",),
    ("init", "import", "maintain"),
    ("init", "expire"),
    ("import",),
    ("maintain",),
)


def second_catalogs(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Run commands two days later with one setting missing, so that they use another catalog over the same data."""
    cases = [(where, commands) for where in ("home", "server") for commands in _COMMANDS]
    for where, commands in chosen(chance, cases, count):
        yield Fault(f"{', '.join(commands)} by another {where}", partial(_forgotten, testbed, where, commands))


def _forgotten(testbed: Testbed, where: str, commands: Sequence[str]) -> list[str]:
    found = []
    with testbed.copy() as (place, template):
        other = replace(place, home_name="other", data=str(place.root / "home"))
        database = testbed.server.create() if where == "server" else ""
        if database:
            other = replace(place, catalog=testbed.server.address(database))
        eras = (*template.eras, (time.time(), _TWO_DAYS))
        # A server's clock cannot be set, but it reads the age of files from the operating system.
        for name in commands:
            found += unexplained(testbed.call(actions.do, _ACTIONS[name], other, orders=Orders(eras=eras)))
        found += testbed.verify(place, template.before, template.before, eras)
        if database:
            testbed.server.drop(database)
        return found


_LATER = ("import", "rollback", "commit", "export", "maintain")
_NEXT = ("import", "export", "maintain", "expire", "commit")


def old_catalogs(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Restore a backup of the catalog after an action. Everything is refused until the operator accepts it."""
    cases = [(done, then) for done in _LATER for then in _NEXT]
    for done, then in chosen(chance, cases, count):
        yield Fault(f"a catalog of before {done}, then {then}", partial(_restored, testbed, done, then))


def _restored(testbed: Testbed, done: str, then: str) -> list[str]:
    with testbed.copy() as (place, template):
        orders = Orders(eras=template.eras)
        backup = place.root / "backup.sqlite"
        shutil.copy2(place.settings.catalog, backup)
        require(testbed.call(actions.do, ACTIONS[done], place, orders=orders))
        for path in place.settings.home.glob("catalog.sqlite*"):
            if path.suffix != ".lock":
                path.unlink()
        shutil.copy2(backup, place.settings.catalog)
        outcome = testbed.call(actions.do, ACTIONS[then], place, orders=orders)
        found = unexplained(outcome)
        if outcome.ended_well:
            found.append("it was not refused")
        elif outcome.code != "catalog_outdated":
            found.append(f"it was refused for another reason: {outcome}")
        if found:
            return found
        return testbed.findings(accepted, place, orders)


def accepted(place: Place, orders: Orders) -> list[str]:
    """Accept as the operator that the catalog is older than the data; returns the violations."""
    import os

    from click.testing import CliRunner

    from pipelines.commands.cli import main

    found = Findings()
    with found.during("to accept it"):
        os.environ.update(place.environment)
        result = CliRunner().invoke(main, ["accept", "catalog", "--yes", "--json"])
        if result.exit_code:
            found.append(f"it cannot be accepted: {result.output[:200]}")
        with actions.opened(place) as store:
            actions.import_next(store, place)
    return found
