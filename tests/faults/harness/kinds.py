"""The kinds of faults, by name, with their number in a full run and their share of the time."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.harness.commands import kills_of_commands, kills_of_commands_on_server
from tests.faults.harness.damage import damages
from tests.faults.harness.histories import histories
from tests.faults.harness.kills import failing_disks, full_disks, kills, kills_on_server
from tests.faults.harness.loop import real_cuts
from tests.faults.harness.mismatches import old_catalogs, second_catalogs
from tests.faults.harness.objects import wrong_answers
from tests.faults.harness.power import power_cuts, power_cuts_on_server
from tests.faults.harness.servers import servers
from tests.faults.harness.testbed import Fault, Testbed
from tests.faults.harness.times import clocks, windows
from tests.faults.harness.writers import writers

Faults = Callable[[Testbed, random.Random, int], Iterator[Fault]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault. `full` is its number in a full run, `weight` its share of the time."""

    name: str
    description: str
    faults: Faults
    full: int
    weight: float
    at_once: int = 2


KINDS = (
    Kind("power-cut", "the power is cut; what was not flushed is lost, in part or whole", power_cuts, 900, 25),
    Kind("power-cut-on-server", "the same after answers, with the catalog in PostgreSQL", power_cuts_on_server, 50, 4),
    Kind("power-cut-of-ext4", "the same with a real file system: its disk is copied", real_cuts, 30, 4, at_once=1),
    Kind("kill", "a process is killed before, after or amid an operation", kills, 360, 16),
    Kind("kill-on-server", "the same, with the catalog in PostgreSQL", kills_on_server, 70, 6),
    Kind("kill-command", "an operator's command is killed, and given again", kills_of_commands, 100, 8),
    Kind(
        "kill-command-on-server",
        "the same, with the catalog in PostgreSQL and the data in an object store",
        *(kills_of_commands_on_server, 60, 8),
    ),
    Kind("disk-full", "the disk is full from an operation on", full_disks, 220, 9),
    Kind("disk-fails", "a flush or a write fails once", failing_disks, 80, 5),
    Kind("damage", "a file is damaged: a bit, its end, a block, or all of it", damages, 380, 12),
    Kind("clock", "the clock of one process is wrong", clocks, 36, 5),
    Kind("window", "one process has another RECORDS_ROLLBACK_HOURS", windows, 8, 1),
    Kind("second-catalog", "another catalog stands over the data", second_catalogs, 12, 2),
    Kind("old-catalog", "an older catalog is put back", old_catalogs, 25, 2),
    Kind("postgres", "PostgreSQL is restarted, ends sessions or stands still", servers, 50, 5, at_once=1),
    Kind("object-store", "an object store answers wrongly, late or not at all", wrong_answers, 48, 8),
    Kind("writers", "several import, roll back, export and run maintenance at once", writers, 3, 20, at_once=1),
    Kind("history", "imports and rollbacks in any order", histories, 40, 3),
)
