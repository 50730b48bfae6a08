"""The command line, as pipelines/README.md promises it to its users."""

import csv
import hashlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import click
import pytest
from click.testing import CliRunner, Result
from openpyxl import Workbook

from pipelines.commands.cli import main
from resources.defects import keep_details
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.batches import ImportRequest
from tests.forked_commands import COMMAND_LINE

COMMAND = str(Path(sys.executable).with_name("records"))
REPORT_KEYS = {
    *("batch_id", "account", "record_type", "status", "actor", "read", "created", "updated", "unchanged"),
    *("rejected", "duplicate", "rejects_file", "report_file", "snapshot"),
}
EXPORT_KEYS = {
    *("export_id", "status", "rows", "bytes", "sha256", "path", "manifest", "format", "columns", "snapshot"),
    *("run_id", "url"),
}
NO_ACCOUNT = "Missing option '-a' / '--account' (env var: 'RECORDS_ACCOUNT')."
COUNTS = ("read", "created", "updated", "unchanged", "rejected", "duplicate")

MIXED = """\
external_id,email,status,amount
C-1,ada@example.org,lead,1.50
C-2,bob-at-example,lead,2.50
C-3,cy@example.org,VIP,3.50
C-4,di@example.org,lead,4.50
C-4,di@example.org,lead,4.50
C-5,ed@example.org,lead,5.50
"""
"""The counts of `mixed`: one record unchanged, two rejected, one created, one duplicate, one updated."""


