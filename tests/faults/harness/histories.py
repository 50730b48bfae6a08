"""Histories of imports and rollbacks over few records: what was taken back stays so."""

import random
from collections.abc import Iterator
from functools import partial

from resources.importing.importer import Importer
from schemas.errors import RecordsError
from schemas.rollbacks import OnModified, RollbackRequest
from tests.faults.harness.actions import Place, opened, state_of
from tests.faults.harness.bench import Bench, Fault
from tests.faults.harness.checks import Findings, rests_on_nothing_undone
from tests.records import contact, contacts_of, write_csv

_FIELDS = ("company", "phone", "notes")


def histories(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """The first is the one that was found by hand; the others have four imports and three rollbacks."""
    for number in range(count):
        seed = chance.random()
        happens = partial(_happens, bench, "found" if number == 0 else f"{seed}")
        yield Fault(f"{number}: imports and rollbacks", happens)


def _happens(bench: Bench, seed: str) -> list[str]:
    with bench.copy() as (place, _):
        return bench.findings(partial(live, seed), place)


def live(seed: str, place: Place) -> list[str]:
    """What does not hold after a history."""
    chance, found = random.Random(seed), Findings()
    with found.during("the history"), opened(place) as store:
        importer, account, batches = Importer(store, "tester"), store.account("ua"), []

        def imports(number: int, keys: list[int], *fields: str) -> None:
            rows = [contact(0, external_id=f"K-{key}", **dict.fromkeys(fields, f"{number}")) for key in keys]
            path = write_csv(place.files / f"history-{number}.csv", rows)
            batches.append(importer.import_file(contacts_of(path)).batch.batch_id)

        def take_back(batch_id: str, choice: OnModified) -> None:
            account.roll_back(RollbackRequest("ua", batch_id, choice), "tester", None)

        if seed == "found":
            imports(1, [1, 2], "company")
            imports(2, [1], "company")
            take_back(batches[0], OnModified.KEEP)
            take_back(batches[1], OnModified.STOP)
        else:
            for number in range(7):
                if number < 2 or chance.random() < 0.5:
                    keys = sorted(chance.sample(range(1, 5), chance.randint(1, 3)))
                    imports(number, keys, *chance.sample(_FIELDS, chance.randint(1, 3)))
                else:
                    try:
                        take_back(chance.choice(batches), chance.choice(list(OnModified)))
                    except RecordsError as error:
                        if error.code not in ("modified_since", "refused"):
                            raise
        found += rests_on_nothing_undone(state_of(store))
    return found
