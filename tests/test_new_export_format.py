"""A new output format is a file in resources/export_writer/formats/ and an entry in FORMATS; the rest follows."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from resources.record_store import RecordStore
from tests.records import put

ROOT = Path(__file__).parent.parent

TOY = '''"""Lines of values with pipes between them, and a last line with the number of records."""

from pathlib import Path

from resources.export_writer.formats.text_format import TextFormat
from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource
from schemas.errors import UnreadableFile
from schemas.exports import ExportManifest


class Toy(TextFormat):
    """Pipes and a trailer."""

    name = "toy"
    suffixes = (".toy",)
    part_rows = 30

    def write_lines(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write a line for each record."""
        return source.write_csv(plan.parts[number].range, path, delimiter="|")

    def footer(self, plan: ExportPlan) -> bytes:
        """Return the trailer."""
        return f"T|{plan.rows}\\n".encode()

    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Count the lines before the trailer."""
        *lines, trailer = path.read_text("utf-8").splitlines()
        if trailer != f"T|{len(lines)}":
            raise UnreadableFile("The trailer has another number.", "Export again.")
        return len(lines)
'''

USE = """
import json
from dataclasses import asdict

from click.testing import CliRunner

from pipelines.commands.cli import main
from resources.export_writer import ExportWriter
from resources.export_writer.inspection import inspect
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.exports import ExportRequest

options = ["-a", "ua", "-t", "contacts", "--columns", "external_id,amount"]
command = CliRunner().invoke(main, ["export", *options, "-f", "toy", "-o", "out.toy", "--json"])
with RecordStore(Settings.from_environment()) as store:
    first = ExportWriter(store, "first")
    plan = first.plan(ExportRequest("ua", "contacts", columns=("external_id", "amount"), format="toy"))
    first.make_part(plan, 0)
    first.make_part(plan, 2)
    damaged = plan.parts_folder / "000002"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    second, made = ExportWriter(store, "second"), []
    manifest = second.finish(second.load("ua", plan.export_id), made.append)
    account, record_type = store.account("ua"), store.record_type("contacts")
    whole = inspect(account, record_type, manifest)
    manifest.path.write_bytes(manifest.path.read_bytes().partition(b"\\n")[2])
    shortened = inspect(account, record_type, manifest)
    print(json.dumps({
        "exit_code": command.exit_code, "exported": json.loads(command.stdout),
        "parts": len(plan.parts), "made": made, "sha256": manifest.sha256, "name": manifest.path.name,
        "whole": asdict(whole), "shortened": asdict(shortened),
    }))
"""


@pytest.fixture
def project(store: RecordStore, tmp_path: Path) -> Path:
    """A copy of this project with the toy format, and a store in which account ua has a hundred contacts."""
    for folder in ("pipelines", "resources", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder)  # with its compiled files
    formats = tmp_path / "resources" / "export_writer" / "formats"
    (formats / "toy.py").write_text(TOY)
    registry = formats / "__init__.py"
    text = registry.read_text()
    for line, added in (
        ("        Parquet(),\n", "        Toy(),\n"),
        (
            "from resources.export_writer.formats.parquet import Parquet\n",
            "from resources.export_writer.formats.toy import Toy\n",
        ),
    ):
        assert text.count(line) == 1
        text = text.replace(line, line + added)
    registry.write_text(text)
    put(store, "SELECT 'C-' || (100 + i) AS external_id, 'lead' AS status, i AS amount FROM range(100) t(i)")
    return tmp_path


@pytest.mark.runs_on("laptop")
def test_its_files_are_written_by_the_command_and_resumed_and_read_back(project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(project)}
    ended = subprocess.run([sys.executable, "-c", USE], cwd=project, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    printed = json.loads(ended.stdout)

    expected = "".join(f"C-{100 + i}|{i}.00\r\n" for i in range(100)) + "T|100\n"
    sha256 = hashlib.sha256(expected.encode()).hexdigest()
    assert (project / "out.toy").read_bytes() == expected.encode()
    assert printed["exit_code"] == 0
    assert [printed["exported"][name] for name in ("format", "rows", "sha256")] == ["toy", 100, sha256]
    assert (printed["parts"], printed["made"], printed["sha256"], printed["name"]) == (
        4,
        [1, 2, 3],
        sha256,
        "contacts.toy",
    )
    assert printed["whole"] == {"counted": 100, "sha256": sha256, "read_back": 100, "unreadable": ""}
    assert (printed["shortened"]["read_back"], printed["shortened"]["unreadable"]) == (None, "UnreadableFile")
