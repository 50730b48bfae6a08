"""The files in deploy/ for servers, checked by the tools of those who read them, and `records serve`."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner

from pipelines.commands.cli import main
from pipelines.commands.serve import serve
from pipelines.health import nightly_check
from resources.settings import Settings
from tests.http_receiver import receiving
from tests.serving import PATIENCE

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted(
    [*(DEPLOY / "systemd").glob("*.service"), DEPLOY / "celery" / "records-worker.service"], key=lambda it: it.name
)
TIMERS = sorted((DEPLOY / "systemd").glob("*.timer"))
BIN = Path(sys.executable).parent
ROLES = next(it for it in serve.params if it.name == "role").type.choices  # type: ignore[attr-defined]

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units that starts the command of this environment, which systemd requires to exist."""
    copied = Path(shutil.copytree(DEPLOY / "systemd", tmp_path / "units"))
    shutil.copy(DEPLOY / "celery" / "records-worker.service", copied)
    for unit in copied.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/records/bin", str(BIN)))
    return copied


def command_of(unit: Path) -> str:
    """Return the command that a unit starts, without the folder of the programs."""
    (command,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    return str(command).replace("/opt/records/bin/", "")


def test_there_is_a_unit_and_a_container_for_each_role() -> None:
    commands = {unit.stem: command_of(unit) for unit in UNITS}
    assert {name: it for name, it in commands.items() if "serve" in it} == {
        f"records-{role}": f"records serve --role {role}" for role in ROLES
    }
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for role in set(ROLES) - {"worker"}:  # the containers are on one machine, which needs none
        assert services[role]["command"][:3] == ["serve", "--role", role]
        assert services[role]["read_only"] is True


@systemd
def test_each_timer_starts_a_command_that_is_not_restarted_and_says_if_it_fails(units: Path) -> None:
    assert {timer.stem: command_of(timer.with_suffix(".service")) for timer in TIMERS} == {
        "records-backup": "records backup ${BACKUP_PLACE} --keep ${BACKUP_KEEP} --json",
        "records-check": "records check --json",
    }
    settings = (DEPLOY / "systemd" / "records-.service.d" / "hardening.conf").read_text()
    for timer in TIMERS:
        unit = timer.with_suffix(".service").read_text()
        assert "Type=oneshot" in unit
        assert "OnFailure=records-failed@%n.service" in unit
        assert "Restart=" not in unit + settings, "a restart would hide the failure"
        assert subprocess.run(["systemd-analyze", "verify", units / timer.name], capture_output=True).returncode == 0
    calendars = re.findall(r"^OnCalendar=(.+)$", "".join(timer.read_text() for timer in TIMERS), re.MULTILINE)
    assert calendars == ["*-*-* 02:30", "*-*-* 04:15 UTC"]
    assert nightly_check.cron_schedule == "15 4 * * *", "the timer is for stores without Dagster's daemon"
    for calendar in calendars:
        assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True).returncode == 0


def test_a_failed_unit_sends_a_notice_to_the_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = (DEPLOY / "systemd" / "records-failed@.service").read_text()
    (condition,) = re.findall(r"^ExecCondition=(.+)$", unit, re.MULTILINE)
    (command,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    command = (
        command.replace("%i", "records-backup.service").replace("%H", "host").replace("/opt/records/bin", str(BIN))
    )

    def run(line: str, receivers: str) -> int:
        return subprocess.run(shlex.split(line), env={"RECORDS_NOTIFY": receivers}, capture_output=True).returncode

    assert run(condition, "") == 1, "without receivers nothing is sent, and that is no failure"
    with receiving() as receiver:
        assert run(condition, receiver.url) == 0
        assert run(command, receiver.url) == 0
    assert receiver.titles == ["records-backup.service has failed on host"]


def test_dagster_gets_an_address_of_its_database_with_the_driver_that_is_installed() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-records"]["environment"]["DAGSTER_POSTGRES_URL"]
    (server,) = re.findall(r"DAGSTER_POSTGRES_URL='(.+)'", (DEPLOY / "server" / "environment.example").read_text())
    values = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())["postgresql"]
    for address in (compose.replace("${POSTGRES_PASSWORD:?}", "x"), server, f"{values['postgresqlScheme']}://u:p@h/d"):
        assert sa.create_engine(address).driver == "psycopg2"


@systemd
@pytest.mark.parametrize("name", [unit.name.replace("@", "@it") for unit in UNITS])
def test_a_unit_is_valid_and_hardened(units: Path, name: str) -> None:
    if "@" in name:
        shutil.copy(units / "records-failed@.service", units / name)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", units / name], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", units / name],
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout
    assert float(re.findall(r"exposure level for \S+: ([\d.]+)", rated.stdout)[0]) <= 3.0


@systemd
def test_a_mistake_in_a_unit_would_be_found(units: Path) -> None:
    unit = units / "records-web.service"
    unit.write_text(unit.read_text().replace("serve --role web", "serve\nNoSuchSetting=yes"))
    assert "NoSuchSetting" in subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr


