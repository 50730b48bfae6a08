"""`make faults`: inject some thousands of faults, and check after each what the store promises."""

import argparse
import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.faults.harness.kinds import KINDS
from tests.faults.harness.run import run, table

TABLE = Path(__file__).parent.parent.parent / "deploy" / "FAULTS.md"
SHORT_SHARE, SHORT_SECONDS = 0.012, 120.0


def main() -> int:
    """Inject the chosen faults. Returns whether a check failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed tries the same faults")
    parser.add_argument("--seconds", type=float, default=1500.0, help="after which no more are tried")
    parser.add_argument("--only", default="", help="one kind of fault, or the beginning of names of kinds")
    parser.add_argument("--case", default="", help="of that kind the one of this name")
    parser.add_argument("--share", type=float, default=1.0, help="how many of the faults")
    parser.add_argument("--short", action="store_true", help="a few of each kind, within a minute")
    parser.add_argument("--table", action="store_true", help="write the table to deploy/FAULTS.md")
    asked = parser.parse_args()
    if not any(kind.name.startswith(asked.only) for kind in KINDS):
        parser.error(f"--only {asked.only}: the kinds are {', '.join(kind.name for kind in KINDS)}")
    began = time.monotonic()
    share, seconds = (SHORT_SHARE, SHORT_SECONDS) if asked.short else (asked.share, asked.seconds)
    rows = run(asked.seed, share, seconds, only=asked.only, case=asked.case, report=partial(print, flush=True))
    written = table(rows, asked.seed, f"{datetime.now(UTC):%Y-%m-%d}", (time.monotonic() - began) / 60)
    print(written)
    if asked.table:
        TABLE.write_text(written, encoding="utf-8")
    return 1 if any(row.violations for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
