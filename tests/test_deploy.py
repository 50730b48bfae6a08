"""The files in deploy/ for servers, checked by the tools of those who read them, and `records serve`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pipelines.commands.cli import main
from pipelines.commands.serve import serve
from resources.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted(
    [*(DEPLOY / "systemd").glob("*.service"), DEPLOY / "celery" / "records-worker.service"], key=lambda it: it.name
)
BIN = Path(sys.executable).parent
ROLES = next(it for it in serve.params if it.name == "role").type.choices  # type: ignore[attr-defined]

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units that starts the command of this environment, which systemd requires to exist."""
    copied = Path(shutil.copytree(DEPLOY / "systemd", tmp_path / "units"))
    shutil.copy(DEPLOY / "celery" / "records-worker.service", copied)
    for unit in copied.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/records/bin/records", str(BIN / "records")))
    return copied


def test_there_is_a_unit_and_a_container_for_each_role() -> None:
    commands = [re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE) for unit in UNITS]
    assert commands == [[f"/opt/records/bin/records serve --role {role}"] for role in sorted(ROLES)]
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for role in set(ROLES) - {"worker"}:  # the containers are on one machine, which needs none
        assert services[role]["command"][:3] == ["serve", "--role", role]
        assert services[role]["read_only"] is True


@systemd
@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_a_unit_is_valid_and_hardened(units: Path, name: str) -> None:
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


@pytest.mark.parametrize("code", ["nowhere", "host:", ":4000", "host:port"])
def test_an_address_that_is_none_is_refused(code: str, ready: None) -> None:
    refused = CliRunner().invoke(main, ["serve", "--role", "daemon", "--code", code, "--json"])
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["message"]) == (2, f"--code is {code!r}.")


def test_without_a_store_nothing_is_served(home: Path) -> None:
    refused = CliRunner().invoke(main, ["serve", "--role", "web"])
    assert refused.exit_code == 1
    assert not home.exists()


def test_the_parts_find_each_other_by_a_socket_that_only_the_user_can_use(settings: Settings, ready: None) -> None:
    with _serving("code"), _serving("dagster", "--port", "13720"), _serving("daemon"):
        assert _asked(
            "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }", 120
        ) == {"repositoriesOrError": {"nodes": [{"location": {"name": "records"}}]}}
        assert (settings.home / "code.sock").stat().st_mode & 0o077 == 0
        answer = _asked("{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }", 120, daemons=True)
        assert all(it["healthy"] for it in answer["instance"]["daemonHealth"]["allDaemonStatuses"] if it["required"])


@contextmanager
def _serving(role: str, *options: str) -> Iterator[None]:
    """Run a part until the end of the block. It ends by itself on the signal of its unit."""
    log = Path(os.environ["RECORDS_HOME"]) / f"{role}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "records", "serve", "--role", role, *options], stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
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