def test_the_containerfile_passes_its_linter() -> None:
    linted = subprocess.run(
        [BIN / "hadolint", "--failure-threshold", "style", DEPLOY / "Containerfile"], capture_output=True, text=True
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_is_built_from_files_that_are_there_and_not_ignored() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for source in line.split()[:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert [source for source in copied if not (ROOT / source).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["readme"] in copied, "pip needs it to build"
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        for config in service.get("configs", []):
            folder = str(Path(config["target"]).parent)
            assert service.get("image") != "records" or folder in text, "Docker would make it as root's"


def test_the_compose_file_fits_the_schema_of_compose(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {web: {imagine: records}}")
    schema = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*schema, DEPLOY / "compose.yaml"], capture_output=True).returncode == 0
    assert subprocess.run([*schema, wrong], capture_output=True).returncode == 1


def test_the_files_of_deploy_name_only_settings_and_files_that_exist() -> None:
    page = (ROOT / "pipelines" / "README.md").read_text()
    known = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    named = set()
    others = (DEPLOY / "compose.yaml", DEPLOY / "Containerfile", DEPLOY / "kubernetes" / "values.yaml")
    for file in (*others, DEPLOY / "celery" / "celery.yaml", *(DEPLOY / "server").glob("*.example")):
        named |= set(re.findall(r"\b(?:RECORDS|DAGSTER)_[A-Z_]+\b", file.read_text()))
    assert named - known <= {"DAGSTER_POSTGRES_URL"}
    configs = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["configs"]
    files = {it["file"] for it in configs.values() if "file" in it}
    assert {file for file in files if not (DEPLOY / file).exists()} == {"web.yaml"}  # who runs it writes it


def test_the_command_of_a_server_stays_in_the_folder_in_which_it_is_called(tmp_path: Path) -> None:
    home, programs = tmp_path / "home", tmp_path / "programs"
    for folder in (home, programs):
        folder.mkdir()
    (tmp_path / "environment").write_text(f"RECORDS_HOME='{home}'\n")
    (programs / "setpriv").write_text('#!/bin/sh\npwd; for it; do echo "$it"; done; echo "$HOME $RECORDS_ACTOR"\n')
    (programs / "setpriv").chmod(0o755)
    command = (DEPLOY / "server" / "records").read_text().replace("/etc/records", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", command, "records", "import", "a file.json"],
        cwd=tmp_path,
        env={"PATH": f"{programs}:/usr/bin:/bin", "SUDO_USER": "ada"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert (done[0], done[-3:]) == (str(tmp_path), ["import", "a file.json", f"{home} ada"])


@pytest.mark.parametrize("code", ["nowhere", "host:", ":4000", "host:port"])
def test_an_address_that_is_none_is_refused(code: str, ready: None) -> None:
    refused = CliRunner().invoke(main, ["serve", "--role", "daemon", "--code", code, "--json"])
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["message"]) == (2, f"--code is {code!r}.")


def test_without_a_store_nothing_is_served(home: Path) -> None:
    refused = CliRunner().invoke(main, ["serve", "--role", "web"])
    assert refused.exit_code == 1
    assert not home.exists()


def test_the_parts_find_each_other_by_a_socket_that_only_the_user_can_use(
    settings: Settings, ready: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_LOG", "json")
    with _serving("code"), _serving("dagster", "--port", "13720"), _serving("daemon"):
        assert _asked(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }", 120
        ) == {"repositoriesOrError": {"nodes": [{"location": {"name": "records"}}]}}
        assert (settings.home / "code.sock").stat().st_mode & 0o077 == 0
        answer = _asked("{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }", 120, daemons=True)
        assert all(it["healthy"] for it in answer["instance"]["daemonHealth"]["allDaemonStatuses"] if it["required"])
    for role in ("code", "dagster", "daemon"):
        logged = [json.loads(line) for line in (settings.home / f"{role}.log").read_text().splitlines()]
        assert logged[0]["event"].startswith(_SERVING[role]), "each line is an object, from start to end"


_SERVING = {
    "code": "Serving code at /",
    "dagster": "Serving dagster at http://127.0.0.1:13720.",
    "daemon": "Serving daemon, which needs no address.",
}
"""The beginning of the first line that a part logs."""


def _heeds_interrupts() -> None:
    """Let this process end on SIGINT, which a shell's background commands ignore, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _serving(role: str, *options: str) -> Iterator[None]:
    """Run a part until the end of the block. It ends by itself on the signal of its unit."""
    log = Path(os.environ["RECORDS_HOME"]) / f"{role}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "records", "serve", "--role", role, *options],
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_heeds_interrupts,
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE * 60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def _asked(query: str, seconds: float, *, daemons: bool = False) -> Any:
    """Return what Dagster's server answers, as soon as it has an answer with content."""
    until = time.monotonic() + seconds
    while True:
        request = urllib.request.Request(
            "http://127.0.0.1:13720/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        data: Any = None
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                data = json.load(answer)["data"]
        except OSError:
            pass
        if data and (
            all(it["healthy"] for it in data["instance"]["daemonHealth"]["allDaemonStatuses"] if it["required"])
            if daemons
            else data["repositoriesOrError"].get("nodes")
        ):
            return data
        assert time.monotonic() < until, data
        time.sleep(0.5)
