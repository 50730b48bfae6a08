"""`make audit`: run pip-audit on requirements.lock, and fail unless it checked every dependency.

pip-audit alone succeeds when the index knows none of the packages, as does one without vulnerability data.
"""

import subprocess
import sys
from pathlib import Path

from tests.audit.verdict import verdict

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "requirements.lock"
PIP_AUDIT = ROOT / ".venv" / "audit" / "bin" / "pip-audit"


def main() -> int:
    """Print the result. Returns 0 when every dependency was checked and none has a known vulnerability."""
    command = [str(PIP_AUDIT), "--requirement", str(LOCK), "--no-deps", "--disable-pip", "--format", "json"]
    asked = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    passed, sentences = verdict(asked.stdout, asked.stderr)
    print(*sentences, sep="\n", file=sys.stdout if passed else sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
