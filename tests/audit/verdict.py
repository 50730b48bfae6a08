"""Reads what pip-audit reports."""

import json


def verdict(answer: str, errors: str = "") -> tuple[bool, list[str]]:
    """Return whether the dependencies pass, and the reasons.

    They pass when each was checked and none has a known vulnerability.

        answer: the output of pip-audit with `--format json`; when it failed, empty or not JSON.
        errors: its standard error; the last line is quoted when it failed.
    """
    try:
        dependencies = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        why = (errors.strip().splitlines() or ["it said nothing"])[-1]
        return False, [f"Nothing was audited: pip-audit could not ask. {why}"]
    asked = [each for each in dependencies if "skip_reason" not in each]
    if not asked:
        return False, [
            "Nothing was audited: the package index has no vulnerability data for any of "
            f"{len(dependencies)} packages. Run it where the public index, or a mirror of its JSON, is reached."
        ]
    found = [
        f"{each['name']} {each['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'no version'}"
        for each in asked
        for known in each["vulns"]
    ]
    skipped = [f"{each['name']} was not audited: {each['skip_reason']}" for each in dependencies if each not in asked]
    summary = f"{len(asked)} of {len(dependencies)} packages were audited, {len(found)} known vulnerabilities."
    return not found and not skipped, [*found, *skipped, summary]