@pytest.fixture(autouse=True)
def working_folder(ready: None, quick_reading: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the files, with a store that has no account."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> Any:
    """Run a command that must succeed; returns the object that it prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def without_details(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a list says of the batch too."""
    assert {"columns", "changes"} <= report.keys()
    return {name: value for name, value in report.items() if name not in ("columns", "changes")}


def failed(*arguments: str) -> tuple[int, dict[str, str]]:
    """Run a command that must fail; returns its exit code and error object."""
    result = run(*arguments, "--json")
    printed = json.loads(result.stdout)
    assert printed == {"error": {"code": ANY, "message": ANY, "hint": ANY}}
    return result.exit_code, printed["error"]


def contacts(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def mixed() -> str:
    """Write a file with a record of every outcome, for an account that has two of its records."""
    stored = "external_id,email,status,amount\nC-1,ada@example.org,lead,1.50\nC-5,ed@example.org,lead,0\n"
    done("import", contacts("stored.csv", stored), "-a", "ua", "-t", "contacts")
    return contacts("mixed.csv", MIXED)


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in COUNTS)


def exported(account: str = "ua", *options: str) -> list[dict[str, str]]:
    """Return an account's contacts, read from an export."""
    with Path(done("export", "-a", account, "-t", "contacts", *options)["path"]).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.runs_on("laptop", "postgres")
def test_a_preview_accounts_for_every_record_and_writes_none() -> None:
    previewed = done("preview", mixed(), "-a", "ua", "-t", "contacts")

    assert previewed.keys() >= REPORT_KEYS
    assert previewed == previewed | {
        "account": "ua",
        "record_type": "contacts",
        "status": "previewed",
        "actor": "tester",
        "file": "mixed.csv",
        "sha256": hashlib.sha256(MIXED.encode()).hexdigest(),
        "problems": [
            {"field": "email", "rule": "str_matches", "expected": "must be an e-mail address", "records": 1},
            {
                "field": "status",
                "rule": "isin",
                "expected": "must be one of lead, prospect, customer, churned",
                "records": 1,
            },
        ],
        "snapshot": None,
    }
    assert dict(zip(COUNTS, counts(previewed), strict=True)) == {
        "read": 6,
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "rejected": 2,
        "duplicate": 1,
    }
    assert previewed["read"] == sum(counts(previewed)[1:])
    assert [record["external_id"] for record in exported()] == ["C-1", "C-5"]


@pytest.mark.runs_on("laptop", "postgres")
def test_a_commit_writes_what_was_previewed() -> None:
    previewed = done("preview", mixed(), "-a", "ua", "-t", "contacts")

    committed = done("commit", previewed["batch_id"], "--on-invalid", "skip")

    assert committed.keys() >= REPORT_KEYS
    assert committed == previewed | {
        "status": "committed",
        "at": ANY,
        "snapshot": ANY,
        "commit_until": None,
        "rollback_until": ANY,
    }
    assert isinstance(committed["snapshot"], int)
    assert [(it["external_id"], it["amount"]) for it in exported()] == [
        ("C-1", "1.50"),
        ("C-4", "4.50"),
        ("C-5", "5.50"),
    ]


@pytest.mark.runs_on("laptop", "postgres")
def test_an_import_is_a_preview_and_its_commit() -> None:
    imported = done("import", mixed(), "-a", "ua", "-t", "contacts", "--on-invalid", "skip")

    assert imported.keys() >= REPORT_KEYS
    assert (imported["status"], counts(imported)) == ("committed", (6, 1, 1, 1, 2, 1))
    assert [(it["external_id"], it["amount"]) for it in exported()] == [
        ("C-1", "1.50"),
        ("C-4", "4.50"),
        ("C-5", "5.50"),
    ]


def test_show_prints_what_the_preview_printed() -> None:
    previewed = done("preview", mixed(), "-a", "ua", "-t", "contacts")
    assert done("show", previewed["batch_id"]) == previewed

    committed = done("commit", previewed["batch_id"], "--on-invalid", "skip")
    assert done("show", previewed["batch_id"], "-a", "ua") == committed


def test_a_discarded_preview_cannot_be_committed() -> None:
    previewed = done("preview", mixed(), "-a", "ua", "-t", "contacts")

    discarded = done("discard", previewed["batch_id"])

    assert discarded == previewed | {
        "status": "discarded",
        "at": ANY,
        "commit_until": None,
    }
    exit_code, error = failed("commit", previewed["batch_id"], "--on-invalid", "skip")
    assert (exit_code, error["code"]) == (3, "refused")


def test_rejected_records_refuse_the_import_unless_they_are_to_be_skipped() -> None:
    exit_code, error = failed("import", mixed(), "-a", "ua", "-t", "contacts")

    assert (exit_code, error["code"]) == (3, "rejects_found")
    assert error["message"] == (
        "2 of 6 records are rejected, so nothing was written: email must be an e-mail address (1); "
        "status must be one of lead, prospect, customer, churned (1)."
    )
    assert [record["external_id"] for record in exported()] == ["C-1", "C-5"]


def test_a_preview_that_is_no_longer_true_is_refused() -> None:
    batch_id = done("preview", mixed(), "-a", "ua", "-t", "contacts")["batch_id"]
    done("import", contacts("later.csv", "external_id,amount\nC-5,7\n"), "-a", "ua", "-t", "contacts")

    exit_code, error = failed("commit", batch_id, "--on-invalid", "skip")

    assert (exit_code, error["code"]) == (3, "preview_outdated")


@pytest.mark.runs_on("laptop", "postgres")
def test_an_export_prints_its_manifest() -> None:
    mixed()

    printed = done("export", "-a", "ua", "-t", "contacts", "--preset", "revenue", "-o", "out.csv")

    data = Path("out.csv").read_bytes()
    assert data == b"external_id,company,country,status,amount\r\nC-1,,,lead,1.50\r\nC-5,,,lead,0.00\r\n"
    assert printed.keys() >= EXPORT_KEYS
    assert printed == printed | {
        "status": "done",
        "account": "ua",
        "record_type": "contacts",
        "actor": "tester",
        "rows": 2,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "path": str(Path("out.csv").absolute()),
        "manifest": str(Path("out.csv.manifest.json").absolute()),
        "format": "csv",
        "columns": ["external_id", "company", "country", "status", "amount"],
        "run_id": None,
        "url": None,
    }
    assert json.loads(Path(printed["manifest"]).read_text()) == printed
    assert done("exports") == {"items": [printed], "next": None}


def test_columns_choose_what_an_export_holds() -> None:
    mixed()

    assert exported("ua", "--columns", "amount, external_id") == [
        {"amount": "1.50", "external_id": "C-1"},
        {"amount": "0.00", "external_id": "C-5"},
    ]


@pytest.mark.runs_on("laptop", "postgres")
def test_accounts_and_types_are_lists() -> None:
    assert done("accounts", "add", "ua") == {"account": "ua", "new": True}
    assert done("accounts", "add", "ua") == {"account": "ua", "new": False}

    assert done("accounts", "list") == {"items": ["ua"], "next": None}
    types = done("types")
    assert types == {"items": [ANY, ANY], "next": None}
    assert [(it["name"], it["key"]) for it in types["items"]] == [
        ("contacts", ["external_id"]),
        ("flights", ["time_hour", "carrier", "flight", "origin"]),
    ]


@pytest.mark.runs_on("laptop")
def test_init_says_where_the_store_is_and_repeats_itself(home: Path) -> None:
    shutil.rmtree(home)
    first = {"home": str(home), "done": ["contacts is a new record type.", "flights is a new record type."]}
    assert done("init") == first
    assert done("init") == first | {"done": []}


def test_an_import_from_the_inbox_that_failed_is_shown_with_its_reason(settings: Settings) -> None:
    file = contacts("in.csv", "")
    with RecordStore(settings) as store:
        Importer(store, "inbox").fail(ImportRequest(Path(file), "ua", "contacts"), "0" * 64, "It is empty. Look at it.")
    ours = done("import", contacts("other.csv", "external_id,status\nC-1,lead\n"), "-a", "ua", "-t", "contacts")

    (batch,) = done("batches", "--status", "failed")["items"]

    assert (batch["status"], batch["failure"], batch["waits"]) == ("failed", "It is empty. Look at it.", False)
    assert (ours["failure"], ours["waits"]) == (None, False)
    assert run("show", batch["batch_id"]).stdout.splitlines() == [
        f"{batch['batch_id']}  failed",
        "in.csv as contacts of ua, by inbox",
        "It is empty. Look at it.",
    ]
    for command in ("commit", "discard", "rollback"):
        exit_code, error = failed(command, batch["batch_id"])
        assert exit_code == 3
        assert f"Batch {batch['batch_id']} is failed since " in error["message"]


@pytest.mark.runs_on("laptop", "postgres")
def test_batches_are_listed_newest_first_and_can_be_chosen() -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    first = done("import", file, "-a", "ua", "-t", "contacts")["batch_id"]
    second = done("preview", file, "-a", "dl", "-t", "contacts")["batch_id"]

    def ids(*options: str) -> list[str]:
        listed = done("batches", *options)
        assert listed == {"items": ANY, "next": None}
        assert all(item.keys() >= REPORT_KEYS for item in listed["items"])
        return [item["batch_id"] for item in listed["items"]]

    assert ids() == [second, first]
    assert ids("-a", "ua") == [first]
    assert ids("-t", "contacts") == [second, first]
    assert ids("-t", "flights") == []
    assert ids("--status", "previewed") == [second]
    assert ids("--status", "committed", "-a", "dl") == []


@pytest.mark.runs_on("laptop", "postgres")
def test_lists_come_in_pages_that_name_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("history", "exports"):
        monkeypatch.setattr(f"pipelines.commands.{module}.PAGE", 2)
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    batches = [done("preview", file, "-a", "ua", "-t", "contacts")["batch_id"] for _ in range(4)]
    exports = [done("export", "-a", "ua", "-t", "contacts")["export_id"] for _ in range(3)]

    def pages(command: str, key: str) -> Iterator[list[str]]:
        page: int | None = 1
        while page is not None:
            listed = done(command, "--page", str(page))
            yield [item[key] for item in listed["items"]]
            page = listed["next"]

    newest = batches[::-1]
    assert list(pages("batches", "batch_id")) == [newest[:2], newest[2:]]
    assert list(pages("exports", "export_id")) == [exports[:0:-1], exports[:1]]
    assert "There are more: --page 2" in run("batches").stdout
    assert "There are more" not in run("batches", "--page", "2").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "message"),
    [
        (["preview", "none.csv", "-a", "ua", "-t", "contacts"], 2, "not_found", "There is no file 'none.csv'."),
        (["preview", "ok.csv", "-a", "ua", "-t", "birds"], 2, "not_found", "There is no record type 'birds'."),
        (
            ["preview", "ok.csv", "-a", "A", "-t", "contacts"],
            *(2, "invalid_request", "'A' is not a valid name of an account."),
        ),
        (["preview", "ok.csv", "-a", "ua", "-t", "contacts", "--map", "id"], 2, "invalid_request", "--map was 'id'."),
        (["preview", "ok.csv", "-t", "contacts"], 2, "wrong_usage", NO_ACCOUNT),
        (["import", "ok.csv", "-a", "ua", "-t", "contacts", "--mode", "guess"], 2, "wrong_usage", None),
        (["import", "broken.csv", "-a", "ua", "-t", "contacts"], 1, "unreadable_file", None),
        (["export", "-a", "ua", "-t", "contacts"], 2, "not_found", "There is no account 'ua'."),
        (["show", "b-1"], 2, "not_found", "There is no batch 'b-1'."),
        (["commit", "b-1"], 2, "not_found", "There is no batch 'b-1'."),
        (["discard", "b-1"], 2, "not_found", "There is no batch 'b-1'."),
        (["accounts", "add", "-"], 2, "invalid_request", "'-' is not a valid name of an account."),
        (["batches", "--page", "0"], 2, "wrong_usage", None),
        (["fly"], 2, "wrong_usage", None),
    ],
)  # fmt: skip
def test_a_failure_is_one_object_with_a_code_and_words(
    arguments: list[str],
    exit_code: int,
    code: str,
    message: str | None,
) -> None:
    contacts("ok.csv", "id,status\nC-1,lead\n")
    contacts("broken.csv", 'id,"status\nC-1,lead\n')

    assert failed(*arguments) == (exit_code, {"code": code, "message": message or ANY, "hint": ANY})


