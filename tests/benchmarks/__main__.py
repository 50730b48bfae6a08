"""`make bench`: measure the cases, print the table, save it and every single run in bench-results/."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from resources.clock import SystemClock
from tests.benchmarks.cases import CASES
from tests.benchmarks.measure import BenchmarkError, Result, measure_case
from tests.benchmarks.report import as_json, as_markdown, surroundings

_RESULTS = Path(__file__).parents[2] / "bench-results"


def main() -> int:
    """Measure the chosen cases. Returns 1 if a case could not be measured; a missed target is a result."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="of each command (default: 5)")
    parser.add_argument("--only", default="", metavar="NAME", help="cases with this in their name")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only.lower() in case.name.lower()]
    if not cases:
        parser.error(f"no case has {options.only!r} in its name; there are: {', '.join(case.name for case in CASES)}")
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0

    about, at = surroundings(), SystemClock().now()
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{at:%Y%m%d-%H%M%S}.md"
    results: list[Result] = []
    failures: dict[str, str] = {}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="work-", dir=_RESULTS) as folder:
            try:
                results.append(measure_case(case, Path(folder), options.runs, _say))
            except BenchmarkError as error:
                _say(f"{case.name}: {error}")
                failures[case.name] = str(error)
        path.write_text(as_markdown(results, failures, about, at), encoding="utf-8")
        saved = json.dumps(as_json(results, failures, about, at), indent=2) + "\n"
        path.with_suffix(".json").write_text(saved, encoding="utf-8")
    print(path.read_text(encoding="utf-8"))
    _say(f"Kept in {path} and {path.with_suffix('.json')}")
    return int(bool(failures))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


sys.exit(main())
