"""The home of a store, and who can read what is in it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.cli import main
from resources.settings import Settings
from schemas.errors import InvalidRequest
from tests.forked_commands import COMMAND_LINE

COMMAND = str(Path(sys.executable).with_name("records"))
FILE = "id,status,email\nC-1,lead,ada@example.org\nC-2,nothing,\n"


@pytest.fixture
def nobodys_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has set nothing. It is the working directory, too."""
    monkeypatch.delenv("RECORDS_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records(*arguments: str, umask: int = -1) -> "subprocess.CompletedProcess[str]":
    """Run the installed command, in a process of its own."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, umask=umask)


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"RECORDS_HOME": "/srv/records", "XDG_DATA_HOME": "/data", "HOME": "/home/you"}, "/srv/records"),
        ({"XDG_DATA_HOME": "/data", "HOME": "/home/you"}, "/data/records"),
        ({"XDG_DATA_HOME": "relative", "HOME": "/home/you"}, "/home/you/.local/share/records"),
        ({"HOME": "/home/you"}, "/home/you/.local/share/records"),
    ],
)
def test_the_home_is_the_named_one_or_where_the_user_has_data(environment: dict[str, str], home: str) -> None:
    assert str(Settings.from_environment(environment).home) == home


@pytest.mark.parametrize("text", ["8", "abc", "-1", "00777"])
def test_a_umask_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="RECORDS_UMASK is"):
        Settings.from_environment({"RECORDS_HOME": "/srv", "RECORDS_UMASK": text})


def test_no_command_but_init_makes_a_store(nobodys_home: Path) -> None:
    (nobodys_home / "one.csv").write_text(FILE)
    home = nobodys_home / ".local" / "share" / "records"
    for command in (
        ("preview", "one.csv", "-a", "ua", "-t", "contacts"),
        ("import", "one.csv", "-a", "ua", "-t", "contacts"),
        ("accounts", "add", "ua"),
        ("types",),
        ("ui",),
        ("web",),
    ):
        refused = COMMAND_LINE.run(["records", *command], capture_output=True, text=True)
        assert (refused.returncode, refused.stdout) == (1, ""), command
        assert refused.stderr == (
            f"Error: There is no store in {home}.\nMake it: records init. "
            "Or name the home of another one: records --home FOLDER, or RECORDS_HOME.\n"
        )
        assert not home.exists(), command

    made = COMMAND_LINE.run(["records", "init"], capture_output=True, text=True)

    assert (made.stdout, made.stderr) == (f"Made a new store in {home}.\n", "")


def test_a_store_of_an_earlier_version_in_this_folder_is_named_and_can_be_used(nobodys_home: Path) -> None:
    earlier = nobodys_home / ".records"
    for command in (("init",), ("accounts", "add", "ua")):
        COMMAND_LINE.run(["records", "--home", str(earlier), *command], check=True, capture_output=True)

    listed = COMMAND_LINE.run(["records", "accounts", "list"], capture_output=True, text=True)

    sentence, _, rest = listed.stderr.partition("\n")
    assert sentence == (
        f"{earlier}, the home of earlier versions, is not used: "
        f"the home is now {nobodys_home / '.local' / 'share' / 'records'}. To use it: export RECORDS_HOME={earlier}"
    )
    assert rest.startswith("Error: There is no store in ")
    named = {**os.environ, "RECORDS_HOME": sentence.rpartition("=")[2]}
    listed = COMMAND_LINE.run(["records", "accounts", "list"], capture_output=True, text=True, env=named)
    assert (listed.stdout, listed.stderr) == ("ua\n", "")


def test_the_option_names_the_home_in_place_of_the_environment(home: Path, tmp_path: Path) -> None:
    made = COMMAND_LINE.run(["records", "--home", str(tmp_path / "named"), "init"], capture_output=True, text=True)
    assert made.stdout == f"Made a new store in {tmp_path / 'named'}.\n"
    assert (tmp_path / "named" / "catalog.sqlite").exists()
    assert not home.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_user_can_read_what_is_in_a_store_whatever_the_umask(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """With the last umask, files that follow it could be read by nobody, not even their owner."""
    file = tmp_path / "one.csv"
    file.write_text(FILE)
    outside = tmp_path / "out.csv"
    for command in (
        ("init",),
        ("accounts", "add", "ua"),
        ("import", str(file), "-a", "ua", "-t", "contacts", "--on-invalid", "skip"),
        ("export", "-a", "ua", "-t", "contacts"),
        ("export", "-a", "ua", "-t", "contacts", "-o", str(outside)),
        ("template", "-t", "contacts", "-o", str(tmp_path / "empty.csv")),
        ("maintain",),
    ):
        done = records(*command, umask=umask)
        assert done.returncode == 0, done.stderr

    names = {path.name for path in home.rglob("*")}
    assert {"catalog.sqlite", "store.json", "contacts.csv", "report.html", "one.rejects.csv"} <= names
    assert modes_below(home) == {("folder", 0o700), ("file", 0o600)}
    shared = {
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.csv", "out.csv.manifest.json", "empty.csv")
    }
    assert shared == {0o666 & ~umask}


def modes_below(folder: Path) -> set[tuple[str, int]]:
    """Return the permissions of a folder, and of everything in it."""
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.lstat().st_mode))
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink()
    }


def test_a_command_leaves_the_umask_of_its_process(home: Path) -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit):
            main(["init"])
        assert os.umask(0o022) == 0o022
        assert "RECORDS_UMASK" not in os.environ
    finally:
        os.umask(before)


def test_cleaning_touches_no_store() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "clean"], capture_output=True, text=True, check=True
    ).stdout
    assert printed == "rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis\n"