def test_a_failure_in_words_is_on_standard_error() -> None:
    result = run("show", "b-1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: There is no batch 'b-1'.\nList the batches: records batches.\n"


@pytest.mark.runs_on("laptop")
def test_without_a_store_there_is_nothing_to_read(home: Path) -> None:
    shutil.rmtree(home)

    assert failed("batches") == (
        1,
        {
            "code": "store_not_ready",
            "message": f"There is no store in {home}.",
            "hint": "Make it: records init. Or name the home of another one: records --home FOLDER, or RECORDS_HOME.",
        },
    )


def test_what_the_system_refuses_is_a_sentence(home: Path) -> None:
    done("accounts", "add", "ua")
    (home / "accounts").write_text("")

    exit_code, error = failed("export", "-a", "ua", "-t", "contacts")

    assert (exit_code, error["code"]) == (1, "not_accessible")
    assert error["message"] == f"{home}/accounts cannot be read or written: Not a directory."
    assert error["hint"] == "A part of that path is a file: name another place."
    assert done("exports") == {"items": [], "next": None}


@pytest.mark.parametrize("with_home", [True, False])
def test_a_defect_is_reported_without_its_text_and_its_details_are_for_the_operator_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, with_home: bool
) -> None:
    def fails(_: RecordStore) -> list[str]:
        raise ValueError("canary@secret.example")

    monkeypatch.setattr(RecordStore, "accounts", fails)
    if not with_home:
        monkeypatch.setenv("RECORDS_HOME", str(home / "none"))

    result = run("accounts", "list", "--json")

    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (1, "unexpected")
    assert error["message"].startswith("ValueError in test_cli.py, line ")
    assert "canary" not in result.output
    assert "Traceback" not in result.output
    if with_home:
        (details,) = (home / "errors").iterdir()
        assert str(details) in error["message"]
        assert (details.stat().st_mode & 0o777, details.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert "ValueError: canary@secret.example" in details.read_text()
    else:
        assert not (home / "none").exists()


def test_of_the_details_of_defects_the_newest_are_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.defects._KEPT", 2)
    for _ in range(3):
        newest = keep_details(ValueError("it"), home)
    assert len(kept := sorted((home / "errors").iterdir())) == 2
    assert newest in kept


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.runs_on("laptop", "postgres")
def test_another_accounts_batch_is_not_there(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    batch_id = done("preview", file, "-a", "ua", "-t", "contacts")["batch_id"]
    unknown = "b-20260105-093000000-000000"
    done("accounts", "add", "dl")
    if how == "environment":
        monkeypatch.setenv("RECORDS_ACCOUNT", "dl")
    given = ["-a", "dl"] if how == "option" else []

    for command in ("show", "commit", "discard"):
        for output in (["--json"], []):
            not_theirs = run(command, batch_id, *given, *output)
            not_there = run(command, unknown, *given, *output)
            assert not_theirs.exit_code == not_there.exit_code == 2
            assert not_theirs.stdout == not_there.stdout.replace(unknown, batch_id)
            assert not_theirs.stderr == not_there.stderr.replace(unknown, batch_id)
    assert done("show", batch_id, "-a", "ua")["status"] == "previewed"


def test_an_account_that_is_given_empty_is_not_every_account() -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    batch_id = done("preview", file, "-a", "ua", "-t", "contacts")["batch_id"]

    for command in ("show", "commit", "discard"):
        exit_code, error = failed(command, batch_id, "-a", "")
        assert (exit_code, error["message"]) == (2, "No account was given.")
    assert done("show", batch_id)["status"] == "previewed"


def test_the_environment_names_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    done("import", file, "-a", "dl", "-t", "contacts")
    monkeypatch.setenv("RECORDS_ACCOUNT", "ua")

    imported = done("import", file, "-t", "contacts")
    export = done("export", "-t", "contacts")

    assert (imported["account"], imported["created"], export["account"]) == ("ua", 1, "ua")
    assert done("batches")["items"] == [without_details(imported)]
    assert done("exports")["items"] == [export]


def test_map_names_the_field_of_a_column() -> None:
    file = contacts("mapped.csv", "Kundennr,id,Stand\nC-1,X-1,lead\n")

    done("import", file, "-a", "ua", "-t", "contacts", "--map", "Kundennr=external_id", "--map", "Stand=status")
    done("import", file, "-a", "dl", "-t", "contacts", "--map", "Kundennr=", "--map", "Stand=status")

    assert exported("ua", "--columns", "external_id,status") == [{"external_id": "C-1", "status": "lead"}]
    assert exported("dl", "--columns", "external_id,status") == [{"external_id": "X-1", "status": "lead"}]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("insert", (2, 1, 0, 0, 1, 0)), ("update", (2, 0, 1, 0, 1, 0)), ("upsert", (2, 1, 1, 0, 0, 0))],
)
def test_the_mode_says_what_an_import_may_do(mode: str, expected: tuple[int, ...]) -> None:
    done("import", contacts("one.csv", "id,status\nC-1,lead\n"), "-a", "ua", "-t", "contacts")
    file = contacts("two.csv", "id,status\nC-1,customer\nC-2,lead\n")

    assert counts(done("preview", file, "-a", "ua", "-t", "contacts", "--mode", mode)) == expected


