"""What an answer of pip-audit means."""

import json


def verdict(answer: str, errors: str = "") -> tuple[bool, list[str]]:
    """Whether the dependencies pass, and why: each was asked about, and of none a vulnerability is known.

    answer: what pip-audit printed under `--format json`; nothing, or no JSON, where it failed.
    errors: what it printed beside it, whose last line is quoted then.
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
    told = f"{len(asked)} of {len(dependencies)} packages were audited, {len(found)} known vulnerabilities."
    return not found and not skipped, [*found, *skipped, told]
