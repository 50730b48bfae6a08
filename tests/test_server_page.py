"""The commands of deploy/README.md lead from an empty machine to a server with a store, a backup and units.

The blocks of the page run in order, in a folder that stands for the machine's root. Programs that need root, a terminal
or systemd only print what they got. The shell, PostgreSQL's programs, both servers, and `records` are real.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipelines.web.application import application
from resources.settings import Settings
from tests.forked_commands import COMMAND_LINE
from tests.object_server import ObjectServer
from tests.postgres import Postgres
from tests.records import contact
from tests.serving import COMMAND

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "deploy" / "README.md").read_text("utf-8")
PLACES = re.compile(
    r"(?<![\w/.])/(opt/records|var/lib/records|etc/records|etc/systemd/system|usr/local/sbin|srv/drill|var/backups|usr/bin/python3)"
)

PRINTS = f"""#!{sys.executable} -S
import json, os, sys
print(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], dict(os.environ)]))
"""
"""A program that prints what it got, for the test to look at or to do."""

STANDING_IN = {
    "install": '''
        for it; do
            shift
            case $it in -o|-g) skip=1;; *) test -n "$skip" || set -- "$@" "$it"; skip=;; esac
        done
        exec /usr/bin/install "$@"''',  # without the owner, who does not exist
    "runuser": 'shift 3; exec "$@"',
    "setpriv": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "python3": 'mkdir -p "$3/bin" && cp "$NOTED" "$3/bin/pip" && cp "$NOTED" "$3/bin/records"',
    "editor": 'cat "$ANSWERS" >> "$1"',
}
"""Scripts in place of programs that need root, a terminal, or the network."""


class Machine:
    """A folder that stands for the root of a machine, with a copy of the repository."""

    def __init__(self, root: Path, postgres: Postgres, answers: dict[str, str]) -> None:
        self._root = root
        for place in ("opt", "var/lib", "etc/systemd/system", "usr/local/sbin", "srv/drill", "programs"):
            (root / place).mkdir(parents=True)
        shutil.copytree(ROOT / "deploy", root / "repository" / "deploy")
        for name in ("records", "environment.example"):
            file = root / "repository" / "deploy" / "server" / name
            file.write_text(self._here(file.read_text()))
        scripts = {name: f"#!/bin/sh\n{script}\n" for name, script in STANDING_IN.items()}
        for name, script in {**scripts, **dict.fromkeys(("useradd", "systemctl", "curl"), PRINTS)}.items():
            program = root / "programs" / name
            program.write_text(script)
            program.chmod(0o755)
        (root / "answers").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in answers.items()))
        self._environment = {
            "PATH": f"{root / 'programs'}:{postgres.programs}:/usr/bin:/bin",
            "PGHOST": str(postgres.folder),
            "PGUSER": "postgres",
            "HOME": str(root),
            "NOTED": str(root / "programs" / "useradd"),
            "ANSWERS": str(root / "answers"),
        }

    def run(self, block: str) -> list[str]:
        """Run a block; returns the commands in it that only printed themselves. Then those of `records` are done."""
        done = subprocess.run(
            ["bash", "-euc", self._here(block)],
            cwd=self._root / "repository",
            env=self._environment,
            input="a-password\na-password\n",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            start_new_session=True,  # without a terminal to ask for the password at
        )
        noted = []
        for name, words, environment in map(
            json.loads, filter(lambda it: it.startswith("["), done.stdout.splitlines())
        ):
            noted.append(shlex.join([name, *words]).replace(str(self._root), ""))
            if name == "records":
                ended = COMMAND_LINE.run([COMMAND, *words], env=environment, capture_output=True, text=True)
                assert ended.returncode == 0, ended.stderr
        return noted

    def put(self, name: str, text: str) -> None:
        """Put a file into the folder in which the commands are run."""
        (self._root / "repository" / name).write_text(text, "utf-8")

    def settings(self) -> dict[str, str]:
        """Return the environment of the services, as the shell reads the file."""
        (printed,) = subprocess.run(
            ["sh", "-c", f"set -a; . {self._root}/etc/records/environment; {self._root}/programs/useradd"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.splitlines()
        environment: dict[str, str] = json.loads(printed)[2]
        return environment

    def _here(self, text: str) -> str:
        return PLACES.sub(rf"{self._root}/\1", text).replace("/usr/bin/python3", "/programs/python3")


@pytest.fixture
def machine(tmp_path: Path, postgres: Postgres, objects: ObjectServer, home: Path) -> Machine:
    bucket = objects.create()
    answers = objects.environment | {
        "RECORDS_CATALOG": postgres.address("records").replace("postgres:", "records:", 1),
        "RECORDS_DATA": f"{bucket}/store",
        "BACKUP_PLACE": f"{bucket}/backups",
    }
    made = Machine(tmp_path / "machine", postgres, answers)
    made.put("api.json", json.dumps([contact(1)]))
    return made


def blocks(section: str) -> list[str]:
    """Return the commands of a section, block by block."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_page_alone_leads_to_a_running_server_and_back_from_its_backup(
    machine: Machine, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        noted = [words for block in blocks("A server, step by step") for words in machine.run(block)]
        (drill,) = (block for block in blocks("Back up and restore") if "/srv/drill" in block)
        drilled = machine.run(drill)
        for name, value in machine.settings().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RECORDS_DAGSTER_URL", "")  # Dagster's own parts are tested elsewhere
        with TestClient(
            application(Settings.from_environment()), "http://127.0.0.1", client=("127.0.0.1", 50_000)
        ) as client:
            assert client.get("/readyz").text == "catalog: ok\ndata: ok\ndaemon: none expected\ndisk: ok\n"
            assert "records_last_backup_timestamp_seconds 0.0" not in client.get("/metrics").text
    finally:
        for database in ("records", "dagster"):
            postgres.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        postgres.execute("DROP ROLE IF EXISTS records")
    assert [it for it in noted if it.startswith("records")] == [
        "records init",
        "records accounts add acme",
        f"records backup {os.environ['BACKUP_PLACE']}",
        "records check",
        "records import /var/lib/records/files/api.json -a acme -t contacts",
        "records export -a acme -t contacts -o /var/lib/records/files/out.csv",
    ]
    enabled = next(it for it in noted if it.startswith("systemctl enable")).split()[3:]
    units = ROOT / "deploy" / "systemd"
    assert all((units / it).exists() or (units / f"{it}.service").exists() for it in enabled)
    assert len(enabled) == 5
    assert drilled == [f"records restore {os.environ['BACKUP_PLACE']} --new-id", "records check"]
