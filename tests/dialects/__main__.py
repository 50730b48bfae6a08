"""Prints the tables of resources/README.md: python -m tests.dialects [KIND to print its files].

They are damaged files in one dialect, damaged files in others, and files as programs write them.
"""

import sys
from itertools import chain

from tests.dialects import Damaged, Outcome, damaged, damaged_in_dialects, report
from tests.dialects.programs import as_programs_write


def show(file: Damaged, result: Outcome) -> None:
    """Print a file of the kind that the command names, unless it is read right or its damage is rejected."""
    if file.kind in sys.argv[1:] and result.outcome not in ("right", "rejected"):
        print(f"--- {result.outcome} {result.score:.2f}\n{file.content}")


written = chain.from_iterable(as_programs_write(rows, seed) for seed, rows in enumerate((5, 20, 20, 200)))
for files in (damaged(rows=30), damaged_in_dialects(rows=20), written):
    for line in report(files, show):
        print(line, flush=True)
