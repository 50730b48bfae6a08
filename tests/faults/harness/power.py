"""The power is cut: after an answer, before and after each flush and rename, amid everything else."""

import random
import shutil
from collections.abc import Iterator
from functools import partial

from tests.faults.harness import actions
from tests.faults.harness.actions import Script
from tests.faults.harness.bench import Bench, Fault, require, spread
from tests.faults.harness.disk import Data, Disk, Image, Names
from tests.faults.harness.shim import Kind, Operation, Orders, recorded

SCRIPTS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "import, rollback": (("import", "rollback"), (0, 0)),
    "maintain, two days, maintain": (("maintain", "maintain"), (0, 50)),
    "commit, export, steps": (("commit", "export", "export-steps"), (0, 0, 0)),
    "arrivals, expire": (("arrivals", "expire"), (0, 30)),
    "migrate": (("migrate",), (0,)),
    "grow, init": (("grow", "init"), (0, 0)),
}
_LEAST = 5
"""Cuts of a script, for its record to be worth it."""

_ALWAYS = ((Names.NONE, Data.NONE), (Names.ALL, Data.NONE), (Names.ALL, Data.ZEROS))
"""What a disk may be like that keeps to the letter of POSIX; and what ext4 leaves, which orders names."""

_MIXED = ((Names.SOME, Data.SOME), (Names.SOME, Data.NONE), (Names.ALL, Data.SOME), (Names.NONE, Data.ALL))


def power_cuts(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """Images of the disk at points of scripts, no two alike; those directly after an answer first."""
    names = list(SCRIPTS)[: -(-count // _LEAST)]
    share = -(-count // len(names))
    for name in names:
        script, operations, disk, end = _recorded(bench, name)
        yield from spread_cuts(bench, chance, name, script, operations, disk, share)
        assert disk.image(Names.ALL, Data.ALL, chance).digest == end, f"the record of {name} is not complete"


def _recorded(bench: Bench, name: str) -> tuple[Script, list[Operation], Disk, str]:
    """What a script came to, its record, the disk before, and the digest of the disk afterwards."""
    record = bench.root / f"{name}.record"
    record.unlink(missing_ok=True)
    with bench.copy() as (place, template):
        disk = Disk(place.root)
        orders = Orders(root=place.root, record=record, eras=template.eras)
        script: Script = require(
            bench.call(actions.script, place, *SCRIPTS[name], orders, orders=Orders(eras=template.eras))
        )
        end = Disk(place.root).image(Names.ALL, Data.ALL, random.Random(0)).digest
    return script, list(recorded(record)), disk, end


def spread_cuts(
    bench: Bench,
    chance: random.Random,
    name: str,
    script: Script,
    operations: list[Operation],
    disk: Disk,
    count: int,
) -> Iterator[Fault]:
    """So many cuts of one script: at each answer, and before and after flushes and renames; a few amid writes."""
    marks = [place for place, it in enumerate(operations) if it.kind is Kind.MARK]
    telling = {
        place + side
        for place, it in enumerate(operations)
        for side in (0, 1)
        if it.kind in (Kind.SYNC, Kind.RENAME, Kind.UNLINK)
    }
    points: dict[int, tuple[tuple[Names, Data], ...]] = {}
    for place in spread(chance, sorted(telling | set(spread(chance, range(len(operations)), 20))), 2 * count):
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
                happens = partial(_cut, bench, image, script, answered, random.Random(chance.random()))
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


def _cut(bench: Bench, image: Image, script: Script, answered: int, chance: random.Random) -> list[str]:
    folder = bench.folder()
    try:
        image.write(folder)
        following = min(answered + 1, len(script.states) - 1)
        before, after = script.states[answered], script.states[following]
        return bench.verify(actions.Place(folder), before, after, script.eras[following], chance)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def power_cuts_on_server(bench: Bench, chance: random.Random, count: int) -> Iterator[Fault]:
    """The machine with the data stops directly after an answer; the one with the catalog in PostgreSQL does not."""
    ways = [(name, way) for name in _ON_SERVER for way in (*_ALWAYS, *_MIXED)]
    for number in range(count):
        name, (names, data) = ways[number * 5 % len(ways)]
        happens = partial(_cut_on_server, bench, name, names, data, random.Random(chance.random()))
        yield Fault(f"{number}: {name} on PostgreSQL, {names}, {data}", happens)


_ON_SERVER = ("import", "commit", "rollback", "export", "maintain", "arrivals", "grow")


def _cut_on_server(bench: Bench, action: str, names: Names, data: Data, chance: random.Random) -> list[str]:
    with bench.copy("postgres") as (place, template):
        disk = Disk(place.root)
        record = place.root.with_suffix(".record")
        orders = Orders(root=place.root, record=record, eras=template.eras)
        require(bench.call(actions.do, actions.ACTIONS[action], place, orders=orders))
        state = require(bench.call(actions.state, place, orders=Orders(eras=template.eras)))
        for operation in recorded(record):
            disk.play(operation)
        record.unlink()
        shutil.rmtree(place.root)
        disk.image(names, data, chance).write(place.root)
        return bench.verify(place, state, state, template.eras, chance)