@pytest.mark.parametrize(
    ("choice", "expected", "stored"),
    [
        ("reject", (3, 1, 0, 0, 2, 0), ["C-2"]),
        ("first", (3, 2, 0, 0, 0, 1), ["C-1 lead", "C-2"]),
        ("last", (3, 2, 0, 0, 0, 1), ["C-1 customer", "C-2"]),
    ],
)
def test_on_duplicate_decides_between_records_of_one_key(
    choice: str, expected: tuple[int, ...], stored: list[str]
) -> None:
    file = contacts("two.csv", "id,status\nC-1,lead\nC-1,customer\nC-2,prospect\n")
    options = ["--on-duplicate", choice, "--on-invalid", "skip"]

    imported = done("import", file, "-a", "ua", "-t", "contacts", *options)

    assert counts(imported) == expected
    printed = [f"{it['external_id']} {it['status']}".removesuffix(" prospect") for it in exported()]
    assert printed == stored


def test_personal_values_are_masked_for_people() -> None:
    file = mixed()
    previewed = run("preview", file, "-a", "ua", "-t", "contacts")

    printed = previewed.stdout
    assert "`email` must be an e-mail address; record 2 (line 3) has ••• (no @)\n" in printed
    assert "`status` must be one of lead, prospect, customer, churned; record 3 (line 4) has VIP\n" in printed
    assert "bob-at-example" not in previewed.output
    batch_id = printed.split()[0]
    assert "bob-at-example" not in run("show", batch_id).output
    assert "bob-at-example" not in run("commit", batch_id).output


