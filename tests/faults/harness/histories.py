"""Histories of imports and rollbacks over few records: what was rolled back stays so."""

import random
from collections.abc import Iterator
from functools import partial

from resources.importing.importer import Importer
from schemas.errors import RecordsError
from schemas.rollbacks import OnModified, RollbackRequest
from tests.faults.harness.actions import Place, opened, state_of
from tests.faults.harness.checks import Findings, records_of_closed_batches
from tests.faults.harness.testbed import Fault, Testbed
from tests.records import contact, contacts_of, write_csv

_FIELDS = ("company", "phone", "notes")


def histories(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """The first history is a known case. The others have seven steps: imports and rollbacks."""
    for number in range(count):
        seed = chance.random()
        happens = partial(_happens, testbed, "found" if number == 0 else f"{seed}")
        yield Fault(f"{number}: imports and rollbacks", happens)


def _happens(testbed: Testbed, seed: str) -> list[str]:
    with testbed.copy() as (place, _):
        return testbed.findings(partial(run_history, seed), place)


def run_history(seed: str, place: Place) -> list[str]:
    """Run a history on a store; returns the violations."""
    chance, found = random.Random(seed), Findings()
    with found.during("the history"), opened(place) as store:
        importer, account, batches = Importer(store, "tester"), store.account("ua"), []

        def imports(number: int, keys: list[int], *fields: str) -> None:
            rows = [contact(0, external_id=f"K-{key}", **dict.fromkeys(fields, f"{number}")) for key in keys]
            path = write_csv(place.files / f"history-{number}.csv", rows)
            batches.append(importer.import_file(contacts_of(path)).batch.batch_id)

        def roll_back(batch_id: str, choice: OnModified) -> None:
            account.roll_back(RollbackRequest("ua", batch_id, choice), "tester", None)

        if seed == "found":
            imports(1, [1, 2], "company")
            imports(2, [1], "company")
            roll_back(batches[0], OnModified.KEEP)
            roll_back(batches[1], OnModified.STOP)
        else:
            for number in range(7):
                if number < 2 or chance.random() < 0.5:
                    keys = sorted(chance.sample(range(1, 5), chance.randint(1, 3)))
                    imports(number, keys, *chance.sample(_FIELDS, chance.randint(1, 3)))
                else:
                    try:
                        roll_back(chance.choice(batches), chance.choice(list(OnModified)))
                    except RecordsError as error:
                        if error.code not in ("modified_since", "refused"):
                            raise
        found += records_of_closed_batches(state_of(store))
    return found
