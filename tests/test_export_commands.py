"""`records export` and `presets` as a user types them: what they write and what they print."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipelines.commands.cli import main
from pipelines.commands.export_texts import print_export
from resources.record_store import RecordStore
from tests.records import change, put

pytestmark = pytest.mark.usefixtures("contacts")


@pytest.fixture
def contacts(store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Account ua has five contacts, and the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    put(
        store,
        "SELECT 'C-' || i AS external_id, 'lead' AS status, ['DE', 'FR'][1 + i % 2] AS country, i AS amount, "
        "'=1' AS notes FROM range(5) t(i)",
    )


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", "-a", "ua", "-t", "contacts", *arguments])


def done(run: Callable[..., Result], *arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_option_reaches_the_file() -> None:
    printed = done(
        export,
        *("--columns", "external_id, amount,notes", "--where", "amount > 0", "--where", "country in DE,FR"),
        *(
            "--order-by",
            "country desc,amount desc",
            "--encoding",
            "utf-8-sig",
            "--delimiter",
            ";",
            "--raw",
            "-o",
            "out.csv",
        ),
    )

    with Path("out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows == [
        ["external_id", "amount", "notes"],
        *([f"C-{number}", f"{number}.00", "=1"] for number in (3, 1, 4, 2)),
    ]
    assert (printed["rows"], printed["request"]["filters"]) == (4, ["amount > 0", "country in DE,FR"])


@pytest.mark.runs_on("laptop", "postgres")
def test_time_travel_from_the_command_line(store: RecordStore) -> None:
    with store.reading() as connection:
        (at,) = connection.fetch_one("SELECT max(snapshot_time)::VARCHAR FROM ducklake_snapshots('lake')")
    change(store, "DELETE FROM lake.records.contacts WHERE external_id <> 'C-1'")

    assert done(export, "--as-of", at)["rows"] == 5
    assert done(export, "--changed-since", at)["rows"] == 4
    assert done(export)["rows"] == 1


@pytest.mark.parametrize(
    ("name", "options", "format_"),
    [
        ("out.xlsx", (), "excel"),
        ("out.json.gz", (), "json"),
        ("out", ("-f", "parquet"), "parquet"),
        ("out.ndjson", ("--pack", "zst"), "ndjson"),
    ],
)
def test_the_format_is_named_or_follows_the_name(name: str, options: tuple[str, ...], format_: str) -> None:
    printed = done(export, *options, "-o", name)

    assert (printed["format"], printed["rows"], Path(printed["path"]).name) == (format_, 5, name)
    assert Path(name).stat().st_size == printed["bytes"]


@pytest.mark.runs_on("laptop", "postgres")
def test_a_saved_preset_is_listed_and_exported_by() -> None:
    runner = CliRunner()

    def presets(*arguments: str) -> Result:
        return runner.invoke(main, ["presets", *arguments])

    saved = done(presets, "save", "short", "-a", "ua", "-t", "contacts", "--columns", "external_id,notes")

    assert saved == {"name": "short", "account": "ua", "record_type": "contacts", "columns": ["external_id", "notes"]}
    listed = done(presets, "list", "-a", "ua", "-t", "contacts")
    assert [it["name"] for it in listed["items"]] == ["mailing", "revenue", "short"]
    assert len(done(presets, "list", "-a", "ua")["items"]) == 5
    assert "external_id, notes" in presets("list", "-a", "ua").stdout
    assert done(export, "--preset", "short")["columns"] == ["external_id", "notes"]


def test_the_summary_says_rows_size_time_rate_and_place() -> None:
    shown = export("-o", "out.csv").stdout

    first, second, third, *notes = shown.splitlines()
    assert re.search(r"5 contacts of ua in [0-9.]+ s$", first), "no rate of a short export"
    assert second == f"{Path('out.csv').absolute()}  ({Path('out.csv').stat().st_size} bytes)"
    assert third.startswith("Snapshot ")
    assert notes == ["Texts that a spreadsheet would compute have a ' before them: notes (5)."]


def test_an_export_without_a_match_says_so_and_names_the_values() -> None:
    shown = export("--where", "status = custmer", "--where", "amount > 1").stdout.splitlines()

    assert shown[-2:] == [
        "No record matches: status = custmer; amount > 1.",
        "The values of status: lead, prospect, customer, churned.",
    ]
    assert "No record matches" not in export("--where", "status = lead").stdout


@pytest.mark.parametrize("seconds", [2.9, 3.1])
def test_a_rate_is_shown_of_an_export_of_some_seconds(
    store: RecordStore, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    export("-o", "out.csv")
    (manifest,) = store.exports("ua")

    print_export(replace(manifest, seconds=seconds), store.record_type("contacts"))

    assert (" rows/s\n" in capsys.readouterr().out) == (seconds > 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--where", "height > 2"), "contacts has no field 'height'."),
        (("--columns", "a,b"), "contacts has no column 'a', 'b'."),
        (("-f", "excel", "-o", "x.csv"), "The file name 'x.csv' does not fit the format excel."),
        (("-f", "excel", "--pack", "gz"), "The format excel does not support packing: gz was given."),
        (("-f", "excel", "--sheet-rows", "0"), "A sheet cannot have 0 records."),
        (("-o", "nowhere/x.csv"), "The folder"),
    ],
)
def test_an_invalid_request_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    result = export(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert list(Path().iterdir()) == [Path("home")]