@pytest.mark.runs_on("laptop", "postgres")
def test_a_file_that_was_imported_already_is_refused_unless_again() -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    batch_id = done("import", file, "-a", "ua", "-t", "contacts")["batch_id"]

    exit_code, error = failed("preview", file, "-a", "ua", "-t", "contacts")

    assert (exit_code, error["code"], error["hint"]) == (3, "already_imported", "To read it again: --again.")
    assert error["message"].startswith(f"one.csv was imported already: batch {batch_id}, committed 20")
    assert error["message"].endswith(" UTC by tester (1 created).")
    assert done("import", file, "-a", "ua", "-t", "contacts", "--again")["unchanged"] == 1


def test_dates_in_another_order_need_the_option_that_says_which() -> None:
    file = contacts("one.csv", "id,status,birthday\nC-1,lead,31/05/1990\nC-2,lead,01/02/1990\n")
    warning = (
        "`birthday`: 1 date can only be day first (first: record 1); 1 date could be either. "
        "To read them right: --date-order dmy."
    )

    asked = run("preview", file, "-a", "ua", "-t", "contacts").stdout
    read = done("preview", file, "-a", "ua", "-t", "contacts", "--date-order", "dmy")

    assert f"\nWarning: {warning} For example: ••• (date_order)\n" in asked
    assert "1990" not in asked
    assert "(in another order of day, month and year only with --date-order); record 1 (line 2) has •••\n" in asked
    assert (counts(read), read["warnings"]) == ((2, 2, 0, 0, 0, 0), [])
    assert {
        "label": "Dates",
        "value": "day first, as --date-order says, or ISO 8601; 1 date could be the other way round",
    } in read["understood"]


def test_a_commit_says_what_it_passes_over() -> None:
    file = contacts("one.csv", "id,status,phone\n1001.0,lead,4.9E+11\n")
    sentence = "`external_id`: 1 value has .0 at the end, as if a program had read them as numbers."

    previewed = done("preview", file, "-a", "ua", "-t", "contacts")
    printed = run("commit", previewed["batch_id"]).stdout

    assert previewed["warnings"][0] == {
        "code": "looks_like_float",
        "field": "external_id",
        "records": 1,
        "sentence": sentence,
        "examples": ["1001.0"],
    }
    assert f"\nPassed over: {sentence} For example: 1001.0 (looks_like_float)\n" in printed
    assert "For example: ••• (scientific_notation)\n" in printed


def test_a_remembered_mapping_names_its_batch_and_can_be_overruled() -> None:
    options = ["-a", "ua", "-t", "contacts"]
    first = contacts("one.csv", "Kundennr,id,Stand\nC-1,X-1,lead\n")
    second = contacts("two.csv", "Kundennr,id,Stand\nC-2,X-2,lead\n")
    mapping_options = ["--map", "Kundennr=external_id", "--map", "id=", "--map", "Stand=status"]
    batch_id = done("import", first, *options, *mapping_options)["batch_id"]

    printed = run("preview", second, *options).stdout
    other = done("preview", second, *options, "--map", "id=external_id", "--map", "Kundennr=")

    remembered = "  'Kundennr' to external_id\n  'id' ignored\n  'Stand' to status"
    assert f"\nRead as in {batch_id}:\n{remembered}\n" in printed
    assert (other["remembered_from"], other["created"]) == (batch_id, 1), "Stand is remembered still"
    done("commit", other["batch_id"])
    assert [it["external_id"] for it in exported()] == ["C-1", "X-2"]


def test_a_report_for_people_says_what_became_of_the_file_and_what_to_do() -> None:
    printed = run("preview", mixed(), "-a", "ua", "-t", "contacts").stdout

    batch_id = printed.split()[0]
    lines = [line.rstrip() for line in printed.splitlines()]
    assert lines[:2] == [f"{batch_id}  previewed", "mixed.csv as contacts of ua, by tester"]
    assert lines[2] == "Read as Delimited text"
    assert lines[3].startswith("  encoding utf-8 (certain")
    start = next(at for at, line in enumerate(lines) if line.startswith("read "))
    assert [line.split()[:2] for line in lines[start : start + 6]] == [
        [name, number] for name, number in zip(COUNTS, "611121", strict=True)
    ]
    assert lines[-1].startswith("Nothing is written yet. You can commit it for 23 hours and 59 minutes, until ")
    assert lines[-1].endswith(f" UTC: records commit {batch_id} --on-invalid skip")


