"""`records preview` and `import` as a user types them: what they print, ask and refuse."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipelines.commands.cli import main
from pipelines.commands.questions import chosen_numbers

pytestmark = pytest.mark.usefixtures("working_folder")

GOOD = "external_id,status\nC-1,lead\n"


@pytest.fixture
def working_folder(ready: None, quick_reading: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with a store that has no account."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="records")


def work(text: str = GOOD, name: str = "work.csv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def of(account: str) -> tuple[str, ...]:
    return ("-a", account, "-t", "contacts")


@pytest.mark.parametrize("command", ["preview", "import"])
def test_an_account_with_a_name_like_another_is_not_made(command: str) -> None:
    assert run("import", work(), *of("acme")).stderr == "acme is a new account.\n"

    refused = run(command, work(), *of("acmee"), "--json")

    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["error"] == {
        "code": "not_found",
        "message": "There is no account 'acmee'. Did you mean 'acme'?",
        "hint": "Nothing was read. If it is another account, make it first: records accounts add acmee.",
    }
    assert run("accounts", "list").stdout == "acme\n"
    assert run("batches", "-a", "acmee").stdout == "There is no batch: records import FILE.\n"

    run("accounts", "add", "acmee")
    made = run(command, work(), *of("acmee"))
    assert (made.exit_code, made.stderr) == (0, "")


def test_accounts_with_unlike_names_or_other_numbers_are_made() -> None:
    for account in ("acme", "shop-1", "shop-2", "ua", "uas"):
        made = run("preview", work(), *of(account))
        assert (made.exit_code, made.stderr) == (0, f"{account} is a new account.\n")
    assert run("preview", work(), *of("shop-2")).stderr == ""


def test_an_import_names_the_option_that_reads_rejected_numbers_and_dates() -> None:
    text = "external_id;status;amount;birthday\nC-1;lead;1,5;31/05/1990\nC-2;lead;2,25;30/04/1991\n"

    refused = run("import", work(text), *of("acme"))

    assert refused.exit_code == 3
    *_, hint = refused.stderr.splitlines()
    assert "`amount`: 2 numbers can only have a decimal comma" in hint
    assert "With --decimal , they are read. " in hint
    assert "To read them right: --date-order dmy. " in hint
    assert hint.endswith("The command to repeat with other options: records import work.csv -a acme -t contacts")
    repeated = shlex.split(hint.rpartition("options: ")[2])
    assert run(*repeated[1:], "--decimal", ",", "--date-order", "dmy").exit_code == 0


def test_the_command_to_repeat_has_all_options_quoted_for_a_shell() -> None:
    text = "Kunden Nr;Art;note\nC-1;Kunde;x\n"
    options = (*("--map", "Kunden Nr=external_id"), *("--map", "Art=status"), *("--delimiter", ";"), "--no-unescape")

    printed = run("preview", work(text, "my work.csv"), *of("acme"), *options, "--blank", "keep").stdout

    expected = (
        "records preview 'my work.csv' -a acme -t contacts --map 'Kunden Nr=external_id' --map Art=status "
        "--delimiter ';' --blank keep --no-unescape"
    )
    assert f"\nWith all of them: {expected} --value status:Kunde=customer\n" in printed
    assert printed.endswith(f"\nOr read the file otherwise, with other options: {expected}\n")
    values = re.search("With all of them: records (.*)", printed)
    assert values is not None
    assert run(*shlex.split(values[1])).exit_code == 0


def test_a_committed_file_is_repeated_with_again() -> None:
    text = "external_id,status\nC-1,Kunde\nC-2,lead\n"

    printed = run("import", work(text), *of("acme"), "--on-invalid", "skip").stdout

    repeated = "records import work.csv -a acme -t contacts --on-invalid skip --again --value status:Kunde=customer"
    assert f"\nWith all of them: {repeated}\n" in printed
    assert run(*shlex.split(repeated)[1:]).exit_code == 0


def test_an_uncertain_preview_says_how_to_repeat_it() -> None:
    Path("work.csv").write_bytes("external_id,status,company\nC-1,lead,Núñez\n".encode("cp1252"))

    refused = run("preview", "work.csv", *of("acme"))

    assert refused.exit_code == 3
    assert refused.stderr.endswith(
        "The command to repeat with other options: records preview work.csv -a acme -t contacts\n"
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("all", {1, 2, 3, 4, 5}), (" None ", set()), ("2", {2}), ("1-3,5", {1, 2, 3, 5}), ("4 - 5, 1", {1, 4, 5})],
)
def test_values_are_chosen_by_numbers(text: str, numbers: set[int]) -> None:
    assert chosen_numbers(text, 5) == numbers


@pytest.mark.parametrize("text", ["", "yes", "6", "0", "1-", "-1", "3-1", "1,,2", "1-9"])
def test_other_answers_are_asked_again(text: str) -> None:
    with pytest.raises(click.BadParameter):
        chosen_numbers(text, 5)


def test_records_on_one_line_of_json_are_named_without_the_line() -> None:
    records = [{"external_id": f"C-{i}", "status": "lead", "amount": i - 2} for i in range(1, 4)]
    records[1]["amount"] = -7

    printed = run("preview", work(json.dumps(records), "work.json"), *of("acme")).stdout

    assert "must be 0 or more; record 2 has -7" in printed
