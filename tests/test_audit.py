"""`make audit` passes only when each dependency was checked and none has a known vulnerability."""

import json
from typing import Any

import pytest

from tests.audit.verdict import verdict

CLEAN = {"name": "click", "version": "8.1.8", "vulns": []}
SKIPPED = {"name": "apprise", "skip_reason": "Dependency not found on PyPI and could not be audited: apprise (1.13.1)"}
KNOWN = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("dependencies", "passes", "sentences"),
    [
        ([CLEAN], True, ["1 of 1 packages were audited, 0 known vulnerabilities."]),
        (
            [CLEAN, KNOWN],
            False,
            [
                "jinja2 3.1.0: PYSEC-1, mended in 3.1.6",
                "jinja2 3.1.0: PYSEC-2, mended in no version",
                "2 of 2 packages were audited, 2 known vulnerabilities.",
            ],
        ),
        (
            [CLEAN, SKIPPED],
            False,
            [
                "apprise was not audited: Dependency not found on PyPI and could not be audited: apprise (1.13.1)",
                "1 of 2 packages were audited, 0 known vulnerabilities.",
            ],
        ),
    ],
)
def test_each_dependency_was_asked_about(dependencies: list[Any], passes: bool, sentences: list[str]) -> None:
    assert verdict(json.dumps({"dependencies": dependencies, "fixes": []})) == (passes, sentences)


@pytest.mark.parametrize("dependencies", [[], [SKIPPED, SKIPPED]])
def test_an_index_without_vulnerability_data_fails(dependencies: list[Any]) -> None:
    passes, (sentence,) = verdict(json.dumps({"dependencies": dependencies, "fixes": []}))
    assert not passes
    nothing = "Nothing was audited: the package index has no vulnerability data for any of"
    assert sentence.startswith(f"{nothing} {len(dependencies)} packages.")


@pytest.mark.parametrize(
    ("answer", "errors", "why"),
    [("", "Traceback\nConnectionError: unreachable\n", "ConnectionError: unreachable"), ("", "", "it said nothing")],
)
def test_a_service_that_is_not_reached_fails(answer: str, errors: str, why: str) -> None:
    assert verdict(answer, errors) == (False, [f"Nothing was audited: pip-audit could not ask. {why}"])
