"""Another catalog over the data of a store, and an older catalog of its own."""

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
from tests.faults.harness.bench import Bench, Fault, chosen, require
from tests.faults.harness.checks import Findings
from tests.faults.harness.kills import untold
from tests.faults.harness.shim import Orders

_TWO_DAYS = 2 * 86400.0


def _initialise(store: RecordStore, _: Place) -> None:
    store.initialise(load_record_types())


_STRANGE: dict[str, Action] = {
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


def second_catalogs(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """Two days later somebody forgets one setting, so that another catalog stands over the data."""
    cases = [(where, commands) for where in ("home", "server") for commands in _COMMANDS]
    for where, commands in chosen(chance, cases, count):
        yield Fault(f"{', '.join(commands)} by another {where}", partial(_forgotten, bench, where, commands))


def _forgotten(bench: Bench, where: str, commands: Sequence[str]) -> list[str]:
    found = []
    with bench.copy() as (place, template):
        other = replace(place, home_name="other", data=str(place.root / "home"))
        database = bench.server.create() if where == "server" else ""
        if database:
            other = replace(place, catalog=bench.server.address(database))
        eras = (*template.eras, (time.time(), _TWO_DAYS))
        # A server's clock cannot be set: files are two days old to it where they are so to the operating system.
        for name in commands:
            found += untold(bench.call(actions.do, _STRANGE[name], other, orders=Orders(eras=eras)))
        found += bench.verify(place, template.before, template.before, eras)
        if database:
            bench.server.drop(database)
        return found


_LATER = ("import", "rollback", "commit", "export", "maintain")
_NEXT = ("import", "export", "maintain", "expire", "commit")


def old_catalogs(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """A backup of the catalog is put back after something was done: nothing goes on until that is accepted."""
    cases = [(done, then) for done in _LATER for then in _NEXT]
    for done, then in chosen(chance, cases, count):
        yield Fault(f"a catalog of before {done}, then {then}", partial(_restored, bench, done, then))


def _restored(bench: Bench, done: str, then: str) -> list[str]:
    with bench.copy() as (place, template):
        orders = Orders(eras=template.eras)
        backup = place.root / "backup.sqlite"
        shutil.copy2(place.settings.catalog, backup)
        require(bench.call(actions.do, ACTIONS[done], place, orders=orders))
        for path in place.settings.home.glob("catalog.sqlite*"):
            if path.suffix != ".lock":
                path.unlink()
        shutil.copy2(backup, place.settings.catalog)
        outcome = bench.call(actions.do, ACTIONS[then], place, orders=orders)
        found = untold(outcome)
        if outcome.ended_well:
            found.append("it was not refused")
        elif outcome.code != "catalog_outdated":
            found.append(f"it was refused for another reason: {outcome}")
        if found:
            return found
        return bench.findings(accepted, place, orders)


def accepted(place: Place, orders: Orders) -> list[str]:
    """What does not hold once the operator has accepted that the catalog is older than the data."""
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
