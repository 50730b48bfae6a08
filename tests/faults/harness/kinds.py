"""The kinds of faults there are, by name: how often each is tried in full, and its part of the time."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.harness.bench import Bench, Fault
from tests.faults.harness.kills import failing_disks, full_disks, kills, kills_on_server
from tests.faults.harness.power import power_cuts

Faults = Callable[[Bench, random.Random, int], Iterator[Fault]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its name, in words, its faults, how many in full, its part of the time, and how many at once."""

    name: str
    told: str
    faults: Faults
    full: int
    weight: float
    at_once: int = 2


KINDS = (
    Kind("power-cut", "the power is cut; what was not flushed is lost, in part or whole", power_cuts, 700, 25),
    Kind("kill", "a process is killed before, after or amid an operation", kills, 420, 16),
    Kind("kill-on-server", "the same, with the catalog in PostgreSQL", kills_on_server, 100, 6),
    Kind("disk-full", "the disk is full from an operation on", full_disks, 240, 9),
    Kind("disk-fails", "a flush or a write fails once", failing_disks, 120, 5),
)
