"""Makes a store with the program of an older commit, and packs it: `python -m tests.older_stores COMMIT`."""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parent.parent
_MAINS = ("pipelines.commands.cli", "pipelines.cli")
"""Where older programs have the command."""

_FIRST = """external_id,name,email,country,status
C-1,Ann,ann@example.com,DE,lead
C-2,Bob,bob@example.com,FR,customer
C-3,Cy,cy@example.com,ES,lead
"""
_SECOND = """external_id,name,email,country,status
C-2,Bob,bob@example.com,FR,lead
C-4,Dee,dee@example.com,IT,lead
"""


def make(commit: str) -> Path:
    """Make and pack the store. Returns the packed file."""
    packed = _HERE / f"{commit}.tar.xz"
    with tempfile.TemporaryDirectory() as folder:
        program, home = Path(folder) / "program", Path(folder) / "home"
        program.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=_REPOSITORY, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x"], cwd=program, input=archive, check=True)
        for name, text in (("first.csv", _FIRST), ("second.csv", _SECOND)):
            (program / name).write_text(text, encoding="utf-8")
        (main,) = [name for name in _MAINS if (program / f"{name.replace('.', '/')}.py").exists()]
        environment = os.environ | {"RECORDS_HOME": str(home), "RECORDS_ACTOR": "ann", "PYTHONPATH": str(program)}
        for arguments in (
            ("init",),
            ("accounts", "add", "demo"),
            ("import", "first.csv", "-a", "demo", "-t", "contacts"),
            ("import", "second.csv", "-a", "demo", "-t", "contacts"),
            ("export", "-a", "demo", "-t", "contacts"),
        ):
            command = [sys.executable, "-c", f"from {main} import main; main()", *arguments]
            subprocess.run(command, cwd=program, env=environment, check=True)
        with tarfile.open(packed, "w:xz", preset=9) as file:
            file.add(home, "home")
    return packed


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(make(each))