@pytest.mark.runs_on("laptop", "postgres")
def test_a_rollback_says_what_rests_on_the_batch_and_what_to_do() -> None:
    first, second = (
        done("import", contacts(f"{name}.csv", text), "-a", "ua", "-t", "contacts")["batch_id"]
        for name, text in (
            ("first", "external_id,status,company\nC-1,lead,a\nC-2,lead,a\n"),
            ("second", "external_id,phone\nC-1,1\n"),
        )
    )
    rollback = ("rollback", first, "--on-modified", "keep")
    counts = {"removed": 1, "restored": 0, "modified": 1, "merged": 0, "kept": 1, "gone": 0, "resting": 1}
    sentence = (
        "Records that still have values of a rolled-back batch: 1. "
        "Roll back the later batches that changed them too, or import a correction."
    )
    assert done(*rollback, "--dry-run").items() >= counts.items()
    assert sentence in " ".join(run(*rollback, "--dry-run").stdout.split())

    printed = done(*rollback)
    assert printed.items() >= counts.items()
    for again in (rollback, ("show", printed["batch_id"])):
        assert sentence in " ".join(run(*again).stdout.split())
    assert done("rollback", second).items() >= {**counts, "modified": 0, "kept": 0, "resting": 0}.items()


@pytest.mark.runs_on("laptop")
def test_the_next_command_of_a_rollback_is_whole_and_true() -> None:
    rows = "".join(f"C-{number},lead,1\n" for number in (1, 2, 3))
    first = done("import", contacts("a.csv", f"id,status,phone\n{rows}"), "-a", "ua", "-t", "contacts")["batch_id"]
    plain = run("rollback", first, "--dry-run").stdout
    assert plain.endswith(f"Nothing is changed yet. To roll it back: records rollback {first}\n")

    second = done("import", contacts("b.csv", "id,phone\nC-1,2\nC-2,2\n"), "-a", "ua", "-t", "contacts")["batch_id"]
    line = f"2 by {second} (b.csv); roll that back first: records rollback {second}\n"
    merge = run("rollback", first, "--dry-run", "--on-modified", "merge").stdout
    assert f"  all {line}" in merge
    assert merge.endswith(f"To roll it back: records rollback {first} --on-modified merge\n")
    stopped = run("rollback", first, "--dry-run")
    stop = stopped.stdout
    assert stopped.exit_code == 0
    assert stop.startswith(f"{first}  would not be rolled back, because records were modified since\n")
    assert stop.endswith(f"records rollback {first} --on-modified keep|merge|overwrite\n")
    refused = run("rollback", first)
    assert (refused.exit_code, f"\nall {line}" in refused.stderr) == (3, True)

    done("import", contacts("c.csv", "id,phone\nC-3,3\n"), "-a", "ua", "-t", "contacts")
    mixed_causes = run("rollback", first, "--dry-run").stdout
    assert f"  2 of 3 by {second} (b.csv);" in mixed_causes
    assert "  C-3: `phone` changed since, by batch " in mixed_causes
    assert done("rollback", first, "--dry-run")["modified_by"][0]["records"] == 2


@pytest.mark.runs_on("laptop")
def test_a_rollback_is_listed_with_what_it_did() -> None:
    batch_id = done("import", contacts("a.csv", "id,status\nC-1,lead\n"), "-a", "ua", "-t", "contacts")["batch_id"]
    rollback_id = done("rollback", batch_id)["batch_id"]
    (row,) = [line.rstrip() for line in run("batches").stdout.splitlines() if rollback_id in line]
    assert row.endswith(f"rollback of {batch_id}: 1 removed")


@pytest.mark.runs_on("laptop")
def test_a_preview_without_a_valid_record_offers_no_commit() -> None:
    shown = run("preview", contacts("bad.csv", "id,status\nC-1,none\n"), "-a", "ua", "-t", "contacts").stdout
    repeat = "Or read the file otherwise, with other options: records preview bad.csv -a ua -t contacts\n"
    assert shown.endswith(f"there is nothing to commit. Correct the records and import them.\n{repeat}")
    assert "records commit" not in shown
    refused = run("commit", shown.split()[0])
    assert (refused.exit_code, "skip" in refused.stderr) == (3, False)


@pytest.mark.runs_on("laptop")
def test_personal_values_are_shown_on_demand() -> None:
    options = ("-a", "ua", "-t", "contacts")
    file = contacts("bad.csv", "id,email\nC-1,secret\n")
    assert "secret" not in run("preview", file, *options).stdout
    shown = run("preview", file, *options, "--show-values").stdout
    assert "record 1 (line 2) has secret\n" in shown
    assert "has secret\n" in run("show", shown.split()[0], "--show-values").stdout


@pytest.mark.runs_on("laptop")
def test_a_problem_of_a_workbook_names_its_row(tmp_path: Path) -> None:
    book = Workbook()
    for row in (["id", "status"], ["C-1", "none"]):
        book.active.append(row)  # type: ignore[union-attr]
    book.save(tmp_path / "bad.xlsx")
    assert "record 1 (row 2) has none\n" in run("preview", "bad.xlsx", "-a", "ua", "-t", "contacts").stdout


def test_the_help_lists_the_commands_in_groups_with_whole_summaries() -> None:
    shown = run("--help").stdout
    titles = [line for line in shown.splitlines() if line in ("Import:", "Export:", "History:", "Administration:")]
    assert titles == ["Import:", "Export:", "History:", "Administration:"]
    assert "..." not in shown.partition("Import:")[2]
    assert "another place of data, and compare both." in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["fly"], "records"),
        (["commit"], "records commit"),
        (["accounts", "add"], "records accounts add"),
        (["import", "a.csv", "--mode", "guess"], "records import"),
        (["serve", "--role"], "records serve"),
        (["accounts", "reader", "--role"], "records accounts reader"),
    ],
)
def test_a_hint_names_the_help_of_the_command(arguments: list[str], command: str) -> None:
    assert run(*arguments).stderr.endswith(f"See the help: {command} --help.\n")


