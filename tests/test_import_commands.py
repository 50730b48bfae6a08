"""`records preview` and `import` as a user types them: what they print, ask and refuse."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.commands.cli import main

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
