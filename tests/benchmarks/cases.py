"""What is measured. To measure something else, add a `Case` to `CASES`."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.commands.demo import flights_archive
from tests.benchmarks.contacts_file import write_contacts
from tests.benchmarks.contacts_store import COLUMNS, fill
from tests.benchmarks.excel_file import write_workbook
from tests.benchmarks.measure import BenchmarkError, Case, Command, Target, clean_environment

_FLIGHTS = 336_776
_FLIGHTS_KEY = "time_hour, carrier, flight, origin"
_CONTACTS = 1_000_000
_EXCEL_ROWS = 300_000
_RECORDS = str(Path(sys.executable).with_name("records"))


def _records(label: str, *arguments: str, home: str, prepare: Callable[[Path], None] | None = None) -> Command:
    return Command(label, (_RECORDS, *arguments, "--json"), {"RECORDS_HOME": home}, prepare)


def _baseline(label: str, *arguments: str) -> Command:
    # With -P the script cannot import the modules of this folder.
    return Command(label, (sys.executable, "-P", str(Path(__file__).with_name("baselines.py")), *arguments))


def _run(command: Command, folder: Path) -> None:
    """Run the command in the folder, without measuring it."""
    done = subprocess.run(
        command.argv, cwd=folder, env=clean_environment(command.environment), capture_output=True, text=True
    )
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command.argv)} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:].strip()}"
        )


def _new_store(folder: Path) -> None:
    """Create `store` in the folder, as `records init` leaves it."""
    _run(_records("init", "init", home="store"), folder)


def _flights_file(folder: Path) -> None:
    with zipfile.ZipFile(flights_archive()) as zipped, zipped.open("flights.csv") as source:
        (folder / "flights.csv").write_bytes(source.read())


def _flights_in_both(folder: Path) -> None:
    """Import the flights into `store`, and into the plain DuckDB file `flights.duckdb`."""
    _flights_file(folder)
    _new_store(folder)
    _run(_records("import", "import", "flights.csv", "-a", "all", "-t", "flights", home="store"), folder)
    _run(_baseline("import", "duckdb_import", "flights.csv", "flights.duckdb", "flights"), folder)


def _contacts_in_store(count: int) -> Callable[[Path], None]:
    """Return a setup that writes this many contacts to `store` and to `contacts.csv`."""

    def setup(folder: Path) -> None:
        write_contacts(folder / "contacts.csv", count)
        _new_store(folder)
        _run(_records("import", "import", "contacts.csv", "-a", "all", "-t", "contacts", home="store"), folder)

    return setup


def _contacts_file(folder: Path) -> None:
    write_contacts(folder / "contacts.csv", _CONTACTS)


def _few_contacts_file(folder: Path) -> None:
    write_contacts(folder / "contacts.csv", 100)


def _small_and_large_contacts_file(folder: Path) -> None:
    _contacts_file(folder)
    write_contacts(folder / "five-times.csv", 5 * _CONTACTS)


def _import_contacts(file: str, rows: int) -> Command:
    arguments = ("import", f"../{file}", "-a", "all", "-t", "contacts")
    return replace(_records(f"records import {file}", *arguments, home="store", prepare=_new_store), rows=rows)


def _dlt(file: str) -> Command:
    """Return the command that runs dlt, in the environment that `make bench` makes for it."""
    script = Path(__file__).with_name("dlt_import.py")
    python = script.parents[2] / ".venv" / "bench" / "bin" / "python"
    return Command("dlt, Arrow to DuckDB, merge", (str(python), "-P", str(script), f"../{file}", "external_id"))


def _large_account(contacts: int, folder_name: str = ".") -> Callable[[Path], None]:
    """Return a setup that makes `previewed` and `committed`: so many contacts, and a batch of 200,000."""

    def setup(folder: Path) -> None:
        (folder / folder_name).mkdir(exist_ok=True)
        root = Path(__file__).parents[2]
        make = Command(
            "", (sys.executable, "-m", "tests.benchmarks.large_account", str(contacts)), {"PYTHONPATH": str(root)}
        )
        _run(make, folder / folder_name)

    return setup


def _small_and_large_account(folder: Path) -> None:
    _large_account(1_000_000, "small")(folder)
    _large_account(10_000_000, "large")(folder)


def _on_batch(label: str, command: str, home: str) -> Command:
    """Return a command on the batch of `_large_account`. It uses a copy of a home with linked Parquet files."""
    place = Path(home).parent

    def prepare(folder: Path) -> None:
        shutil.copytree(folder.parent / home, folder / "store", copy_function=_link_parquet)

    given = command.replace("BATCH", f'"$(cat ../{place}/batch)"')
    return Command(label, ("sh", "-c", f'exec "$0" {given} --json', _RECORDS), {"RECORDS_HOME": "store"}, prepare)


def _link_parquet(source: str, target: str) -> None:
    if source.endswith(".parquet"):
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)


def _filled(count: int, interleaved: int = 0) -> Callable[[Path], None]:
    """Return a setup that writes this many contacts to `store` and to `contacts.duckdb`."""
    return lambda folder: fill(folder, count, interleaved=interleaved)


def _stores_of_two_sizes(folder: Path) -> None:
    """Make `store` with ten times as many contacts as the one in `small`."""
    fill(folder, 10 * _CONTACTS)
    (folder / "small").mkdir()
    fill(folder / "small", _CONTACTS)


def _export_contacts(file_format: str = "csv", home: str = "../store", rows: int | None = None) -> Command:
    name = "contacts.xlsx" if file_format == "excel" else f"contacts.{file_format}"
    arguments = ("export", "-a", "all", "-t", "contacts", "--columns", ",".join(COLUMNS), "-o", name, "--foreground")
    return replace(_records(f"records export, {file_format}", *arguments, home=home), rows=rows)


def _copy(file_format: str = "csv", order: str = "external_id") -> Command:
    label = f"DuckDB COPY, {file_format}, {'in order' if order else 'in no order'}"
    arguments = ("../contacts.duckdb", "contacts", order, f"contacts.{file_format}", file_format)
    return _baseline(label, "duckdb_export_limited", *arguments)


def _workbook(folder: Path) -> None:
    write_workbook(folder / "book.xlsx", _EXCEL_ROWS)


def _excel_write() -> Command:
    script = Path(__file__).with_name("excel_write.py")
    argv = (sys.executable, "-P", str(script), "../contacts.duckdb", "contacts.xlsx")
    return Command("openpyxl, write-only", argv)


def _excel_read(label: str, reader: str) -> Command:
    script = Path(__file__).with_name("excel_read.py")
    return Command(label, (sys.executable, "-P", str(script), reader, "../book.xlsx"))


CASES = (
    Case(
        name="import flights",
        rows=_FLIGHTS,
        setup=_flights_file,
        a=_records(
            "records import",
            *("import", "../flights.csv", "-a", "all", "-t", "flights"),
            home="store",
            prepare=_new_store,
        ),
        b=_baseline("DuckDB CREATE TABLE AS", "duckdb_import", "../flights.csv", "flights.duckdb", "flights"),
    ),
    Case(
        name="export flights",
        rows=_FLIGHTS,
        setup=_flights_in_both,
        a=_records("records export", "export", "-a", "all", "-t", "flights", "-o", "flights.csv", home="../store"),
        b=_baseline("DuckDB COPY", "duckdb_export", "../flights.duckdb", "flights", _FLIGHTS_KEY, "flights.csv"),
    ),
    Case(
        name="export 5,000 contacts",
        rows=5_000,
        setup=_contacts_in_store(5_000),
        a=_records("records export", "export", "-a", "all", "-t", "contacts", "-o", "contacts.csv", home="../store"),
        targets=(Target("seconds", 1.0),),
    ),
    Case(
        name="export 10,000,000 contacts",
        rows=10 * _CONTACTS,
        setup=_filled(10 * _CONTACTS),
        a=_export_contacts(),
        b=_copy(),
        targets=(Target("ratio", 0.75), Target("largest", 600e6)),
    ),
    Case(
        name="export 10,000,000 contacts, beside no order",
        rows=10 * _CONTACTS,
        setup=_filled(10 * _CONTACTS),
        a=_export_contacts(),
        b=_copy(order=""),
        targets=(Target("ratio", 1.8),),
    ),
    Case(
        name="export 10,000,000 contacts of 40 interleaved imports",
        rows=10 * _CONTACTS,
        setup=_filled(10 * _CONTACTS, interleaved=40),
        a=_export_contacts(),
        b=_copy(),
        targets=(Target("ratio", 1.3), Target("largest", 600e6)),
    ),
    Case(
        name="export 10,000,000 contacts beside 1,000,000",
        rows=10 * _CONTACTS,
        setup=_stores_of_two_sizes,
        a=_export_contacts(),
        b=_export_contacts(home="../small/store", rows=_CONTACTS),
        targets=(Target("ratio", 11.0), Target("largest_ratio", 1.15)),
    ),
    *(
        Case(
            name=f"export 2,000,000 contacts to {file_format}",
            rows=2 * _CONTACTS,
            setup=_filled(2 * _CONTACTS),
            a=_export_contacts(file_format),
            b=_copy(file_format),
            targets=(Target("ratio", 1.2), Target("largest", 600e6)),
        )
        for file_format in ("json", "ndjson")
    ),
    Case(
        name="export 500,000 contacts to Excel",
        rows=_CONTACTS // 2,
        setup=_filled(_CONTACTS // 2),
        a=_export_contacts("excel"),
        b=_excel_write(),
        targets=(Target("ratio", 1 / 8), Target("largest", 600e6)),
    ),
    Case(
        name="preview flights",
        rows=_FLIGHTS,
        setup=_flights_file,
        a=_records(
            "records preview",
            *("preview", "../flights.csv", "-a", "all", "-t", "flights"),
            home="store",
            prepare=_new_store,
        ),
    ),
    Case(
        name="preview 1,000,000 contacts",
        rows=_CONTACTS,
        setup=_contacts_file,
        a=_records(
            "records preview",
            *("preview", "../contacts.csv", "-a", "all", "-t", "contacts"),
            home="store",
            prepare=_new_store,
        ),
        targets=(Target("seconds", _CONTACTS / 170_000), Target("largest", 700e6)),
    ),
    Case(
        name="import 100 contacts",
        rows=100,
        setup=_few_contacts_file,
        a=_import_contacts("contacts.csv", 100),
        targets=(Target("seconds", 1.0),),
    ),
    Case(
        name="import 1,000,000 contacts",
        rows=_CONTACTS,
        setup=_contacts_file,
        a=_import_contacts("contacts.csv", _CONTACTS),
        b=_dlt("contacts.csv"),
        targets=(Target("ratio", 1.0), Target("largest", 700e6)),
    ),
    Case(
        name="import 5,000,000 contacts beside 1,000,000",
        rows=5 * _CONTACTS,
        setup=_small_and_large_contacts_file,
        a=_import_contacts("five-times.csv", 5 * _CONTACTS),
        b=_import_contacts("contacts.csv", _CONTACTS),
        targets=(Target("largest_ratio", 1.15),),
    ),
    # Rollback
    Case(
        name="roll back 200,000 in 5,000,000",
        rows=200_000,
        setup=_large_account(5_000_000),
        a=_on_batch("records rollback", "rollback BATCH", "committed"),
        b=_on_batch("records commit", "commit BATCH", "previewed"),
        targets=(Target("seconds", 2.0), Target("ratio", 2.0)),
    ),
    Case(
        name="what a rollback of 200,000 in 5,000,000 would do",
        rows=200_000,
        setup=_large_account(5_000_000),
        a=_on_batch("records rollback --dry-run", "rollback BATCH --dry-run", "committed"),
        targets=(Target("seconds", 1.0),),
    ),
    Case(
        name="roll back 200,000 in 10,000,000 beside 1,000,000",
        rows=200_000,
        setup=_small_and_large_account,
        a=_on_batch("records rollback, 10,000,000", "rollback BATCH", "large/committed"),
        b=_on_batch("records rollback, 1,000,000", "rollback BATCH", "small/committed"),
        targets=(Target("largest_ratio", 1.15),),
    ),
    # Excel
    Case(
        name="read 300,000 × 10 of Excel",  # noqa: RUF001
        rows=_EXCEL_ROWS,
        setup=_workbook,
        a=_excel_read("records, reading alone", "records"),
        b=_excel_read("openpyxl, read-only", "openpyxl"),
        targets=(Target("ratio", 0.25),),
    ),
)
