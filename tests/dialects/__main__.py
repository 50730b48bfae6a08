"""Prints the table of damaged files of resources/README.md: python -m tests.dialects [KIND to print its files]."""

import sys

from tests.dialects import Damaged, Outcome, damaged, damaged_in_dialects, report


def show(file: Damaged, result: Outcome) -> None:
    """Print a file of the kind that the command names, unless it is read right or its damage is rejected."""
    if file.kind in sys.argv[1:] and result.outcome not in ("right", "rejected"):
        print(f"--- {result.outcome} {result.score:.2f}\n{file.content}")


for files in (damaged(rows=30), damaged_in_dialects(rows=20)):
    for line in report(files, show):
        print(line, flush=True)