@pytest.mark.parametrize("group", ["mappings", "presets", "accounts", "types", "accept"])
def test_the_help_of_a_group_cuts_no_sentence(group: str) -> None:
    assert "..." not in run(group, "--help").stdout.replace("ARGS]...", "")


def test_lists_for_people_are_tables() -> None:
    assert run("accounts", "list").stdout == "There is no account yet: records accounts add NAME.\n"
    assert run("batches").stdout == "There is no batch: records import FILE.\n"
    assert run("exports").stdout == "There is no export: records export -a ACCOUNT -t TYPE.\n"
    assert run("init").stdout == "The store is ready; there was nothing to do.\n"
    assert run("accounts", "add", "ua").stdout == "Account ua is new.\n"

    batch_id = done("import", contacts("one.csv", "id,status\nC-1,lead\n"), "-a", "ua", "-t", "contacts")["batch_id"]
    export = run("export", "-a", "ua", "-t", "contacts", "-o", "out.csv").stdout

    assert export.splitlines()[0].split("  ")[1].startswith("1 contacts of ua in ")
    assert f"{Path('out.csv').absolute()}  ({Path('out.csv').stat().st_size} bytes)" in export
    assert run("accounts", "list").stdout == "ua\n"
    (batch,) = [line.split() for line in run("batches").stdout.splitlines() if batch_id in line]
    window = ["23", "h", "59", "min"]
    assert batch[:4] + batch[6:] == [
        *(batch_id, "ua", "contacts", "committed"),
        *(*window, "tester", "one.csv", *"110000"),
    ]
    assert str(Path("out.csv").absolute()) in run("exports").stdout
    types = run("types").stdout
    assert "Preset mailing: external_id, first_name, last_name, email, country\n" in types
    assert "Key: time_hour, carrier, flight, origin\n" in types


def test_markup_in_a_files_name_and_headers_is_shown_as_it_is() -> None:
    printed = run(
        "preview", contacts("[red]a.csv", "id,status,[b]x[/b]\nC-1,lead,1\n"), "-a", "ua", "-t", "contacts"
    ).stdout

    assert "[red]a.csv as contacts of ua" in printed
    assert "Ignored columns: '[b]x[/b]'" in printed


def test_a_preview_shows_how_columns_feed_fields_and_what_would_change() -> None:
    text = "id,Company title,Fax,state,Telephon\nC-1,Acme,1,{},+44 20\n"
    mapping = ("-a", "ua", "-t", "contacts", "--map", "state=status")
    run("import", contacts("first.csv", text.format("lead")), *mapping)

    printed = run("preview", contacts("second.csv", text.format("customer")), *mapping).stdout
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for line in (
        "'id' → external_id C-1",
        "'state' → status customer as you said",
        "'Telephon' → phone ••• 94 % alike",
        "Ignored, but like an empty field: 'Company title' → company? --map 'Company title=company'",
        "Ignored columns: 'Fax'",
        "1 C-1 status lead customer",
    ):
        assert line in lines, printed

    given = json.loads(run("preview", "second.csv", *mapping, "--json").stdout)
    assert [(it["header"], it["field"], it["like"], it["samples"]) for it in given["columns"]] == [
        ("id", "external_id", None, ["C-1"]),
        ("Company title", None, "company", ["•••"]),
        ("Fax", None, None, ["•••"]),
        ("state", "status", None, ["customer"]),
        ("Telephon", "phone", None, ["•••"]),
    ]
    change = {"record": 1, "key": "C-1", "field": "status", "old": "lead", "new": "customer"}
    assert given["changes"] == [change]
    committed = done("commit", given["batch_id"])
    assert (committed["columns"], committed["changes"]) == (given["columns"], given["changes"])
    assert done("show", given["batch_id"]) == committed
    shown_later = run("show", given["batch_id"]).stdout
    assert "'Telephon'" in shown_later
    assert "C-1" in shown_later.partition("The first changed values:")[2]
    assert "Acme" not in shown_later
    shown = json.loads(run("show", given["batch_id"], "--json", "--show-values").stdout)
    assert [it["samples"] for it in shown["columns"]][1] == ["Acme"]


def test_the_rejects_of_a_batch_name_it_and_their_own_columns_are_not_listed() -> None:
    parent = json.loads(
        run("preview", contacts("a.csv", "id,status,Fax\nC-1,VIP,1\n"), "-a", "ua", "-t", "contacts", "--json").stdout
    )
    printed = run("preview", parent["rejects_file"], "-a", "ua", "-t", "contacts").stdout

    assert f"Corrects rejected records of {parent['batch_id']}" in printed
    assert "Ignored columns: 'Fax'\n" in printed


def every_command(group: click.Group, name: str = "records") -> Iterator[tuple[str, click.Command]]:
    for command in group.commands.values():
        path = f"{name} {command.name}"
        yield path, command
        if isinstance(command, click.Group):
            yield from every_command(command, path)


