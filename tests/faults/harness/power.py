"""The power is cut: after an answer, before and after each flush and rename, and amid everything else."""

import random
import shutil
from collections.abc import Iterator
from functools import partial

from tests.faults.harness import actions
from tests.faults.harness.actions import Script
from tests.faults.harness.disk import Data, Disk, Image, Names
from tests.faults.harness.shim import Kind, Operation, Orders, recorded
from tests.faults.harness.testbed import Fault, Testbed, require, spread

SCRIPTS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "import, rollback": (("import", "rollback"), (0, 0)),
    "maintain, two days, maintain": (("maintain", "maintain"), (0, 50)),
    "commit, export, steps": (("commit", "export", "export-steps"), (0, 0, 0)),
    "arrivals, expire": (("arrivals", "expire"), (0, 30)),
    "migrate": (("migrate",), (0,)),
    "grow, init": (("grow", "init"), (0, 0)),
}
_LEAST = 5
"""The least number of cuts of a script, so that recording it pays."""

_ALWAYS = ((Names.NONE, Data.NONE), (Names.ALL, Data.NONE), (Names.ALL, Data.ZEROS))
"""What every disk may leave that follows POSIX; and what ext4 leaves, which keeps the order of names."""

_MIXED = ((Names.SOME, Data.SOME), (Names.SOME, Data.NONE), (Names.ALL, Data.SOME), (Names.NONE, Data.ALL))


def power_cuts(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Yield different images of the disk at points of scripts; those directly after an answer come first."""
    names = list(SCRIPTS)[: -(-count // _LEAST)]
    share = -(-count // len(names))
    for name in names:
        script, operations, disk, end = _recorded(testbed, name)
        yield from spread_cuts(testbed, chance, name, script, operations, disk, share)
        assert disk.image(Names.ALL, Data.ALL, chance).digest == end, f"the record of {name} is not complete"


def _recorded(testbed: Testbed, name: str) -> tuple[Script, list[Operation], Disk, str]:
    """Run a script; returns its result, its record, the disk before, and the digest of the disk afterwards."""
    record = testbed.root / f"{name}.record"
    record.unlink(missing_ok=True)
    with testbed.copy() as (place, template):
        disk = Disk(place.root)
        orders = Orders(root=place.root, record=record, eras=template.eras)
        script: Script = require(
            testbed.call(actions.script, place, *SCRIPTS[name], orders, orders=Orders(eras=template.eras))
        )
        end = Disk(place.root).image(Names.ALL, Data.ALL, random.Random(0)).digest
    return script, list(recorded(record)), disk, end


def spread_cuts(
    testbed: Testbed,
    chance: random.Random,
    name: str,
    script: Script,
    operations: list[Operation],
    disk: Disk,
    count: int,
) -> Iterator[Fault]:
    """Yield cuts of one script: at each answer, before and after flushes and renames, and a few amid writes."""
    marks = [place for place, it in enumerate(operations) if it.kind is Kind.MARK]
    critical = {
        place + side
        for place, it in enumerate(operations)
        for side in (0, 1)
        if it.kind in (Kind.SYNC, Kind.RENAME, Kind.UNLINK)
    }
    points: dict[int, tuple[tuple[Names, Data], ...]] = {}
    for place in spread(chance, sorted(critical | set(spread(chance, range(len(operations)), 20))), 2 * count):
        points[place] = (chance.choice(_ALWAYS), chance.choice(_MIXED))
    points |= {place + 1: (*_ALWAYS, *_MIXED) for place in marks}
    seen: set[str] = set()
    faults = []
    answered = 0
    for place in range(len(operations) + 1):
        for names, data in points.get(place, ()):
            image = disk.image(names, data, chance)
            if image.digest not in seen:
                seen.add(image.digest)
                label = f"{name}: cut at {place}, {names}, {data}"
                is_first = place - 1 in marks
                happens = partial(_cut, testbed, image, script, answered, random.Random(chance.random()))
                faults.append((not is_first, Fault(label, happens)))
        if place < len(operations):
            if operations[place].kind is Kind.MARK:
                answered += 1
            else:
                disk.play(operations[place])
    firsts = [fault for is_later, fault in faults if not is_later]
    others = [fault for is_later, fault in faults if is_later]
    yield from firsts[:count]
    yield from spread(chance, others, count - len(firsts[:count]))


def _cut(testbed: Testbed, image: Image, script: Script, answered: int, chance: random.Random) -> list[str]:
    folder = testbed.folder()
    try:
        image.write(folder)
        following = min(answered + 1, len(script.states) - 1)
        before, after = script.states[answered], script.states[following]
        return testbed.verify(actions.Place(folder), before, after, script.eras[following], chance)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def power_cuts_on_server(testbed: Testbed, chance: random.Random, count: int) -> Iterator[Fault]:
    """Cut the power of the machine with the data directly after an answer; PostgreSQL with the catalog goes on."""
    ways = [(name, way) for name in _ON_SERVER for way in (*_ALWAYS, *_MIXED)]
    for number in range(count):
        name, (names, data) = ways[number * 5 % len(ways)]
        happens = partial(_cut_on_server, testbed, name, names, data, random.Random(chance.random()))
        yield Fault(f"{number}: {name} on PostgreSQL, {names}, {data}", happens)


_ON_SERVER = ("import", "commit", "rollback", "export", "maintain", "arrivals", "grow")


def _cut_on_server(testbed: Testbed, action: str, names: Names, data: Data, chance: random.Random) -> list[str]:
    with testbed.copy("postgres") as (place, template):
        disk = Disk(place.root)
        record = place.root.with_suffix(".record")
        orders = Orders(root=place.root, record=record, eras=template.eras)
        require(testbed.call(actions.do, actions.ACTIONS[action], place, orders=orders))
        state = require(testbed.call(actions.state, place, orders=Orders(eras=template.eras)))
        for operation in recorded(record):
            disk.play(operation)
        record.unlink()
        shutil.rmtree(place.root)
        disk.image(names, data, chance).write(place.root)
        return testbed.verify(place, state, state, template.eras, chance)