COMMANDS = dict(every_command(main))


def test_these_are_the_commands() -> None:
    assert set(COMMANDS) == {
        *("records init", "records demo", "records accounts", "records accounts add", "records accounts list"),
        *("records types", "records preview", "records commit", "records discard", "records import"),
        *("records rollback", "records expire", "records maintain"),
        *("records check", "records repair", "records space"),
        *("records batches", "records show", "records export", "records exports", "records ui", "records web"),
        *("records mappings", "records mappings list", "records mappings accept", "records mappings forget"),
        *("records presets", "records presets save", "records presets list"),
        *("records erase", "records accounts delete"),
        *("records types draft", "records accounts reader", "records migrate", "records template"),
        *("records accept", "records accept catalog", "records accept clock", "records serve"),
        *("records backup", "records backups", "records restore"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    unexplained = [it.name for it in command.params if isinstance(it, click.Option) and not it.help]
    assert unexplained == []
    shown = run(*name.split()[1:], "--help")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Usage: records {' '.join(name.split()[1:])}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json(name: str) -> None:
    command = COMMANDS[name]

    assert isinstance(command, click.Group) or "--json" in {opt for it in command.params for opt in it.opts}


def test_no_command_is_wrong_usage() -> None:
    assert run().exit_code == 2


@pytest.mark.runs_on("laptop")
def test_the_installed_command_prints_one_object_and_the_rest_on_standard_error() -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    command = [COMMAND, "import", file, "-a", "ua", "-t", "contacts", "--json"]

    result = subprocess.run(command, capture_output=True, text=True, check=True)

    assert json.loads(result.stdout)["created"] == 1
    assert result.stderr == ""
    with RecordStore(Settings.from_environment()) as store:
        assert store.accounts() == ["ua"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(as_json: bool) -> None:
    file = contacts("one.csv", "id,status\nC-1,lead\n")
    terminal, end = pty.openpty()
    command = [COMMAND, "preview", file, "-a", "ua", "-t", "contacts", *(["--json"] if as_json else [])]

    process = COMMAND_LINE.Popen(command, stdout=subprocess.PIPE, stderr=end)
    os.close(end)
    shown = b""
    with suppress(OSError):  # Linux reports this when the other end is closed
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    stdout, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert (b"Reading one.csv" in shown, b"1 records" in shown) == (not as_json, not as_json)
    assert b"Reading" not in stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["import", "none.csv", "-a", "ua", "-t", "contacts"], 2, "not_found"),
        (["import", "bad.csv", "-a", "ua", "-t", "contacts"], 3, "rejects_found"),
        (["export", "-a", "ua", "-t", "contacts", "-o", f"{'x' * 250}.csv"], 1, "not_accessible"),
    ],
)
def test_the_installed_command_ends_with_its_exit_code(arguments: list[str], exit_code: int, code: str) -> None:
    done("accounts", "add", "ua")
    contacts("bad.csv", "id,status\nC-1,none\n")

    run = subprocess.run if exit_code == 2 else COMMAND_LINE.run  # one of them starts the installed program
    result = run([COMMAND, *arguments, "--json"], capture_output=True, text=True, env=os.environ, check=False)

    assert (result.returncode, json.loads(result.stdout)["error"]["code"]) == (exit_code, code)


def test_the_ui_begins_with_what_is_wrong_in_what_the_operator_wrote(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "exports.yaml").write_text("exports:\n- {name: daily, account: ua, type: contacts, at: 07:00}\n")
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        done = run("ui", "--port", str(occupied.getsockname()[1]))
    assert "export 'daily': There is no account 'ua'." in done.stderr
    assert (done.exit_code, "is in use" in done.stderr) == (2, True)

    monkeypatch.setenv("RECORDS_NOTIFY", "nonsense://canary-token")
    refused = run("ui", "--port", "0")
    assert (refused.exit_code, "canary" in refused.output) == (2, False)
    assert "RECORDS_NOTIFY, address 1 (nonsense), cannot be read." in refused.stderr


def test_an_erasure_names_the_keys_that_are_not_there_and_says_what_it_counts() -> None:
    of = ("-a", "acme", "-t", "contacts")
    done("import", contacts("people.csv", "external_id,status\nC-1,lead\nC-2,lead\n"), *of)

    assert "no field 'foo'" in run("erase", "--matching", "foo=1", *of).stderr
    assert "no terminal can ask" in run("erase", "C-1", *of).stderr
    planned = run("erase", "C-1", "C-9", *of, "--dry-run").stdout.splitlines()
    receipt = done("erase", "C-1", "C-9", *of, "--yes")
    again = run("erase", "C-9", *of, "--yes")

    assert planned[0] == "Not found: C-9"
    assert "A record counts once for each of its versions, and for each file that has it." in planned
    assert "Mappings of values that they had would be forgotten: a later preview asks again." in planned
    assert receipt["not_found"] == ["C-9"]
    assert (again.exit_code, again.stdout) == (
        0,
        "Not found: C-9\nNothing of this was found, and nothing was changed.\n\nNot reached:\n  Other backups, "
        "snapshots of file systems, earlier versions of objects and logs are not searched.\n",
    )
